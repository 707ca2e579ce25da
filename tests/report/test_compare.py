"""Comparisons: what belongs together, what is refused, and the statistics by hand."""

import functools
import io
import json
from itertools import permutations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text
from rich.console import Console

import hetrl
from hetrl import cli
from hetrl.errors import DependencyError, RunError
from hetrl.report import statistics
from hetrl.report.comparable import _apart, _labels, comparable
from hetrl.report.compare import SCORES, compare
from hetrl.report.compare_picture import draw
from hetrl.report.compare_table import as_table
from hetrl.report.curve import draw_runs
from hetrl.report.looks import looks
from hetrl.report.statistics import interquartile_curve, interquartile_mean, probability_of_improvement
from hetrl.runs.several import folder_name

SHORT = ("run.frames=100", "run.eval_every=50", "run.n_eval_episodes=4")


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(statistics, "RESAMPLES", 100)
    monkeypatch.setattr(statistics, "FEWER_RESAMPLES", 50)


@functools.cache
def resolved(recipe, *overrides):
    return hetrl.load(recipe, *SHORT, *overrides).yaml()


@pytest.fixture
def run(tmp_path):
    """Return a function that writes the folder of a run with the given evaluations, at frames 0, 50, 100."""

    def write(name, recipe, *overrides, evaluations=(0.0, 1.0, 2.0), at=(0, 50, 100), packages=None):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "recipe.yaml").write_text(resolved(recipe, *overrides))
        rows = [f"{frames},{value}" for frames, value in zip(at, evaluations, strict=True)]
        (folder / "metrics.csv").write_text("\n".join(["frames,eval/return", *rows, ""]))
        (folder / "versions.json").write_text(json.dumps({"packages": packages or {"torch": "1"}}))
        return folder

    return write


@pytest.fixture
def runs(run):
    """Return five seeds of HAPPO that end at 1 to 5, and three of MAPPO that end at 2, 2 and 8."""
    ours = [run(f"ours_{seed}", "happo", f"run.seed={seed}", evaluations=(0, 0, seed + 1)) for seed in range(5)]
    theirs = [run(f"theirs_{seed}", "mappo", f"run.seed={seed}", evaluations=(0, 4, end))
              for seed, end in enumerate((2, 2, 8))]  # fmt: skip
    return [*ours, *theirs]


# ----- statistics


def test_interquartile_mean_by_hand():
    """Of 1, 2, 3, 4, 100 the ends are left out: (2 + 3 + 4) / 3 = 3. Of three scores, none is: (1 + 2 + 6) / 3 = 3."""
    scores = np.array([[100.0], [1.0], [3.0], [2.0], [4.0]])
    found = interquartile_mean(scores)
    assert found.value == 3.0 and 1.0 <= found.low < 3.0 < found.high <= 100.0
    assert interquartile_mean(np.array([[1.0], [2.0], [6.0]])).value == 3.0
    assert interquartile_mean(scores) == found  # the same resamples each time
    three = interquartile_mean(np.array([[1.0], [2.0], [6.0]]))  # 3 and 4.303 times the root of 7 / 3 to either side
    assert three.student and (three.low, three.high) == pytest.approx((3 - 6.5730, 3 + 6.5730), abs=1e-3)
    assert not found.student and not interquartile_mean(scores[:2]).student
    few = interquartile_mean(scores[:2])
    assert (few.value, few.low, few.high) == (50.5, None, None)


def test_a_curve_is_the_interquartile_mean_at_each_point():
    curves = np.random.default_rng(0).normal(size=(6, 4))
    values, low, high = interquartile_curve(curves)
    each = [interquartile_mean(curves[:, [point]]).value for point in range(4)]
    np.testing.assert_allclose(values, each)
    assert low.shape == high.shape == (4,) and (low < values).all() and (values < high).all()
    values, low, high = interquartile_curve(curves[:4])
    np.testing.assert_allclose((low + high) / 2, curves[:4].mean(0))  # Student's t of the mean, of fewer than five
    np.testing.assert_allclose(values, np.sort(curves[:4], 0)[1:3].mean(0))
    values, low, high = interquartile_curve(curves[:2])
    assert low is high is None and values.shape == (4,)


