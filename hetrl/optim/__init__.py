"""HOW TO STEP: what a turn does with its loss."""

from collections.abc import Callable

from torch import Tensor

Closure = Callable[[], tuple[Tensor, dict[str, Tensor]]]
"""What a step is given: it evaluates the phase's own steps, and returns the loss and the batch means by key. With
gradients enabled it also sets every parameter's ``grad``."""
