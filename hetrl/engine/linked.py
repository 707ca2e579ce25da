"""From a checked recipe to modules: networks, components, orders, and who shares what."""

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hetrl import catalog, rng, schedule
from hetrl.component import Component
from hetrl.engine.program import Program, foldable, slow_copy, used_nets
from hetrl.errors import RecipeError
from hetrl.network import Network, Policy
from hetrl.recipe import memory
from hetrl.recipe.check import Plan, PlannedStep, check, grouped
from hetrl.recipe.read import Per, Phase, Recipe, Target, Use
from hetrl.team import Agent, Team


class SharedNetwork(nn.ModuleDict):
    """A net of the recipe: one module for each agent, sharing group, or team."""

    def __init__(self, build: Callable[[Agent], Network], team: Team, per: Per) -> None:
        self.per = per
        modules: dict[str, Network] = {}
        for agent in team.agents:
            if self.unit(agent) not in modules:
                modules[self.unit(agent)] = build(agent)
        super().__init__(modules)

    def unit(self, agent: Agent | None) -> str:
        """Return the name under which an agent's module is kept."""
        if self.per == "team" or agent is None:
            return "team"
        return agent.name if self.per == "agent" else agent.body

    def of(self, lane: Sequence[Agent]) -> Network:
        """Return the module that serves a lane."""
        return self[self.unit(lane[0] if lane else None)]  # type: ignore[return-value]


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
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(rng.derive(seed, "networks"))
            self.nets = nn.ModuleDict({name: self._build_net(name) for name in plan.recipe.nets})
        self.slow = nn.ModuleDict(
            {name: SlowCopy(self.nets[name], net.target) for name, net in plan.recipe.nets.items() if net.target}  # type: ignore[arg-type]
        )
        self.components = nn.ModuleDict()
        self.scheduled: list[tuple[nn.Module, str, schedule.Linear]] = []
        for (name, section), steps in plan.sections.items():
            for index, planned in enumerate(steps):
                if planned.component is not None:
                    self.components[f"{name}:{section}:{index}"] = self._build_component(planned)
        self.orders = nn.ModuleDict()
        for phase in plan.recipe.update:
            if phase.order is not None:
                order = build(phase.order, "order")
                if hasattr(order, "generator"):
                    order.generator.manual_seed(rng.derive(seed, "order", phase.name))
                self.orders[phase.name] = order

    def _build_net(self, name: str) -> SharedNetwork:
        net = self.recipe.nets[name]
        cls = catalog.resolve(net.use, "net")

        def make(agent: Agent) -> Network:
            try:
                return cls(agent, self.team, **net.arguments)
            except RecipeError as error:
                raise RecipeError(f"{net.where} ({net.use}): {error}") from None

        return SharedNetwork(make, self.team, self.plan.per[name])

    def _build_component(self, planned: PlannedStep) -> nn.Module:
        """Return one instance, or one for each agent where it keeps state of its own."""
        use = Use(planned.step.where, str(planned.step.use), planned.step.arguments)
        component = self._instance(use)
        if planned.per_agent and component.state_dict():
            return nn.ModuleDict({name: self._instance(use) for name in self.team.names})
        return component

    def _instance(self, use: Use) -> Component:
        component = build(use, ("estimate", "weight", "loss"))
        for name, value in use.arguments.items():
            ramp = schedule.parse(value)
            if ramp is not None:  # a 0-d tensor, so that a compiled program sees it change
                delattr(component, name)
                component.register_buffer(name, torch.tensor(ramp.start), persistent=False)
                self.scheduled.append((component, name, ramp))
        return component

    def policy(self, lane: Sequence[Agent]) -> Policy:
        """Return the module that acts for an agent."""
        return self.nets[self.plan.policy].of(lane)  # type: ignore[operator]

    @property
    def critic(self) -> Network | None:
        """The recurrent net of the team, whose memory collection carries too; None where the recipe has none."""
        name = memory.team_net(self.recipe)
        return None if name is None else self.nets[name].of(())  # type: ignore[operator]

    def component(self, phase: str, section: str, index: int, lane: Sequence[Agent]) -> Component | None:
        """Return the component behind a step, for a lane; None where the step is a net's mode."""
        key = f"{phase}:{section}:{index}"
        if key not in self.components:
            return None
        found = self.components[key]
        return found[lane[0].name] if isinstance(found, nn.ModuleDict) else found  # type: ignore[return-value]

    def program(self, phase: str, section: str, lane: Sequence[Agent], steps: slice = slice(None)) -> Program:
        """Return the program of (part of) a section for a lane."""
        planned = self.plan.sections[phase, section]
        chosen = list(range(len(planned)))[steps]
        nets = {name: net.of for name, net in self.nets.items()}
        nets |= {slow_copy(name): slow.net.of for name, slow in self.slow.items()}  # type: ignore[union-attr]
        return Program(
            [planned[index] for index in chosen],
            lane,
            nets,  # type: ignore[arg-type]
            [self.component(phase, section, index, lane) for index in chosen],
            self.team.agents.index(lane[0]) if lane else None,
        )

    def units(self, agents: Sequence[Agent], phase: Phase) -> list[tuple[Agent, ...]]:
        """Split the agents of a round by the module that the phase trains for them."""
        trained: SharedNetwork = self.nets[str(phase.train)]  # type: ignore[assignment]
        units: dict[str, list[Agent]] = {}
        for agent in agents:
            units.setdefault(trained.unit(agent), []).append(agent)
        return [tuple(sorted(unit, key=lambda agent: (agent.group, agent.index))) for unit in units.values()]

    def lanes(self, agents: Sequence[Agent], phase: str, section: str) -> list[tuple[Agent, ...]]:
        """Split the agents of a unit into the lanes that run a section: those of one layout with the same modules."""
        steps = self.plan.sections[phase, section]
        if not foldable(steps) or any(
            isinstance(self.components[f"{phase}:{section}:{index}"], nn.ModuleDict)  # each has a state of its own
            for index, planned in enumerate(steps)
            if planned.component is not None
        ):
            return [(agent,) for agent in agents]
        nets: list[SharedNetwork] = [self.nets[net] for net in used_nets(steps)]  # type: ignore[misc]
        # One module for the whole team fits all of its agents, whatever their layouts; what only some groups have is
        # read group by group.
        alike = bool(nets) and all(net.per == "team" for net in nets) and not any(p.table.optional for p in steps)
        lanes: dict[tuple[str, ...], list[Agent]] = {}
        for agent in agents:
            layout = "" if alike else agent.group
            lanes.setdefault((layout, *(net.unit(agent) for net in nets)), []).append(agent)
        return [tuple(lane) for lane in lanes.values()]

    def follow(self, net: str) -> None:
        """Let a net's slow copy, if it has one, follow a training of the net."""
        if net in self.slow:
            self.slow[net].follow(self.nets[net])  # type: ignore[operator]

    def follow_schedules(self, progress: float) -> None:
        """Set every scheduled argument to its value at ``progress`` (0 to 1)."""
        for component, name, ramp in self.scheduled:
            getattr(component, name).fill_(ramp(progress))


def build(use: Use, kind: str | tuple[str, ...]) -> Any:
    """Return an instance of a catalog entry; an error says where in the recipe it was asked for."""
    try:
        return catalog.resolve(use.name, kind)(**use.arguments)
    except RecipeError as error:
        raise RecipeError(f"{use.where} ({use.name}): {error}") from None


def link(recipe: Recipe, team: Team, provided: Iterable[str] | None = None) -> Linked:
    """Check a recipe against a team and build its modules.

    Args:
        recipe: what :func:`hetrl.recipe.read.load` returned.
        team: the task's agents.
        provided: the keys of a batch; left out, what the recipe's task and data write.

    Raises:
        RecipeError: it does not link.
    """
    team = grouped(recipe, team)
    return Linked(check(recipe, team, provided), team, recipe.run.seed)
