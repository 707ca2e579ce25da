"""Does a recipe that links also train something, and look at it?"""

from collections.abc import Iterator

from hetrl import arguments, schedule
from hetrl.recipe.check.amounts import Amounts, n_envs
from hetrl.recipe.schema import Phase, Recipe


def warnings_of(recipe: Recipe) -> list[str]:
    """Return one line for each thing that a recipe says and that will not happen, or will change nothing.

    Args:
        recipe: one that links, see :func:`hetrl.check`.
    """
    amounts = Amounts.of(recipe)
    lines = [line for phase in recipe.update for line in _still(phase)]
    if amounts is not None:
        lines += [*_short(recipe, amounts), *_never(recipe, amounts), *_unseen(recipe, amounts)]
    return lines


def _still(phase: Phase) -> Iterator[str]:
    """Say which phases train a net without moving it."""
    if phase.train is None or phase.optim is None:
        return
    never = f"{phase.names_trained} never change{'s' if len(phase.trained) == 1 else ''}"
    known = arguments.parameters(phase.optim.entry("optim").__init__)
    lr = phase.optim.arguments.get("lr", known["lr"].default if "lr" in known else None)
    if _zero(lr):
        yield f"{phase.optim.where}.lr is 0 throughout: {never}; write more, or drop the phase."
    losses = [step for step in phase.steps if step.use is not None and step.use.startswith("loss/")]
    if losses and all(_zero(step.arguments.get("coef")) for step in losses):
        yield f"{phase.where}: every loss has coef: 0: {never}; write more, or drop the phase."


def _zero(value: object) -> bool:
    """Whether a number, or a schedule, is 0 from beginning to end."""
    ramp = schedule.parse(value)
    return (ramp.start, ramp.end) == (0, 0) if ramp else type(value) in (int, float) and value == 0


def _short(recipe: Recipe, amounts: Amounts) -> Iterator[str]:
    """Say what a run or a batch is too short for."""
    data, frames = recipe.data.arguments, recipe.run.frames
    if amounts.samples == 0:
        yield (
            f"data.warmup = {data.get('warmup')} is not below run.frames = {frames}: the run is over before its first "
            "update, and nothing is trained; write more run.frames, or a shorter warm-up."
        )
    if recipe.normalize_observations and recipe.data.entry("data").in_order and amounts.samples == 1:
        yield (
            "task.normalize_observations: the run is one collection, which only tells how observations are spread, and "
            "nothing is trained; write more run.frames."
        )
    collected = data.get("frames") or n_envs(recipe)
    if frames < collected:
        name = "data.frames" if data.get("frames") else "task.n_envs"
        yield f"run.frames = {frames} is less than one collection, {name} = {collected}: the run is that one."
    uses = {step.use for phase in recipe.update for step in phase.every_step}
    if amounts.rows == 1 and "estimate/standardize" in uses:
        yield (
            "data: a batch is one row, of which estimate/standardize makes an advantage of 0; the policies learn "
            "nothing from it. Write more data.frames."
        )


def _never(recipe: Recipe, amounts: Amounts) -> Iterator[str]:
    """Say which phases never run, and which slow copies never move."""
    if amounts.samples == 0:
        return
    runs = {phase: amounts.samples // phase.every for phase in recipe.update}
    for phase, times in runs.items():
        if times == 0:
            yield (
                f"{phase.where}.every = {phase.every}: the run has {amounts.samples} samples, so that the phase never "
                "runs; write a smaller one, or more run.frames."
            )
    for name, net in recipe.nets.items():
        trained = sum(times for phase, times in runs.items() if name in phase.trained)
        if net.target is not None and 0 < trained < net.target.every:
            yield (
                f"{net.where}.target.every = {net.target.every}: '{name}' is trained {trained} times, so that its slow "
                "copy never moves; write a smaller one, or more run.frames."
            )


def _unseen(recipe: Recipe, amounts: Amounts) -> Iterator[str]:
    """Say what is to happen every so many frames, and does not within the run."""
    run = recipe.run
    if run.eval_every is not None and run.eval_every > amounts.frames:
        yield (
            f"run.eval_every = {run.eval_every} is beyond the run's {amounts.frames} frames: only the untrained "
            "policies are evaluated; write a smaller one, or null."
        )
    if run.checkpoint_every is not None and run.checkpoint_every > amounts.frames:
        yield (
            f"run.checkpoint_every = {run.checkpoint_every} is beyond the run's {amounts.frames} frames: there is no "
            "checkpoint before its end; write a smaller one."
        )
