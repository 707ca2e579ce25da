"""Legends say each thing once, and letters can be read where a picture is shown at half a page's width."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text

from hetrl.report.curve import Curve, draw, draw_panels
from hetrl.report.legend import _POINTS, NARROW, WIDE, captions, legend_height
from hetrl.report.looks import looks

HALF = 350
"""Pixels."""
SEEDS, INTERVAL = "3 seeds", "95 % t-interval of the mean"


def series(n):
    return [(np.arange(4.0) * 1000, np.arange(4.0) + seed) for seed in range(n)]


@pytest.fixture
def figures(monkeypatch):
    """Return the figures that are written, with the size of their letters and lines as they were then."""
    found = []
    save = Figure.savefig

    def noting(self, *given, **named):
        save(self, *given, **named)
        texts = [text for text in self.findobj(Text) if text.get_text() and text.get_visible()]
        self.sizes = [text.get_size() / 72 / self.get_figwidth() * HALF for text in texts]
        found.append(self)

    monkeypatch.setattr(Figure, "savefig", noting)
    return found


def test_what_all_curves_have_is_said_once():
    both = {"one": (SEEDS, INTERVAL), "other": (SEEDS, INTERVAL)}
    assert captions({"a": both, "b": both}) == ({"one": "one", "other": "other"}, f"3 seeds each; {INTERVAL}")
    assert captions({"": {"one": ("1 seed", ""), "other": ("1 seed", "")}})[1] == "1 seed each"
    assert captions({"": {"one": (SEEDS, INTERVAL)}}) == ({"one": f"one (3 seeds; {INTERVAL})"}, "")


def test_who_has_other_seeds_is_named_with_the_task():
    rest = dict.fromkeys("abc", (SEEDS, INTERVAL))
    labels, note = captions({"3m": {**rest, "d": (SEEDS, INTERVAL)}, "2s3z": {**rest, "d": ("2 seeds", "")}})
    assert note == f"3 seeds, where no others are named; {INTERVAL}"
    assert labels == {"a": "a", "b": "b", "c": "c", "d": "d (2s3z: 2 seeds)"}
    labels, note = captions({"": {"one": (SEEDS, INTERVAL), "other": ("2 seeds", "")}})
    assert labels == {"one": "one (3 seeds)", "other": "other (2 seeds)"} and note == INTERVAL


def test_intervals_of_two_kinds_are_said_with_each_curve():
    labels, note = captions({"": {"one": ("5 seeds", "95 % bootstrap"), "other": (SEEDS, INTERVAL)}})
    assert labels["one"] == "one (5 seeds; 95 % bootstrap)" and labels["other"] == f"other (3 seeds; {INTERVAL})"
    assert note == ""


@pytest.mark.parametrize("n_panels", [1, 2, 3, 6])
def test_letters_have_seven_pixels_at_half_a_pages_width(figures, tmp_path, n_panels):
    curves = [Curve("HAPPO", series(3)), Curve("a rather long name of a recipe", series(3))]
    draw_panels({f"task {place}": curves for place in range(n_panels)}, tmp_path / "x.png", ylabel="return")
    (figure,) = figures
    assert min(figure.sizes) > 7
    (legend,) = figure.findobj(Legend)
    texts = [text.get_text().replace("\n", " ") for text in legend.get_texts()]
    assert texts == ["HAPPO", "a rather long name of a recipe"]
    assert legend.get_title().get_text().replace("\n", " ") == f"3 seeds each; {INTERVAL}"


def test_a_name_looks_the_same_in_all_panels(figures, tmp_path):
    curves = {name: Curve(name, series(1)) for name in ("mappo", "mine", "happo", "yours")}
    panels = {"a": [curves["mine"], curves["happo"]], "b": [curves["yours"], curves["mappo"], curves["mine"]]}
    draw_panels(panels, tmp_path / "x.png", ylabel="return")
    found = {}
    for axis in figures[0].axes:
        for line in axis.lines:
            found.setdefault(line.get_label(), set()).add(line.get_color())
    assert all(len(colors) == 1 for colors in found.values()) and len(set.union(*found.values())) == 4
    assert {name: looks([name])[0].color for name in ("happo", "mappo")} == {
        name: next(iter(found[name])) for name in ("happo", "mappo")
    }


def test_a_curve_may_have_another_name_than_its_recipe(figures, tmp_path):
    draw([Curve("in turn", series(1), recipe="happo"), Curve("HAPPO", series(1))], tmp_path / "x.png", ylabel="return")
    drawn = [(line.get_color(), line.get_linestyle()) for line in figures[0].axes[0].lines]
    assert drawn[0] == (looks(["happo"])[0].color, "-") and len(set(drawn)) == 2


def test_long_legends_leave_the_curves_their_room(figures, tmp_path):
    heights = []
    for n_curves in (2, 12):
        curves = [
            Curve(f"a method whose name takes a whole line of the legend, {each}", series(1))
            for each in range(n_curves)
        ]
        draw(curves, tmp_path / "x.png", ylabel="return")
        figure = figures[-1]
        heights.append(figure.axes[0].get_position().height * figure.get_figheight())
        (legend,) = figure.findobj(Legend)
        box = legend.get_window_extent().transformed(figure.transFigure.inverted())
        assert box.x0 >= 0 and box.x1 <= 1 and box.y0 >= 0
    assert heights[1] > 0.85 * heights[0]
    assert (
        legend_height(["a"], "", NARROW) < legend_height(["a"], "note", NARROW) < legend_height(["a"] * 40, "", NARROW)
    )
    assert _POINTS[WIDE] / WIDE == pytest.approx(_POINTS[NARROW] / NARROW, rel=0.2)
