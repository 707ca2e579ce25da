"""How much each word of a search matters, and what its values gave, as a picture."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hetrl.report.writable import written
from hetrl.search.found import Found
from hetrl.search.ranges import Range

_MOST = 5
"""Words whose values are drawn, the most important ones."""
_LETTERS = 12
"""Of a word on one line."""
_KINDS = {"COMPLETE": ("o", "trained to the end"), "PRUNED": ("x", "pruned, as far as it came")}


def draw_importances(found: Found, path: Path) -> Path:
    """Draw a bar for each word, and beside the bars what the trials' values of each gave; return the path.

    Args:
        found: a search.
        path: the picture to write.

    Raises:
        RunError: trials are too few, or the picture cannot be written.
        DependencyError: scikit-learn is not installed.
    """
    importances = found.importances()
    ranges = {each.word: each for each in found.words.ranges}
    words = list(importances)[:_MOST]
    figure = Figure(figsize=(4 + 3 * len(words), 3.6), layout="constrained")
    bars, *panels = figure.subplots(1, 1 + len(words))
    names = list(importances)[::-1]  # the first is drawn lowest
    drawn = bars.barh([_folded(name) for name in names], [importances[name] for name in names])
    bars.bar_label(drawn, fmt="%.2f", padding=3)
    bars.set(xlim=(0, 1.2), xticks=[0, 0.5, 1], xlabel="importance", ylim=(-1, len(names)))
    for panel, word in zip(panels, words, strict=True):
        _draw_values(panel, found, ranges[word])
        panel.sharey(panels[0])
    panels[0].set_ylabel(found.words.metric)
    panels[0].legend(fontsize="small")
    with written(path) as half:
        figure.savefig(half, dpi=130)
    return path


def _draw_values(panel: Axes, found: Found, range_: Range) -> None:
    """Draw a point for each trial: a word's value, and what was reached."""
    if range_.kind == "list":
        panel.xaxis.update_units(list(range_.ends))  # in this order
    for state, (marker, label) in _KINDS.items():
        trials = [each for each in found.trials(state) if each.value is not None]
        values, scores = [each.params[range_.word] for each in trials], [each.value for each in trials]
        if trials:
            panel.plot(values, scores, marker, label=label)
    if range_.kind == "log":
        panel.set_xscale("log")
    panel.set_xlabel(_folded(range_.word))
    panel.grid(alpha=0.3)


def _folded(word: str) -> str:
    """Return a dotted word, its last part on a line of its own where it is long."""
    above, _, last = word.rpartition(".")
    return f"{above}\n.{last}" if len(word) > _LETTERS and above else word
