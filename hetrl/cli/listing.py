"""``hetrl list``."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

import typer

from hetrl import catalog
from hetrl.cli import parts as files
from hetrl.cli.completion import kinds, with_tasks
from hetrl.cli.console import out
from hetrl.cli.lines import lines, width
from hetrl.cli.options import Parts
from hetrl.errors import RecipeError, nearest
from hetrl.recipe.packaged import packaged, recipes
from hetrl.recipe.shipped import about

GROUPS = {
    "recipe": "Recipes: hetrl train NAME",
    "task": "Task sections: task=NAME",
    "env": "Environments: task.use",
    "data": "Data: data.use",
    "net": "Nets",
    "order": "Orders",
    "estimate": "Estimates",
    "weight": "Weights",
    "loss": "Losses",
    "optim": "Optimisers",
}
"""Kind -> what stands above its names."""


def list_(
    kind: Annotated[
        str | None,
        typer.Argument(
            help="recipe, task, scenario, a kind of part, or an environment with many tasks.", autocompletion=kinds
        ),
    ] = None,
    parts: Parts = None,
) -> None:
    """List what there is: recipes, tasks, environments, scenarios, nets, losses and the other parts."""
    files.run(parts)
    unusable = catalog.unusable()  # looks at all that is installed, which takes its time
    if kind is None:
        for word, title in GROUPS.items():
            out.print(title, style="bold", highlight=False)
            _print(_rows(word, unusable))
            out.print()
        if lost := {name: why for name, why in unusable.items() if name.split("/")[0] not in GROUPS}:
            out.print("Others that packages bring", style="bold", highlight=False)
            _print((name, f"unusable: {why}") for name, why in lost.items())
            out.print()
        out.print("All about one: hetrl show NAME. More: hetrl list scenario.", highlight=False)
    elif kind in GROUPS:
        _print(_rows(kind, unusable))
    elif kind == "scenario":
        _print(_scenarios(unusable))
    else:
        _print(_tasks(kind))
    if kind in (None, "env"):
        words = [f"hetrl list {word}" for word in with_tasks()]
        out.print(f"Tasks of environments: {', '.join(words)}.", soft_wrap=True, highlight=False)


def _print(rows: Iterable[tuple[str, str]]) -> None:
    for line in lines(rows, width()):
        out.print(line, soft_wrap=True, highlight=False)


def _rows(kind: str, unusable: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the names of a kind, and what each is about."""
    if kind in ("recipe", "task"):
        yield from _recipes(kind)
    for name in () if kind in ("recipe", "task") else catalog.names(kind):
        point = catalog.installed().get(name)
        yield name, catalog.summary(name).replace("``", "") if point is None else catalog.provider(point)
    yield from _unusable(kind, unusable)


def _recipes(kind: str) -> Iterator[tuple[str, str]]:
    """Yield the recipes or the task sections, hetrl's own and those of packages."""
    of_packages = {name: package for name, (_, package) in packaged().items()}
    for name, file in recipes().items():
        if name.startswith("task/") == (kind == "task"):
            yield name, f"{about(file)} ({of_packages[name]})" if name in of_packages else about(file)


def _scenarios(unusable: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the scenarios, VMAS's, hetrl's and others', and their arguments."""
    from hetrl.env.scenarios import scenario_arguments, scenarios

    for name in scenarios():
        accepted = scenario_arguments(name)
        yield name, ", ".join(sorted(accepted)) if accepted is not None else "(see its source)"
    yield from _unusable("scenario", unusable)


def _unusable(kind: str, unusable: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the names of a kind that packages claim and no recipe can say, and why."""
    return ((name, f"unusable: {why}") for name, why in unusable.items() if name.startswith(f"{kind}/"))


def _tasks(word: str) -> Iterator[tuple[str, str]]:
    """Yield the tasks of an environment that lists them.

    Raises:
        RecipeError: there is no such environment.
    """
    known = with_tasks()
    if word not in known:
        raise RecipeError(f"no kind '{word}'.{nearest(word, [*GROUPS, 'scenario', *known])}")
    found: Any = catalog.resolve(f"env/{word}")
    return iter(found.catalogue().items())
