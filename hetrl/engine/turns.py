"""Who is trained when: members in an order, rounds of agents, turns of those that share modules, lanes of programs.

An order sorts *members*, which are agents or sharing groups, into *rounds*. The agents of a round take their *turns*:
one turn for all that share the modules that are trained for them. Without an order there is one turn, of the whole team
at once. A turn runs its steps in *lanes*: agents that use the same modules run as one batched program where they can,
and one by one where they cannot.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from hetrl import keys
from hetrl.engine.linked import Linked, SharedNetwork
from hetrl.engine.moved import Modules, moved_by, parameters_of
from hetrl.engine.objective import Apart, Derivative, Evaluated, Objective
from hetrl.engine.played import Quick
from hetrl.engine.program import Agents, Programs, Values
from hetrl.engine.store import Store
from hetrl.engine.together import Together
from hetrl.errors import RecipeError
from hetrl.order import check_rounds
from hetrl.recipe.schema import Phase
from hetrl.recipe.step import Step
from hetrl.team import Agent, Team


@dataclass
class Turn:
    """The agents of one round that share the trained modules, or the team at once, and the programs that serve them."""

    label: str
    """What is logged stands under it: ``agent_0/``, a group's name, ``team/``, or nothing for the team at once."""
    programs: Mapping[str, Sequence[tuple[Agents, Any]]]
    """``prepare`` and ``after`` -> their lanes with their programs."""
    lanes: Sequence[tuple[Agents, Any]]
    """Those of the steps, each with what it reads."""
    objective: Objective
    derivative: Callable[[list[Values]], Evaluated]
    modules: Modules
    parameters: list[nn.Parameter]
    optimizer: Any


class Turns:
    """The turns of a phase that trains a net.

    Args:
        phase: the phase.
        linked: the recipe's modules.
        optimizers: by the names of :func:`~hetrl.engine.moved.moved`.
        constraints: what the optimisers read -> whether inactive rows are left out of its mean.
        quick: makes a turn's loss and gradient quicker, if they are to be.
    """

    def __init__(
        self,
        phase: Phase,
        linked: Linked,
        optimizers: Mapping[str, Any],
        constraints: Mapping[str, bool],
        quick: Quick,
    ) -> None:
        self._phase, self._linked, self._quick = phase, linked, quick
        self._optimizers, self._constraints = optimizers, constraints
        self._made: dict[Agents, Turn] = {}

    def rounds(self, store: Store) -> list[Agents]:
        """Draw the order, and return the agents of each round; one round of nobody where the team is trained at once.

        Args:
            store: for orders that read more than the members' numbers.
        """
        if self._phase.order is None:
            return [()]
        members = self._linked.team.members(self._phase.order.of)
        order: Any = self._linked.orders[self._phase.name]
        values = {key: store.read(key, ()) for key in order.reads.values() if key != keys.MEMBERS}
        try:
            return in_rounds(order, members, values)
        except RecipeError as error:
            raise RecipeError(f"{self._phase.order.where} ({self._phase.order.name}): {error}") from None

    def of(self, agents: Agents) -> list[Turn]:
        """Return the turns of a round: its agents by the modules that are trained for them."""
        return [self._turn(sharing) for sharing in sharing_agents(self._trained, agents)]

    @property
    def _trained(self) -> SharedNetwork:
        """The net that is trained; of several, in turns all are shared by the same agents."""
        return self._linked.nets[self._phase.trained[0]]  # type: ignore[return-value]

    def _turn(self, agents: Agents) -> Turn:
        if agents not in self._made:
            self._made[agents] = self._make(agents)
        return self._made[agents]

    def _make(self, agents: Agents) -> Turn:
        phase, linked = self._phase, self._linked
        name = self._trained.owner(agents[0]) if agents else "team"
        optimizer, modules = self._optimizers[name], moved_by(phase, linked)[name]
        parameters = parameters_of(modules, linked)
        steps = steps_of(linked, phase.steps, agents)
        objective = Objective(steps, self._constraints, masked=phase.inactive == "skip")
        derivative = Derivative(objective, parameters, optimizer.twice)
        return Turn(
            label=_label(agents, linked.team),
            programs={
                word: self._quick.programs(programs_of(linked, phase.stages[word], agents))
                for word in ("prepare", "after")
            },
            lanes=steps.lanes,
            objective=objective,
            derivative=derivative if optimizer.twice else self._quick(derivative),
            modules=modules,
            parameters=parameters,
            optimizer=optimizer,
        )


