"""What a turn minimises: per-sample losses down to one number, its gradient, and the minibatch an optimiser calls."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, reduce
from operator import add

import torch
from torch import Tensor, nn

from hetrl import keys
from hetrl.engine.exchanged import Evaluated, Metrics, of_all
from hetrl.engine.program import Programs, Values
from hetrl.errors import RunError


class Apart(nn.Module):
    """The steps of a turn, lane by lane: no lane sees another's values."""

    def __init__(self, lanes: Programs) -> None:
        super().__init__()
        self.programs = nn.ModuleList(program for _, program in lanes)
        self.lanes = lanes

    def forward(self, lanes: list[Values]) -> list[list[Values]]:
        """Return what the lanes have written, which is pooled."""
        return [[program(dict(lane)) for program, lane in zip(self.programs, lanes, strict=True)]]


class Objective(nn.Module):
    """The steps of a turn, down to the number whose gradient is taken.

    Args:
        steps: from the inputs of each lane to *pools*: lists of lanes whose samples have their means in common.
        constraints: further keys whose means are wanted -> whether inactive rows are left out.
        masked: whether inactive rows are left out of what is logged and minimised.
    """

    def __init__(self, steps: nn.Module, constraints: Mapping[str, bool], masked: bool) -> None:
        super().__init__()
        self.steps = steps
        self._constraints, self._active = constraints, keys.ACTIVE if masked else None

    def forward(self, lanes: list[Values]) -> tuple[Tensor, Metrics]:
        """Return the loss, and the means to log or to hand to the optimiser."""
        return total_loss(self.steps(lanes), self._active, self._constraints)


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


def compiled(derivative: Derivative) -> Callable[[list[Values]], Evaluated]:
    """Return the derivative as one compiled graph; parameters and buffers are inputs of it.

    Random numbers stay torch's: those of the eager run, and on CPUs inductor's own take ten times as long.
    """
    torch._dynamo.config.trace_autograd_ops = True
    # torch counts recompilations for each function. All phases share this one, and an agent whose steps read values of
    # the others has a graph of its own, so torch's limit of 8 is too low.
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 256)
    return torch.compile(derivative, fullgraph=True, options={"fallback_random": True})


class Minibatch:
    """One minibatch as a closure: what an optimiser calls, once or as often as it likes.

    Args:
        objective: for a call without a gradient.
        derivative: for a call with one.
        parameters: whose ``grad`` is set.
        inputs: the rows of each lane.
        refuse: raises an error about a parameter that the loss does not reach.
    """

    def __init__(
        self,
        objective: Objective,
        derivative: Callable[[list[Values]], Evaluated],
        parameters: Sequence[nn.Parameter],
        inputs: list[Values],
        refuse: Callable[[nn.Parameter], None],
    ) -> None:
        self._objective, self._derivative, self._parameters = objective, derivative, parameters
        self._inputs, self._refuse = inputs, refuse
        self._means: Metrics | None = None

    def __call__(self) -> tuple[Tensor, Metrics]:
        """Return the loss and the means; where gradients are enabled, set every parameter's ``grad``."""
        if not torch.is_grad_enabled():
            loss, means, _ = of_all((*self._objective(self._inputs), ()))
        else:
            loss, means, gradients = of_all(self._derivative(self._inputs))
            for parameter, gradient in zip(self._parameters, gradients, strict=True):
                if gradient is None:
                    self._refuse(parameter)
                parameter.grad = gradient
        if self._means is None:
            self._means = {key: mean.detach() for key, mean in means.items()}
        return loss, means

    def figures(self) -> Metrics:
        """Return the means of the first call, by name: ``loss.agent.surrogate`` is ``surrogate``.

        Raises:
            RunError: the optimiser has not called it.
        """
        if self._means is None:
            raise RunError("the optimiser took a step without calling its closure; step(closure) has to call it.")
        return {_figure(key): mean for key, mean in self._means.items() if keys.is_output(key)}


@cache
def _figure(key: str) -> str:
    return keys.without_agent(key).split(".", 1)[1]


# ----- from per-sample values to a number


def total_loss(
    pools: Sequence[Sequence[Values]], active: str | None, constraints: Mapping[str, bool] | None = None
) -> tuple[Tensor, Metrics]:
    """Return the sum of all losses' masked means, and every mean by key. A mean is over all samples of a pool's lanes.

    Args:
        pools: lanes, and in each what its programs have written.
        active: key of the mask; none to count every row. Lanes without it always take part.
        constraints: further keys whose means are wanted -> whether the mask holds for them.
    """
    means: Metrics = {}
    for lanes in pools:
        further = {key: masked for key, masked in (constraints or {}).items() if key in lanes[0]}
        wanted = {**{key: True for values in lanes for key in values if keys.is_output(key)}, **further}
        mask = _mask(lanes, active, next(iter(wanted))) if wanted and active is not None else None
        count = next((values[keys.ACTIVE_COUNT] for values in lanes if keys.ACTIVE_COUNT in values), None)
        for key, masked in wanted.items():
            means[key] = masked_mean(_pool([values[key] for values in lanes]), mask if masked else None, count, key)
    return reduce(add, [mean for key, mean in means.items() if key.startswith(f"{keys.LOSS}.")]), means


def masked_mean(value: Tensor, active: Tensor | None, count: Tensor | None = None, key: str = "a mean") -> Tensor:
    """Return the mean over active samples (all of them without a mask); 0 where none is. Of ``count``, its part.

    Raises:
        RunError: value and mask differ in shape; their product would be an outer one.
    """
    if active is None:
        return value.mean()
    if value.shape != active.shape:
        raise RunError(
            f"{key}: what is one number for each sample has the shape {list(value.shape)} and its mask "
            f"{list(active.shape)}; give both the same. A loss takes no mean: the phase does."
        )
    return (value * active).sum() / (active.sum().clamp(min=1) if count is None else count.to(value.dtype))


def _mask(lanes: Sequence[Values], active: str, like: str) -> Tensor | None:
    """Return the mask of all lanes; of one that has none, everybody in the rows of ``like``."""
    if not any(active in values for values in lanes):
        return None
    return _pool([values.get(active, torch.ones_like(values[like], dtype=torch.bool)) for values in lanes])


def _pool(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat([part.flatten() for part in parts])
