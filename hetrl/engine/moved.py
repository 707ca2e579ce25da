"""Which modules each optimiser of a phase moves."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import nn

from hetrl.engine.linked import Linked
from hetrl.recipe.schema import Phase

Modules = tuple[tuple[str, str], ...]
"""Net and owner of each module that one optimiser moves, in the order of its parameters."""


def moved(nets: Sequence[str], in_turns: bool, owners: Mapping[str, Iterable[str]]) -> dict[str, Modules]:
    """Return the optimisers of a phase: name -> the modules whose parameters it moves.

    In turns there is one for each agent or group, over its module of every net; else one, over all modules of all nets.

    Args:
        nets: that the phase trains; in turns the same agents share each of them.
        in_turns: whether the phase has an order.
        owners: net -> the owners of its modules.
    """
    if in_turns:
        return {owner: tuple((net, owner) for net in nets) for owner in owners[nets[0]]}
    return {"team": tuple((net, owner) for net in nets for owner in owners[net])} if nets else {}


def moved_by(phase: Phase, linked: Linked) -> dict[str, Modules]:
    """Return the optimisers of a phase of a linked recipe; see :func:`moved`."""
    nets: Any = linked.nets
    return moved(phase.trained, phase.order is not None, nets)


def parameters_of(modules: Modules, linked: Linked) -> list[nn.Parameter]:
    """Return the parameters of some modules."""
    nets: Any = linked.nets
    return [parameter for net, owner in modules for parameter in nets[net][owner].parameters()]
