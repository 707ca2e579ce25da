"""Whether a traced step does what the simulator does: both step from the same states, with the same random numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from hetrl.env.capture.original import Original
from hetrl.env.capture.places import RefusalError
from hetrl.env.capture.rounding import rounded
from hetrl.env.capture.runner import Executable, Runner, as_it_is
from hetrl.env.capture.traced_step import StepFunction, TracedStep
from hetrl.env.capture.tracing import Draw
from hetrl.env.capture.twin import Twin
from hetrl.env.simulator_state import KeyPath, put, slots
from hetrl.team import Grouped

ROUNDING = 1e-4
"""How far a number may be off, as a part of the largest of its kind, and at least in units. Contacts are stiff: a last
bit of a position is a hundred last bits of a velocity."""
_ROUNDINGS = 32
"""Runs of the traced step with other errors of rounding, at most, which tell how far it amplifies them."""
_AMPLIFIED = 3
"""How often the largest effect of those a difference may be."""
_MISSES = 0.25
"""The part of steps that may go another way than the traced one. They are steps of the simulator itself, so more would
make the traced step of little use, not wrong."""


@dataclass
class Verdict:
    """What a proof found."""

    n_steps: int = 0
    missed: int = 0
    """Steps that the traced step left to the simulator."""
    unequal: int = 0
    """Steps that were not equal bit for bit."""
    worst: float = 0.0
    """Largest difference, as a part of the largest number of its kind (of 1, if that is less)."""
    amplified: int = 0
    """Steps with a larger difference where rounding alone makes one as large: bodies that touch by a last bit push each
    other or do not, and with a body's centre on a line, nothing says which way."""
    terminations: int = 0


@dataclass
class _Forced:
    """A state, actions and random numbers from which to step."""

    twin: Twin
    step: StepFunction
    runner: Runner
    first: Sequence[KeyPath]
    actions: Mapping[str, Tensor]
    drawn: list[Tensor]
    before: dict[KeyPath, Tensor]
    kept: dict[int, Tensor] = field(default_factory=dict)

    def original(self) -> tuple[dict[str, Tensor], str | None]:
        """Let the simulator step. Returns all that comes of it by name, and where it drew other numbers, if it did."""
        fresh = {identity: tensor.clone() for identity, tensor in self.kept.items()}
        for path, tensor in self.before.items():
            put(self.twin.simulator, path, fresh[id(tensor)])
        listening = Original(self.runner.traced.script, self.drawn)
        with listening:
            results = self.step(self.twin.simulator, self.actions)
        return _by_name(results, slots(self.twin.simulator, self.first)), listening.lost

    def unexplained(self, differences: Mapping[str, tuple[Tensor, Tensor]], tolerance: float) -> str | None:
        """What differs by more than rounding can make it differ, of ``differences``: name -> how far, and scale."""
        # Without a guard: rounded, a clamped action may be a bit beyond its bounds.
        traced = replace(self.runner.traced, guard=None)
        exact = self._outcome(traced, as_it_is(traced))
        generator = torch.Generator().manual_seed(0)
        left = {name: far - tolerance * scale for name, (far, scale) in differences.items()}
        spread = {name: torch.zeros_like(far) for name, far in left.items()}
        for _ in range(_ROUNDINGS):
            moved = self._outcome(traced, rounded(traced, generator))
            for name in spread:
                spread[name] = torch.maximum(spread[name], _distance(moved[name], exact[name]).nan_to_num(0, 0))
            if all((left[name] <= _AMPLIFIED * spread[name]).all() for name in left):
                return None
        return next(name for name in left if (left[name] > _AMPLIFIED * spread[name]).any())

    def _outcome(self, traced: TracedStep, run: Executable) -> dict[str, Tensor]:
        """All that comes of the traced step, by name."""
        for path, tensor in self.before.items():
            put(self.twin.simulator, path, tensor)
        runner = Runner(traced, run, self.first)
        runner.bind(self.twin.simulator)
        result = runner.step(self.actions, self.drawn)
        assert result is not None
        return _by_name(result, slots(self.twin.simulator, self.first))


