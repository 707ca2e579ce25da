"""``hetrl list``."""

from typing import Annotated, Any

import typer
from rich.table import Table

from hetrl.cli.console import out
from hetrl.errors import RecipeError, nearest


def list_(
    kind: Annotated[
        str | None, typer.Argument(help="recipe, scenario, a kind of component, or an environment with many tasks.")
    ] = None,
) -> None:
    """List what there is: recipes, scenarios, components, nets, environments and their tasks."""
    from hetrl import catalog
    from hetrl.recipe.read import load, shipped

    table = Table.grid(padding=(0, 2))
    with_tasks = _environments_with_tasks() if kind not in (None, "recipe", "scenario") else {}
    known = ("recipe", "scenario", *catalog.KINDS, *with_tasks)
    if kind is not None and kind not in known:
        raise RecipeError(f"no kind '{kind}'.{nearest(kind, known)}")
    if kind in (None, "recipe"):
        for name, path in shipped().items():
            about = "a task section: task=" + name if name.startswith("task/") else load(path).about
            table.add_row(f"recipe  {name}" if kind is None else name, about)
    if kind == "scenario":
        from hetrl.env.vmas import scenario_arguments, scenarios

        for name in scenarios():
            accepted = scenario_arguments(name)
            table.add_row(name, ", ".join(sorted(accepted)) if accepted is not None else "(see its source)")
    elif kind in with_tasks:
        for name, about in with_tasks[kind].catalogue().items():
            table.add_row(name, about)
    elif kind != "recipe":
        for name in catalog.names(kind):
            point = catalog.installed().get(name)
            package = f"{point.dist.name} {point.dist.version}" if point is not None and point.dist else ""
            word = name.split("/")[1]
            more = f" Tasks: hetrl list {word}" if word in with_tasks else ""
            table.add_row(name, (package or catalog.summary(name)) + more)
        for name, why in catalog.unusable().items():
            if kind is None or name.startswith(f"{kind}/"):
                table.add_row(name, f"unusable: {why}")
    out.print(table)


def _environments_with_tasks() -> dict[str, Any]:
    """Return the built-in environments that list their tasks (``catalogue``), by the last word of their name."""
    from hetrl import catalog

    built_in = {name.split("/")[1]: catalog.resolve(name) for name in catalog.BUILT_IN if name.startswith("env/")}
    return {word: cls for word, cls in built_in.items() if hasattr(cls, "catalogue")}
