"""The phases of a recipe, ready to run."""

from hetrl.engine.linked import Linked
from hetrl.engine.phase import PhaseRunner
from hetrl.graph import plays


def phase_runners(linked: Linked) -> list[PhaseRunner]:
    """Return a runner of each phase of a recipe, compiled and played as its ``run`` says."""
    run = linked.recipe.run
    play = plays(run.graphs, next(linked.parameters()).device)
    return [PhaseRunner(phase, linked, run.compile, play) for phase in linked.recipe.update]
