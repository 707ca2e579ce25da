"""A phase at work, round by round: all its turns ``prepare``, then all are trained, then all run ``after``."""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import nn

from hetrl import keys, schedule
from hetrl.engine.abreast import Company, OptimizerStep
from hetrl.engine.linked import Linked, build
from hetrl.engine.moved import Modules, moved_by, parameters_of
from hetrl.engine.objective import Metrics, Minibatch
from hetrl.engine.played import Quick
from hetrl.engine.program import Agents
from hetrl.engine.rows import Rows, minibatches
from hetrl.engine.store import Store
from hetrl.engine.turns import Turn, Turns, programs_of
from hetrl.errors import RecipeError
from hetrl.network import Network
from hetrl.optim import figures_of, optimizer_of
from hetrl.recipe.schema import Phase


class PhaseRunner:
    """Runs one phase of a linked recipe; owns its optimisers, see :func:`~hetrl.engine.moved.moved`.

    Args:
        phase: the phase.
        linked: the recipe's modules.
        compile: whether a turn's loss and gradient become one graph.
        play: whether they, and the optimiser's step, are recorded once and played, see :mod:`hetrl.graph`.
    """

    def __init__(self, phase: Phase, linked: Linked, compile: bool = False, play: bool = False) -> None:
        self.phase, self.linked = phase, linked
        self.optimizers: dict[str, Any] = {}
        self._schedules: dict[str, schedule.Linear] = {}
        # Gathered once: walking the modules anew in every turn took longer than the optimiser's step.
        self._parameters = list(linked.nets.parameters())
        quick = Quick(phase, linked, compile, play)
        self._outside_turns = quick.programs(programs_of(linked, phase.before if phase.trained else phase.steps, ()))
        self._turn_read = any(
            keys.single(key) == keys.TURN for step in phase.every_step for key in step.table.reads.values()
        )
        # Those that make use of it; most have nothing to keep, and what is played is made anew each time.
        self._unchanging = [
            module for name, net in linked.nets.items() if name not in phase.trained and not play
            for module in net.modules()
            if isinstance(module, Network) and type(module).settled is not Network.settled
        ]  # fmt: skip
        if not phase.trained:
            return
        assert phase.optim is not None
        optim = build(phase.optim, "optim")
        ramps = {name: schedule.parse(value) for name, value in phase.optim.arguments.items()}
        self._schedules = {name: ramp for name, ramp in ramps.items() if ramp is not None}
        where = f"{phase.optim.where} ({phase.optim.name})"
        for name, modules in moved_by(phase, linked).items():
            self.optimizers[name] = optimizer_of(optim, parameters_of(modules, linked), where)
            if play and hasattr(self.optimizers[name], "play"):
                self.optimizers[name].play(phase.where)
        self._turns = Turns(phase, linked, self.optimizers, optim.constraints, quick)
        self._company = Company(phase, self._refuse_unused, wanted=not (compile or play or optim.once))
        if optim.once:
            self._refuse_state()

    def run(self, store: Store, progress: float, generator: torch.Generator, step_optimizer: OptimizerStep) -> Metrics:
        """Run the phase on a batch and return what it logged, by name.

        Args:
            store: the batch and what earlier phases wrote.
            progress: how far the run is, 0 to 1, for schedules.
            generator: draws the minibatches.
            step_optimizer: is called with an optimiser and the closure of a minibatch, to take its step.
        """
        if not self.phase.trained:
            run_programs(self._outside_turns, store)
            return {}
        for name, ramp in self._schedules.items():
            for optimizer in self.optimizers.values():
                optimizer.param_groups[0][name] = ramp(progress)
        rounds = self._turns.rounds(store)
        if self._turn_read:
            store.write_turns(rounds)
        run_programs(self._outside_turns, store)
        metrics: Metrics = {}
        for parameter in self._parameters:  # once: in every turn, a sweep would be quadratic in the number of agents
            parameter.requires_grad = False
        with ExitStack() as unchanging:
            for net in self._unchanging:
                unchanging.enter_context(net.settled())
            for agents in rounds:
                turns = self._turns.of(agents)
                for turn in turns:
                    run_programs(turn.programs["prepare"], store)
                metrics |= self._company.train(turns, self._train, store, generator, step_optimizer)
                for turn in turns:
                    run_programs(turn.programs["after"], store)
        for name in self.phase.trained:
            self.linked.follow(name)
        return metrics

    def _train(self, turn: Turn, store: Store, generator: torch.Generator, step_optimizer: OptimizerStep) -> Metrics:
        """Take epochs x minibatches steps in one turn, and return the means over them."""
        for parameter in turn.parameters:
            parameter.requires_grad = True
        refuse = partial(self._refuse_unused, turn.modules)
        rows = [Rows.of(reader, lane, store) for lane, reader in turn.lanes]
        logged: list[Metrics] = []
        for inputs in minibatches(rows, self.phase, generator):
            closure = Minibatch(turn.objective, turn.derivative, turn.parameters, inputs, refuse)
            step_optimizer(turn.optimizer, closure)
            logged.append({**closure.figures(), **figures_of(turn.optimizer)})
        for parameter in turn.parameters:
            parameter.requires_grad = False
        return {
            f"{self.phase.name}/{turn.label}{name}": torch.stack([figures[name] for figures in logged]).mean()
            for name in logged[0]
        }

    def _refuse_unused(self, modules: Modules, unused: nn.Parameter) -> None:
        nets: Any = self.linked.nets
        for net, owner in modules:
            for name, parameter in nets[net][owner].named_parameters():
                if parameter is unused:
                    raise RecipeError(
                        f"{self.phase.where}: no loss reaches '{name}' of net '{net}'; add a loss that does, or use a "
                        "net without it."
                    )

    def _refuse_state(self) -> None:
        """Refuse steps whose evaluation changes them, since the optimiser evaluates as often as it likes."""
        for step in self.phase.steps:
            kept = self.linked.kept(step)
            if kept is not None and kept.state_dict():
                raise RecipeError(
                    f"{step} keeps a state that every evaluation moves, and {self.phase.where}.optim evaluates "
                    "several times for one step; use optim/adam, or drop it."
                )


@torch.no_grad()
def run_programs(programs: Sequence[tuple[Agents, Any]], store: Store) -> None:
    """Run programs on a store, one lane after the other, without gradients."""
    for lane, program in programs:
        program.run(store, lane)
