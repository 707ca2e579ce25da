"""The command line: train, check, show, diff, list, eval, groups, probe, plot, compare, report, cp, new."""

import sys
import traceback
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hetrl import catalog
from hetrl.disk import replace_text
from hetrl.errors import HetrlError, RecipeError, RunError, nearest
from hetrl.recipe.check import check as check_recipe
from hetrl.recipe.check.warnings import warnings_of
from hetrl.recipe.read import load, shipped
from hetrl.recipe.schema import Recipe

app = typer.Typer(
    help="Compose, check, train and understand heterogeneous-agent MARL.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
out = Console(markup=False, emoji=False)  # texts of recipes, paths and errors are printed as they are
err = Console(stderr=True, markup=False, emoji=False)

_BUG = "this is a bug of hetrl, or of a package that the recipe names; please report it, with the lines above."

RecipeName = Annotated[str, typer.Argument(help="A shipped recipe (see 'hetrl list recipe') or a YAML file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="Changes, such as run.seed=1 or update.actors.epochs=10.", metavar="[A.B=C]..."),
]


@app.command()
def train(
    recipe: Annotated[str | None, typer.Argument(help="A shipped recipe or a YAML file.")] = None,
    overrides: Overrides = None,
    folder: Annotated[Path | None, typer.Option(help="The run's folder; by default a new one under runs/.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Continue the run, or the seeds, in this folder instead.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Train so many seeds, side by side in one folder.")] = None,
    at_once: Annotated[int | None, typer.Option(min=1, help="Seeds at once; by default as many as cores.")] = None,
    report: Annotated[bool, typer.Option("--report", help="Write the run's page, report.html, at the end.")] = False,
    wandb: Annotated[str | None, typer.Option(help="Also log to this Weights & Biases project.")] = None,
    monitor: Annotated[int | None, typer.Option(min=1, help="Measure the bound every so many frames.")] = None,
) -> None:
    """Train a recipe, or continue a run with --resume FOLDER."""
    from hetrl.runs.parent import follow_parent

    follow_parent()  # before all that takes time
    from hetrl.report.monitor import BoundMonitor
    from hetrl.runs.run import resume as continue_run
    from hetrl.runs.run import train
    from hetrl.runs.seeds import SeedsFolder, resume_seeds, train_seeds

    texts = overrides or []
    several = seeds is not None or (resume is not None and SeedsFolder(resume).recipe.exists())
    if at_once is not None and not several:
        raise RunError("--at-once goes with --seeds.")
    if several:
        _refuse_for_several(monitor, report)
    callbacks = [] if monitor is None else [BoundMonitor(monitor)]
    if resume is not None:
        if folder is not None:
            raise RunError("--folder and --resume do not go together; the run stays in its folder.")
        texts = [*([recipe] if recipe else []), *texts]
        if several:
            _finish_seeds(resume_seeds(resume, *texts, count=seeds, at_once=at_once, wandb=wandb))
        else:
            _finish(continue_run(resume, *texts, wandb=wandb, callbacks=callbacks), report)
    elif recipe is None:
        raise RunError("say which recipe to train (see 'hetrl list recipe'), or --resume FOLDER.")
    elif seeds is not None:
        _finish_seeds(train_seeds(_warned(load(recipe, *texts)), seeds, folder, at_once=at_once, wandb=wandb))
    else:
        _finish(train(_warned(load(recipe, *texts)), folder, wandb=wandb, callbacks=callbacks), report)


def _warned(recipe: Recipe) -> Recipe:
    """Return a recipe that links, after saying in a line each what it says in vain."""
    check_recipe(recipe)
    for line in warnings_of(recipe):
        err.print(f"warning: {line}", style="yellow", soft_wrap=True, highlight=False)
    return recipe


def _refuse_for_several(monitor: int | None, report: bool) -> None:
    """Refuse options that are about one run."""
    if monitor is not None:
        raise RunError("--monitor is about one run; train the seeds one by one, with run.seed=...")
    if report:
        raise RunError("--report is about one run; write it afterwards, hetrl report RUN.")


def _finish(folder: Any, report: bool) -> None:
    """Say how to go on if the run was stopped early, and where everything is."""
    frames = folder.load_checkpoint()["hetrl"]["frames"]
    recipe = load(folder.recipe)
    if frames < recipe.run.frames:
        out.print(f"Stopped after {frames:,} of {recipe.run.frames:,} frames. Continue with:", highlight=False)
        out.print(f"  hetrl train --resume {folder.path}", highlight=False, soft_wrap=True)
    else:
        out.print(f"Done: {frames:,} frames.{_last_return(folder.metrics)}", highlight=False)
    picture = _picture([folder.path], None, folder.path / "curve.png")
    table = Table.grid(padding=(0, 2))
    rows = {"curve": picture, "metrics": folder.metrics, "checkpoint": folder.checkpoint, "recipe": folder.recipe}
    if report:
        from hetrl.report.page import write

        rows["report"] = write(folder.path, folder.path / "report.html")
    for name, path in rows.items():
        table.add_row(name, str(path))
    out.print(table)


def _finish_seeds(outcome: Any) -> None:
    """Say how the seeds ended, where their curve is, and how to go on."""
    folder = outcome.folder
    parts = [f"{len(seeds)} {word}" for word in ("done", "stopped", "failed") if (seeds := getattr(outcome, word))]
    out.print(f"Seeds: {', '.join(parts)}.", highlight=False)
    if outcome.done:
        picture = _picture([folder.runs[seed] for seed in outcome.done], None, folder.path / "curve.png")
        table = Table.grid(padding=(0, 2))
        table.add_row("curve", str(picture))
        table.add_row("runs", str(folder.path))
        out.print(table)
    if outcome.stopped or outcome.failed:
        out.print("Continue with:", highlight=False)
        out.print(f"  hetrl train --resume {folder.path}", highlight=False, soft_wrap=True)
    outcome.refuse_failures()


def _last_return(metrics: Path) -> str:
    from hetrl.runs.csv_table import read

    for name in ("eval/return", "return"):
        values = [row[name] for row in read(metrics) if name in row]
        if values:
            return f" {name} went from {values[0]:.3g} to {values[-1]:.3g} (best {max(values):.3g})."
    return ""


@app.command()
def check(recipe: RecipeName, overrides: Overrides = None) -> None:
    """Check that a recipe links: names, arguments, keys, gradients, nets, and its task's agents."""
    from hetrl.engine.link import link

    loaded = load(recipe, *(overrides or []))
    check_recipe(loaded)

    linked = link(loaded, _team(loaded))
    _warned(loaded)
    steps = sum(1 for phase in loaded.update for _ in phase.every_step)
    out.print(f"{loaded.name}: links. {len(loaded.update)} phases, {steps} steps, {len(linked.team)} agents.")


@app.command()
def show(recipe: RecipeName, overrides: Overrides = None) -> None:
    """Print the linked program: every step with the keys it reads and writes, and their shapes."""
    from hetrl.engine.show import show

    loaded = load(recipe, *(overrides or []))
    check_recipe(loaded)
    out.print(show(loaded, _team(loaded)))


@app.command()
def diff(
    one: Annotated[str, typer.Argument(help="A shipped recipe, a YAML file, or a run's folder.")],
    other: Annotated[str, typer.Argument(help="The same, to set beside it.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Changes to the second one.", metavar="[A.B=C]...")
    ] = None,
) -> None:
    """Say what two recipes do differently: nets, phases, steps and arguments, rather than lines of text."""
    from hetrl.recipe.diff import recipe_of, show_differences

    texts = overrides or []
    recipes = load(recipe_of(one)), load(recipe_of(other), *texts)
    out.print(show_differences(*recipes, (one, " ".join([other, *texts]))))


def _team(recipe: Recipe) -> Any:
    from hetrl.train.build import make_env, resolve_device

    return make_env(recipe, resolve_device("cpu"), 0, n_envs=1).team


@app.command(name="list")
def list_(
    kind: Annotated[
        str | None, typer.Argument(help="recipe, scenario, a kind of component, or an environment with many tasks.")
    ] = None,
) -> None:
    """List what there is: recipes, scenarios, components, nets, environments and their tasks."""
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
    built_in = {name.split("/")[1]: catalog.resolve(name) for name in catalog.BUILT_IN if name.startswith("env/")}
    return {word: cls for word, cls in built_in.items() if hasattr(cls, "catalogue")}


@app.command(name="eval")
def evaluate(
    run: Annotated[Path, typer.Argument(help="A run's folder.")],
    overrides: Overrides = None,
    episodes: Annotated[int | None, typer.Option(help="How many; by default run.n_eval_episodes.")] = None,
    video: Annotated[
        bool,
        typer.Option("--video", help="Film the first one, as RUN/episode.mp4 or as the FILE.mp4 or .gif you name."),
    ] = False,
) -> None:
    """Evaluate a run's last checkpoint, each agent acting deterministically on what it observes."""
    from hetrl.runs.run import evaluate_run

    changes, film = list(overrides or []), None
    if video:
        from hetrl.report.video import Film, chosen_file

        path, changes = chosen_file(run, changes)
        film = Film(path)
    with film or nullcontext():
        result = evaluate_run(run, *changes, n_episodes=episodes, watch=film)
    returns, lengths = result.returns, result.lengths
    out.print(
        f"{len(returns)} episodes: return {returns.mean():.4g} (std {returns.std(correction=0):.3g}, "
        f"{returns.min():.4g} to {returns.max():.4g}), length {lengths.mean():.4g}.",
        highlight=False,
    )
    if film is not None:
        out.print(str(film.path), soft_wrap=True, highlight=False)


@app.command()
def groups(
    run: Annotated[Path, typer.Argument(help="The folder of a run in which not all share a policy.")],
    threshold: Annotated[float, typer.Option(help="Agents whose policies are at most this far apart share.")] = 0.2,
    into: Annotated[Path | None, typer.Option(help="Also write a run that goes on with shared policies, here.")] = None,
) -> None:
    """Group a run's agents by what they do, and say which override trains them with shared policies."""
    from hetrl.report.alike import alike
    from hetrl.runs.regroup import regroup

    found = alike(run, threshold)
    for group, (names, distances) in found.distances.items():
        table = Table(group, *names)
        for name, row in zip(names, distances.tolist(), strict=True):
            table.add_row(name, *(f"{value:.3f}" for value in row))
        out.print(table)
    out.print(found.override, soft_wrap=True, highlight=False)
    if into is not None:
        new = regroup(run, found.groups, found.models, into)
        frames, whole = new.load_checkpoint()["hetrl"]["frames"], load(new.recipe).run.frames
        told = f"{into} stands at {frames:,} of {whole:,} frames, with these groups. Continue with:"
        more = f" run.frames={2 * frames}" if frames >= whole else ""
        out.print(told, soft_wrap=True, highlight=False)
        out.print(f"  hetrl train --resume {into}{more}", highlight=False, soft_wrap=True)


@app.command()
def probe(
    runs: Annotated[list[Path], typer.Argument(help="Runs or folders of seeds, with an ensemble of joint values.")],
    noise: Annotated[
        str, typer.Option(help="Deviations, in halves of the actions' range, with commas between them.")
    ] = "0,0.05,0.1,0.2,0.4",
    episodes: Annotated[
        int | None, typer.Option(min=1, help="For each deviation; by default run.n_eval_episodes.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option(help="The picture to write, and a .csv beside it; by default RUN/probe.png.")
    ] = None,
) -> None:
    """Perturb what some of the agents do: what it costs, and how much the critic's members disagree about it."""
    from hetrl.report.probe import draw, parsed, probe, save, table
    from hetrl.report.writable import PICTURES, check_writable
    from hetrl.runs.several import run_folders

    deviations = parsed(noise)
    picture = to or (runs[0] if len(runs) == 1 else Path()) / "probe.png"
    check_writable(picture, PICTURES)
    check_writable(picture.with_suffix(".csv"), (".csv",))
    found = {}
    for run in run_folders(runs):
        found[run] = probe(run, deviations, episodes)
        out.print(table(str(run), found[run]))
    for path in (draw(found, picture), save(found, picture.with_suffix(".csv"))):
        out.print(str(path), soft_wrap=True, highlight=False)


@app.command()
def plot(
    runs: Annotated[list[Path], typer.Argument(help="Runs or folders of seeds; what differs only by seed is a curve.")],
    metric: Annotated[str | None, typer.Option(help="By default eval/return, or return without evaluations.")] = None,
    to: Annotated[Path, typer.Option(help="The picture to write.")] = Path("curve.png"),
) -> None:
    """Draw learning curves as a PNG: the mean over seeds with its interval."""
    out.print(str(_picture(runs, metric, to)), soft_wrap=True, highlight=False)


def _picture(runs: list[Path], metric: str | None, path: Path) -> Path:
    from hetrl.report.curve import draw_runs

    return draw_runs(runs, metric, path)


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Runs or folders of seeds; seeds of one recipe belong together.")],
    score: Annotated[
        str, typer.Option(help="last: the last evaluation; tail: mean of the last tenth; area: mean of the whole run.")
    ] = "last",
    metric: Annotated[str, typer.Option(help="A column of metrics.csv.")] = "eval/return",
    scale: Annotated[
        list[str] | None, typer.Option(help="Also all tasks together, scaled: TASK=LOW:HIGH for each, or 'runs'.")
    ] = None,
    anyway: Annotated[bool, typer.Option("--anyway", help="Compare what is not comparable, and say why not.")] = False,
    to: Annotated[Path, typer.Option(help="The picture to write.")] = Path("comparison.png"),
) -> None:
    """Compare recipes over seeds: interquartile means, probabilities of improvement, sample efficiency."""
    from hetrl.report.compare import compare
    from hetrl.report.compare_picture import draw
    from hetrl.report.compare_table import as_table
    from hetrl.report.writable import PICTURES, check_writable

    check_writable(to, PICTURES)
    comparison = compare(runs, score=score, metric=metric, scale=scale or [], anyway=anyway)
    out.print(as_table(comparison))
    out.print(str(draw(comparison, to)), soft_wrap=True, highlight=False)


@app.command(name="report")
def report_(
    run: Annotated[Path, typer.Argument(help="A run's folder.")],
    to: Annotated[Path | None, typer.Option(help="The page to write; by default RUN/report.html.")] = None,
) -> None:
    """Write one page about a run, in one file: curves, agents, the linked program, recipe, timings, versions."""
    from hetrl.report.page import write

    out.print(str(write(run, to or run / "report.html")), soft_wrap=True, highlight=False)


@app.command()
def cp(
    recipe: RecipeName,
    file: Annotated[Path, typer.Argument(help="Where to put the copy.")],
) -> None:
    """Copy a shipped recipe to a file of your own, to change it."""
    known = shipped()
    if recipe not in known:
        load(recipe)  # says what is wrong, and the nearest name
        known = {recipe: Path(recipe)}
    try:
        if file.is_dir():
            file = file / known[recipe].name
        if file.exists():
            raise RunError(f"{file} exists; choose another name.")
    except OSError as error:  # a name too long, a folder that is closed to us
        raise RunError(f"{file} cannot be written: {error.strerror or error}.") from None
    replace_text(file, known[recipe].read_text(encoding="utf-8"))
    out.print(f"{file}\nhetrl check {file}\nhetrl train {file}", soft_wrap=True, highlight=False)


@app.command()
def new(
    kind: Annotated[str, typer.Argument(help="loss, weight, estimate, order, net, optim or data.")],
    name: Annotated[str, typer.Argument(help="What recipes will call it, vendor.name.", metavar="VENDOR.NAME")],
    folder: Annotated[Path, typer.Argument(help="Where to write the package; a folder that does not exist.")],
) -> None:
    """Start a package of your own: one part, its tests to fill in, and a recipe that uses it."""
    from hetrl.scaffold.new import new

    files = new(kind, name, folder)
    steps = f'cd {folder}\npython -m pip install -e ".[dev]"\npython -m pytest    # fails where something is to fill in'
    text = "\n".join([*map(str, files), "", "Next:", *(f"  {line}" for line in steps.splitlines())])
    out.print(text, soft_wrap=True, highlight=False)


def main() -> None:
    """Run the command line; an error raised on purpose is one line and exit code 2, Ctrl-C one line and 130."""
    try:
        app()
    except HetrlError as error:
        err.print(Text.assemble(("error", "bold red"), f" {error}"), soft_wrap=True)
        sys.exit(2)
    except (KeyboardInterrupt, SystemExit) as end:
        if not _interrupted(end):
            raise
        err.print("Interrupted. A run goes on from its last checkpoint: hetrl train --resume RUN.", soft_wrap=True)
        sys.exit(130)
    except Exception:
        err.print(traceback.format_exc(), end="", soft_wrap=True, highlight=False)
        err.print(Text.assemble(("error", "bold red"), f" {_BUG}"), soft_wrap=True)
        sys.exit(1)


def _interrupted(end: BaseException | None) -> bool:
    """Whether an end comes from Ctrl-C: typer and Lightning make exits of their own of it."""
    while end is not None and not isinstance(end, KeyboardInterrupt):
        end = end.__cause__ or end.__context__
    return end is not None


if __name__ == "__main__":
    main()
