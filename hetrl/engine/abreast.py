"""Turns of one round whose steps are alike: loss and gradient of all as one batched program, and one optimiser's step.

What differs from turn to turn is stacked, turns first: parameters, and the rows of a minibatch. ``torch.vmap`` makes
one program of the first turn's steps, and the gradient of the sum of all losses is everybody's own, side by side.
"""

import warnings
from collections.abc import Callable, Hashable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from hetrl import keys, ranks
from hetrl.engine.exchanged import Metrics
from hetrl.engine.moved import Modules
from hetrl.engine.objective import Apart
from hetrl.engine.program import Values
from hetrl.engine.rows import Rows, minibatches
from hetrl.engine.store import Store
from hetrl.engine.turns import Turn
from hetrl.optim import Closure, figures_of
from hetrl.recipe.schema import Phase

LEAST = 8
"""Turns from which on one program of all is worth its trouble; it rounds otherwise than one turn after the other."""
MOST = 32
"""Turns of one program: what more of them have to read and write no longer fits a CPU's caches."""
Lanes = Sequence[list[Values]]
"""Of each turn its lanes, which are one."""
OptimizerStep = Callable[[torch.optim.Optimizer, Closure], object]


class Abreast:
    """Turns as one program, and their optimisers as one.

    Args:
        turns: whose :func:`form` is the same, and not None.
        store: where their rows are.
    """

    def __init__(self, turns: Sequence[Turn], store: Store) -> None:
        self._rows = [[Rows.of(reader, lane, store) for lane, reader in turn.lanes] for turn in turns]
        self._objective = turns[0].objective
        names = {id(parameter): name for name, parameter in self._objective.named_parameters()}
        self._names = [names[id(parameter)] for parameter in turns[0].parameters]
        self.parameters = list(zip(*(turn.parameters for turn in turns), strict=True))
        self._optimizers = [turn.optimizer for turn in turns]
        self._all = vmap(self._one, randomness="error")

    def first(self) -> Lanes:
        """Return the first row of each turn."""
        return [[own.split([1, own.count - 1])[0] for own in lanes] for lanes in self._rows]

    def __call__(self, inputs: Lanes) -> tuple[Tensor, Metrics, Sequence[Tensor | None]]:
        """Return the losses and means, ``k`` each, and the gradient of each parameter, ``k *``."""
        stacked = [torch.stack(own).detach().requires_grad_() for own in self.parameters]
        values = {key: torch.stack([lane[key] for (lane,) in inputs]) for key in inputs[0][0]}
        with torch.enable_grad():
            losses, means = self._all(stacked, values)
            gradients = torch.autograd.grad(losses.sum(), stacked, allow_unused=True)
        return losses.detach(), {key: mean.detach() for key, mean in means.items()}, gradients

    def _one(self, parameters: list[Tensor], values: Values) -> tuple[Tensor, Metrics]:
        return functional_call(self._objective, dict(zip(self._names, parameters, strict=True)), ([values],))

    def train(
        self,
        phase: Phase,
        generator: torch.Generator,
        step_optimizer: OptimizerStep,
        refuse: Callable[[nn.Parameter], None],
    ) -> Metrics:
        """Take everybody's steps, and return what they log, the means over them, ``k`` each.

        Args:
            phase: says how many.
            generator: draws the minibatches.
            step_optimizer: is called with the first optimiser, which leads the others, and a closure.
            refuse: raises an error about a parameter of the first turn that the loss does not reach.
        """
        leader, logged = self._optimizers[0], []
        with leader.leading(self._optimizers) as led:
            for inputs in zip(*[minibatches(own, phase, generator) for own in self._rows], strict=True):
                closure = _Minibatch(self, inputs, led.take, refuse)
                step_optimizer(leader, closure)
                logged.append({**closure.figures, **figures_of(leader)})
        return {name: torch.stack([figures[name] for figures in logged]).mean(0) for name in logged[0]}


class _Minibatch:
    """A minibatch of each turn as a closure, which hands the gradients of all to their optimisers."""

    def __init__(
        self,
        abreast: Abreast,
        inputs: Lanes,
        take: Callable[[Sequence[Tensor]], None],
        refuse: Callable[[nn.Parameter], None],
    ) -> None:
        self._abreast, self._inputs, self._take, self._refuse = abreast, inputs, take, refuse
        self.figures: Metrics = {}

    def __call__(self) -> tuple[Tensor, Metrics]:
        """Return the sum of the losses, and the means."""
        losses, means, gradients = self._abreast(self._inputs)
        reached = [gradient for gradient in gradients if gradient is not None]
        for own, gradient in zip(self._abreast.parameters, gradients, strict=True):
            if gradient is None:
                self._refuse(own[0])
        self._take(reached)
        self.figures = {
            keys.without_agent(key).split(".", 1)[1]: mean for key, mean in means.items() if keys.is_output(key)
        }
        return losses.sum(), means


