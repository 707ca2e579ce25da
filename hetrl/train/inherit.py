"""Starting from the weights of another run: what fits is taken over, and of everything else it is said why not.

A net is taken where both recipes have one of that name, of the same class and arguments, and every weight has its
size; one that stands behind another net where that is taken too. Of a net with a module for each agent or group, those
of the same name are taken; where there is a single one, shared by all, everybody takes it. The slow copy of what is
taken comes along; where there is none, it starts equal.
So do the statistics of observations, where both recipes standardise them; where one alone does, nothing fits: the
weights mean something else there. Optimisers that go on keep their moments and follow the new recipe's settings.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor

from hetrl.engine.linked import SharedNetwork, SlowCopy
from hetrl.engine.moved import Modules, moved, moved_by
from hetrl.errors import RunError, nearest
from hetrl.recipe.net import trained_nets
from hetrl.recipe.same import ABSENT, differences, first_difference
from hetrl.train.learner import Learner
from hetrl.train.restorable import other_weights

_NOT_OF_A_NET = ("per", "target")
"""Words of a net in a recipe that say nothing about what its weights mean."""

_STANDARDISED = "normalize_observations"
"""The word of a task that standardises what every net sees."""


@dataclass
class Inherited:
    """What became of each net; net -> its module's owner (agent, group, ``team``) -> text."""

    loaded: dict[str, dict[str, str]] = field(default_factory=dict)
    """Whose weights it took there."""
    new: dict[str, dict[str, str]] = field(default_factory=dict)
    """Why it starts as any new one does."""
    statistics: str | None = None
    """What became of the statistics of observations; None where there are none."""
    optimizers: list[str] = field(default_factory=list)
    """Optimisers that go on, as ``phase.owner``; all others start anew."""
    differs: list[str] = field(default_factory=list)
    """What the two recipes say differently, of all but ``run``."""

    def lines(self) -> Iterator[str]:
        """Yield what to print, a line for each net and a few more."""
        for net in dict.fromkeys([*self.loaded, *self.new]):
            taken = self.loaded.get(net, {})
            parts = []
            if taken:
                same = all(owner == source for owner, source in taken.items())
                names = (owner if same else f"{owner} from {source}" for owner, source in taken.items())
                parts.append(f"loaded ({', '.join(names)})")
            reasons: dict[str, list[str]] = {}
            for owner, why in self.new.get(net, {}).items():
                reasons.setdefault(why, []).append(owner)
            parts += [f"new ({', '.join(owners)}): {why}" for why, owners in reasons.items()]
            yield f"{net}: {'; '.join(parts)}"
        if self.statistics is not None:
            yield f"statistics of observations: {self.statistics}"
        yield f"optimisers: {', '.join(self.optimizers) + ' go on' if self.optimizers else 'new'}"
        yield "new in any case: orders, the state of losses and estimates, random numbers, simulator, replay buffer"
        for line in self.differs:
            yield f"differs: {line}"

    def as_dict(self) -> dict[str, Any]:
        """Return it as what JSON knows."""
        return asdict(self)


def inherit(
    module: Learner,
    checkpoint: Mapping[str, Any],
    tree: Mapping[str, Any],
    nets: Sequence[str] = (),
    *,
    optimizers: bool = False,
) -> Inherited:
    """Take over the weights of another run's nets, each with its statistics and its slow copy.

    Args:
        module: as it is built, not yet fitted.
        checkpoint: of the other run.
        tree: the other run's recipe.
        nets: which; by default all.
        optimizers: whether the optimisers of what is taken go on.

    Returns:
        What was taken, what not, and why.

    Raises:
        RunError: a net of ``nets`` is unknown or does not fit, or nothing fits at all. The module is then as it was.
    """
    mine, known = module.recipe.tree, module.recipe.nets
    for name in nets:
        if name not in known:
            raise RunError(f"there is no net '{name}' to start from other weights.{nearest(name, known)}")
    report = Inherited(differs=list(_differences(mine, tree)))
    source = _Source(checkpoint, tree)
    for name in nets or known:
        _sort(name, module, source, mine, report)
    _refuse_unfit(report, nets)
    for name, taken in report.loaded.items():
        for owner, theirs in taken.items():
            _take(name, owner, theirs, module, source)
    if source.statistics:
        _take_statistics(module, source, report)
    if optimizers:
        _go_on(module, source, report)
    return report


