"""HOW TO STEP: what a turn does with its loss.

An entry is built from a recipe's arguments and has: ``reads`` (role -> key of values whose batch means it needs besides
the loss) and ``once`` (whether it takes one step a turn, on the whole batch), both on the class; ``constraints`` (each
of those keys -> whether inactive rows are left out of its mean); and ``optimizer(parameters)``, which returns the torch
optimiser of one network. That one's ``step(closure)`` evaluates the phase's own steps through a :data:`Closure`, keeps
what it has to log in ``figures`` (name -> 0-d tensor), and says in ``twice`` whether it differentiates twice.
"""

from collections.abc import Callable

from torch import Tensor

Closure = Callable[[], tuple[Tensor, dict[str, Tensor]]]
"""What a step is given: it evaluates the phase's own steps, and returns the loss and the batch means by key. With
gradients enabled it also sets every parameter's ``grad``."""