def test_probability_of_improvement_by_hand():
    """1, 2, 3 against 2, 2, 4: no pair is won by 1; 2 ties twice, 3 wins two. (2 x 1/2 + 2) / 9 = 1/3."""
    one, other = np.array([[1.0], [2.0], [3.0]]), np.array([[2.0], [2.0], [4.0]])
    found = probability_of_improvement(one, other)
    assert found.value == pytest.approx(1 / 3) and 0 <= found.low < 1 / 3 < found.high <= 1
    assert probability_of_improvement(other, one).value == pytest.approx(2 / 3)
    assert probability_of_improvement(one[:2], other).low is None
    same = probability_of_improvement(np.ones((3, 1)), np.ones((4, 1)))
    assert (same.value, same.low, same.high) == (0.5, 0.5, 0.5)


def test_the_process_keeps_its_randomness():
    np.random.seed(1)
    expected = np.random.random()
    np.random.seed(1)
    interquartile_mean(np.arange(5.0)[:, None])
    assert np.random.random() == expected


def test_scores_by_hand():
    """Values 0, 2, 6, 8 at 0, 50, 90, 100: area (50 + 4 x 40 + 7 x 10) / 100 = 2.8, and the last tenth begins at 90."""
    frames, values = np.array([0.0, 50, 90, 100]), np.array([0.0, 2, 6, 8])
    assert {name: score(frames, values) for name, (score, _) in SCORES.items()} == {"last": 8, "tail": 7, "area": 2.8}


# ----- grouping


def test_seeds_belong_together_by_recipe_not_by_name(run):
    paths = [
        run("a", "happo"),
        run("b", "mappo"),
        run("c", "happo", "run.seed=1", "run.threads=2", "about=Other words"),
    ]
    found = comparable(paths)
    assert [(entry.method, entry.task, [path.name for path in entry.runs]) for entry in found.entries] == [
        ("HAPPO", "balance", ["a", "c"]),
        ("MAPPO", "balance", ["b"]),
    ]


def test_recipes_of_one_name_are_told_apart(run):
    paths = [run(f"x{per}", "happo", f"nets.actor.per={per}") for per in ("agent", "group")]
    paths += [run("clip", "happo", "nets.actor.per=team")]
    assert comparable(paths).methods == ["HAPPO (actor.per=agent)", "HAPPO (actor.per=group)", "HAPPO (actor.per=team)"]
    order = run("order", "happo", "update.actors.order.use=order/fixed")
    assert comparable([paths[0], order]).methods == ["HAPPO (order/random_permutation)", "HAPPO (order/fixed)"]
    both = run("both_0", "happo", "update.actors.order.use=order/fixed", "update.actors.epochs=3")
    assert comparable([paths[0], order, both]).methods == [
        "HAPPO (order/random_permutation, actors.epochs=5)",
        "HAPPO (order/fixed, actors.epochs=5)",
        "HAPPO (order/fixed, actors.epochs=3)",
    ]


MANY = ("update.actors.order.use=order/fixed", "update.actors.epochs=3", "update.actors.minibatches=2")


def test_many_differences_are_cut_short_and_numbered(run):
    changes = [(), (*MANY, "data.frames=3200"), (*MANY, "data.frames=640", "nets.actor.hidden=[8]")]
    paths = [run(f"x{number}", "happo", *each) for number, each in enumerate(changes)]
    first, second, third = comparable(paths).methods
    assert first == "HAPPO (actor.hidden=[128, 128], data.frames=6400, order/random_permutation, ...)"
    assert second == "HAPPO (actor.hidden=[128, 128], data.frames=3200, order/fixed, ...)"
    assert third == "HAPPO (actor.hidden=[8], data.frames=640, order/fixed, ...)"


