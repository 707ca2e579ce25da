"""A phase at work: rounds of agents, turns with gradients, and what later agents see."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from hetrl import keys, schedule
from hetrl.errors import RecipeError
from hetrl.optim.adam import ClippedAdam
from hetrl.recipe.link import Linked, SharedNetwork, build
from hetrl.recipe.load import Phase
from hetrl.recipe.program import Program, Values
from hetrl.recipe.store import Store
from hetrl.team import Agent
from hetrl.train.reduce import total_loss
from hetrl.train.rows import ACTIVE, Rows

Lane = tuple[Agent, ...]
Metrics = dict[str, Tensor]
OptimizerStep = Callable[[torch.optim.Optimizer], object]


class Objective(nn.Module):
    """The steps of one unit, lane by lane, down to the number whose gradient is taken."""

    def __init__(self, programs: Sequence[Program]) -> None:
        super().__init__()
        self.programs = nn.ModuleList(programs)

    def forward(self, lanes: list[Values]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and the means to log."""
        return total_loss([program(values) for program, values in zip(self.programs, lanes, strict=True)], ACTIVE)


@dataclass
class Unit:
    """Agents of one round that share the trained module, and the programs that serve them."""

    label: str
    lanes: dict[str, list[tuple[Lane, Program]]]
    """Section -> its lanes with their programs."""
    objective: Callable[[list[Values]], tuple[Tensor, dict[str, Tensor]]]
    module: nn.Module
    parameters: list[nn.Parameter]
    optimizer: ClippedAdam


