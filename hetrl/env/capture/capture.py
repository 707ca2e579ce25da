"""When a simulator is captured, which traced step it takes, and what is said where it cannot be captured."""

import random
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from hetrl.env.capture import When
from hetrl.env.capture.original import Original
from hetrl.env.capture.places import RefusalError
from hetrl.env.capture.proof import Verdict, prove
from hetrl.env.capture.runner import Compiler, Runner, as_it_is, compiled, replayed
from hetrl.env.capture.traced_step import TracedStep, trace
from hetrl.env.capture.twin import Twin
from hetrl.env.simulator_state import KeyPath, copy_shared, python_values, restore, snapshot
from hetrl.errors import RunError
from hetrl.graph import inline
from hetrl.rng import Stream
from hetrl.team import Grouped

COMPILERS: dict[str, Compiler] = {"cpu": compiled, "cuda": replayed}
"""Kind of device -> what makes a traced step fast there."""
PATIENCE = 2_000
"""Steps of the simulator's own before ``auto`` captures: about as long as compiling takes, so that an evaluation or a
trial never pays for more than it gets."""
LARGEST = 8_000
"""Operations of a step beyond which ``auto`` leaves it alone: compiling would take many minutes."""
_REHEARSALS = 25
_PROOF = 100
"""Steps of each of two proofs: of the traced step, and of the compiled one."""
_TRACED_TO = 1e-5
"""How far the traced step may be off. Its operations are the simulator's own; only the order of sums differs."""
_MORE_TURNS = 2
"""Turns that a ``while`` loop is given beyond the most that were seen."""
_MOST_TRACED = 16
"""Traced steps of one simulator, one for each set of values that are no tensors (who is whose goal)."""


class Capturable(Protocol):
    """What is captured: an environment around a simulator."""

    scenario: str
    n_envs: int
    device: torch.device
    team: Any
    _simulator: Any
    _stream: Stream

    def twin(self) -> "Capturable":
        """The same environment once more, not captured."""

    def start(self) -> Grouped:
        """Reset every row."""

    def step_simulator(self, simulator: Any, actions: Mapping[str, Tensor]) -> tuple[Grouped, Grouped, Tensor]:
        """Step."""


@dataclass(frozen=True)
class Made:
    """A traced step that was proved, and what the proofs found."""

    runner: Runner
    traced: Verdict
    compiled: Verdict


def make(env: Capturable, first: tuple[KeyPath, ...], compiler: Compiler, largest: int | None, n_proof: int) -> Made:
    """Trace and prove the step of ``env``, which is left as it is.

    Args:
        env: what is captured.
        first: see :func:`~hetrl.env.simulator_state.walk`.
        compiler: makes the traced step fast.
        largest: most operations, or None.
        n_proof: steps of each proof.

    Raises:
        RefusalError: it cannot be captured.
    """
    if not __debug__:
        raise RefusalError("python runs with -O, under which torch's compiler gives wrong numbers; run without -O")
    with Stream(0, env.device), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the simulator, said already, and of torch about its own tracing
        other = env.twin()
        twin = Twin(other, torch.Generator().manual_seed(0))
        step = other.step_simulator
        other.start()
        for _ in range(2):
            step(twin.simulator, twin.actions())
        _agree(env._simulator, twin.simulator, first)
        traced, verdict = _traced(twin, step, largest, n_proof, first)
        if compiler is as_it_is:
            return Made(Runner(traced, as_it_is(traced), first), verdict, verdict)
        runner = Runner(traced, compiler(traced), first)
        proved = prove(twin, step, runner, n_proof, first)
        runner.trusted = traced.guard is not None and not verdict.missed and not proved.missed
        return Made(runner, verdict, proved)