def _differences(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[str]:
    """Say what the two recipes say differently."""
    here_, there_ = ({word: value for word, value in tree.items() if word != "run"} for tree in (mine, theirs))
    for where, here, there in differences(here_, there_):
        yield f"{where} is {_said(there)} there and {_said(here)} here"


def _said(value: Any) -> str:
    return "not said" if value == ABSENT else repr(value)


class _Source:
    """The other run: its recipe, its weights by net and owner, and the states of its optimisers."""

    def __init__(self, checkpoint: Mapping[str, Any], tree: Mapping[str, Any]) -> None:
        self.tree = tree
        self.nets: dict[str, dict[str, dict[str, Any]]] = {}
        self.slow: dict[str, dict[str, dict[str, Any]]] = {}
        self.statistics: dict[str, Any] = {}
        for name, value in checkpoint["state_dict"].items():
            match name.split("."):
                case ["linked", "nets", net, owner, *rest]:
                    self.nets.setdefault(net, {}).setdefault(owner, {})[".".join(rest)] = value
                case ["linked", "slow", net, "net", owner, *rest]:
                    self.slow.setdefault(net, {}).setdefault(owner, {})[".".join(rest)] = value
                case ["linked", "statistics", *rest]:
                    self.statistics[".".join(rest)] = value
        states = checkpoint.get("optimizer_states", [])
        self.optimizers = {
            (phase["phase"], modules): (phase.get("optim"), state)
            for (phase, modules), state in zip(self._moved(), states, strict=False)
        }

    def _moved(self) -> Iterator[tuple[Mapping[str, Any], Modules]]:
        """Yield the phase and the modules of every optimiser, in the order in which a checkpoint has them."""
        for phase in self.tree["update"]:
            if phase.get("train") is not None:
                nets = trained_nets(phase["train"], f"update.{phase['phase']}.train", list(self.tree["nets"]))
                each = moved([nets] if isinstance(nets, str) else nets, phase.get("order") is not None, self.nets)
                yield from ((phase, modules) for modules in each.values())


def _sort(name: str, module: Learner, source: _Source, mine: Mapping[str, Any], report: Inherited) -> None:
    """Find out of each module of a net whose weights it can take, or why none."""
    net: SharedNetwork = module.linked.nets[name]  # type: ignore[assignment]
    front = module.recipe.nets[name].behind
    there = source.nets.get(name, {})
    other = first_difference(_standardised(mine), _standardised(source.tree)) or first_difference(
        _words(mine["nets"][name]), _words(source.tree["nets"].get(name, {}))
    )
    for owner, own in net.items():
        theirs = owner if owner in there else next(iter(there)) if len(there) == 1 else None
        if not there:
            why: str | None = "the other run has no such net"
        elif other is not None:
            why = f"{other[0]} is {_said(other[2])} there and {_said(other[1])} here"
        elif front is not None and owner not in report.loaded.get(front, {}):
            why = f"it reads the features of '{front}', which is new"
        elif theirs is None:
            why = f"the other run has it of {', '.join(there)} only"
        else:
            why = next(other_weights(own.state_dict(), there[theirs]), None)
        if why is None:
            report.loaded.setdefault(name, {})[owner] = str(theirs)
        else:
            report.new.setdefault(name, {})[owner] = why


def _standardised(tree: Mapping[str, Any]) -> dict[str, bool]:
    return {f"task.{_STANDARDISED}": tree["task"].get(_STANDARDISED, False)}


def _words(net: Mapping[str, Any]) -> dict[str, Any]:
    return {word: value for word, value in net.items() if word not in _NOT_OF_A_NET}


def _refuse_unfit(report: Inherited, nets: Sequence[str]) -> None:
    """Refuse where nothing fits, or a net that was asked for by name."""
    for name in nets or report.new:
        if name not in report.loaded and (nets or not report.loaded):
            owner, why = next(iter(report.new[name].items()))
            raise RunError(f"the weights of '{name}' ({owner}) do not fit: {why}.")


def _take(name: str, owner: str, theirs: str, module: Learner, source: _Source) -> None:
    linked = module.linked
    linked.nets[name][owner].load_state_dict(source.nets[name][theirs])  # type: ignore[index]
    if name in linked.slow:
        slow: SlowCopy = linked.slow[name]  # type: ignore[assignment]
        slow.net[owner].load_state_dict(source.slow.get(name, source.nets[name]).get(theirs, source.nets[name][theirs]))


def _take_statistics(module: Learner, source: _Source, report: Inherited) -> None:
    """Take over the statistics of observations; of another team's, only where all of them fit."""
    own: Any = getattr(module.linked, "statistics", None)
    if own is None:
        return
    why = next(other_weights(own.state_dict(), source.statistics), None)
    if why is None:
        own.load_state_dict(source.statistics)
    report.statistics = "loaded" if why is None else f"new: {why}"


def _go_on(module: Learner, source: _Source, report: Inherited) -> None:
    """Give the optimisers of what was taken the moments that they had there."""
    tree = {phase["phase"]: phase for phase in module.recipe.tree["update"]}
    for phase in module.phases:
        for owner, modules in moved_by(phase.phase, module.linked).items():
            theirs = tuple((net, report.loaded.get(net, {}).get(own, "")) for net, own in modules)
            used, state = source.optimizers.get((phase.phase.name, theirs), (None, None))
            own = tree[phase.phase.name].get("optim")
            if state is None or used is None or own is None or used["use"] != own["use"]:
                continue
            found, optimizer = copy.deepcopy(state), phase.optimizers[owner]
            found["param_groups"] = optimizer.state_dict()["param_groups"]
            if all(map(_fits, found["state"].values(), _of(optimizer))):
                optimizer.load_state_dict(found)
                report.optimizers.append(f"{phase.phase.name}.{owner}")


def _of(optimizer: Any) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _fits(moments: Mapping[str, Any], parameter: Tensor) -> bool:
    tensors = [each for each in moments.values() if isinstance(each, Tensor)]
    return all(each.ndim == 0 or each.shape == parameter.shape for each in tensors)
