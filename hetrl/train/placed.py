"""Where a run is trained: ``run.device=auto`` measures, before it begins, which device is the quicker for it."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from tensordict import TensorDictBase

from hetrl.data.behaviour import Behaviour
from hetrl.data.environment import used
from hetrl.engine.device import Chosen, chosen, named
from hetrl.engine.link import link
from hetrl.engine.linked import Linked
from hetrl.engine.phases import phase_runners
from hetrl.engine.rehearsal import empty_batch
from hetrl.engine.store import Store
from hetrl.engine.task import make_env
from hetrl.graph import plays
from hetrl.optim import Closure
from hetrl.recipe.read import load
from hetrl.recipe.schema import Recipe
from hetrl.rng import Stream

clock: Callable[[], float] = time.perf_counter
_MOST_STEPS, _ENOUGH = 20, 0.3
"""Steps of the environments that are timed at most, and seconds after which no further one is."""
_CERTAIN = 1.0
"""Seconds next to which it does not count what is made once."""


@dataclass(frozen=True)
class Workload:
    """What a run comes to."""

    n_steps: int
    """Steps of all environments at once."""
    n_updates: int
    """Samples that the phases run on."""
    n_rows: int
    """Rows of a sample."""

    @classmethod
    def of(cls, recipe: Recipe) -> "Workload | None":
        """Return a recipe's; None where its data does not say."""
        source: Any = recipe.data.entry("data")
        n_envs = recipe.task.arguments.get("n_envs", 1)
        amounts = source.amounts(recipe.data.arguments, n_envs, recipe.run.frames)
        return None if amounts is None else cls(amounts[1] // n_envs, *amounts[::2])


@dataclass(frozen=True)
class Pace:
    """How quick a job is on a device [s]."""

    step: float
    """A step of all environments, the policies' actions included."""
    update: float
    """All phases on one sample."""
    cut: bool = False
    """Whether the update was left where it had lost, so that it takes longer."""

    def seconds(self, job: Workload) -> float:
        """Return what a job takes, without its evaluations."""
        return job.n_steps * self.step + job.n_updates * self.update


def placed(recipe: Recipe, began_on: str | None = None) -> Chosen:
    """Return the device that ``run.device`` names; of ``auto`` the one that a few steps of the job are quicker on.

    Without a GPU there is nothing to choose. A run that goes on stays where it began. The size decides, as
    :func:`~hetrl.engine.device.chosen` says, where measuring would take too long (tracing a simulator), where several
    processes would have to agree, and where the data does not say what a run comes to.

    Args:
        recipe: what is trained.
        began_on: the kind of device on which a run began that goes on: ``cpu`` or ``cuda``.

    Raises:
        RecipeError: it names a GPU that is not here.
    """
    if recipe.run.device != "auto" or not torch.cuda.is_available():
        return chosen(recipe)
    if began_on is not None:
        here, other = ("the CPU", "cuda") if began_on == "cpu" else ("the GPU", "cpu")
        line = f"run.device=auto stays on {here}, where the run began; run.device={other} moves it."
        return Chosen(named(began_on, recipe), line)
    job = Workload.of(recipe)
    if job is None or recipe.run.n_ranks > 1 or recipe.task.arguments.get("capture"):
        return chosen(recipe)
    return _quicker(load(recipe, "run.compile=false"), job)


def _quicker(recipe: Recipe, job: Workload) -> Chosen:
    gpu, cpu = named("cuda", recipe), torch.device("cpu")
    there = pace(recipe, gpu, job)
    here = pace(recipe, cpu, job, most=there.seconds(job))
    over, n_envs = "over " * here.cut, recipe.task.arguments.get("n_envs", 1)
    each = f"a step of {n_envs:,} environments {_said(there.step)} and {_said(here.step)}, "
    each += f"an update {_said(there.update)} and {over}{_said(here.update)}"
    line = f"{_said(there.seconds(job))} on the GPU and {over}{_said(here.seconds(job))} on the CPU, measured: {each}"
    if here.cut or there.seconds(job) < here.seconds(job):
        return Chosen(gpu, f"run.device=auto takes the GPU: the run takes {line}.")
    return Chosen(cpu, f"run.device=auto takes the CPU: the run takes {line}; run.device=cuda takes the GPU anyway.")


def _said(seconds: float) -> str:
    """Return a time with two digits."""
    value, unit = (seconds, "s") if seconds >= 1 else (1e3 * seconds, "ms")
    return f"{float(f'{value:.2g}'):,g} {unit}"


def pace(recipe: Recipe, device: torch.device, job: Workload, most: float = math.inf) -> Pace:
    """Take a few steps of a job on a device, and return how quick they were. Nothing of them is kept.

    Args:
        recipe: what would be trained.
        device: where.
        job: what it comes to.
        most: seconds of the job above which an update need not be timed to its end.
    """
    with Stream(0, device), used(make_env(recipe, device, 0)) as env:
        linked = link(recipe, env.team).to(device)
        step = _of_a_step(env, linked, device)
        limit = max(most - job.n_steps * step, 0.0) / max(job.n_updates, 1)
        in_order = recipe.data.entry("data").in_order
        n_envs = recipe.task.arguments.get("n_envs", 1) if in_order else job.n_rows
        batch = empty_batch(linked, n_envs, random=True, n_steps=job.n_rows // n_envs)
        return _of_an_update(linked, (batch if in_order else batch[0]).to(device), step, limit)


def _of_a_step(env: Any, linked: Linked, device: torch.device) -> float:
    """Return the seconds of a step: after one that makes what is made once, the mean of some."""
    behaviour, generator = Behaviour(linked.team, linked.policy), torch.Generator(device).manual_seed(0)
    if plays(linked.recipe.run.graphs, device):
        behaviour.play([] if linked.statistics is None else [linked.statistics])
    observation, masks = env.start(), env.masks
    memory, begun = behaviour.blank(observation), 0.0
    for number in range(_MOST_STEPS + 1):
        if number == 1:
            begun = _now(device)
        memory = behaviour.remember(observation, memory)
        moved = env.advance(behaviour.explore({**observation, **memory}, masks.get("action_mask", {}), generator))
        observation, masks = moved.observation, moved.masks
        if number and clock() - begun > _ENOUGH:
            break
    return (_now(device) - begun) / number


class _TooLong(Exception):
    """The other device would have been done by now."""


def _of_an_update(linked: Linked, sample: TensorDictBase, step: float, limit: float) -> Pace:
    """Take two updates, of which the first makes what is made once, and return the second's pace."""
    phases, device = phase_runners(linked), sample.device
    generator = torch.Generator(device).manual_seed(0)
    begun, cut = 0.0, False

    def take(optimizer: Any, closure: Closure) -> None:
        optimizer.step(closure)
        if limit < math.inf and _now(device) - begun > limit:
            raise _TooLong

    for _ in range(2):
        begun, store, cut = _now(device), Store(linked.team, sample), False
        try:
            for phase in phases:
                phase.run(store, 0.0, generator, take)
        except _TooLong:
            cut = True
        if cut and clock() - begun > _CERTAIN:
            break
    return Pace(step, _now(device) - begun, cut)


def _now(device: Any) -> float:
    """Return the time by which all that a device was asked for is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock()