def _traced(
    twin: Twin, step: Any, largest: int | None, n_proof: int, first: tuple[KeyPath, ...]
) -> tuple[TracedStep, Verdict]:
    """Trace a step and prove it, with masks read whole and, where that is not right, once more with them packed."""
    turns, reads_masks = _rehearse(twin, step)
    saved = snapshot(twin.simulator, first)
    refused: Exception | None = None
    for packed in (False, True) if reads_masks else (False,):
        try:
            traced = trace(twin.simulator, step, twin.actions(), turns, packed, first)
            restore(twin.simulator, saved)
            if largest is None or traced.n_operations <= largest:
                return traced, prove(twin, step, Runner(traced, as_it_is(traced), first), n_proof, first, _TRACED_TO)
        except Exception as refusal:  # also of torch, which says that shapes do not fit
            restore(twin.simulator, saved)
            refused = refused or refusal
        else:
            raise RefusalError(f"its step is {traced.n_operations:,} operations, which take minutes to compile")
    assert refused is not None
    raise refused


def _agree(running: Any, twin: Any, first: tuple[KeyPath, ...]) -> None:
    """Give the twin what is no tensor and may have been drawn: a goal, a mass."""
    mine, theirs = python_values(running, first), python_values(twin, first)
    copy_shared(_others(mine, theirs), running, twin, first)


def _others(mine: Mapping[KeyPath, Any], theirs: Mapping[KeyPath, Any]) -> list[KeyPath]:
    """Where two simulators hold different values, not counting what one of them has yet to make."""
    return [
        path
        for path, value in mine.items()
        if path in theirs and theirs[path] != value and not any(_unmade(held) for held in (value, theirs[path]))
    ]


def _unmade(value: Any) -> bool:
    return value is None or isinstance(value, type)


def _rehearse(twin: Twin, step: Any) -> tuple[dict[str, int], bool]:
    """Step as the simulator does.

    Returns the place of loops -> how many turns a traced step gives them, and whether masks are read.
    """
    original = Original()
    before = random.getstate(), repr(np.random.get_state())
    for number in range(_REHEARSALS):
        twin.disturb(number)
        with original:
            step(twin.simulator, twin.actions())
    if before != (random.getstate(), repr(np.random.get_state())):
        raise RefusalError("it draws from the generators of python or numpy inside a step")
    return {where: most + _MORE_TURNS for where, most in original.turns.items()}, original.masks


