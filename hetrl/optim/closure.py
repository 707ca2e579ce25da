"""What an optimiser's step is given: how to evaluate the phase's own steps."""

from collections.abc import Callable

from torch import Tensor

Closure = Callable[[], tuple[Tensor, dict[str, Tensor]]]
"""Returns the loss and the batch means by key. With gradients enabled it also sets every parameter's ``grad``."""