def test_words_that_do_not_tell_recipes_apart_are_numbered():
    trees = [{"a": 1, "b": 2, "c": 3, "d": number} for number in (0, 1, 0)]
    places = [("a",), ("b",), ("c",), ("d",)]
    assert _labels(trees, places) == ["a=1, b=2, c=3, ... #1", "a=1, b=2, c=3, ... #2", "a=1, b=2, c=3, ... #1"]
    trees = [{"steps": [{"use": "x"}] * count} for count in (1, 2)] + [{}]
    assert _labels(trees, _apart(trees)) == ["steps=1 entries", "steps=2 entries", "steps=default"]


def test_a_method_has_one_name_on_all_tasks(run):
    paths = [
        run(f"{task}_{name}", "happo", f"task.scenario={task}", *changes)
        for task in ("balance", "navigation")
        for name, changes in (("one", ()), ("other", MANY))
    ]
    found = comparable(paths)
    assert len(found.methods) == len(found.tasks) == 2 and found.complete
    with pytest.raises(RunError, match=r"epochs=3.*\) did not run on navigation, HAPPO .*epochs=5.*\) did\."):
        comparable(paths[:3])


def test_different_tasks_have_different_names(run):
    changes = [(), ("task.horizon=50",), ("task.horizon=50", "task.n_agents=4")]
    paths = [run(f"x{number}", "happo", *each) for number, each in enumerate(changes)]
    assert comparable(paths).tasks == [
        "balance", "balance, n_agents=3, horizon=50", "balance, n_agents=4, horizon=50",
    ]  # fmt: skip


def test_a_folder_of_seeds_is_its_runs(run, tmp_path):
    inside = [run(f"mine/seed{seed}", "happo", f"run.seed={seed}") for seed in (0, 1, 10)]
    (tmp_path / "mine" / "seeds.yaml").write_text("x")
    assert comparable([tmp_path / "mine"]).entries[0].runs == tuple(inside)
    assert folder_name(inside) == "mine" and folder_name([tmp_path / "ours_1", tmp_path / "ours_2"]) == "ours"
    assert draw_runs([tmp_path / "mine"], None, tmp_path / "curve.png").stat().st_size > 10_000
    (tmp_path / "mine" / "seed11").mkdir()
    with pytest.raises(RunError, match=r"mine/seed11 has not been started; hetrl train --resume .*/mine\."):
        comparable([tmp_path / "mine"])


# ----- refusals


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["run.frames=200"], r"theirs is not finished \(100 of 200 frames\); hetrl train --resume .*/theirs\."),
        (["run.frames=90"], r"^run\.frames is 100 in .*/ours and 90 in .*/theirs\. To compare all the same: --any"),
        (["run.n_eval_episodes=8"], r"^run\.n_eval_episodes is 4 in .*/ours and 8 in .*/theirs\."),
        (["run.eval_every=10"], r"^run\.eval_every is 50 in .*/ours and 10 in .*/theirs\."),
        (["task.horizon=50"], r"HAPPO ran on balance, MAPPO on balance, horizon=50: task\.horizon is 100 and 50\."),
        (["task.scenario=navigation"], r"^HAPPO ran on balance, MAPPO on navigation: task\.scenario is balance"),
    ],
)  # fmt: skip
def test_what_was_measured_otherwise_is_refused_unless_told(run, overrides, message):
    paths = [run("ours", "happo"), run("theirs", "mappo", *overrides)]
    with pytest.raises(RunError, match=message):
        comparable(paths)
    notes = comparable(paths, anyway=True).notes
    assert notes[-1].startswith("1 seed in some entry") and len(notes) >= 2


