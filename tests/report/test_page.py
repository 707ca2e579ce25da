"""The page of a run: everything in one file, and a browser shows it."""

import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

import hetrl
from hetrl import cli
from hetrl.errors import DependencyError, RunError
from hetrl.report import page as paging
from hetrl.report.chart import Polyline, chart
from hetrl.report.page import page, write
from hetrl.runs.run import train

TINY = [
    "task={use: env/tabular_game, n_states: 3, n_actions: [2, 2], n_envs: 4, horizon: 7}",
    "nets.actor.use=net/categorical_policy", "nets.actor.hidden=[8]", "nets.value.hidden=[8]", "data.frames=40",
    "run.frames=120", "run.eval_every=80", "run.n_eval_episodes=3", "run.device=cpu",
]  # fmt: skip
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# Lightning's advice for other kinds of training: a short epoch.
pytestmark = pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*")


class Reader(HTMLParser):
    """Counts what a page has, and makes sure that what is opened is closed."""

    VOID = ("meta", "br", "line", "polyline", "polygon", "circle")

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.open, self.texts = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for name, value in attributes if name in ("href", "src", "xlink:href", "data", "action")]
        if tag not in self.VOID or (tag == "polyline"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data.strip())


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return the folder of a short run of two agents."""
    return train(hetrl.load("happo", *TINY), tmp_path_factory.mktemp("runs") / "mine", quiet=True).path


def test_the_page_has_everything_and_needs_nothing(run):
    text = page(run)
    found = Reader(text)
    assert [link for link in found.links if not link.startswith("#")] == [] and "://" not in text.replace("xmlns", "")
    assert "script" not in found.tags and "url(" not in text and "@import" not in text
    anchors = {link[1:] for link in found.links}
    assert anchors == set(re.findall(r'<h2 id="(\w+)"', text)) and len(anchors) == 6
    for said in ("mine", "finished", "surrogate", "clipped", "grad_norm", "agent_0", "agent_1", "collect", "evaluate",
                 "the rest", "loss/clipped_surrogate\nclip=0.2", "torch", "numpy", "agent.log_prob [B]"):  # fmt: skip
        assert said in found.texts or any(said in each for each in found.texts), said
    # The returns, what the actors (surrogate, clipped, entropy, norm) and the critic (value, norm) logged.
    assert found.tags.count("svg") == 1 + 4 + 2
    assert text.count("<polyline") == 2 + 4 * 2 + 2
    assert "<b>clip</b>: 0.2" in text and "prefers-color-scheme: dark" in text


def test_numbers_are_the_runs(run):
    rows = paging.read(run / "metrics.csv")
    returns = [row["eval/return"] for row in rows if "eval/return" in row]
    text = page(run)
    assert f"<b>{returns[-1]:.4g}</b>" in text and f"from {returns[0]:.4g}, best {max(returns):.4g}" in text
    assert "<b>120</b>" in text and "3 batches" in text
    shares = [float(share) for share in re.findall(r">([\d.]+) %<", text)]
    assert sum(shares) == pytest.approx(100, abs=0.5)


def test_texts_of_a_recipe_stay_texts(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "a&b")
    (copy / "recipe.yaml").write_text(hetrl.load("happo", *TINY, "about=<script>alert(1)</script> & more").yaml())
    text = page(copy)
    assert "<script" not in text and "&lt;script&gt;" in text and "a&amp;b" in text
    Reader(text)


def test_an_unfinished_or_old_run_says_what_is_missing(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "old")
    for name in ("timings.csv", "versions.json"):
        (copy / name).unlink()
    lines = (copy / "metrics.csv").read_text().splitlines(keepends=True)
    (copy / "metrics.csv").write_text("".join(lines[:3]))
    text = page(copy)
    assert "40 of 120 frames" in text and "This run kept no timings." in text and "This run kept no versions." in text
    (copy / "metrics.csv").write_text(lines[0])
    with pytest.raises(RunError, match="old has no metrics yet"):
        page(copy)
    with pytest.raises(RunError, match="nowhere is no run"):
        write(tmp_path / "nowhere", tmp_path / "page.html")
    (tmp_path / "seeds" / "seed0").mkdir(parents=True)
    (tmp_path / "seeds" / "seeds.yaml").touch()
    with pytest.raises(RunError, match=r"is a folder of seeds; name one of its runs, .*/seeds/seed0, or see"):
        write(tmp_path / "seeds", tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_without_the_simulator_shapes_are_left_out_and_it_says_why(run, monkeypatch):
    def missing(*given, **named):
        raise DependencyError("the simulator is not installed.")

    monkeypatch.setattr(paging, "team_of", missing)
    text = page(run)
    assert "Shapes and the team are left out: the simulator is not installed." in text
    assert "loss/clipped_surrogate" in text and "agent.log_prob [B]" not in text


def test_the_commands_write_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    cli.app(["train", "happo", *TINY, "--folder", "mine", "--report"], standalone_mode=False)
    assert "mine/report.html" in capsys.readouterr().out
    cli.app(["report", "mine", "--to", "pages/mine.html"], standalone_mode=False)
    assert capsys.readouterr().out == "pages/mine.html\n"
    assert (tmp_path / "pages" / "mine.html").read_text() == (tmp_path / "mine" / "report.html").read_text()


# ----- charts


def numbers(svg, name="polyline"):
    """Return the points of each line."""
    return [np.array([list(map(float, pair.split(","))) for pair in points.split()])
            for points in re.findall(rf'<{name} [^>]*points="([^"]*)"', svg)]  # fmt: skip


def test_a_chart_puts_values_where_its_ticks_say():
    frames, values = np.array([0.0, 100.0, 200.0]), np.array([0.0, 1.0, 4.0])
    svg = chart([Polyline("a<b", 0, frames, values, np.array([0.5, 0.5, 0.0]))], "x & y")
    ((x0, y0), (x1, y1), (x2, y2)), = numbers(svg)  # fmt: skip
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2) and (y0 - y2) == pytest.approx(4 * (y0 - y1), abs=0.5)
    ticks = {float(text): float(y) - 3.5 for y, text in re.findall(r'y="([\d.]+)" text-anchor="end">([^<]*)<', svg)}
    assert ticks[0] == pytest.approx(y0, abs=0.2) and ticks[4] == pytest.approx(y2, abs=0.2)
    assert "a&lt;b" in svg and 'aria-label="x &amp; y"' in svg
    (band,) = numbers(svg, "polygon")
    assert len(band) == 6 and band[0][1] < y0 < band[5][1] and band[2][1] == pytest.approx(y2, abs=0.2)


def test_a_long_line_is_thinned_by_means():
    frames = np.arange(3000.0)
    (points,) = numbers(chart([Polyline("a", 0, frames, frames % 2)], ""))
    assert len(points) == 300 and np.ptp(points[:, 1]) == 0  # each of 10 values, whose mean is one half


def test_odd_series_are_drawn_all_the_same():
    one = chart([Polyline("a", 9, np.array([5.0]), np.array([2.0]))], "")
    assert "<circle" in one and "c1 dashed" in one
    flat = chart([Polyline("a", 0, np.array([0.0, 1.0]), np.zeros(2))], "")
    gap = chart([Polyline("a", 0, np.arange(3.0), np.array([1.0, np.inf, 3.0]))], "")
    assert len(numbers(flat)[0]) == 2 and len(numbers(gap)[0]) == 2
    unsure = chart([Polyline("a", 0, np.arange(3.0), np.arange(3.0), np.array([1.0, np.nan, np.inf]))], "")
    assert len(numbers(unsure)[0]) == 3 and len(numbers(unsure, "polygon")[0]) == 6
    for svg in (one, flat, gap, unsure):
        assert "nan" not in svg and "inf" not in svg


def test_a_line_without_a_finite_value_is_left_out():
    frames, nothing = np.arange(2.0), np.full(2, np.nan)
    both = chart([Polyline("gone", 0, frames, nothing, nothing), Polyline("there", 1, frames, frames)], "")
    assert len(numbers(both)) == 1 and "gone" not in both
    assert chart([Polyline("gone", 0, frames, nothing)], "") == chart([], "") == ""


def test_a_column_without_a_finite_value_has_no_chart(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    table = tmp_path / "run" / "metrics.csv"
    header, *rows = table.read_text().splitlines()
    table.write_text("\n".join([f"{header},critic/odd", *(f"{row},nan" for row in rows), ""]))
    text = page(tmp_path / "run")
    assert "critic: odd" not in text and "critic: value" in text


# ----- a browser


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_it(run, tmp_path, scheme):
    """Its paper, its accent and the colours of two agents are on the screenshot, and nothing sticks out at the side."""
    write(run, tmp_path / "page.html")
    asked = ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    shot = tmp_path / "shot.png"
    options = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--window-size=1100,4000",
        *asked,
    ]
    command = [str(CHROMIUM), *options, f"--screenshot={shot}", (tmp_path / "page.html").as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    picture = np.asarray(Image.open(shot).convert("RGB"))
    assert picture.shape == (4000, 1100, 3)
    style = re.findall(r"--(\w+): (#\w{6});", (tmp_path / "page.html").read_text())
    half = len(style) // 2
    colors = dict(style[:half] if scheme == "light" else style[half:])

    def share(name, part=picture):
        wanted = [int(colors[name][place : place + 2], 16) for place in (1, 3, 5)]
        return float((np.abs(part.astype(int) - wanted).max(-1) <= 2).mean())

    assert share("paper") > 0.15 and share("card") > 0.3 and share("ink") > 0.001
    assert min(share("c0"), share("c1")) > 2e-4
    assert share("paper", picture[300:, :24]) > 0.95 and share("paper", picture[300:, -24:]) > 0.95
