"""Does every loss of a phase depend on the net that it trains?"""

from hetrl import keys
from hetrl.errors import RecipeError
from hetrl.recipe.schema import Phase
from hetrl.recipe.step import Step


def check_gradients(phase: Phase) -> None:
    """Follow the trained net through the steps: every loss, and what the optimiser reads, must come from it.

    Raises:
        RecipeError: naming what does not, or the phase without a loss.
    """
    if phase.train is None or phase.optim is None:
        return
    depends: set[str] = set()
    losses: set[str] = set()
    for step in phase.steps:
        live = _live(step, phase.train, depends)
        for key in step.table.writes.values():
            if key.startswith(f"{keys.LOSS}."):
                _check_loss(step, key, live, losses, phase)
                losses.add(key)
            depends.discard(key)
            if live:
                depends.add(key)
    for key in phase.optim.entry("optim").reads.values():
        if key not in depends:
            raise RecipeError(
                f"{phase.optim.where} ({phase.optim.name}) reads '{key}', and no step of {phase.where} computes that "
                f"from '{phase.train}'; add {{net: {phase.train}.{key.split('.')[-1]}}} to steps."
            )
    if not losses:
        raise RecipeError(f"{phase.where} trains '{phase.train}' but no step writes a loss; add a loss/... step.")


def _live(step: Step, trained: str, depends: set[str]) -> bool:
    """Whether what a step writes depends on the trained net: it runs or calls it, or reads what depends on it."""
    runs = step.mode is not None and step.mode.net == trained and step.table.learned
    calls = any(mode.net == trained and not mode.slow for mode in step.calls.values())
    return runs or calls or any(key in depends or keys.single(key) in depends for key in step.table.reads.values())


def _check_loss(step: Step, key: str, live: bool, losses: set[str], phase: Phase) -> None:
    """Refuse a loss of a name that is taken, or that does not depend on the trained net."""
    if key in losses:
        raise RecipeError(f"{step} writes '{key}' a second time; rename one, keys: {{loss: ...}}.")
    if not live:
        raise RecipeError(
            f"{step} does not depend on '{phase.train}', the net that {phase.where} trains; none of "
            f"{', '.join(step.table.reads.values())} is computed by it in these steps."
        )
