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
from hetrl.recipe.shipped import about, shipped

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
        out.print("All about one: hetrl show NAME. More: hetrl list scenario.", highlight=False)
    elif kind in GROUPS:
        _print(_rows(kind, unusable))
    elif kind == "scenario":
        _print(_scenarios())
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
        for name, file in shipped().items():
            if name.startswith("task/") == (kind == "task"):
                yield name, about(file)
        return
    for name in catalog.names(kind):
        point = catalog.installed().get(name)
        yield name, catalog.summary(name).replace("``", "") if point is None else catalog.provider(point)
    for name, why in unusable.items():
        if name.startswith(f"{kind}/"):
            yield name, f"unusable: {why}"


def _scenarios() -> Iterator[tuple[str, str]]:
    """Yield the scenarios of VMAS, and their arguments."""
    from hetrl.env.scenarios import scenario_arguments, scenarios

    for name in scenarios():
        accepted = scenario_arguments(name)
        yield name, ", ".join(sorted(accepted)) if accepted is not None else "(see its source)"


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
