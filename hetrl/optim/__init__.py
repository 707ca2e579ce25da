"""HOW TO STEP: what a turn does with its loss. Here is what an entry of ``optim/`` has to have."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from hetrl import arguments
from hetrl.errors import RecipeError, RunError

Closure = Callable[[], tuple[Tensor, dict[str, Tensor]]]
"""What a step is given: it evaluates the phase's own steps, and returns the loss and the batch means by key. With
gradients enabled it also sets every parameter's ``grad``."""


class Optim(Protocol):
    """An entry of ``optim/``: built from a recipe's arguments, it makes the optimiser of each network that is trained.

    Its constructor takes keyword-only hyperparameters, which are checked against their annotations. One that may follow
    a schedule (``SCHEDULABLE``) is kept in the optimiser's ``param_groups`` under its own name: there the phase writes
    its value before every turn.
    """

    reads: ClassVar[Mapping[str, str]]
    """Role -> key of the values whose batch means it needs besides the loss."""
    once: ClassVar[bool]
    """Whether it takes one step a turn, on the whole batch."""
    constraints: Mapping[str, bool]
    """Each key of ``reads`` -> whether inactive rows are left out of its mean."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__init__" in cls.__dict__ and not hasattr(cls.__init__, "__wrapped__"):
            cls.__init__ = arguments.checked(cls.__init__, cls.__name__)  # type: ignore[method-assign]

    def __init__(self) -> None: ...

    @abstractmethod
    def optimizer(self, parameters: Sequence[nn.Parameter]) -> Any:
        """Return the torch optimiser of one network, a :class:`ClosureOptimizer`."""


class ClosureOptimizer(Protocol):
    """What an entry of ``optim/`` makes: a ``torch.optim.Optimizer`` whose step is handed a :data:`Closure`."""

    twice: bool
    """Whether it differentiates twice: the closure then keeps its graph, and the phase is not compiled."""
    figures: Mapping[str, Tensor]
    """What the last step has to log, name -> 0-d tensor on the parameters' device."""
    param_groups: list[dict[str, Any]]

    def step(self, closure: Closure) -> Any:
        """Call the closure, once or as often as needed, and move the parameters; nothing waits for the device."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return what an exact continuation needs, as tensors and primitives."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a state."""
        ...


def optimizer_of(entry: Optim, parameters: Sequence[nn.Parameter], where: str) -> Any:
    """Return the optimiser that an entry makes for one network.

    Args:
        entry: an entry of ``optim/``, built.
        parameters: the network's.
        where: place in the recipe and name of the entry, for the message.

    Raises:
        RecipeError: it is none of torch's, or does not say whether it differentiates twice.
    """
    made = entry.optimizer(parameters)
    if not isinstance(made, torch.optim.Optimizer):
        raise RecipeError(f"{where}: optimizer() returns a {type(made).__name__}, and no torch.optim.Optimizer.")
    if not isinstance(getattr(made, "twice", None), bool):
        raise RecipeError(
            f"{where}: {type(made).__name__} does not say whether it differentiates twice; give the class "
            "twice = False, or True."
        )
    return made


def figures_of(optimizer: Any) -> Mapping[str, Tensor]:
    """Return what an optimiser logs of its last step, by name.

    Raises:
        RunError: it keeps nothing.
    """
    try:
        return optimizer.figures
    except AttributeError:
        raise RunError(
            f"{type(optimizer).__name__} keeps no figures of its step; set self.figures there, {{}} for none."
        ) from None
