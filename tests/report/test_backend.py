"""Drawing is nobody else's business: matplotlib's backend, open figures and settings stay the user's."""

import os
import subprocess
import sys

from matplotlib.image import imread

DRAW = """
import sys
from pathlib import Path
import numpy as np
import hetrl.report.bound, hetrl.report.chart, hetrl.report.compare_picture, hetrl.report.curve, hetrl.report.page
import hetrl.report.probe
from hetrl.report import bound, probe
from hetrl.report.curve import Curve, draw

def draw_all(folder):
    draw([Curve("mine", [(np.arange(3.0), np.arange(3.0))])], folder / "curve.png", ylabel="return")
    (folder / "metrics.csv").write_text("frames,bound/change,bound/change_error\\n1,2,0.5\\n2,3,0.5\\n")
    bound.draw(folder, folder / "bound.png")
    run = folder / "mine"
    run.mkdir()
    (run / "recipe.yaml").write_text("update: []")
    episodes = {figure: np.arange(4.0) for figure in probe.FIGURES}
    probe.draw({run: [probe.Level(0.0, episodes), probe.Level(0.1, episodes)]}, folder / "probe.png")
"""
CHOOSE = """
import matplotlib
matplotlib.use("svg")
"""
FIGURE_OPEN = """
from matplotlib import pyplot as plt
mine = plt.figure()
settings = dict(matplotlib.rcParams)
draw_all(Path(sys.argv[1]))
assert matplotlib.get_backend() == "svg", matplotlib.get_backend()
assert plt.get_fignums() == [mine.number] and plt.gcf() is mine
assert dict(matplotlib.rcParams) == settings
"""
NONE_CHOSEN = """
import matplotlib
chosen = dict.__getitem__(matplotlib.rcParams, "backend")  # asking in the usual way would choose one
assert not isinstance(chosen, str)
draw_all(Path(sys.argv[1]))
assert dict.__getitem__(matplotlib.rcParams, "backend") is chosen
"""


def child(*parts, folder):
    environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    done = subprocess.run(
        [sys.executable, "-c", "".join(parts), folder], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    for name in ("curve", "bound", "probe"):
        assert imread(folder / f"{name}.png").std() > 0


def test_the_users_backend_and_figures_stay(tmp_path):
    """As in a notebook: a backend has been chosen, and a figure is open."""
    child(CHOOSE, DRAW, FIGURE_OPEN, folder=tmp_path)


def test_no_backend_is_chosen_where_the_user_has_chosen_none(tmp_path):
    child(DRAW, NONE_CHOSEN, folder=tmp_path)
