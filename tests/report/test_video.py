"""Films: the state before each step of one whole episode, in a file that others can play."""

import gc
import os
import subprocess
import sys
import warnings

import imageio.v2 as imageio
import numpy as np
import pytest
import torch

import hetrl
from hetrl import cli
from hetrl.data.evaluate import evaluate
from hetrl.env.transition import Transition
from hetrl.errors import DependencyError, RunError
from hetrl.report import video
from hetrl.report.video import Film, captioned, chosen_file, default_file
from hetrl.runs.run import train
from hetrl.team import Agent, Box, Team

TINY = [
    "task.n_envs=4", "task.horizon=7", "data.frames=28", "run.frames=28", "run.n_eval_episodes=3",
    "nets.actor.hidden=[8]", "nets.value.hidden=[8]", "run.device=cpu",
]  # fmt: skip


class Counter:
    """Two environments that count; episode 0 ends at 3, episode 1 at 5. Its picture has the count as its grey."""

    def __init__(self, shape=(20, 30)):
        self.team = Team((Agent("a", "a", 0, 1, Box((0.0,), (1.0,)), body="a"),), state_size=1)
        self.masks = {}
        self.shape = shape

    def start(self):
        self.count = torch.zeros(2)
        return self._observe()

    def _observe(self):
        return {"a": self.count.clone().view(2, 1, 1)}

    def advance(self, actions):
        self.count = self.count + 1
        over = self.count == torch.tensor([3.0, 5.0])
        following, reward = self._observe(), {"a": self.count.view(2, 1)}
        self.count = torch.where(over, 0.0, self.count)
        return Transition(following, reward, over, torch.zeros_like(over), self._observe())

    def frame(self, row=0):
        return np.full((*self.shape, 3), 50 * int(self.count[row]), dtype=np.uint8)


class Still:
    """Who does nothing."""

    def blank(self, observation):
        return {}

    def remember(self, observation, memory):
        return {}

    def refresh(self):
        pass

    def greedy(self, observation, masks):
        return {"a": torch.zeros(2, 1, 1)}


def play(path):
    """Return the frames of a file, ``[T, H, W, 3]``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # imageio's own pipes to ffmpeg
        with imageio.get_reader(path) as reader:
            frames = np.stack([frame[..., :3] for frame in reader])
        del reader
        gc.collect()
    return frames


def test_who_watches_sees_every_step_of_one_episode_and_no_reset():
    seen = []
    episodes = evaluate(
        Counter(), Still(), "mean", lambda env, step, so_far: seen.append((step, so_far, float(env.count[0])))
    )
    assert episodes.lengths.tolist() == [3, 5] and episodes.returns.tolist() == [6, 15]
    assert seen == [(0, 0.0, 0.0), (1, 1.0, 1.0), (2, 3.0, 2.0)]


@pytest.mark.parametrize("kind", ["mp4", "gif"])
@pytest.mark.parametrize("shape", [(20, 30), (41, 63)])
def test_the_file_holds_the_episode(tmp_path, kind, shape):
    with Film(tmp_path / "new" / f"film.{kind}") as film:
        evaluate(Counter(shape), Still(), "mean", film)
    frames = play(film.path)
    height, width = (side + side % 2 for side in shape)
    assert frames.shape == (3, height + 32, 280, 3)  # as wide as the caption is; the frame stands in the middle
    frames = frames[:, :, 140 - width // 2 : 140 + width // 2]
    greys = frames[:, 5:15, 5:15].mean((1, 2, 3))
    assert greys == pytest.approx([0, 50, 100], abs=4)
    assert [path.name for path in film.path.parent.iterdir()] == [f"film.{kind}"]


def test_the_caption_stands_below():
    frame = np.full((40, 300, 3), 7, dtype=np.uint8)
    plain, one, two = (captioned(frame, *texts) for texts in ((), ("step 1",), ("step 2", "return so far 3")))
    assert all((picture[:40] == 7).all() and picture.shape == (72, 300, 3) for picture in (plain, one, two))
    ink = [[(picture[40:, half] != plain[40:, half]).any() for half in (slice(150), slice(150, 300))]
           for picture in (one, two)]  # fmt: skip
    assert ink == [[True, False], [True, True]]


@pytest.mark.parametrize("kind", ["mp4", "gif"])
def test_a_film_broken_off_leaves_what_was_there(tmp_path, kind):
    path = tmp_path / f"film.{kind}"
    path.write_text("the old one")
    with pytest.raises(KeyError), Film(path) as film:
        env = Counter()
        env.start()
        film(env, 0, 0.0)
        raise KeyError
    assert [file.name for file in tmp_path.iterdir()] == [path.name] and path.read_text() == "the old one"


def test_refuses_other_files_and_mp4_without_its_package(tmp_path, monkeypatch):
    with pytest.raises(RunError, match=r"^--video film\.avi: a film's name ends in \.mp4 or \.gif\.$"):
        Film(video.Path("film.avi"))
    assert default_file(tmp_path) == tmp_path / "episode.mp4"
    monkeypatch.setattr(video, "find_spec", lambda name: None if name == "imageio_ffmpeg" else True)
    with pytest.raises(DependencyError, match=r"mp4 needs 'pip install hetrl\[video\]'; or choose a \.gif\."):
        Film(tmp_path / "film.mp4")
    assert default_file(tmp_path) == tmp_path / "episode.gif"
    monkeypatch.setitem(sys.modules, "imageio", None)
    with Film(tmp_path / "film.GIF") as film:  # needs no imageio
        evaluate(Counter(), Still(), "mean", film)
    assert film.path.stat().st_size > 0 and list(tmp_path.iterdir()) == [film.path]


@pytest.mark.parametrize("name", ["film.gif", "lr=3.gif", "lr=3.MP4"])
def test_a_film_is_known_by_its_ending(tmp_path, name):
    assert chosen_file(tmp_path, ["task.horizon=5", name, "a=b"]) == (video.Path(name), ["task.horizon=5", "a=b"])


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return the folders of a tiny run on VMAS and of one on a game without pictures."""
    folder = tmp_path_factory.mktemp("runs")
    train(hetrl.load("happo", *TINY), folder / "balance", quiet=True)
    game = "task={use: env/cue_game, delay: 0, n_envs: 4}"
    train(hetrl.load("happo", game, "nets.actor.use=net/categorical_policy", *TINY[2:]), folder / "cue", quiet=True)
    return folder


