"""Does every loss of a phase depend on a net that it trains, and every such net have a loss?"""

from collections.abc import Collection, Mapping, Sequence

from hetrl import keys
from hetrl.errors import RecipeError
from hetrl.recipe.net import Net
from hetrl.recipe.schema import Phase
from hetrl.recipe.step import Step


def check_gradients(phase: Phase, nets: Mapping[str, Net]) -> None:
    """Follow the trained nets through the steps: every loss, and what the optimiser reads, must come from one of them.

    Args:
        phase: of the recipe's update.
        nets: the recipe's.

    Raises:
        RecipeError: naming what does not, or the phase without a loss, or the net that no loss reaches.
    """
    if not phase.trained or phase.optim is None:
        return
    depends: dict[str, frozenset[str]] = {}
    losses: dict[str, frozenset[str]] = {}
    for step in phase.steps:
        live = _live(step, phase.trained, depends)
        for key in step.table.writes.values():
            if key.startswith(f"{keys.LOSS}."):
                _check_loss(step, key, live, losses, phase, nets)
                losses[key] = live
            depends[keys.single(key)] = live
    for key in phase.optim.entry("optim").reads.values():
        if not depends.get(key):
            raise RecipeError(
                f"{phase.optim.where} ({phase.optim.name}) reads '{key}', and no step of {phase.where} computes that "
                f"from {phase.names_trained}; add {{net: {phase.trained[0]}.{key.split('.')[-1]}}} to steps."
            )
    if not losses:
        raise RecipeError(f"{phase.where} trains {phase.names_trained} but no step writes a loss; add a loss/... step.")
    for name in phase.trained:
        if not any(name in live for live in losses.values()):
            rest = ", ".join(each for each in phase.trained if each != name)
            raise RecipeError(
                f"{phase.where} trains '{name}' too, and none of its losses ({', '.join(losses)}) depends on it; add "
                f"one that does, or write train: [{rest}]."
            )


def _live(step: Step, trained: Sequence[str], depends: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """Return the trained nets on which a step's outputs depend: it runs or calls one, or reads what depends on one."""
    runs = [step.mode.net] if step.mode is not None and step.table.learned else []
    calls = [mode.net for mode in step.calls.values() if not mode.slow]
    read = (depends.get(keys.single(key), frozenset()) for key in step.table.reads.values())
    return frozenset(name for name in (*runs, *calls) if name in trained).union(*read)


def _check_loss(
    step: Step, key: str, live: Collection[str], losses: Collection[str], phase: Phase, nets: Mapping[str, Net]
) -> None:
    """Refuse a loss of a name that is taken, or that does not depend on a trained net."""
    if key in losses:
        raise RecipeError(f"{step} writes '{key}' a second time; rename one, keys: {{loss: ...}}.")
    if not live:
        several = "nets" if len(phase.trained) > 1 else "net"
        raise RecipeError(
            f"{step} does not depend on {phase.names_trained}, the {several} that {phase.where} trains; none of "
            f"{', '.join(step.table.reads.values())} is computed by it in these steps."
            f"{_computing(step, [nets[name] for name in phase.trained])}"
        )


def _computing(step: Step, trained: Sequence[Net]) -> str:
    """Return which modes of the trained nets would compute what a step reads, as a message ends; nothing if none."""
    wanted = set(map(keys.single, step.table.reads.values()))
    modes = [
        f"{{{words}}}"
        for net in trained
        for words, table in net.steps.items()
        if table.learned and wanted.intersection(map(keys.single, table.writes.values()))
    ]
    return f" Write {' or '.join(modes)} before it." if modes else ""
