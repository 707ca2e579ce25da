"""From a checked recipe to modules: networks and their slow copies, components, orders, and who shares what."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hetrl import arguments, catalog, rng, schedule
from hetrl.allocation import allocating
from hetrl.component import Component
from hetrl.engine.program import Program
from hetrl.engine.reading import BehindNet, Lenses
from hetrl.engine.statistics import Statistics
from hetrl.errors import RecipeError
from hetrl.network import Network, Policy
from hetrl.order import Seeded
from hetrl.recipe.net import Mode, Per, Target
from hetrl.recipe.order import Order
from hetrl.recipe.plan import Plan, recurrent_critic
from hetrl.recipe.section import Use
from hetrl.recipe.step import Step
from hetrl.team import Agent, Team

_USED = frozenset([*dir(nn.ModuleDict()), "per", "owner", "of"])
"""Names that modules kept by name have a use for themselves."""


def slot(name: str) -> str:
    """Return under which name an agent's or a group's module is kept, whatever they are called."""
    return f"{name}:" if name in _USED else name


class SharedNetwork(nn.ModuleDict):
    """A net of the recipe: one module for each of its owners, who are agents, sharing groups, or the team."""

    def __init__(self, build: Callable[[Agent], Network], team: Team, per: Per) -> None:
        self.per = per
        modules: dict[str, Network] = {}
        for agent in team.agents:
            if self.owner(agent) not in modules:
                modules[self.owner(agent)] = build(agent)
        super().__init__(modules)

    def owner(self, agent: Agent | None) -> str:
        """Return the name under which an agent's module is kept: its own, its sharing group's, or ``team``."""
        if self.per == "team" or agent is None:
            return "team"
        return slot(agent.name if self.per == "agent" else agent.body)

    def of(self, lane: Sequence[Agent]) -> Network:
        """Return the module that serves a lane."""
        return self[self.owner(lane[0] if lane else None)]  # type: ignore[return-value]


class SlowCopy(nn.Module):
    """A copy of a net that follows it: target <- target + tau (net - target)."""

    def __init__(self, net: SharedNetwork, target: Target) -> None:
        super().__init__()
        self.net = copy.deepcopy(net).requires_grad_(False)
        self.tau, self.every = target.tau, target.every
        self._trained = 0

    @torch.no_grad()
    def follow(self, net: SharedNetwork) -> None:
        """Take note of a training of ``net``, and move towards it where this one is due."""
        for mine, other in zip(self.net.buffers(), net.buffers(), strict=True):
            mine.copy_(other)  # statistics are the net's own, and do not lag
        self._trained += 1
        if self._trained % self.every:
            return
        own: list[Tensor] = list(self.net.parameters())
        theirs: list[Tensor] = list(net.parameters())
        torch._foreach_lerp_(own, theirs, self.tau)

    def get_extra_state(self) -> dict[str, int]:
        """How often the net has been trained."""
        return {"trained": self._trained}

    def set_extra_state(self, state: Any) -> None:
        """Continue the count."""
        self._trained = state["trained"]


class Linked(nn.Module):
    """A recipe bound to a team: every module that it trains or keeps state in.

    Phases ask it for the programs of a lane; it holds no optimiser and knows nothing of training.
    """

    def __init__(self, plan: Plan, team: Team, seed: int) -> None:
        super().__init__()
        self.plan, self.team = plan, team
        self.recipe = plan.recipe
        self.statistics = Statistics(team) if self.recipe.normalize_observations else None
        self._lenses = Lenses.of(team, self.statistics)
        self.scheduled: list[tuple[nn.Module, str, schedule.Linear]] = []
        with rng.own_turn(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(rng.derive(seed, "networks"))
            self.nets = nn.ModuleDict()
            for name in plan.recipe.nets:  # those in front of others stand before them
                self.nets[name] = self._build_net(name)
        self._acting: dict[str, Policy] = {}
        self.slow = nn.ModuleDict(
            {name: SlowCopy(self.nets[name], net.target) for name, net in plan.recipe.nets.items() if net.target}  # type: ignore[arg-type]
        )
        self.components = nn.ModuleDict()
        self._behind: dict[Step, nn.Module] = {}
        self.orders = nn.ModuleDict()
        for phase in plan.recipe.update:
            for stage, steps in phase.stages.items():
                for index, step in enumerate(steps):
                    if step.use is not None:
                        # The name is part of every checkpoint; whoever looks for the module has the step.
                        self._behind[step] = self.components[f"{phase.name}:{stage}:{index}"] = self._make(step)
        for phase in plan.recipe.update:
            if phase.order is not None:
                order = build(phase.order, "order")
                if isinstance(order, Seeded):
                    order.generator.manual_seed(rng.derive(seed, "order", phase.name))
                self.orders[phase.name] = order

    def _build_net(self, name: str) -> SharedNetwork:
        net = self.recipe.nets[name]

        def make(agent: Agent) -> Network:
            where = f"{net.where} ({net.use})"
            with allocating(f"{where}: a net of this size"):
                try:
                    seen = agent if net.behind is None else agent.seeing(self._front(net.behind, agent).features)
                    module = self._followed(net.network(seen, self.team, **net.values), net.values)
                    return self._lenses.before(module, agent) if net.behind is None else module
                except RecipeError as error:
                    text = str(error)
                    raise RecipeError(text if text.startswith(f"{net.where}.") else f"{where}: {text}") from None

        return SharedNetwork(make, self.team, self.plan.per[name])

    def _make(self, step: Step) -> nn.Module:
        """Return one instance of a step's component, or one for each agent where it keeps state of its own."""
        component = self._instance(step)
        if step.per_agent and component.state_dict():
            return nn.ModuleDict({slot(name): self._instance(step) for name in self.team.names})
        return component

    def _instance(self, step: Step) -> Component:
        component = build(Use(step.where, str(step.use), step.arguments), ("estimate", "weight", "loss"))
        return self._followed(component, step.arguments)

    def _followed(self, module: Any, values: Mapping[str, Any]) -> Any:
        """Return a module whose arguments follow the schedules that stand in their place."""
        for name, value in values.items():
            ramp = schedule.parse(value) if arguments.schedulable(type(module).__init__, name) else None
            if ramp is not None:  # a 0-d tensor, so that a compiled program sees it change
                delattr(module, name)
                module.register_buffer(name, torch.tensor(ramp.start), persistent=False)
                self.scheduled.append((module, name, ramp))
        return module

    def policy(self, lane: Sequence[Agent]) -> Policy:
        """Return the module that acts for an agent: the policy, together with the net in front of it."""
        shared: SharedNetwork = self.nets[self.plan.policy]  # type: ignore[assignment]
        front = self.recipe.nets[self.plan.policy].behind
        if front is None:
            return shared.of(lane)  # type: ignore[return-value]
        owner = shared.owner(lane[0])
        if owner not in self._acting:
            self._acting[owner] = BehindNet(shared.of(lane), self._front(front, lane[0]))
        return self._acting[owner]

    def _front(self, name: str, agent: Agent) -> Any:
        """Return the net that stands in front of an agent's others."""
        return self.nets[name].of((agent,))  # type: ignore[operator]

    @property
    def critic(self) -> Network | None:
        """The recurrent net of the team, whose memory collection carries too; None where the recipe has none."""
        name = recurrent_critic(self.recipe)
        return None if name is None else self.nets[name].of(())  # type: ignore[operator]

    def kept(self, step: Step) -> nn.Module | None:
        """Return what is kept of a step's component: itself, or by agent where each has one; None of a net's mode."""
        return self._behind.get(step)

    def component(self, step: Step, lane: Sequence[Agent]) -> Component | None:
        """Return the component behind a step, for a lane; None where the step runs a net."""
        found = self._behind.get(step)
        return found[slot(lane[0].name)] if isinstance(found, nn.ModuleDict) else found  # type: ignore[return-value]

    def network(self, mode: Mode, lane: Sequence[Agent]) -> Network:
        """Return the module behind a mode, for a lane."""
        shared = self.slow[mode.net].net if mode.slow else self.nets[mode.net]
        return shared.of(lane)  # type: ignore[operator, union-attr]

    def program(self, steps: Sequence[Step], lane: Sequence[Agent]) -> Program:
        """Return the program of some steps for a lane."""
        return Program(
            steps,
            lambda mode: self.network(mode, lane),
            lambda step: self.component(step, lane),
            self.team.agents.index(lane[0]) if lane else None,
        )

    def follow(self, net: str) -> None:
        """Let a net's slow copy, if it has one, follow a training of the net."""
        if net in self.slow:
            self.slow[net].follow(self.nets[net])  # type: ignore[operator]

    def follow_schedules(self, progress: float) -> None:
        """Set every scheduled argument to its value at ``progress`` (0 to 1)."""
        for module, name, ramp in self.scheduled:
            getattr(module, name).fill_(ramp(progress))


def build(use: Use | Order, kind: str | tuple[str, ...]) -> Any:
    """Return an instance of a catalog entry; an error says where in the recipe it was asked for."""
    try:
        return catalog.resolve(use.name, kind)(**use.arguments)
    except RecipeError as error:
        raise RecipeError(f"{use.where} ({use.name}): {error}") from None