class Capture:
    """Steps an environment by traced steps, and leaves to the simulator what they do not cover.

    Args:
        env: the environment.
        when: see ``task.capture``.
        first: see :func:`~hetrl.env.simulator_state.walk`.
        does: what a scenario does where it cannot be captured, for the line that says so.
        taken: steps that were taken, of those for which ``auto`` waits.
    """

    def __init__(
        self,
        env: Capturable,
        when: When,
        first: tuple[KeyPath, ...],
        does: str = "takes its steps itself",
        taken: int = 0,
    ) -> None:
        self._env, self._when, self._first, self._does, self._taken = env, when, first, does, taken
        self._runner: Runner | None = None
        self._runners: list[Runner] = []
        self._odd: list[dict[KeyPath, Any]] = []
        self.refused: str | None = None
        """Why this simulator takes its steps itself, where it does."""
        self.n_own = 0
        """Steps that the simulator took itself although there is a traced step."""

    def step(self, actions: Mapping[str, Tensor]) -> tuple[Grouped, Grouped, Tensor] | None:
        """Take a traced step: observations, rewards and who terminated; None where the simulator has to step.

        Raises:
            RunError: it is to be captured and cannot be.
        """
        if self.refused is not None:
            return None
        if not self.begun:
            self._taken += 1
            return None
        simulator = self._env._simulator
        if self._runner is None or not self._runner.fits(simulator):
            self._runner = self._fitting(simulator)
        result = None if self._runner is None else self._run(self._runner, actions)
        if result is None:
            if inline():
                raise RuntimeError("the simulator would have to take a step itself")
            self._runner = None
            self.n_own += 1
        return result

    @property
    def begun(self) -> bool:
        """Whether it captures by now."""
        return self._when is True or self._taken >= PATIENCE

    @property
    def way(self) -> int | None:
        """The number of the traced step that comes next, if it asks the device nothing, so that it can be recorded."""
        runner = self._runner
        if runner is None or self.refused is not None or runner.asks or not runner.fits(self._env._simulator):
            return None
        return self._runners.index(runner)

    @property
    def draws(self) -> bool:
        """Whether the traced step that comes next draws random numbers."""
        return self._runner is not None and bool(self._runner.traced.draws)

    @property
    def notes(self) -> list[Tensor]:
        """What steps on trust write to beside the simulator."""
        return [note for runner in self._runners for note in runner.notes]

    def _run(self, runner: Runner, actions: Mapping[str, Tensor]) -> tuple[Grouped, Grouped, Tensor] | None:
        if not runner.traced.draws:
            return runner.step(actions, ())
        if inline():  # a larger recording draws from the stream as a whole
            return runner.step(actions, runner.draw())
        stream, gpu = self._env._stream, self._env.device.type == "cuda"
        with stream:
            before = torch.cuda.get_rng_state(self._env.device) if gpu else torch.get_rng_state()
            drawn = runner.draw()
        result = runner.step(actions, drawn)
        if result is None:  # the simulator draws the same numbers again
            with stream:
                if gpu:
                    torch.cuda.set_rng_state(before, self._env.device)
                else:
                    torch.set_rng_state(before)
        return result

    def trust(self) -> bool:
        """Let traced steps whose way never changed in a proof go on without a question, until :meth:`held`.

        Returns whether there are any.
        """
        runners = [runner for runner in self._runners if runner.trusted]
        for runner in runners:
            runner.trust()
        return bool(runners)

    def held(self) -> bool:
        """Whether they all went as they were traced. One that did not is asked at each step from then on."""
        lost = [runner for runner in self._runners if not runner.held()]  # each is asked, so that each asks again
        return not lost

    def loosen(self) -> None:
        """Something else than a traced step has changed more than numbers in the simulator."""
        self._runner = None

    def _fitting(self, simulator: Any) -> Runner | None:
        for runner in self._runners:
            if runner.bind(simulator) is None:
                return runner
        here = python_values(simulator, self._first)
        known = [*(runner.traced.python for runner in self._runners), *self._odd]
        if any(not _others(here, python) for python in known):
            return None  # the first steps after a reset make what is missing
        if len(known) >= _MOST_TRACED:
            self.refuse(f"values that are no tensors were different {len(known)} times")
            return None
        try:
            made = make(
                self._env,
                self._first,
                COMPILERS[self._env.device.type],
                LARGEST if self._when == "auto" else None,
                _PROOF,
            )
        except RefusalError as refusal:
            self.refuse(str(refusal))
            return None
        except Exception as error:  # of torch's compiler, which may lack a C++ compiler, or of a scenario's tricks
            if self._when is True:
                raise self._error(f"{type(error).__name__}: {_line(error)}") from error
            self.refuse(f"{type(error).__name__}: {_line(error)}")
            return None
        if any(made.runner.traced.python == python for python in known):
            self._odd.append(here)
            return None
        self._runners.append(made.runner)
        return made.runner if made.runner.bind(simulator) is None else None

    def refuse(self, reason: str) -> None:
        """Leave all to the simulator, and say why.

        Raises:
            RunError: it is to be captured in any case.
        """
        if self._when is True and not self._runners:
            raise self._error(reason)
        self.refused = reason
        warnings.warn(f"task.capture: scenario '{self._env.scenario}' {self._does}: {reason}.", stacklevel=2)

    def _error(self, reason: str) -> RunError:
        return RunError(
            f"task.capture: scenario '{self._env.scenario}' cannot be captured: {reason}. "
            "Write task.capture=auto, which falls back to its own steps, or false."
        )

    # ----- exact continuation

    def state_dict(self) -> dict[str, Any]:
        """What the choice between traced step and simulator depends on."""
        return {"taken": self._taken}

    def load_state_dict(self, state: Mapping[str, Any] | None) -> None:
        """Choose as the environment that saved ``state`` would have chosen; None if that was not captured."""
        self._taken = 0 if state is None else state["taken"]
        self._runner = None


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no text"])[0][:200]