class PhaseRunner:
    """Runs one phase of a linked recipe; owns its optimisers, one for each module of the trained net."""

    def __init__(self, phase: Phase, linked: Linked, compiled: bool = False) -> None:
        self.phase, self.linked, self.compiled = phase, linked, compiled
        self.optimizers: dict[str, ClippedAdam] = {}
        self._units: dict[tuple[str, ...], Unit] = {}
        self._turnless: dict[str, list[tuple[Lane, Program]]] = {
            section: self._all_lanes(section) for section in ("before", "steps")
        }
        self._lr: schedule.Linear | None = None
        if phase.train is not None:
            assert phase.optim is not None
            self._optim = build(phase.optim, "optim")
            self._lr = schedule.parse(phase.optim.arguments.get("lr"))
            for unit, module in self._trained.items():
                self.optimizers[unit] = self._optim.optimizer(list(module.parameters()))

    @property
    def _trained(self) -> SharedNetwork:
        return self.linked.nets[str(self.phase.train)]  # type: ignore[return-value]

    def run(self, store: Store, progress: float, generator: torch.Generator, step: OptimizerStep) -> Metrics:
        """Run the phase on a batch and return what it logged, by name.

        Args:
            store: the batch and what earlier phases wrote.
            progress: how far the run is, 0 to 1, for schedules.
            generator: draws the minibatches.
            step: takes an optimiser's step (Lightning's way or torch's).
        """
        if self.phase.train is None:
            self._run_turnless("steps", store)
            return {}
        if self._lr is not None:
            for optimizer in self.optimizers.values():
                for group in optimizer.param_groups:
                    group["lr"] = self._lr(progress)
        self._run_turnless("before", store)
        metrics: Metrics = {}
        for agents in self._rounds():
            shared = self.linked.units(agents, self.phase) if agents else [()]
            units = [self._unit(unit) for unit in shared]
            for unit in units:
                self._run_section(unit, "prepare", store)
            for unit in units:
                metrics |= self._train(unit, store, generator, step)
            for unit in units:
                self._run_section(unit, "after", store)
        return metrics

    # Sections without a turn

    def _all_lanes(self, section: str) -> list[tuple[Lane, Program]]:
        """Return the lanes of a section that has no agent in turn: agents' steps run once for each agent."""
        if section == "steps" and self.phase.train is not None:
            return []
        lanes: list[tuple[Lane, Program]] = []
        for index, planned in enumerate(self.linked.plan.sections[self.phase.name, section]):
            served = [(agent,) for agent in self.linked.team.agents] if planned.per_agent else [()]
            for lane in served:
                program = self.linked.program(self.phase.name, section, lane, slice(index, index + 1))
                lanes.append((lane, program))
        return lanes

    @torch.no_grad()
    def _run_turnless(self, section: str, store: Store) -> None:
        for lane, program in self._turnless[section]:
            program.run(store, lane)

    # Turns

    def _rounds(self) -> Iterator[Lane]:
        """Yield the agents of each round; one round of nobody where the phase has no turns."""
        if self.phase.per == "team":
            yield ()
            return
        team = self.linked.team
        members = [(agent,) for agent in team.agents] if self.phase.per == "agent" else list(team.bodies.values())
        order = self.linked.orders[self.phase.name]
        turn = order.compute(torch.arange(len(members)))["round"].tolist()  # type: ignore[operator]
        for number in sorted(set(turn)):
            yield tuple(agent for member, at in zip(members, turn, strict=True) if at == number for agent in member)

    def _unit(self, agents: Lane) -> Unit:
        names = tuple(agent.name for agent in agents)
        if names not in self._units:
            self._units[names] = self._make_unit(agents)
        return self._units[names]

    def _make_unit(self, agents: Lane) -> Unit:
        name = self.phase.name
        lanes = {
            section: [
                (lane, self.linked.program(name, section, lane))
                for lane in (self.linked.lanes(agents, name, section) if agents else [()])
            ]
            for section in ("prepare", "steps", "after")
        }
        unit = self._trained.unit(agents[0] if agents else None)
        objective = Objective([program for _, program in lanes["steps"]])
        return Unit(
            label=self._label(agents),
            lanes=lanes,
            objective=compile_objective(objective) if self.compiled else objective,
            module=self._trained[unit],
            parameters=list(self._trained[unit].parameters()),
            optimizer=self.optimizers[unit],
        )

    def _label(self, agents: Lane) -> str:
        if not agents:
            return ""
        if len(agents) == 1:
            return f"{agents[0].name}/"
        bodies = {agent.body for agent in agents}
        return f"{bodies.pop()}/" if len(bodies) == 1 else "team/"

    @torch.no_grad()
    def _run_section(self, unit: Unit, section: str, store: Store) -> None:
        for lane, program in unit.lanes[section]:
            program.run(store, lane)

    def _train(self, unit: Unit, store: Store, generator: torch.Generator, step: OptimizerStep) -> Metrics:
        """Take epochs x minibatches steps on one unit, and return the means over them."""
        for net in self.linked.nets.values():
            net.requires_grad_(False)
        unit.module.requires_grad_(True)
        rows = [Rows.of(program, lane, store) for lane, program in unit.lanes["steps"]]
        logged: list[list[Tensor]] = []
        names: list[str] = []
        for inputs in self._minibatches(rows, generator):
            loss, means = unit.objective(inputs)
            gradients = torch.autograd.grad(loss, unit.parameters, allow_unused=True)
            for parameter, gradient in zip(unit.parameters, gradients, strict=True):
                if gradient is None:
                    self._refuse_unused(unit, parameter)
                parameter.grad = gradient
            step(unit.optimizer)
            names = [*means, "log.grad_norm"]
            logged.append([*(mean.detach() for mean in means.values()), unit.optimizer.grad_norm])
        averages = [torch.stack(column).mean() for column in zip(*logged, strict=True)]
        return {
            f"{self.phase.name}/{unit.label}{_figure(name)}": mean for name, mean in zip(names, averages, strict=True)
        }

    def _refuse_unused(self, unit: Unit, unused: nn.Parameter) -> None:
        name = next(name for name, parameter in unit.module.named_parameters() if parameter is unused)
        raise RecipeError(
            f"{self.phase.where}: no loss reaches '{name}' of net '{self.phase.train}'; add a loss that does, "
            "or use a net without it."
        )

    def _minibatches(self, rows: Sequence[Rows], generator: torch.Generator) -> Iterator[list[Values]]:
        """Yield every lane's inputs, minibatch by minibatch, in a fresh order each epoch. No row is left out."""
        count, n_parts = rows[0].count, self.phase.minibatches
        if n_parts > count:
            raise RecipeError(f"{self.phase.where}.minibatches = {n_parts} is more than the {count} rows of a batch.")
        ends = [count * part // n_parts for part in range(n_parts + 1)]
        for _ in range(self.phase.epochs):
            if n_parts > 1:
                order = torch.randperm(count, generator=generator, device=generator.device)
                rows = [lane.ordered(order) for lane in rows]
            for start, end in pairwise(ends):
                yield [lane.cut(start, end) for lane in rows]


def _figure(key: str) -> str:
    """Return what an output is called in the metrics: ``loss.agent.surrogate`` is ``surrogate``."""
    return keys.without_agent(key).split(".", 1)[1]


def compile_objective(objective: Objective) -> Callable[[list[Values]], tuple[Tensor, dict[str, Tensor]]]:
    """Return the objective as one compiled graph; parameters and buffers are inputs of it."""
    return torch.compile(objective, fullgraph=True)