def test_the_order_of_the_runs_does_not_matter_to_what_is_refused(run):
    paths = [
        run("happo_balance", "happo"),
        run("happo_navigation", "happo", "task.scenario=navigation"),
        run("mappo_balance", "mappo"),
    ]
    for given in permutations(paths):
        with pytest.raises(RunError, match=r"^MAPPO did not run on navigation, HAPPO did\. To compare"):
            comparable(given)
    for given in permutations(paths[1:]):
        with pytest.raises(
            RunError, match=r"APPO ran on \w+, .APPO on \w+: task\.scenario is \w+ and \w+\. To compare"
        ):
            comparable(given)


def test_seeds_of_which_none_has_begun_are_refused(tmp_path):
    (tmp_path / "mine" / "seed0").mkdir(parents=True)
    (tmp_path / "mine" / "seeds.yaml").write_text("x")
    message = r"^no seed has been started in .*/mine; hetrl train --resume .*/mine\.$"
    with pytest.raises(RunError, match=message):
        comparable([tmp_path / "mine"], anyway=True)
    with pytest.raises(RunError, match=message):
        draw_runs([tmp_path / "mine"], None, tmp_path / "curve.png")
    assert not (tmp_path / "curve.png").exists()


def test_how_many_environments_train_is_no_other_task(run):
    paths = [run("ours", "happo"), run("theirs", "mappo", "task.n_envs=32", "run.threads=4", "run.device=cpu")]
    assert comparable(paths).tasks == ["balance"]


def test_a_repeated_run_or_seed_is_refused(run):
    ours, again = run("ours", "happo"), run("again", "happo")
    with pytest.raises(RunError, match="ours is named twice"):
        comparable([ours, ours], anyway=True)
    with pytest.raises(RunError, match="are the same recipe with the same seed 0; name one of them"):
        comparable([ours, again], anyway=True)
    with pytest.raises(RunError, match="nowhere is no run"):
        comparable([ours.parent / "nowhere"])


def test_other_versions_are_noted(run):
    paths = [run("ours", "happo"), run("theirs", "mappo", packages={"torch": "2"})]
    assert "torch had versions 1 and 2." in comparable(paths).notes


def test_the_metric_and_the_score_must_be_there(runs):
    with pytest.raises(RunError, match=r"--score best: there is no such score\. Nearest: 'last'"):
        compare(runs, score="best")
    with pytest.raises(RunError, match=r"has no metric 'return'\. Nearest: 'eval/return'"):
        compare(runs, metric="return")


@pytest.mark.parametrize("name", ["rliable", "scipy.stats"])
def test_without_its_package_it_says_which_extra(monkeypatch, name):
    monkeypatch.setitem(__import__("sys").modules, name, None)
    with pytest.raises(DependencyError, match=r"hetrl compare needs rliable: pip install 'hetrl\[compare\]'"):
        interquartile_mean(np.ones((3, 1)))


# ----- table and picture


def printed(comparison):
    console = Console(width=160, file=io.StringIO())
    console.print(as_table(comparison))
    return console.file.getvalue()


def test_the_table_has_the_figures_by_hand(runs):
    """IQM of 1..5 is 3, of 2, 2, 8 it is 4. Of 15 pairs, 3, 4, 5 win two each and 2 ties two: 7."""
    text = printed(compare(runs))
    lines = [line.strip("│").split("│") for line in text.splitlines() if line.startswith("│")]
    rows = {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in lines}
    assert (rows["HAPPO"][:2], rows["HAPPO"][3:]) == (["5", "3"], ["3", "1", "5"])
    assert (rows["MAPPO"][:2], rows["MAPPO"][3:]) == (["3", "4"], ["4", "2", "8"])
    assert rows["HAPPO over MAPPO"][0] == f"{7 / 15:.4g}"
    assert "A run's score is eval/return: its last value. An evaluation is 4 episodes" in text
    assert "Note: 3 seeds in some entry" in text
    said = " ".join(text.split())
    assert "(5,000 resamples, 2,000 for probabilities and curves); of fewer than 5 seeds, marked t, Student's" in said
    assert rows["MAPPO"][2] == "-4.606 to 12.61 t" and "t" not in rows["HAPPO"][2].replace("to", "")