def command(monkeypatch, capsys, *words):
    monkeypatch.setattr("sys.argv", ["hetrl", *words])
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    printed = capsys.readouterr()
    return int(exit_.value.code or 0), (printed.out + printed.err).splitlines()


# Lightning's advice for other kinds of training: a short epoch.
@pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*")
def test_the_command_films_the_first_episode_of_what_it_prints(runs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run = str(runs / "balance")
    code, plain = command(monkeypatch, capsys, "eval", run)
    assert (code, len(plain)) == (0, 1)
    code, lines = command(monkeypatch, capsys, "eval", run, "--video")
    assert code == 0 and lines == [*plain, f"{run}/episode.mp4"]
    assert play(runs / "balance" / "episode.mp4").shape == (7, 544, 512, 3)
    code, lines = command(monkeypatch, capsys, "eval", run, "--video", "mine.gif", "task.horizon=9", "--episodes", "1")
    assert code == 0 and lines[-1] == "mine.gif"
    frames = play(tmp_path / "mine.gif").astype(int)
    assert len(frames) == 9 and (frames[1:] != frames[:-1]).any((1, 2, 3)).all()


@pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*")
def test_the_command_refuses_in_one_line_and_writes_nothing(runs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for words, message in (
        ((str(runs / "cue"), "--video", "film.gif"), "env/cue_game draws no pictures"),
        ((str(runs / "balance"), "--video", "film.avi"), "a film's name ends in .mp4 or .gif"),
        ((str(runs / "balance"), "film.gif"), "override 'film.gif': write a.b=value"),
        (("nowhere", "--video"), "nowhere is no run"),
        (
            (str(runs / "balance"), "--video", "a.gif", "b.gif"),
            "error --video a.gif b.gif: name one file; a change is written as a.b=value.",
        ),
        (
            (str(runs / "balance"), "--video", "a.gif", "task.horizon", "5"),
            "error --video a.gif task.horizon 5: name one file; a change is written as a.b=value.",
        ),
        (
            ("--video", "a.gif", str(runs / "balance")),
            f"error --video {runs / 'balance'}: is a folder. The run comes first: hetrl eval RUN --video FILE.",
        ),
    ):
        code, lines = command(monkeypatch, capsys, "eval", *words)
        assert code == 2 and len(lines) == 1 and message in lines[0]
    assert not list(tmp_path.iterdir())


# ----- simulators that bring a renderer


def test_particle_worlds_are_drawn():
    from hetrl.env.pettingzoo import PettingZoo

    env = PettingZoo(name="simple_spread_v3", n_envs=2)
    env.start()
    first = env.frame(0)
    assert first.ndim == 3 and first.dtype == np.uint8 and not np.array_equal(first, env.frame(1))
    for _ in range(2):  # in mpe2 a force moves nobody before the second step
        env.advance(
            {group: torch.ones(2, len(agents), 1, dtype=torch.int64) for group, agents in env.team.layout.items()}
        )
    assert not np.array_equal(first, env.frame(0))


ROBOT = """
import numpy as np, torch
from hetrl.env.mamujoco import Mamujoco
env = Mamujoco(robot="HalfCheetah", parts="2x3", n_envs=2)
env.start()
before, frames = env.physics.values.copy(), [env.frame(row) for row in range(2)]
assert np.array_equal(before, env.physics.values)
for _ in range(5):
    env.advance({group: torch.ones(2, len(agents), 3) for group, agents in env.team.layout.items()})
frames.append(env.frame(0))
print(frames[0].shape, *(np.array_equal(a, b) for a, b in zip(frames, frames[1:])))
"""


@pytest.mark.slow
def test_robots_are_drawn_without_a_display():
    surroundings = {name: value for name, value in os.environ.items() if "DISPLAY" not in name}
    done = subprocess.run(
        [sys.executable, "-c", ROBOT],
        env=surroundings | {"MUJOCO_GL": "egl"},
        capture_output=True,
        text=True,
        check=False,
    )
    if "MuJoCo found no OpenGL" in done.stderr:
        pytest.skip("this machine has no EGL")
    assert done.stdout.strip() == "(480, 640, 3) False False", done.stderr


def test_a_robot_that_cannot_be_drawn_says_what_to_set(monkeypatch):
    import mujoco

    from hetrl.env.mamujoco import Mamujoco

    def fail(*_, **__):
        raise mujoco.FatalError("no OpenGL")

    monkeypatch.setattr(mujoco, "Renderer", fail)
    env = Mamujoco(robot="Hopper", parts="3x1", n_envs=1)
    env.start()
    with pytest.raises(RunError, match=r"^env/mamujoco cannot draw, .* set MUJOCO_GL=egl .* before the command\.$"):
        env.frame()
