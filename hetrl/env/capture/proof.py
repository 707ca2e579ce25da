"""Whether a program does what the simulator does: both step from the same states, with the same random numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from hetrl.env.capture.program import Grouped, Step
from hetrl.env.capture.runner import Runner
from hetrl.env.capture.tracing import Draw, Original, RefusalError
from hetrl.env.simulator_state import Path, put, slots

ROUNDING = 1e-4
"""How far a number may be off, as a part of the largest of its kind, and at least in units. Contacts are stiff: a last
bit of a position is a hundred last bits of a velocity."""
_NUDGES = 6
"""Steps of the simulator from states that are a last bit off, which tell how far it amplifies rounding there."""
_AMPLIFIED = 10
"""How often the largest effect of those a difference may be."""
_MISSES = 0.25
"""The part of steps that may go another way than the traced one. They are steps of the simulator itself, so more would
make the program of little use, not wrong."""


class Subject(Protocol):
    """An environment of its own to experiment on."""

    @property
    def simulator(self) -> Any:
        """The simulator."""

    def actions(self) -> Mapping[str, Tensor]:
        """Draw actions."""

    def disturb(self, number: int) -> None:
        """Bring about what is rare: contacts, ends, resets of some rows."""


@dataclass
class Verdict:
    """What a proof found."""

    n_steps: int = 0
    missed: int = 0
    """Steps that the program left to the simulator."""
    unequal: int = 0
    """Steps that were not equal bit for bit."""
    worst: float = 0.0
    """Largest difference, as a part of the largest number of its kind (of 1, if that is less)."""
    amplified: int = 0
    """Steps with a larger difference where a last bit of the state makes one as large in the simulator itself: with a
    body's centre on a line, nothing says which way it is pushed."""
    terminations: int = 0