def test_one_recipe_alone_has_no_pairs(runs, tmp_path):
    comparison = compare(runs[:5], score="area")
    assert "better" not in printed(comparison) and comparison.scores(comparison.about.entries[0])[4] == 1.25
    assert draw(comparison, tmp_path / "one.png").exists()


def test_curves_share_their_frames(run):
    paths = [run("ours", "happo", evaluations=(0, 2, 4, 6), at=(0, 40, 80, 120)), run("theirs", "mappo")]
    comparison = compare(paths)
    frames, values = comparison.curve(comparison.about.entries[0])
    assert frames.tolist() == [0, 50, 100] and values.tolist() == [[0, 2.5, 5]]


@pytest.fixture
def on_two_tasks(run):
    return [
        run(f"{recipe}_{task}_{seed}", recipe, f"task.scenario={task}", f"run.seed={seed}", evaluations=(0, 0, end))
        for recipe, task, ends in (("happo", "balance", (1, 2, 3)), ("happo", "navigation", (10, 20, 30)),
                                   ("mappo", "balance", (5, 5, 5)), ("mappo", "navigation", (10, 10, 10)))
        for seed, end in enumerate(ends)
    ]  # fmt: skip


def test_tasks_are_taken_together_only_when_told_how(on_two_tasks, tmp_path):
    """By hand: HAPPO 1, 2, 3 of 0 to 10 and 10, 20, 30 of 0 to 100 is 0.1, 0.2, 0.3 twice; of the six, 4 stay: 0.2."""
    apart = compare(on_two_tasks)
    assert apart.about.tasks == ["balance", "navigation"] and "scaled" not in printed(apart)
    comparison = compare(on_two_tasks, scale=["balance=0:10", "navigation=0:100"])
    means, pairs = comparison.statistics(None)
    assert means["HAPPO"].value == pytest.approx(0.2) and means["MAPPO"].value == pytest.approx(0.3)
    assert pairs[0][2].value == pytest.approx((0 + 2.5 / 3) / 2)
    assert "Scaled by hand: balance 0 is 0, 10 is 1; navigation 0 is 0, 100 is 1." in printed(comparison)
    assert draw(comparison, tmp_path / "both.png").stat().st_size > 20_000
    assert compare(on_two_tasks, scale=["runs"]).scales == {"balance": (1, 5), "navigation": (10, 30)}


@pytest.mark.parametrize(
    ("scale", "message"),
    [
        (["balance=0:1"], r"--scale: say what is 0 and 1 on 'navigation' too, navigation=LOW:HIGH\."),
        (["balance=0:1", "navigatoin=0:1"], r"no task 'navigatoin' is compared\. Nearest: 'navigation'"),
        (["balance=1"], r"--scale balance=1: write TASK=LOW:HIGH, or runs\."),
        (["balance=1:1", "navigation=0:1"], r"on 'balance' both ends are 1\."),
        (["balance=2:1", "navigation=0:1"], r"on 'balance' 2 and 1 are not a lower and a higher finite number\."),
        (["balance=0:inf", "navigation=0:1"], r"on 'balance' 0 and inf are not"),
        (["balance=nan:1", "navigation=0:1"], r"on 'balance' nan and 1 are not"),
        (["balance=0:1", "navigation=0:1", "balance=0:2"], r"--scale balance=\.\.\.: 'balance' is given twice\."),
    ],
)
def test_a_wrong_scale_is_refused(on_two_tasks, scale, message):
    with pytest.raises(RunError, match=message):
        compare(on_two_tasks, scale=scale)


def test_a_scale_needs_every_run(on_two_tasks):
    with pytest.raises(RunError, match="every method needs runs on each, and equally many"):
        compare(on_two_tasks[:-1], scale=["runs"])


