"""Does an optimiser keep the contract of a step?"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hetrl import arguments
from hetrl.errors import RecipeError
from hetrl.optim import optimizer_of
from hetrl.testing.docstring import check_docstring
from hetrl.testing.part import Part

__tracebackhide__ = True  # pytest shows the line of the test, not these
_STEPS = 20


class _Bowl:
    """A convex loss of two tensors, and the closure that a phase would make of it.

    loss = (x - a)' D (x - a) / 2 with positive D; everything that the optimiser reads is ||x - x_0||^2 / 2, as a mean
    KL is to second order.
    """

    def __init__(self, keys: Sequence[str], twice: bool = False) -> None:
        generator = torch.Generator().manual_seed(0)
        start, goal, curvature = (torch.randn(7, generator=generator) for _ in range(3))
        self.parameters = [nn.Parameter(start[:4].reshape(2, 2).clone()), nn.Parameter(start[4:].clone())]
        self._start, self._goal, self._curvature = start, goal, 0.5 + curvature.abs()
        self._keys, self.twice, self.calls = keys, twice, 0

    @property
    def point(self) -> Tensor:
        """Where the parameters are, as one vector."""
        return torch.cat([parameter.reshape(-1) for parameter in self.parameters])

    def loss(self) -> Tensor:
        """Return the loss, 0-d."""
        return (self._curvature * (self.point - self._goal).square()).sum() / 2

    def __call__(self) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and the means; where gradients are enabled, set every parameter's ``grad``."""
        self.calls += 1
        loss, means = self.loss(), {key: (self.point - self._start).square().sum() / 2 for key in self._keys}
        if torch.is_grad_enabled():
            found = torch.autograd.grad(loss, self.parameters, retain_graph=self.twice)
            for parameter, gradient in zip(self.parameters, found, strict=True):
                parameter.grad = gradient
        return loss, means


def check_optim(optim: str | type, /, **values: Any) -> None:
    """Check an optimiser against the contract of a step, on a small convex loss.

    It says what it reads, and for each of these keys whether inactive rows count. ``optimizer`` returns a torch
    optimiser over the parameters it is given, one of its own at every call, that says whether it differentiates twice.
    A step goes through the closure, leaves ``figures`` that are finite numbers on the device (0-d tensors without a
    graph), and lowers the loss. What may follow a schedule stands in ``param_groups``, and a step goes by what stands
    there. State survives ``state_dict`` exactly. Its docstring has its parts.

    Args:
        optim: a catalog name or a class.
        values: arguments of the entry; its defaults where left out.

    Raises:
        AssertionError: one line, what is broken and what to do.
    """
    part = Part.of(optim, "optim", values)
    entry = part.build()
    part.require(
        set(entry.constraints) == set(part.cls.reads.values()),
        f"its constraints are of {sorted(entry.constraints)}, and it reads {sorted(part.cls.reads.values())}.",
    )
    _check_step(part)
    _check_own(part)
    _check_schedules(part)
    _check_state(part)
    check_docstring(part)


def _made(part: Part, **changed: Any) -> tuple[_Bowl, Any]:
    """Return a loss and the optimiser of its parameters."""
    bowl = _Bowl(list(part.cls.reads.values()))
    entry = part.build(**changed)
    with part.doing("optimizer() failed"):
        try:
            optimizer = optimizer_of(entry, bowl.parameters, part.name)
        except RecipeError as error:
            raise AssertionError(str(error)) from error
    bowl.twice = optimizer.twice
    held = [each for group in optimizer.param_groups for each in group["params"]]
    part.require(
        len(held) == len(bowl.parameters) and all(map(lambda a, b: a is b, held, bowl.parameters)),
        "its optimiser does not hold the parameters that it was given, in their order, in param_groups.",
    )
    return bowl, optimizer


def _step(part: Part, bowl: _Bowl, optimizer: Any, n: int = 1) -> None:
    with part.doing("step(closure) failed"), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for _ in range(n):
            optimizer.step(bowl)


def _check_step(part: Part) -> None:
    bowl, optimizer = _made(part)
    before = bowl.loss().item()
    _step(part, bowl, optimizer)
    part.require(bowl.calls > 0, "step(closure) does not call the closure; the phase's steps would never run.")
    figures = getattr(optimizer, "figures", None)
    part.require(isinstance(figures, dict), "its optimiser has no figures after a step; set self.figures, {} at least.")
    for name, value in dict(figures or {}).items():
        sound = isinstance(value, Tensor) and value.dim() == 0 and not value.requires_grad
        part.require(sound, f"its figure '{name}' is no 0-d tensor without a graph; numbers wait for the device.")
        part.require(bool(value.isfinite()), f"its figure '{name}' is not finite.")
    _step(part, bowl, optimizer, 0 if part.cls.once else _STEPS - 1)
    after = bowl.loss().item()
    part.require(after < before, f"a convex loss goes from {before:.4g} to {after:.4g}; a step lowers it.")


def _check_own(part: Part) -> None:
    """Two networks have an optimiser each, from one entry."""
    entry, bowls = part.build(), [_Bowl(list(part.cls.reads.values())) for _ in range(2)]
    made = [entry.optimizer(bowl.parameters) for bowl in bowls]
    part.require(made[0] is not made[1], "optimizer() returns the same one again; every network needs its own.")
    bowls[0].twice = made[0].twice
    before = bowls[1].point.clone()
    _step(part, bowls[0], made[0])
    part.require(torch.equal(before, bowls[1].point), "a step of one network's optimiser moves another network.")


def _check_schedules(part: Part) -> None:
    """A step goes by what a schedule writes into ``param_groups``."""
    init = part.cls.__init__
    for name in arguments.parameters(init):
        if not arguments.schedulable(init, name):
            continue
        bowl, optimizer = _made(part)
        value = optimizer.param_groups[0].get(name)
        part.require(
            isinstance(value, int | float),
            f"'{name}' may follow a schedule, and is not in its optimiser's param_groups; a phase sets it there.",
        )
        other, built = _made(part, **{name: value / 2})
        optimizer.param_groups[0][name] = value / 2
        _step(part, bowl, optimizer)
        _step(part, other, built)
        part.require(
            torch.equal(bowl.point, other.point),
            f"a step with '{name}' set in param_groups is not that of one built with it; read it there at every step.",
        )


def _check_state(part: Part) -> None:
    bowl, optimizer = _made(part)
    other, resumed = _made(part)
    _step(part, bowl, optimizer, 3)
    with torch.no_grad():
        for own, theirs in zip(other.parameters, bowl.parameters, strict=True):
            own.copy_(theirs)
    with part.doing("its state_dict does not load"):
        resumed.load_state_dict(part.reloaded(optimizer.state_dict()))
    for each, stepping in ((bowl, optimizer), (other, resumed)):
        _step(part, each, stepping, 3)
    part.require(torch.equal(bowl.point, other.point), "it takes another step after a state_dict round trip.")