@dataclass
class _Forced:
    """A state, actions and random numbers from which to step."""

    subject: Subject
    step: Step
    runner: Runner
    first: Sequence[Path]
    actions: Mapping[str, Tensor]
    drawn: list[Tensor]
    before: dict[Path, Tensor]
    kept: dict[int, Tensor] = field(default_factory=dict)

    def original(self, nudge: torch.Generator | None = None) -> tuple[dict[str, Tensor], str | None]:
        """Let the simulator step. Returns all that comes of it by name, and where it drew other numbers, if it did."""
        fresh = {identity: _nudged(tensor, nudge) for identity, tensor in self.kept.items()}
        for path, tensor in self.before.items():
            put(self.subject.simulator, path, fresh[id(tensor)])
        listening = Original(self.runner.program.script, self.drawn)
        with listening:
            results = self.step(self.subject.simulator, self.actions)
        return _by_name(results, slots(self.subject.simulator, self.first)), listening.lost

    def spread(self, theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """How far a last bit of the state moves what the simulator's step comes to, by name, number by number."""
        generator = torch.Generator().manual_seed(0)
        far = {name: torch.zeros(tensor.shape, dtype=torch.float64) for name, tensor in theirs.items()}
        for _ in range(_NUDGES):
            for name, tensor in self.original(generator)[0].items():
                if name in far and far[name].shape == tensor.shape:
                    moved = (tensor.double() - theirs[name].double()).abs().cpu().nan_to_num(0)
                    far[name] = torch.maximum(far[name], moved)
        return far


def _nudged(tensor: Tensor, generator: torch.Generator | None) -> Tensor:
    if generator is None or not tensor.is_floating_point():
        return tensor.clone()
    bits = torch.randint(-1, 2, tensor.shape, generator=generator).to(tensor)
    return tensor * (1 + bits * torch.finfo(tensor.dtype).eps)


def prove(
    subject: Subject, step: Step, runner: Runner, n_steps: int, first: Sequence[Path], tolerance: float = ROUNDING
) -> Verdict:
    """Step the simulator and the program ``n_steps`` times, each time from the simulator's state.

    Raises:
        RefusalError: they differ by more than rounding, or the program hardly ever fits.
    """
    verdict, simulator, unbound = Verdict(), subject.simulator, 0
    while verdict.n_steps < n_steps:
        subject.disturb(verdict.n_steps + unbound)
        actions = subject.actions()
        reason = runner.bind(simulator)
        if reason is not None:
            unbound += 1
            if unbound > n_steps:
                raise RefusalError(reason)
            step(simulator, actions)
            continue
        forced = _Forced(subject, step, runner, first, actions, runner.draw(), slots(simulator, first))
        forced.kept = {id(tensor): tensor.clone() for tensor in forced.before.values()}
        result = runner.step(actions, forced.drawn)
        ours = None if result is None else _by_name(result, slots(simulator, first))
        for tensor in {id(tensor): tensor for tensor in forced.before.values()}.values():
            if not torch.equal(tensor.nan_to_num(7), forced.kept[id(tensor)].nan_to_num(7)):
                raise RefusalError("the program changed what it was given")
        theirs, lost = forced.original()
        verdict.n_steps += 1
        verdict.terminations += int(theirs[_ENDS].sum())
        if ours is None:
            verdict.missed += 1
            continue
        if lost is not None:
            raise RefusalError(f"it draws other random numbers from step to step, at {lost}")
        after = slots(simulator, first)
        _compare(ours, theirs, forced, verdict, tolerance)
        for path, tensor in after.items():
            put(simulator, path, tensor)
    if verdict.missed > _MISSES * n_steps:
        raise RefusalError(f"its path changes at {verdict.missed} of {n_steps} steps{_where(runner)}")
    return verdict


_ENDS = "who terminates"


def _where(runner: Runner) -> str:
    asked = {event.where for event in runner.program.script if not isinstance(event, Draw)}
    return f" (it asks tensors at {', '.join(sorted(asked))})" if asked else ""


def _by_name(results: tuple[Grouped, Grouped, Tensor], after: Mapping[Path, Tensor]) -> dict[str, Tensor]:
    """All that comes of a step."""
    observations, rewards, terminated = results
    named = {f"the observation of '{group}'": value for group, value in observations.items()}
    named |= {f"the reward of '{group}'": value for group, value in rewards.items()}
    return named | {_ENDS: terminated} | {"/".join(map(str, path)): tensor for path, tensor in after.items()}


def _compare(
    ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], forced: _Forced, verdict: Verdict, tolerance: float
) -> None:
    if ours.keys() != theirs.keys():
        raise RefusalError(f"what it holds changes from step to step: {next(iter(ours.keys() ^ theirs.keys()))}")
    equal, spread = True, None
    for name, own in ours.items():
        other = theirs[name]
        if own.shape != other.shape or own.dtype != other.dtype:
            raise RefusalError(f"{name} is of another shape or type")
        if torch.equal(own, other):
            continue
        far, each = _distance(own, other), name.startswith("the ")
        scale = (other.double().abs().nan_to_num(0, 0, 0) if each else _largest(other)).clamp(min=1).cpu()
        worst = float((far / scale).max())
        equal = equal and not worst
        if worst > tolerance:
            spread = forced.spread(theirs) if spread is None else spread
            if ((far - _AMPLIFIED * spread[name]) / scale).max() > tolerance:
                raise RefusalError(f"{name} differs by {worst:.1e} after one step from the same state")
        else:
            verdict.worst = max(verdict.worst, worst)
    verdict.unequal += not equal
    verdict.amplified += spread is not None


def _largest(tensor: Tensor) -> Tensor:
    """Forces cancel: what a step leaves behind is measured against the largest of its kind."""
    finite = tensor[tensor.isfinite()].double().abs()
    return finite.max() if len(finite) else torch.zeros((), dtype=torch.float64)


def _distance(own: Tensor, other: Tensor) -> Tensor:
    """Difference of each number, infinite where only one is NaN or infinite."""
    a, b = own.double().cpu(), other.double().cpu()
    alike = (a == b) | (a.isnan() & b.isnan())
    return torch.where(alike, 0.0, (a - b).abs().nan_to_num(torch.inf, torch.inf))
