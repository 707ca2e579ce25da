"""One mode of a network, and how it is run by the checks."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from hetrl.network import Network
from hetrl.team import Agent, Team
from hetrl.testing.batch import close
from hetrl.testing.net_inputs import Inputs
from hetrl.testing.part import Part
from hetrl.testing.subject import as_dict

__tracebackhide__ = True  # pytest shows the line of the test, not these
N_ROWS = 7


@dataclass(frozen=True)
class BuiltMode:
    """One mode of a network that is built for an agent of a team."""

    part: Part
    name: str
    agent: Agent
    team: Team
    nets: dict[torch.dtype, Network]
    """The network by float type, once it is built; the modes of an agent have them in common."""

    def net(self, dtype: torch.dtype = torch.float64) -> Network:
        """Return the network, its parameters and state as they are when it is built."""
        if dtype not in self.nets:
            self.nets[dtype] = self.part.build(self.agent, self.team).to(dtype)
        return self.nets[dtype]

    def inputs(self, net: Network, n: int = N_ROWS, dtype: torch.dtype = torch.float64) -> dict[str, Any]:
        """Return ``n`` made-up rows."""
        with self.part.doing(f"inputs of mode '{self.name}' cannot be made up"):
            return Inputs(net, self.agent, self.team).make(self.name, n, dtype)

    def rows(self, net: Network, n: int = N_ROWS) -> tuple[int, ...]:
        """Return the batch dimensions of ``n`` made-up rows."""
        return Inputs(net, self.agent, self.team).rows(self.name, n)

    def places(self, net: Network) -> dict[str, int]:
        """Return the place of the rows in each role that has them."""
        return Inputs(net, self.agent, self.team).places(self.name)

    def run(self, net: Network, inputs: Mapping[str, Any], seed: int = 0, when: str = "") -> dict[str, Any]:
        """Return what the mode makes of its inputs; the network's state is as before."""
        state = copy.deepcopy(net.state_dict())
        with self.part.doing(f"mode '{self.name}' failed{when}"), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            outputs = getattr(net, self.name)(**inputs)
        self.require(
            isinstance(outputs, Mapping),
            f"it returns a {type(outputs).__name__}, not a dict; return {as_dict(net.modes[self.name].writes)}.",
        )
        if not same_state(state, net.state_dict()):
            net.load_state_dict(state)
        return dict(outputs)

    def require(self, holds: bool, problem: str) -> None:
        """Raise an AssertionError of one line where something does not hold."""
        self.part.require(holds, f"mode '{self.name}': {problem}")

    @cached_property
    def draws(self) -> bool:
        """Whether it draws at random though all that it reads is given."""
        net = self.net()
        inputs = self.inputs(net)
        with torch.no_grad():
            first, second = (self.run(net, inputs, seed) for seed in (0, 1))
        return not all(close(first[role], second[role]) for role in first)

    @cached_property
    def takes_statistics(self) -> bool:
        """Whether it moves the network's state, as running statistics do; only without learning (``learned=False``)."""
        net = self.net()
        inputs, before = self.inputs(net), copy.deepcopy(net.state_dict())
        with torch.no_grad(), self.part.doing(f"mode '{self.name}' failed"):
            getattr(net, self.name)(**inputs)
        moved = not same_state(before, net.state_dict())
        if moved:
            net.load_state_dict(before)
        return moved and not self.learned

    @property
    def learned(self) -> bool:
        """Whether the network's parameters take part."""
        return self.part.cls.modes[self.name].learned


def same_state(state: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two states are equal."""
    return all(
        torch.equal(value, other[name]) if isinstance(value, Tensor) else value == other[name]
        for name, value in state.items()
    )
