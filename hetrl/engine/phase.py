"""A phase at work: rounds of agents, turns with gradients, and what later agents see."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from hetrl import keys, schedule
from hetrl.engine.linked import Linked, SharedNetwork, build
from hetrl.engine.program import Program, Values
from hetrl.engine.reduce import total_loss
from hetrl.engine.rows import ACTIVE, Rows
from hetrl.engine.store import Store
from hetrl.errors import RecipeError
from hetrl.network import Network
from hetrl.optim import Closure
from hetrl.recipe.check import SECTIONS
from hetrl.recipe.read import Phase
from hetrl.team import Agent

Lane = tuple[Agent, ...]
Metrics = dict[str, Tensor]
Evaluated = tuple[Tensor, dict[str, Tensor], tuple[Tensor | None, ...]]
OptimizerStep = Callable[[torch.optim.Optimizer, Closure], object]


class Objective(nn.Module):
    """The steps of one unit, lane by lane, down to the number whose gradient is taken."""

    def __init__(self, programs: Sequence[Program], constraints: Mapping[str, bool], masked: bool) -> None:
        super().__init__()
        self.programs = nn.ModuleList(programs)
        self._constraints, self._active = constraints, ACTIVE if masked else None

    def forward(self, lanes: list[Values]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss, and the means to log or to hand to the optimiser."""
        values = [program(dict(lane)) for program, lane in zip(self.programs, lanes, strict=True)]
        return total_loss(values, self._active, self._constraints)


class Derivative(nn.Module):
    """An objective and its gradient: what ``run.compile`` makes one graph of.

    Two graphs, one forward and one backward, would hand every saved tensor over through Python: for networks of
    64 units that took longer than the maths.
    """

    def __init__(self, objective: Objective, parameters: Sequence[nn.Parameter], twice: bool) -> None:
        super().__init__()
        self.objective = objective
        self._wanted, self._twice = parameters, twice

    def forward(self, lanes: list[Values]) -> Evaluated:
        """Return the loss, its means, and the gradient of each parameter; None where the loss does not reach it."""
        loss, means = self.objective(lanes)
        gradients = torch.autograd.grad(loss, self._wanted, allow_unused=True, retain_graph=self._twice)
        if not self._twice:
            loss, means = loss.detach(), {key: mean.detach() for key, mean in means.items()}
        return loss, means, gradients


@dataclass
class Unit:
    """Agents of one round that share the trained module, and the programs that serve them."""

    label: str
    lanes: dict[str, list[tuple[Lane, Program]]]
    """Section -> its lanes with their programs."""
    objective: Objective
    derivative: Callable[[list[Values]], Evaluated]
    module: nn.Module
    parameters: list[nn.Parameter]
    optimizer: Any


class Minibatch:
    """One minibatch as a closure: what an optimiser calls, once or as often as it likes."""

    def __init__(self, unit: Unit, inputs: list[Values], refuse: Callable[[nn.Module, nn.Parameter], None]) -> None:
        self._unit, self._inputs, self._refuse = unit, inputs, refuse
        self._means: Metrics | None = None

    def __call__(self) -> tuple[Tensor, Metrics]:
        """Return the loss and the means; where gradients are enabled, set every parameter's ``grad``."""
        unit = self._unit
        if not torch.is_grad_enabled():
            loss, means = unit.objective(self._inputs)
        else:
            loss, means, gradients = unit.derivative(self._inputs)
            for parameter, gradient in zip(unit.parameters, gradients, strict=True):
                if gradient is None:
                    self._refuse(unit.module, parameter)
                parameter.grad = gradient
        if self._means is None:
            self._means = {key: mean.detach() for key, mean in means.items()}
        return loss, means

    def figures(self) -> Metrics:
        """Return what the step logs, by name: the means of its first evaluation, and the optimiser's own figures."""
        assert self._means is not None
        means = {_figure(key): mean for key, mean in self._means.items() if keys.is_output(key)}
        return means | self._unit.optimizer.figures


