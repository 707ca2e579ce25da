"""Printing the linked program: each step with the keys it reads and writes and, given a team, their shapes."""

from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from hetrl.engine.cell import Cell
from hetrl.engine.link import link
from hetrl.engine.rehearsal import N_ENVS, empty_batch, rehearse
from hetrl.recipe.check import check
from hetrl.recipe.diff import turns
from hetrl.recipe.plan import Plan, grouped
from hetrl.recipe.schema import Phase, Recipe
from hetrl.recipe.step import Step
from hetrl.team import Team


def show(recipe: Recipe, team: Team | None = None) -> RenderableType:
    """Return the program of a recipe as a table for the terminal.

    Args:
        recipe: a recipe; it is checked first.
        team: the task's agents; with them, each key is shown with its shape (``B`` stands for the batch).

    Raises:
        RecipeError: the recipe does not link.
    """
    team = None if team is None else grouped(recipe, team)
    plan = check(recipe, team)
    shapes = _shapes(recipe, team) if team is not None else {}
    blocks: list[RenderableType] = [Text(recipe.about or recipe.name, style="bold")]
    if team is not None:
        blocks.append(_team(team))
    blocks.append(_nets(plan))
    blocks += [_phase(phase, shapes) for phase in recipe.update]
    return Group(*blocks)


def _phase(phase: Phase, shapes: dict[str, str]) -> Grid:
    words = [f"train {phase.train}, {turns(phase)}" if phase.train else "no gradient"]
    words += (
        [_several(phase.epochs, "epoch", "epochs"), _several(phase.minibatches, "minibatch", "minibatches")]
        if phase.train
        else []
    )
    words += [f"every {phase.every}"] if phase.every > 1 else []
    grid = Grid(
        "",
        "step",
        "reads",
        "writes",
        title=f"{phase.name}: {', '.join(words)}",
        title_justify="left",
        title_style="bold",
    )
    for stage, steps in phase.stages.items():
        for step in steps:
            values = ", ".join(f"{name}={value}" for name, value in step.arguments.items())
            _add_row(
                grid,
                stage if phase.train else "",
                "\n".join(
                    [_title(step), *([values] if values else []), *(f"calls {mode}" for mode in step.calls.values())]
                ),
                _listed(step.table.reads.values(), shapes),
                _listed(step.table.writes.values(), shapes),
            )
    return grid


def _several(n: int, what: str, several: str) -> str:
    return f"{n} {what if n == 1 else several}"


def _add_row(grid: Grid, *words: str) -> None:
    grid.add_row(*map(Cell, words))


def _title(step: Step) -> str:
    return step.title if step.use else f"net {step.title}"


def _listed(found: object, shapes: dict[str, str]) -> str:
    return "\n".join(f"{key} {shapes[key]}" if key in shapes else key for key in found)  # type: ignore[attr-defined]


def _nets(plan: Plan) -> Grid:
    grid = Grid("net", "is", "one for each", "arguments", title="nets", title_justify="left", title_style="bold")
    for name, net in plan.recipe.nets.items():
        values = ", ".join(f"{word}={_said(value)}" for word, value in net.arguments.items())
        if net.target is not None:
            values += f", target: tau={net.target.tau}, every={net.target.every}"
        _add_row(grid, name + (" (acts)" if name == plan.policy else ""), net.use, plan.per[name], values)
    return grid


def _said(value: object) -> str:
    """Return an argument in words; an encoder by its name and arguments."""
    if not isinstance(value, Mapping) or "use" not in value:
        return str(value)
    given = ", ".join(f"{word}={each}" for word, each in value.items() if word != "use")
    return f"{value['use']}({given})"


def _team(team: Team) -> Grid:
    grid = Grid("agent", "layout group", "sharing group", "observes", "acts", title=f"team, state [{team.state_size}]",
                title_justify="left", title_style="bold")  # fmt: skip
    for agent in team.agents:
        _add_row(grid, agent.name, agent.group, agent.body, f"[{agent.sees}]", str(agent.action))
    return grid


def _shapes(recipe: Recipe, team: Team) -> dict[str, str]:
    """Run the program once on an empty batch and return what every key looks like for one agent."""
    linked = link(recipe, team)
    return {
        key: _shape(value, scene.n_steps)
        for scene in rehearse(linked, empty_batch(linked))
        for key, value in scene.values.items()
    }


def _shape(value: object, n_steps: int) -> str:
    if isinstance(value, tuple):
        return "(" + ", ".join(_shape(part, n_steps) for part in value) + ")"
    shape = list(getattr(value, "shape", ()))
    rows = [place for place in range(len(shape)) if shape[place : place + 2] == [n_steps, N_ENVS]]
    words = [*shape[: rows[0]], "B", *shape[rows[0] + 2 :]] if rows else shape  # of an ensemble, its members come first
    return f"[{', '.join(map(str, words))}]"
