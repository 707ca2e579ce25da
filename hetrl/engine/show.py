"""Printing the linked program: each step with the keys it reads and writes and, given a team, their shapes."""

from collections.abc import Iterable, Mapping

from hetrl.engine.link import link
from hetrl.engine.rehearsal import N_ENVS, empty_batch, rehearse
from hetrl.recipe.check import check
from hetrl.recipe.diff import outset
from hetrl.recipe.plan import Plan, grouped
from hetrl.recipe.schema import Phase, Recipe
from hetrl.recipe.sheet import Page, Sheet
from hetrl.recipe.step import Step
from hetrl.team import Team


def show(recipe: Recipe, team: Team | None = None) -> Page:
    """Return the program of a recipe as tables for the terminal.

    Args:
        recipe: a recipe; it is checked first.
        team: the task's agents; with them, each key is shown with its shape (``B`` stands for the batch).

    Raises:
        RecipeError: the recipe does not link.
    """
    team = None if team is None else grouped(recipe, team)
    plan = check(recipe, team)
    shapes = _shapes(recipe, team) if team is not None else {}
    blocks: list[str | Sheet] = [recipe.about or recipe.name]
    if team is not None:
        blocks.append(_team(team))
    blocks.append(_nets(plan))
    blocks += [_phase(phase, shapes) for phase in recipe.update]
    return Page(blocks)


def _phase(phase: Phase, shapes: dict[str, str]) -> Sheet:
    words = [outset(phase)]
    if phase.train:
        words += [_several(phase.epochs, "epoch", "epochs"), _several(phase.minibatches, "minibatch", "minibatches")]
    words += [f"every {phase.every}"] if phase.every > 1 else []
    sheet = Sheet(("", "step", "reads", "writes"), f"{phase.name}: {', '.join(words)}", heads=2)
    for stage, steps in phase.stages.items():
        for step in steps:
            values = ", ".join(f"{name}={value}" for name, value in step.arguments.items())
            said = [_title(step), *([values] if values else []), *(f"calls {mode}" for mode in step.calls.values())]
            reads, writes = step.table.reads.values(), step.table.writes.values()
            sheet.add(stage if phase.train else "", "\n".join(said), _listed(reads, shapes), _listed(writes, shapes))
    return sheet


def _several(n: int, what: str, several: str) -> str:
    return f"{n} {what if n == 1 else several}"


def _title(step: Step) -> str:
    return step.title if step.use else f"net {step.title}"


def _listed(found: Iterable[str], shapes: dict[str, str]) -> list[str]:
    return [f"{key} {shapes[key]}" if key in shapes else key for key in found]


def _nets(plan: Plan) -> Sheet:
    sheet = Sheet(("net", "is", "one for each", "arguments"), "nets", heads=2)
    for name, net in plan.recipe.nets.items():
        values = [f"{word}={_said(value)}" for word, value in net.arguments.items()]
        if net.target is not None:
            values.append(f"target: tau={net.target.tau}, every={net.target.every}")
        sheet.add(name + (" (acts)" if name == plan.policy else ""), net.use, plan.per[name], ", ".join(values))
    return sheet


def _said(value: object) -> str:
    """Return an argument in words; an encoder by its name and arguments."""
    if isinstance(value, Mapping) and "net" in value:
        return f"net {value['net']}"
    if not isinstance(value, Mapping) or "use" not in value:
        return str(value)
    given = ", ".join(f"{word}={each}" for word, each in value.items() if word != "use")
    return f"{value['use']}({given})"


def _team(team: Team) -> Sheet:
    columns = ("agent", "layout group", "sharing group", "observes", "acts")
    sheet = Sheet(columns, f"team, state [{team.state_size}]")
    for agent in team.agents:
        sheet.add(agent.name, agent.group, agent.body, f"[{agent.sees}]", str(agent.action))
    return sheet


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