class PhaseRunner:
    """Runs one phase of a linked recipe; owns its optimisers, one for each module of the trained net."""

    def __init__(self, phase: Phase, linked: Linked, compiled: bool = False) -> None:
        self.phase, self.linked, self.compiled = phase, linked, compiled
        self.optimizers: dict[str, Any] = {}
        self._units: dict[tuple[str, ...], Unit] = {}
        # Gathered once: walking the modules anew in every turn took longer than the optimiser's step.
        self._parameters = list(linked.nets.parameters())
        self._turnless: dict[str, list[tuple[Lane, Program]]] = {
            section: self._all_lanes(section) for section in ("before", "steps")
        }
        planned = [step for section in SECTIONS for step in linked.plan.sections[phase.name, section]]
        self._settled = [
            module for name, net in linked.nets.items() if name != phase.train for module in net.modules()
            if isinstance(module, Network)
        ]  # fmt: skip
        self._turn_read = any(keys.single(key) == keys.TURN for step in planned for key in step.table.reads.values())
        self._schedules: dict[str, schedule.Linear] = {}
        if phase.train is not None:
            assert phase.optim is not None
            self._optim = build(phase.optim, "optim")
            ramps = {name: schedule.parse(value) for name, value in phase.optim.arguments.items()}
            self._schedules = {name: ramp for name, ramp in ramps.items() if ramp is not None}
            for unit, module in self._trained.items():
                self.optimizers[unit] = self._optim.optimizer(list(module.parameters()))
            self._refuse_state()

    @property
    def _trained(self) -> SharedNetwork:
        return self.linked.nets[str(self.phase.train)]  # type: ignore[return-value]

    def run(self, store: Store, progress: float, generator: torch.Generator, step: OptimizerStep) -> Metrics:
        """Run the phase on a batch and return what it logged, by name.

        Args:
            store: the batch and what earlier phases wrote.
            progress: how far the run is, 0 to 1, for schedules.
            generator: draws the minibatches.
            step: takes an optimiser's step with a closure (Lightning's way or torch's).
        """
        if self.phase.train is None:
            self._run_turnless("steps", store)
            return {}
        for name, ramp in self._schedules.items():
            for optimizer in self.optimizers.values():
                optimizer.param_groups[0][name] = ramp(progress)
        rounds = self._rounds()
        if self._turn_read:
            store.write_turns(rounds)
        self._run_turnless("before", store)
        for net in self._settled:
            net.settle(True)
        try:
            metrics = self._run_rounds(rounds, store, generator, step)
        finally:
            for net in self._settled:
                net.settle(False)
        self.linked.follow(self.phase.train)
        return metrics

    def _run_rounds(
        self, rounds: Sequence[Lane], store: Store, generator: torch.Generator, step: OptimizerStep
    ) -> Metrics:
        """Let the agents of each round take their turn, and return what they logged."""
        metrics: Metrics = {}
        for agents in rounds:
            shared = self.linked.units(agents, self.phase) if agents else [()]
            units = [self._unit(unit) for unit in shared]
            for unit in units:
                self._run_section(unit, "prepare", store)
            for unit in units:
                metrics |= self._train(unit, store, generator, step)
            for unit in units:
                self._run_section(unit, "after", store)
        return metrics

    def _refuse_state(self) -> None:
        """Refuse steps whose evaluation changes them where the optimiser evaluates as often as it likes."""
        for index, planned in enumerate(self.linked.plan.sections[self.phase.name, "steps"]):
            key = f"{self.phase.name}:steps:{index}"
            if self._optim.once and key in self.linked.components and self.linked.components[key].state_dict():
                raise RecipeError(
                    f"{planned.where} keeps a state that every evaluation moves, and {self.phase.where}.optim "
                    "evaluates several times for one step; use optim/adam, or drop it."
                )

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

    def _rounds(self) -> list[Lane]:
        """Return the agents of each round; one round of nobody where the phase has no turns."""
        if self.phase.per == "team":
            return [()]
        team = self.linked.team
        members = [(agent,) for agent in team.agents] if self.phase.per == "agent" else list(team.bodies.values())
        order = self.linked.orders[self.phase.name]
        turn = order.compute(torch.arange(len(members)))["round"].tolist()  # type: ignore[operator]
        return [
            tuple(agent for member, at in zip(members, turn, strict=True) if at == number for agent in member)
            for number in sorted(set(turn))
        ]

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
        masked = self.phase.inactive == "skip"
        objective = Objective([program for _, program in lanes["steps"]], self._optim.constraints, masked)
        parameters = list(self._trained[unit].parameters())
        optimizer = self.optimizers[unit]
        derivative = Derivative(objective, parameters, optimizer.twice)
        return Unit(
            label=self._label(agents),
            lanes=lanes,
            objective=objective,
            derivative=compiled(derivative) if self.compiled and not optimizer.twice else derivative,
            module=self._trained[unit],
            parameters=parameters,
            optimizer=optimizer,
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
        for parameter in self._parameters:
            parameter.requires_grad = False
        for parameter in unit.parameters:
            parameter.requires_grad = True
        rows = [Rows.of(program, lane, store) for lane, program in unit.lanes["steps"]]
        logged: list[Metrics] = []
        for inputs in self._minibatches(rows, generator):
            closure = Minibatch(unit, inputs, self._refuse_unused)
            step(unit.optimizer, closure)
            logged.append(closure.figures())
        return {
            f"{self.phase.name}/{unit.label}{name}": torch.stack([figures[name] for figures in logged]).mean()
            for name in logged[0]
        }

    def _refuse_unused(self, module: nn.Module, unused: nn.Parameter) -> None:
        name = next(name for name, parameter in module.named_parameters() if parameter is unused)
        raise RecipeError(
            f"{self.phase.where}: no loss reaches '{name}' of net '{self.phase.train}'; add a loss that does, "
            "or use a net without it."
        )

    def _minibatches(self, rows: Sequence[Rows], generator: torch.Generator) -> Iterator[list[Values]]:
        """Yield every lane's inputs, minibatch by minibatch, in a fresh order each epoch. No row is left out."""
        count, n_parts = rows[0].count, self.phase.minibatches
        if n_parts > count:
            what = f"{count} {rows[0].layout.unit}"
            raise RecipeError(f"{self.phase.where}.minibatches = {n_parts} is more than the {what} of a batch.")
        ends = [count * part // n_parts for part in range(n_parts + 1)]
        sizes = [end - start for start, end in pairwise(ends)]
        for _ in range(self.phase.epochs):
            if n_parts > 1:
                order = torch.randperm(count, generator=generator, device=generator.device)
                rows = [lane.ordered(order) for lane in rows]
            yield from map(list, zip(*(lane.split(sizes) for lane in rows), strict=True))


def _figure(key: str) -> str:
    """Return what an output is called in the metrics: ``loss.agent.surrogate`` is ``surrogate``."""
    return keys.without_agent(key).split(".", 1)[1]


def compiled(derivative: Derivative) -> Callable[[list[Values]], Evaluated]:
    """Return the derivative as one compiled graph; parameters and buffers are inputs of it.

    Random numbers stay torch's: those of the eager run, and on CPUs inductor's own take ten times as long.
    """
    torch._dynamo.config.trace_autograd_ops = True
    # All phases have this forward in common, and agents whose steps see the others a graph each: more than the usual 8.
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 256)
    return torch.compile(derivative, fullgraph=True, options={"fallback_random": True})