class Company:
    """Trains the turns of a phase's rounds: abreast where they can be, or one after the other.

    Args:
        phase: says how many steps a turn has.
        refuse: raises an error about a parameter, of some modules, that no loss reaches.
        wanted: whether any go abreast.
    """

    def __init__(self, phase: Phase, refuse: Callable[[Modules, nn.Parameter], None], *, wanted: bool) -> None:
        self._phase, self._refuse, self._wanted = phase, refuse, wanted
        self._forms: dict[str, Hashable | None] = {}
        self._works: dict[Hashable, bool] = {}

    def train(
        self,
        turns: Sequence[Turn],
        alone: Callable[[Turn, Store, torch.Generator, OptimizerStep], Metrics],
        store: Store,
        generator: torch.Generator,
        step_optimizer: OptimizerStep,
    ) -> Metrics:
        """Train the turns of a round, and return what they log, by name.

        Args:
            turns: of the round.
            alone: trains one by itself.
            store: where their rows are.
            generator: draws the minibatches.
            step_optimizer: is called with an optimiser and a closure, to take its step.
        """
        metrics: Metrics = {}
        for start in range(0, len(turns), MOST):
            some = turns[start : start + MOST]
            abreast = self._of(some, store)
            if abreast is None:
                for turn in some:
                    metrics |= alone(turn, store, generator, step_optimizer)
                continue
            refuse = partial(self._refuse, some[0].modules)
            for name, means in abreast.train(self._phase, generator, step_optimizer, refuse).items():
                for turn, mean in zip(some, means.unbind(), strict=True):
                    metrics[f"{self._phase.name}/{turn.label}{name}"] = mean
        return metrics

    def _of(self, turns: Sequence[Turn], store: Store) -> Abreast | None:
        """Return turns as one program; None where they go one after the other."""
        if not self._wanted or len(turns) < LEAST or ranks.several():
            return None
        for turn in turns:
            if turn.label not in self._forms:
                self._forms[turn.label] = form(turn)
        one, *others = {self._forms[turn.label] for turn in turns}
        if one is None or others or not _at_one_rate(turns):
            return None
        abreast = Abreast(turns, store)
        first = abreast.first()
        shapes, *others = {_shapes(lanes) for lanes in first}
        if others:
            return None
        if (one, shapes) not in self._works:
            self._works[one, shapes] = _works(abreast, first)
        return abreast if self._works[one, shapes] else None


def form(turn: Turn) -> Hashable | None:
    """Return what has to be equal of turns that go abreast; None of a turn that cannot.

    A turn can where it is one agent's, where its steps read nobody else's values, where it trains all parameters that
    it uses, and where its networks keep nothing else.
    """
    steps = turn.objective.steps
    if not isinstance(steps, Apart) or len(steps.lanes) != 1 or not hasattr(turn.optimizer, "leading"):
        return None
    ((lane, program),) = steps.lanes
    used = dict(turn.objective.named_parameters())
    if (
        len(lane) != 1
        or {id(each) for each in used.values()} != {id(each) for each in turn.parameters}
        or any(call.own is not None or keys.PLACE in call.inputs for call in program.calls)
        or any(not getattr(module, "batches", True) for module in program.nets.modules())
        or any(True for _ in program.nets.buffers())
    ):
        return None
    shapes = tuple((name, each.shape) for name, each in used.items())
    return lane[0].group, shapes, tuple(id(each) for each in program.components)


def _at_one_rate(turns: Sequence[Turn]) -> bool:
    """Whether the optimisers have the same numbers; a Trainer may have changed those of one."""
    numbers = [{**turn.optimizer.param_groups[0], "params": None} for turn in turns]
    return all(own == numbers[0] for own in numbers)


def _shapes(lanes: Sequence[Values]) -> Hashable:
    """Return what the tensors of lanes are."""
    return tuple(tuple((key, value.shape, value.dtype) for key, value in lane.items()) for lane in lanes)


def _works(abreast: Abreast, lanes: Lanes) -> bool:
    """Whether torch makes one program of the steps.

    It does not of those that draw: draws of all at once would be others than one after the other.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # of an operation that torch takes apart again
        try:
            abreast(lanes)
        except (RuntimeError, UserWarning):
            return False
    return True
