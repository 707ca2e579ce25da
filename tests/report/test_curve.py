"""Learning curves: a seed that stopped early takes nothing from the others, and the legend says how many there are."""

import functools

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import hetrl
from hetrl.errors import HetrlWarning, RunError
from hetrl.report.compare import compare
from hetrl.report.compare_picture import draw as draw_comparison
from hetrl.report.curve import Curve, draw_runs, frames_as_text, half_width, label_frames, seeds_in_words, stretches


@functools.cache
def resolved(recipe, *overrides):
    return hetrl.load(recipe, "run.frames=1000", "run.eval_every=50", *overrides).yaml()


@pytest.fixture
def run(tmp_path):
    """Return a function that writes the folder of a run that ends at some frames; at None it has no rows."""

    def write(name, recipe="happo", end=1000, seed=0, column="eval/return", add=0.0):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "recipe.yaml").write_text(resolved(recipe, f"run.seed={seed}"))
        (folder / "versions.json").write_text("{}")
        rows = [] if end is None else [f"{at},{at / 100 + add}" for at in range(0, end + 1, 100)]
        (folder / "metrics.csv").write_text("\n".join([f"frames,{column}", *rows, ""]))
        return folder

    return write


@pytest.fixture
def drawn(monkeypatch):
    """Return (label, frames, values) of all lines that have a label."""
    found = []
    plot = Axes.plot

    def noting(self, *given, **named):
        if named.get("label"):
            found.append((named["label"], *given[:2]))
        return plot(self, *given, **named)

    monkeypatch.setattr(Axes, "plot", noting)
    return found


def series(*values, step=10.0):
    return np.arange(len(values)) * step, np.array(values, dtype=float)


def test_where_a_seed_stops_the_others_go_on():
    """Of 0, 1, 2 / 2, 3, 4 / 4, 5 the mean is 2, 3 with all three, and 3, 3 with the two that are left."""
    whole, first = series(0, 1, 2), series(2, 3, 4)
    found = stretches(Curve("x", [whole, first, series(4, 5)]))
    assert [(each.count, each.frames[0], each.frames[-1]) for each in found] == [(3, 0, 10), (2, 10, 20)]
    assert (found[0].mean[0], found[0].mean[-1], found[1].mean[0], found[1].mean[-1]) == (2, 3, 2, 3)
    assert found[0].half[0] == pytest.approx(half_width(np.array([0.0, 2.0, 4.0]))) and not found[1].half.any()


def test_equal_seeds_are_one_stretch_and_one_point_is_one():
    (found,) = stretches(Curve("x", [series(0, 1), series(2, 3)]))
    assert found.count == 2 and found.mean[0] == 1 and found.mean[-1] == 2
    (found,) = stretches(Curve("x", [series(4)]))
    assert found.count == 1 and set(found.frames) == {0.0} and set(found.mean) == {4.0}
    begun_late = stretches(Curve("x", [(np.array([50.0, 60.0]), np.array([1.0, 1.0])), series(3, 3)]))
    assert [(each.count, each.frames[0], each.frames[-1]) for each in begun_late] == [(1, 50, 60)]


def test_the_words_for_seeds():
    assert seeds_in_words(1, [(0, 1)]) == "1 seed"
    assert seeds_in_words(5, [(0, 5)]) == "5 seeds"
    assert seeds_in_words(3, [(0, 3), (40_000, 2), (90_000, 1)]) == "3 seeds, 2 from 40k on, 1 from 90k on"
    assert seeds_in_words(3, [(0, 2)]) == "3 seeds, 2 from 0 on"


@pytest.mark.parametrize(
    ("frames", "text"),
    [(0, "0"), (-4e-2, ""), (-2e6, ""), (500, "500"), (999, "999"), (1000, "1k"), (6400, "6.4k"), (123_456, "123.5k"),
     (1_000_000, "1M"), (2_500_000, "2.5M"), (10_000_000, "10M")],
)  # fmt: skip
def test_frames_are_short_and_never_negative(frames, text):
    assert frames_as_text(frames) == text


def test_a_stopped_run_leaves_the_other_curves_as_they_are(run, drawn, tmp_path):
    whole = [run(f"happo_{seed}", seed=seed, add=seed) for seed in range(3)]
    other = [run("mappo_0", "mappo")]
    draw_runs([*whole, *other], None, tmp_path / "before.png")
    before = {label: (frames[-1], values[-1]) for label, frames, values in drawn}
    drawn.clear()
    draw_runs([*whole, *other, run("stopped", "mappo", end=100, seed=1)], None, tmp_path / "after.png")
    after = {label: (frames[-1], values[-1]) for label, frames, values in drawn}
    label = "HAPPO, balance (3 seeds)"
    assert before[label] == after[label] == (1000, 11)
    assert "MAPPO, balance (2 seeds, 1 from 100 on)" in after


def test_a_run_without_rows_is_named_and_left_out(run, drawn, tmp_path):
    paths = [run("a"), run("empty", end=None, seed=1)]
    with pytest.warns(HetrlWarning, match=r"empty has logged nothing yet; it is left out\.$"):
        draw_runs(paths, None, tmp_path / "curve.png")
    assert [label for label, *_ in drawn] == ["HAPPO, balance (1 seed)"]
    with pytest.warns(HetrlWarning, match=r"other has no metric 'eval/return'.*; it is left out\.$"):
        draw_runs([paths[0], run("other", column="return", seed=2)], "eval/return", tmp_path / "curve.png")
    with pytest.raises(RunError, match="empty has logged nothing yet"):
        draw_runs(paths[1:], None, tmp_path / "nothing.png")
    assert not (tmp_path / "nothing.png").exists()


def test_a_run_that_has_logged_one_row_is_a_point(run, drawn, tmp_path):
    draw_runs([run("one", end=0)], None, tmp_path / "curve.png")
    ((label, frames, _),) = drawn
    assert label == "HAPPO, balance (1 seed)" and set(frames) == {0.0}


@pytest.mark.parametrize("frames", [[0.0], [500.0], [0.0, 481_455.0]])
def test_ticks_can_be_read(frames):
    figure = Figure()
    axis = figure.subplots()
    axis.plot(frames, frames, marker="o")
    label_frames(axis)
    figure.draw_without_rendering()
    texts = [label.get_text() for label in axis.get_xticklabels()]
    assert len({text for text in texts if text}) >= 2 and not any("-" in text or "e" in text for text in texts)


def test_a_comparison_with_an_unfinished_seed_keeps_all_curves(run, drawn, tmp_path):
    paths = [run(f"h{seed}", seed=seed, add=seed) for seed in range(2)]
    paths += [run("short", seed=2, end=300), run("m", "mappo"), run("empty", "mappo", end=None, seed=1)]
    with pytest.raises(RunError, match=r"short is not finished \(300 of 1,000 frames\)"):
        compare(paths)
    found = compare(paths, anyway=True)
    assert any(note.endswith("empty has logged nothing yet; it is left out.") for note in found.about.notes)
    draw_comparison(found, tmp_path / "comparison.png")
    assert [label for label, *_ in drawn] == [
        "HAPPO (3 seeds, 2 from 400 on)", "MAPPO (1 seed)",
    ]  # fmt: skip
    frames, values = found.curve(found.about.entries[0])
    assert frames[-1] == 1000 and np.isnan(values[2]).sum() == 7 and not np.isnan(values[:2]).any()