def test_the_command(runs, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    cli.app(["compare", *map(str, runs), "--to", str(tmp_path / "picture.png")], standalone_mode=False)
    text = capsys.readouterr().out
    assert "HAPPO over MAPPO" in text and text.splitlines()[-1] == str(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 20_000


def test_one_seed_is_one_seed(run, tmp_path, monkeypatch):
    labels = []
    plot = Axes.plot
    monkeypatch.setattr(
        Axes, "plot", lambda self, *given, **named: labels.append(named.get("label")) or plot(self, *given, **named)
    )
    draw(compare([run("ours", "happo")]), tmp_path / "one.png")
    assert "HAPPO (1 seed)" in labels


def test_a_comparison_has_the_recipes_colours_and_letters_to_be_read(run, tmp_path, monkeypatch):
    figures, save = [], Figure.savefig

    def noting(self, *given, **named):
        save(self, *given, **named)
        texts = [text for text in self.findobj(Text) if text.get_text() and text.get_visible()]
        figures.append((self, min(text.get_size() / 72 / self.get_figwidth() * 350 for text in texts)))

    monkeypatch.setattr(Figure, "savefig", noting)
    paths = [run("other", "mappo"), run("ours", "happo"), run("fixed", "happo", "update.actors.order.use=order/fixed")]
    draw(compare(paths), tmp_path / "three.png")
    ((figure, pixels),) = figures
    assert pixels > 6.5  # of 350, half a page's width
    curves, scores, _ = figure.axes
    drawn = [(line.get_label(), line.get_color()) for line in curves.lines if not line.get_label().startswith("_")]
    expected = [look.color for look in looks(["mappo", "happo", "happo"])]
    assert [color for _, color in drawn] == expected and len(set(expected)) == 3
    assert [label[:8] for label, _ in drawn] == ["A: MAPPO", "B: HAPPO", "C: HAPPO"]
    assert [text.get_text() for text in scores.get_yticklabels()] == ["A", "B", "C"]
    assert [line.get_color() for line in scores.lines if line.get_marker() == "o"] == expected
    (legend,) = figure.findobj(Legend)
    assert legend.get_title().get_text() == "1 seed each"


# ----- through the command


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """Return a function that runs a command and returns (exit code, everything printed)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def command(*words):
        monkeypatch.setattr("sys.argv", ["hetrl", *map(str, words)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        printed = capsys.readouterr()
        return int(exit_.value.code or 0), printed.out + printed.err

    return command


def test_texts_are_printed_as_they_are(run, command, monkeypatch):
    folder = run("ours", "happo", "about='HAPPO [/x] [bold] :tada:'")
    code, text = command("compare", folder)
    assert code == 0 and "HAPPO [/x] [bold]" in text
    code, text = command("diff", folder, "mappo")
    assert code == 0 and "actors" in text
    assert command("eval", "no[/x]where[bold]") == (2, "error no[/x]where[bold] is no run (it has no recipe.yaml).\n")
    monkeypatch.setitem(__import__("sys").modules, "rliable", None)
    code, text = command("compare", folder)
    assert code == 2 and text.endswith("pip install 'hetrl[compare]'.\n")


@pytest.mark.parametrize("word", ["compare", "plot", "report"])
def test_a_file_that_cannot_be_written_is_said_first(run, command, tmp_path, monkeypatch, word):
    folder = run("ours", "happo")
    (tmp_path / "file").write_text("x")
    suffix, suffixes = (".html", ".html or .htm") if word == "report" else (".png", ".png or .pdf or .svg")
    (tmp_path / f"folder{suffix}").mkdir()
    for module in ("compare.compare", "curve.from_run", "page.page"):
        monkeypatch.setattr(f"hetrl.report.{module}", lambda *given, **named: pytest.fail("the work came first"))
    for to, problem in (("x.txt", f"its name must end in {suffixes}"), ("x", f"its name must end in {suffixes}"),
                        (f"file/x{suffix}", f"{tmp_path}/file is no folder"),
                        (f"folder{suffix}", "it is a folder")):  # fmt: skip
        assert command(word, folder, "--to", to) == (2, f"error {to} cannot be written: {problem}.\n")


@pytest.mark.parametrize("word", ["compare", "plot", "report"])
def test_what_fails_while_writing_is_one_line(run, command, tmp_path, monkeypatch, word):
    folder = run("ours", "happo")
    to = tmp_path / ("page.html" if word == "report" else "picture.png")
    full = OSError(28, "No space left on device")

    def fail(*given, **named):
        raise full

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", fail)
    monkeypatch.setattr("hetrl.report.page.page", lambda run: "x")
    monkeypatch.setattr("pathlib.Path.write_text", fail)
    code, text = command(word, folder, "--to", to)
    assert (
        code == 2
        and text.splitlines()[-1] == f"error {to} cannot be written: No space left on device; make room, and try again."
    )


@pytest.fixture
def won(run):
    """Return a function that writes a run whose evaluations have a rate of wins, with its interval."""

    def write(name, recipe, *overrides, rates):
        folder = run(name, recipe, *overrides)
        rows = [
            f"{at},0.0,{rate},{max(rate - 0.2, 0)},{min(rate + 0.2, 1)}"
            for at, rate in zip((0, 50, 100), rates, strict=True)
        ]
        names = "frames,eval/return,eval/info/won,eval/info/won_low,eval/info/won_high"
        (folder / "metrics.csv").write_text("\n".join([names, *rows, ""]))
        return folder

    return write


def test_rates_of_wins_over_seeds_stay_within_their_bounds(won, tmp_path, monkeypatch):
    """Ends 0.9, 1, 1: their mean is 0.9667, their deviation 0.0577, so 4.303 / sqrt(3) = 0.1434 to either side."""
    paths = [won(f"a{seed}", "happo", f"run.seed={seed}", rates=(0, 0.5, end)) for seed, end in enumerate((0.9, 1, 1))]
    paths += [won(f"b{seed}", "mappo", f"run.seed={seed}", rates=(0, 0, 0.1)) for seed in range(3)]
    comparison = compare(paths, metric="eval/info/won")
    text = " ".join(printed(comparison).split())
    assert comparison.rate and "0.9667 │ 0.8232 to 1 t" in text
    assert "It is a rate, and its intervals end at 0 and 1" in text and "eval/info/won_low and" in text
    bands = []
    monkeypatch.setattr(Axes, "fill_between", lambda self, x, low, high, **_: bands.append((low.min(), high.max())))
    draw(comparison, tmp_path / "rates.png")
    assert len(bands) == 2 and all(low >= 0 and high <= 1 for low, high in bands) and bands[0][1] == 1
    assert not compare(paths, metric="eval/return").rate


def test_a_single_runs_rate_has_the_interval_of_its_episodes(won, tmp_path, monkeypatch):
    one = won("one", "happo", rates=(0, 0.5, 0.9))
    bands, labels = [], []
    monkeypatch.setattr(Axes, "fill_between", lambda self, x, low, high, **_: bands.append((list(low), list(high))))
    plot = Axes.plot
    monkeypatch.setattr(Axes, "plot", lambda self, *a, **k: (labels.append(k.get("label")), plot(self, *a, **k))[1])
    draw_runs([one], "eval/info/won", tmp_path / "one.png")
    assert bands[0] == (pytest.approx([0, 0.3, 0.7]), pytest.approx([0.2, 0.7, 1])) and "of its episodes)" in labels[0]
    bands.clear()
    draw_runs([one, won("two", "happo", "run.seed=1", rates=(0, 0, 0))], "eval/info/won", tmp_path / "two.png")
    assert all(low == high for low, high in bands)  # both are drawn, and two have no interval
