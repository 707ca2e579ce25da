"""``hetrl check``."""

from hetrl.cli import parts as files
from hetrl.cli.console import err, out
from hetrl.cli.options import Overrides, Parts, RecipeName


def check(recipe: RecipeName, overrides: Overrides = None, parts: Parts = None) -> None:
    """Check that a recipe links: names, arguments, keys, gradients, nets, and its task's agents."""
    files.run(parts)
    from hetrl.cli.recipes import warned
    from hetrl.engine.link import link
    from hetrl.engine.task import team_of
    from hetrl.engine.trial import try_out
    from hetrl.recipe.check import check
    from hetrl.recipe.check.amounts import Amounts
    from hetrl.recipe.check.buffer import buffer
    from hetrl.recipe.read import load

    loaded = load(recipe, *(overrides or []))
    check(loaded)
    linked = link(loaded, team_of(loaded))
    try_out(loaded)
    warned(loaded)
    steps = sum(1 for phase in loaded.update for _ in phase.every_step)
    counts = {"phase": len(loaded.update), "step": steps, "agent": len(linked.team)}
    said = ", ".join(f"{count} {word}{'s' * (count != 1)}" for word, count in counts.items())
    out.print(f"{loaded.name}: links. {said}.")
    amounts = Amounts.of(loaded)
    if amounts is not None:
        passes = f"{amounts.samples:,} passes over the phases, {amounts.rows:,} rows each"
        out.print(f"A run of {amounts.frames:,} frames makes {passes}.", soft_wrap=True, highlight=False)
    replay = buffer(loaded, linked.team)
    if replay is not None:
        out.print(str(replay), soft_wrap=True, highlight=False)
        if replay.warning is not None:
            err.print(f"warning: {replay.warning}", style="yellow", soft_wrap=True, highlight=False)
