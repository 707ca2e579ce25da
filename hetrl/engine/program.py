"""The linked program: a straight line of plain calls on plain tensors."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from hetrl import keys
from hetrl.component import Component, Output
from hetrl.engine.store import Store
from hetrl.network import Network
from hetrl.recipe.check import TARGET, PlannedStep
from hetrl.team import Agent

Values = dict[str, Any]


@dataclass(frozen=True)
class Line:
    """One call: which function, where its inputs lie, where its outputs go."""

    where: str
    function: Callable[..., Output]
    inputs: tuple[str, ...]
    outputs: tuple[tuple[str, str], ...]
    own: int | None
    """Place of the lane's agent in the team, where an input is ``agents.`` and must see this agent's fresh value."""


class Program(nn.Module):
    """The steps of one section, bound to the modules of one lane.

    Running it looks nothing up in a TensorDict: values lie in a dict of plain tensors, keyed by the recipe's own words.
    """

    def __init__(
        self,
        steps: Sequence[PlannedStep],
        lane: Sequence[Agent],
        nets: Mapping[str, Callable[[Sequence[Agent]], Network]],
        components: Sequence[Component | None],
        place: int | None,
    ) -> None:
        super().__init__()
        self.nets = nn.ModuleDict({name: nets[name](lane) for name in used_nets(steps, copies=True)})
        self.components = nn.ModuleList([component for component in components if component is not None])
        self.lines = [
            self._line(planned, component, place) for planned, component in zip(steps, components, strict=True)
        ]
        self._place = place
        written: set[str] = {keys.PLACE}
        needed: dict[str, bool] = {}
        for planned in steps:
            for role, key in planned.table.reads.items():
                if key not in written:
                    optional = role in planned.table.optional
                    needed[key] = needed.get(key, True) and optional
            written.update(planned.table.writes.values())
        self.reads = needed
        """Keys that come from outside -> whether they may be absent."""
        self.writes = tuple(sorted(key for key in written - {keys.PLACE} if not keys.is_output(key)))

    def _line(self, planned: PlannedStep, component: Component | None, place: int | None) -> Line:
        function: Callable[..., Output]
        if component is not None:
            function = component.compute
            called = {role: self._mode(*target.split(".", 1)) for role, target in planned.table.calls.items()}
            if called:
                function = partial(function, **called)
        else:
            assert planned.net is not None and planned.mode is not None
            function = self._mode(planned.net, planned.mode)
            if planned.step.arguments:
                function = partial(function, **planned.step.arguments)
        inputs = tuple(planned.table.reads.values())
        whole = any(keys.scope(key) == keys.AGENTS for key in inputs)
        return Line(planned.where, function, inputs, tuple(planned.table.writes.items()), place if whole else None)

    def _mode(self, net: str, mode: str = "") -> Callable[..., Output]:
        slow, _, rest = mode.partition(".")
        if slow == TARGET:
            net, mode = slow_copy(net), rest
        network = self.nets[net]
        return getattr(network, mode or network.default_mode)  # type: ignore[arg-type]

    def forward(self, values: Values) -> Values:
        """Run the lines on ``values`` (key -> tensor) and return them with what was written."""
        values[keys.PLACE] = self._place
        for line in self.lines:
            if line.own is None:
                given = [values.get(key) for key in line.inputs]
            else:
                given = [_whole(values, key, line.own) for key in line.inputs]
            written = line.function(*given)
            for role, key in line.outputs:
                values[key] = written[role]
        return values

    def run(self, store: Store, lane: Sequence[Agent]) -> Values:
        """Run on a store: read the lane's inputs, write the outputs back, and return what is left to log."""
        values = self(self.gather(store, lane))
        for key in self.writes:
            store.write(key, lane, values[key])
        return {key: value for key, value in values.items() if keys.is_output(key)}

    def gather(self, store: Store, lane: Sequence[Agent]) -> Values:
        """Return the inputs of a lane."""
        return {
            key: store.read(key, lane) for key, optional in self.reads.items() if not optional or store.has(key, lane)
        }


def _whole(values: Values, key: str, own: int) -> Any:
    """Return an input; of an ``agents.`` tuple, with this agent's value as the program has just written it."""
    value = values.get(key)
    if not isinstance(value, tuple):
        return value
    fresh = values.get(key.replace(f"{keys.AGENTS}.", f"{keys.AGENT}."))
    return value if fresh is None else (*value[:own], fresh, *value[own + 1 :])


def slow_copy(net: str) -> str:
    """Return the name under which a net's slow copy is kept."""
    return f"{net} {TARGET}"


def used_nets(steps: Iterable[PlannedStep], copies: bool = False) -> list[str]:
    """Return the nets that the steps run or call, in order; with ``copies`` slow copies under a name of their own."""
    found: dict[str, None] = {}
    for planned in steps:
        modes = [called.partition(".")[::2] for called in planned.table.calls.values()]
        if planned.net is not None:
            modes.insert(0, (planned.net, planned.mode or ""))
        for net, mode in modes:
            found[slow_copy(net) if copies and mode.split(".")[0] == TARGET else net] = None
    return list(found)


def foldable(steps: Iterable[PlannedStep]) -> bool:
    """Whether agents that share their nets may run as one lane.

    Not where a step reads all agents at once (each agent has its own view of that), and not where it turns agents'
    values into the team's (that has to happen agent by agent).
    """
    for planned in steps:
        reads, writes = planned.table.reads.values(), planned.table.writes.values()
        if any(keys.scope(key) == keys.AGENTS or key == keys.PLACE for key in reads):
            return False
        if planned.per_agent and any(not keys.scope(key) and not keys.is_output(key) for key in writes):
            return False
    return True
