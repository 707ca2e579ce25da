"""What is said when training ends: how far it came, where everything is, and how to go on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from hetrl.cli.console import out
from hetrl.errors import RunError

if TYPE_CHECKING:
    from hetrl.runs.combined import Outcomes
    from hetrl.runs.folder import Folder
    from hetrl.runs.seeds import Outcome
    from hetrl.search.found import Found


def finish(folder: "Folder", report: bool) -> None:
    """Say how to go on if the run was stopped early, and where everything is; of several processes the first one."""
    from hetrl.ranks import Rank
    from hetrl.recipe.read import load
    from hetrl.report.curve import draw_runs
    from hetrl.runs.parts import again

    recipe = load(folder.recipe)
    if not Rank.here(recipe.run.devices, recipe.run.nodes).first:
        return
    frames = folder.load_checkpoint()["hetrl"]["frames"]
    if frames < recipe.run.frames:
        out.print(f"Stopped after {frames:,} of {recipe.run.frames:,} frames. Continue with:", highlight=False)
        out.print(f"  hetrl train --resume {folder.path}{again(recipe.tree)}", highlight=False, soft_wrap=True)
    else:
        out.print(f"Done: {frames:,} frames.{_last_return(folder.metrics)}", highlight=False)
    picture = draw_runs([folder.path], None, folder.path / "curve.png")
    table = Table.grid(padding=(0, 2))
    rows = {"curve": picture, "metrics": folder.metrics, "checkpoint": folder.checkpoint, "recipe": folder.recipe}
    if report:
        from hetrl.report.page import write

        rows["report"] = write(folder.path, folder.path / "report.html")
    for name, path in rows.items():
        table.add_row(name, str(path))
    out.print(table)


def finish_seeds(outcome: "Outcome") -> None:
    """Say how the seeds ended, where their curve is, and how to go on."""
    from hetrl.recipe.read import load
    from hetrl.report.curve import draw_runs
    from hetrl.runs.csv_table import read
    from hetrl.runs.folder import Folder
    from hetrl.runs.parts import again

    folder = outcome.folder
    parts = [f"{len(seeds)} {word}" for word in ("done", "stopped", "failed") if (seeds := getattr(outcome, word))]
    out.print(f"Seeds: {', '.join(parts)}.", highlight=False)
    whole = [folder.runs[seed] for seed in sorted([*outcome.done, *outcome.stopped])]
    begun = [run for run in whole if Folder(run).metrics.exists() and read(Folder(run).metrics)]
    if begun:
        picture = draw_runs(begun, None, folder.path / "curve.png")
        table = Table.grid(padding=(0, 2))
        table.add_row("curve", str(picture))
        table.add_row("runs", str(folder.path))
        out.print(table)
    if outcome.stopped or outcome.failed:
        out.print("Continue with:", highlight=False)
        given = again(load(folder.recipe).tree)
        out.print(f"  hetrl train --resume {folder.path}{given}", highlight=False, soft_wrap=True)
    outcome.refuse_failures()


def finish_combinations(outcomes: "Outcomes") -> None:
    """Say how all combinations ended, how to compare them, and how to go on."""
    from hetrl.recipe.read import load
    from hetrl.runs.parts import again

    table = Table("combination", "done", "stopped", "failed")
    for name, each in outcomes.each.items():
        table.add_row(name, *(str(len(getattr(each, word))) for word in ("done", "stopped", "failed")))
    out.print(table)
    if any(each.stopped or each.failed for each in outcomes.each.values()):
        trees = [load(seeds.recipe).tree for seeds in outcomes.folder.combinations.values()]
        given = "".join(dict.fromkeys(again(tree) for tree in trees))
        out.print("Continue with:", highlight=False)
        out.print(f"  hetrl train --resume {outcomes.folder.path}{given}", highlight=False, soft_wrap=True)
    else:
        out.print("Compare them with:", highlight=False)
        out.print(f"  hetrl compare {outcomes.folder.path}", highlight=False, soft_wrap=True)
    outcomes.refuse_failures()


def finish_search(found: "Found") -> None:
    """Say how the trials of a search ended, which is the best, and how to go on."""
    states = {"done": "COMPLETE", "pruned": "PRUNED", "stopped": "RUNNING", "failed": "FAIL"}
    counts = {word: len(found.trials(state)) for word, state in states.items()}
    out.print(f"Trials: {', '.join(f'{count} {word}' for word, count in counts.items() if count)}.", highlight=False)
    path = found.folder.path
    for words, numbers in found.failures.items():
        out.print(f"Failed, {', '.join(map(str, numbers))}: {words}", highlight=False, soft_wrap=True)
    if counts["done"]:
        out.print(f"{best_line(found)} Its words, and how much each matters:", highlight=False, soft_wrap=True)
        out.print(f"  hetrl search {path} --best", highlight=False, soft_wrap=True)
    if not found.whole:
        out.print("Continue with:", highlight=False)
        out.print(f"  hetrl search --resume {path}{found.again}", highlight=False, soft_wrap=True)
    if counts["failed"] and not counts["done"]:
        raise RunError(f"no trial has ended well; what those that began have printed is in {path}/trial*.log.")


def best_line(found: "Found") -> str:
    """Return in a sentence which trial of a search is the best, and of how many."""
    return f"The best of {found.ended} is trial {found.best.number}: {found.words.metric} {found.best.value:.4g}."


def _last_return(metrics: Path) -> str:
    from hetrl.runs.csv_table import read

    rows = read(metrics)
    for name in ("eval/return", "return"):
        values = [row[name] for row in rows if name in row]
        if values:
            return f" {name} went from {values[0]:.3g} to {values[-1]:.3g} (best {max(values):.3g}).{_last_rates(rows)}"
    return ""


def _last_rates(rows: Sequence[Mapping[str, float]]) -> str:
    """Return the rates of the last evaluation, such as that of wins, with their intervals."""
    last = next((row for row in reversed(rows) if "eval/return" in row), {})
    return "".join(
        f" {name} is {value:.3g} (95 % {last[f'{name}_low']:.3g} to {last[f'{name}_high']:.3g})."
        for name, value in last.items()
        if f"{name}_low" in last
    )