def prove(
    twin: Twin, step: StepFunction, runner: Runner, n_steps: int, first: Sequence[KeyPath], tolerance: float = ROUNDING
) -> Verdict:
    """Step the simulator and the traced step ``n_steps`` times, each time from the simulator's state.

    Raises:
        RefusalError: they differ by more than rounding, or the traced step hardly ever fits.
    """
    verdict, simulator, unbound = Verdict(), twin.simulator, 0
    while verdict.n_steps < n_steps:
        twin.disturb(verdict.n_steps + unbound)
        actions = twin.actions()
        reason = runner.bind(simulator)
        if reason is not None:
            unbound += 1
            if unbound > n_steps:
                raise RefusalError(reason)
            step(simulator, actions)
            continue
        forced = _Forced(twin, step, runner, first, actions, runner.draw(), slots(simulator, first))
        forced.kept = {id(tensor): tensor.clone() for tensor in forced.before.values()}
        result = runner.step(actions, forced.drawn)
        reached = slots(simulator, first)
        ours = None if result is None else _by_name(result, reached)
        for tensor in {id(tensor): tensor for tensor in forced.before.values()}.values():
            if not torch.equal(tensor.nan_to_num(7), forced.kept[id(tensor)].nan_to_num(7)):
                raise RefusalError("the traced step changed what it was given")
        theirs, lost = forced.original()
        verdict.n_steps += 1
        verdict.terminations += int(theirs[_ENDS].sum())
        if ours is None:
            verdict.missed += 1
            continue
        if lost is not None:
            raise RefusalError(f"it draws other random numbers from step to step, at {lost}")
        after = slots(simulator, first)
        _refuse_merged(reached, after, [*runner.traced.writes, *runner.traced.moves])
        _compare(ours, theirs, forced, verdict, tolerance)
        for path, tensor in after.items():
            put(simulator, path, tensor)
    if verdict.missed > _MISSES * n_steps:
        raise RefusalError(f"its path changes at {verdict.missed} of {n_steps} steps{_where(runner)}")
    return verdict


_ENDS = "who terminates"


def _refuse_merged(
    ours: Mapping[KeyPath, Tensor], theirs: Mapping[KeyPath, Tensor], written: Sequence[KeyPath]
) -> None:
    """Refuse a step that leaves one tensor where the simulator has two, which a later step may write in place."""
    held: dict[int, KeyPath] = {}
    for path in written:
        if path in ours and path in theirs and ours[path].numel():
            other = held.setdefault(ours[path].untyped_storage().data_ptr(), path)
            if theirs[path].untyped_storage().data_ptr() != theirs[other].untyped_storage().data_ptr():
                raise RefusalError(f"two tensors became one: {'/'.join(map(str, path))}, {'/'.join(map(str, other))}")


def _where(runner: Runner) -> str:
    asked = {event.where for event in runner.traced.script if not isinstance(event, Draw)}
    return f" (it asks tensors at {', '.join(sorted(asked))})" if asked else ""


def _by_name(results: tuple[Grouped, Grouped, Tensor], after: Mapping[KeyPath, Tensor]) -> dict[str, Tensor]:
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
    equal, differences = True, {}
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
            differences[name] = far, scale
        else:
            verdict.worst = max(verdict.worst, worst)
    verdict.unequal += not equal
    verdict.amplified += bool(differences)
    unlike = forced.unexplained(differences, tolerance) if differences else None
    if unlike is not None:
        far, scale = differences[unlike]
        worst = float((far / scale).max())
        raise RefusalError(f"{unlike} differs by {worst:.1e} after one step from the same state")


def _largest(tensor: Tensor) -> Tensor:
    """Forces cancel: what a step leaves behind is measured against the largest of its kind."""
    finite = tensor[tensor.isfinite()].double().abs()
    return finite.max() if len(finite) else torch.zeros((), dtype=torch.float64)


def _distance(own: Tensor, other: Tensor) -> Tensor:
    """Difference of each number, infinite where only one is NaN or infinite."""
    a, b = own.double().cpu(), other.double().cpu()
    alike = (a == b) | (a.isnan() & b.isnan())
    return torch.where(alike, 0.0, (a - b).abs().nan_to_num(torch.inf, torch.inf))