def in_rounds(order: Any, members: Sequence[Agents], values: Mapping[str, Any]) -> list[Agents]:
    """Return the agents of each round, as an order puts the members.

    Args:
        order: a component of ``order/``; it may draw.
        members: agents, or sharing groups.
        values: key -> what it reads besides the members.

    Raises:
        RecipeError: its rounds are none.
    """
    given = {**values, keys.MEMBERS: torch.arange(len(members))}
    numbers = order.compute(**{role: given[key] for role, key in order.reads.items()})["round"].tolist()
    check_rounds(numbers, len(members))
    return [
        tuple(agent for member, own in zip(members, numbers, strict=True) if own == number for agent in member)
        for number in sorted(set(numbers))
    ]


def programs_of(linked: Linked, steps: Sequence[Step], agents: Agents) -> Programs:
    """Return the programs of steps that run without gradients: of a turn, or step by step where nobody is in turn."""
    if agents:
        return [(lane, linked.program(steps, lane)) for lane in lanes(linked, agents, steps)]
    return [(lane, linked.program([step], lane)) for step in steps for lane in lanes_without_turn(step, linked.team)]


def steps_of(linked: Linked, steps: Sequence[Step], agents: Agents) -> Apart | Together:
    """Return the steps of a turn that are trained through; of the whole team at once where nobody is in turn."""
    if agents:
        return Apart(programs_of(linked, steps, agents))
    own = [step for step in steps if step.per_agent]
    return Together(linked, steps, lanes(linked, linked.team.agents, own) if own else [])


def sharing_agents(net: SharedNetwork, agents: Sequence[Agent]) -> list[Agents]:
    """Split the agents of a round by the module of a net that serves them.

    No agents at all stand for the whole team's module: one empty tuple.
    """
    if not agents:
        return [()]
    owners: dict[str, list[Agent]] = {}
    for agent in agents:
        owners.setdefault(net.owner(agent), []).append(agent)
    return [tuple(sorted(each, key=lambda agent: (agent.group, agent.index))) for each in owners.values()]


def lanes(linked: Linked, agents: Agents, steps: Sequence[Step]) -> list[Agents]:
    """Split the agents of a turn into lanes: those that run some steps as one batched program.

    They use the same modules, and have one layout; any layouts where every net is the whole team's and no step has
    optional inputs.
    """
    kept_by_agent = any(isinstance(linked.kept(step), nn.ModuleDict) for step in steps)
    if kept_by_agent or not foldable(steps):
        return [(agent,) for agent in agents]
    nets: list[SharedNetwork] = [linked.nets[mode.net] for step in steps for mode in step.modes]  # type: ignore[misc]
    # One module for the whole team fits agents of any layout. Optional inputs may exist for some layouts only, so steps
    # that have some run layout by layout.
    alike = bool(nets) and all(net.per == "team" for net in nets) and not any(step.table.optional for step in steps)
    found: dict[tuple[str, ...], list[Agent]] = {}
    for agent in agents:
        layout = "" if alike else agent.group
        found.setdefault((layout, *(net.owner(agent) for net in nets)), []).append(agent)
    return [tuple(lane) for lane in found.values()]


def lanes_without_turn(step: Step, team: Team) -> list[Agents]:
    """Return the lanes of a step that runs while no agent is in turn: every agent's, or the team's one."""
    return [(agent,) for agent in team.agents] if step.per_agent else [()]


def foldable(steps: Sequence[Step]) -> bool:
    """Whether agents that share their nets may run as one lane.

    Not where a step reads all agents at once (each agent has its own view of that), and not where it turns agents'
    values into the team's (that has to happen agent by agent).
    """
    for step in steps:
        if any(keys.scope(key) == keys.AGENTS or key == keys.PLACE for key in step.table.reads.values()):
            return False
        teams = any(not keys.scope(key) and not keys.is_output(key) for key in step.table.writes.values())
        if step.per_agent and teams:
            return False
    return True


def _label(agents: Agents, team: Team) -> str:
    """Return under what a turn is logged; no two turns of a phase share it."""
    if not agents:
        return ""
    if len(agents) == 1:
        return f"{agents[0].name}/"
    if len(agents) == len(team):
        return "team/" if len(team.bodies) > 1 else f"{agents[0].body}/"
    whole = set(agents) == set(team.bodies[agents[0].body])
    return f"{agents[0].body}/" if whole else f"{'+'.join(agent.name for agent in agents)}/"
