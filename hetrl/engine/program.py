"""The linked program: a straight line of plain calls on plain tensors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from hetrl import keys
from hetrl.component import Component, Output
from hetrl.engine.store import Store
from hetrl.network import Network
from hetrl.recipe.net import TARGET, Mode
from hetrl.recipe.step import Step
from hetrl.team import Agent

Values = dict[str, Any]
"""Key -> tensor, or a tuple of tensors in team order: what a program reads and writes."""
Agents = tuple[Agent, ...]
"""A lane: the agents whom one program serves; nobody where it is the team's."""


@dataclass(frozen=True)
class Call:
    """One call: which function, where its inputs lie, where its outputs go."""

    function: Callable[..., Output]
    inputs: tuple[str, ...]
    outputs: tuple[tuple[str, str], ...]
    own: int | None
    """The agent's position in the team, of calls that read an ``agents.`` key: in that tuple, the agent's own value is
    the one that this program has just written."""


class Program(nn.Module):
    """Some steps of a phase, bound to the modules of one lane.

    Running it looks nothing up in a TensorDict: values lie in a dict of plain tensors, keyed by the recipe's own words.

    Args:
        steps: the steps, in order.
        network: returns the module behind a mode.
        component: returns the component behind a step; None where the step runs a net.
        place: of the lane's (first) agent in the team; None where the lane is nobody's.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        network: Callable[[Mode], Network],
        component: Callable[[Step], Component | None],
        place: int | None,
    ) -> None:
        super().__init__()
        self.nets = nn.ModuleDict({_name(mode): network(mode) for step in steps for mode in step.modes})
        components = [component(step) for step in steps]
        self.components = nn.ModuleList([each for each in components if each is not None])
        self.calls = [self._call(step, each, place) for step, each in zip(steps, components, strict=True)]
        self._place = place
        written: set[str] = {keys.PLACE}
        self.reads: dict[str, bool] = {}
        """Keys that come from outside -> whether they may be absent."""
        for step in steps:
            for role, key in step.table.reads.items():
                if key not in written:
                    self.reads[key] = self.reads.get(key, True) and role in step.table.optional
            written.update(step.table.writes.values())
        self.writes = tuple(sorted(key for key in written - {keys.PLACE} if not keys.is_output(key)))

    def _call(self, step: Step, component: Component | None, place: int | None) -> Call:
        function: Callable[..., Output]
        if component is not None:
            called = {role: self._bound(mode) for role, mode in step.calls.items()}
            function = partial(component.compute, **called) if called else component.compute
        else:
            assert step.mode is not None
            function = self._bound(step.mode)
            if step.arguments:
                function = partial(function, **step.arguments)
        inputs = tuple(step.table.reads.values())
        whole = any(keys.scope(key) == keys.AGENTS for key in inputs)
        return Call(function, inputs, tuple(step.table.writes.items()), place if whole else None)

    def _bound(self, mode: Mode) -> Callable[..., Output]:
        return getattr(self.nets[_name(mode)], mode.name)

    def forward(self, values: Values) -> Values:
        """Make the calls on ``values`` (key -> tensor), add to them what is written, and return them."""
        values[keys.PLACE] = self._place
        for call in self.calls:
            if call.own is None:
                given = [values.get(key) for key in call.inputs]
            else:
                given = [_whole(values, key, call.own) for key in call.inputs]
            written = call.function(*given)
            for role, key in call.outputs:
                values[key] = written[role]
        return values

    def run(self, store: Store, lane: Sequence[Agent]) -> None:
        """Run on a store: read the lane's inputs, and write the outputs back."""
        values = self(self.gather(store, lane))
        for key in self.writes:
            store.write(key, lane, values[key])

    def gather(self, store: Store, lane: Sequence[Agent]) -> Values:
        """Return the inputs of a lane."""
        return {
            key: store.read(key, lane) for key, optional in self.reads.items() if not optional or store.has(key, lane)
        }


Programs = list[tuple[Agents, Program]]
"""Lanes with their programs."""


def _name(mode: Mode) -> str:
    """Return the name under which a program keeps a mode's module; a slow copy is another one than its net."""
    return f"{mode.net} {TARGET}" if mode.slow else mode.net


def _whole(values: Values, key: str, own: int) -> Any:
    """Return an input; of an ``agents.`` tuple, with this agent's value as the program has just written it."""
    value = values.get(key)
    if not isinstance(value, tuple):
        return value
    fresh = values.get(key.replace(f"{keys.AGENTS}.", f"{keys.AGENT}."))
    return value if fresh is None else (*value[:own], fresh, *value[own + 1 :])
