"""The probe: without noise it is an evaluation, its figures where they are known, and whom it leaves alone."""

import csv
import math
import shutil

import matplotlib.image
import pytest
import torch

import hetrl
from hetrl import cli
from hetrl.data.evaluate import evaluate
from hetrl.env.transition import Transition
from hetrl.errors import RunError
from hetrl.report.curve import half_width
from hetrl.report.probe import Perturbed, levels, parsed, probe
from hetrl.runs.folder import Folder
from hetrl.runs.run import evaluate_run, train
from hetrl.team import Agent, Box, Team

TINY = ["task.n_envs=2", "task.horizon=9", "nets.actor.hidden=[8]", "data.frames=28", "run.frames=28",
        "run.n_eval_episodes=5", "run.eval_every=null", "run.device=cpu"]  # fmt: skip
OFF_POLICY = [text for text in TINY if text != "data.frames=28"] + ["data.warmup=20", "data.batch=4"]
JOINT = [*OFF_POLICY, "nets.q.hidden=[8]"]
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:vmas"),
    # Lightning's advice for other kinds of training: a short epoch.
    pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*"),
]
LOW, HIGH, RATE = (-1.0, 0.0), (1.0, 4.0), torch.tensor([0.5, 3.0])
"""Ranges 2 and 4 of the wide agents' actions, and what they would do; the narrow one's is [0, 1], and 1."""


def known_team():
    wide = (Agent(f"wide_{index}", "wide", index, 1, Box(LOW, HIGH), body="wide") for index in range(3))
    one, two, three = wide
    narrow = Agent("narrow", "narrow", 0, 2, Box((0.0,), (1.0,)), body="narrow")
    return Team((one, narrow, two, three), state_size=5)


class Counter:
    """Environments that end at 1, 2, 3 and so on; everybody earns the wide agents' first actions. Notes the actions."""

    def __init__(self, n_envs):
        self.team, self.masks, self.n_envs = known_team(), {}, n_envs
        self.done = []

    def start(self):
        self.count = torch.zeros(self.n_envs)
        return self.observation()

    def observation(self):
        seen = self.count.view(-1, 1, 1)
        return {"wide": seen.expand(-1, 3, 1).clone(), "narrow": seen.expand(-1, 1, 2).clone()}

    def advance(self, actions):
        self.done.append(actions)
        self.count = self.count + 1
        over = self.count == torch.arange(1, self.n_envs + 1)
        earned = actions["wide"][..., 0].sum(-1, keepdim=True)
        reward = {"wide": earned.expand(-1, 3), "narrow": earned}
        seen = self.observation()
        return Transition(seen, reward, over, torch.zeros_like(over), seen)


class Steady:
    """Who always does the same."""

    def refresh(self):
        pass

    def blank(self, observations):
        return {}

    def remember(self, observations, memories):
        return {}

    def greedy(self, observations, action_masks):
        n = len(observations["wide"])
        return {"wide": RATE.expand(n, 3, 2).clone(), "narrow": torch.ones(n, 1, 1)}


def first_actions(state, joint):
    """Two members, 1 and 3 times the sum of the wide agents' first actions: mean 2, deviation 1 times that."""
    assert [tuple(action.shape[1:]) for action in joint] == [(2,), (1,), (2,), (2,)] and state.shape[1] == 5
    total = joint[0][:, 0] + joint[2][:, 0] + joint[3][:, 0]
    return torch.stack([total, 3 * total])


def perturbed(noise, n_envs=400, seed=0):
    """Return what was done in an evaluation, ``T N 3 2`` and ``T N 1 1``."""
    env = Counter(n_envs)
    evaluate(env, Perturbed(Steady(), env.team, first_actions, noise, seed), "mean")
    return (torch.stack([each[group] for each in env.done]) for group in ("wide", "narrow"))


def test_who_is_in_the_prefix_is_left_alone_and_stays_in_it():
    """Of 4 agents none, one, two or three are kept: a quarter of 400 environments each, 100 with deviation 8.7."""
    wide, narrow = perturbed(0.2)
    moved = (wide != RATE).any(-1)
    assert torch.equal(moved, moved[:1].expand_as(moved))  # whoever takes noise does so in every step
    # The narrow one is at the end of its range, where every other draw leaves it.
    kept = torch.cat([~moved[0], (narrow == 1).all(0).squeeze(-1)], -1)
    counts = kept.sum(-1).bincount(minlength=5)
    assert counts[4] == 0 and ((counts[:4] - 100).abs() < 4 * 8.7).all()
    assert ((kept.float().mean(0) - 3 / 8).abs() < 4 * 0.025).all()


def test_noise_is_in_halves_of_the_range_and_within_it():
    wide, _ = perturbed(0.1)
    off = (wide - RATE)[(wide != RATE).any(-1)]
    assert off.std(0)[0] == pytest.approx(0.1, rel=0.02) and off.mean(0)[0] == pytest.approx(0, abs=0.002)
    assert off.std(0)[1] == pytest.approx(0.2, rel=0.02)
    wide, narrow = perturbed(3.0)
    assert wide.amin((0, 1, 2)).tolist() == list(LOW) and wide.amax((0, 1, 2)).tolist() == list(HIGH)
    assert narrow.amin() == 0 and narrow.amax() == 1


def test_a_level_has_the_same_draws_as_another():
    """Twice the noise moves twice as far where neither meets an end."""
    (one, _), (two, _), (other, _) = perturbed(0.01, 40), perturbed(0.02, 40), perturbed(0.01, 40, seed=1)
    torch.testing.assert_close(two - RATE, 2 * (one - RATE), rtol=0, atol=1e-5)
    assert not torch.equal(one, other)


def test_figures_of_a_known_critic():
    """Members 1 and 3 times the sum S of first actions: the deviation is |S|, the least S where S > 0 (0.5 each: 1.5
    unperturbed). So drop = 1.5 - S, spread = S, and an episode's return is its length times the mean of S."""
    plain, noisy = levels(lambda: Counter(50), Steady(), known_team(), first_actions, [0.0, 0.05], "mean", 0)
    assert plain.noise == 0 and plain.episodes["return"].tolist() == [1.5 * steps for steps in range(1, 51)]
    assert set(plain.episodes["spread"]) == set(plain.episodes["plain_spread"]) == {1.5}
    assert set(plain.episodes["drop"]) == {0.0}
    assert plain.mean("return") == 1.5 * 25.5 and set(plain.episodes["change"]) == {0.0}
    assert (noisy.episodes["change"] == noisy.episodes["return"] - plain.episodes["return"]).all()
    steps = torch.arange(1, 51).numpy()
    assert noisy.episodes["spread"] == pytest.approx(noisy.episodes["return"] / steps, abs=1e-5)
    assert noisy.episodes["drop"] == pytest.approx(1.5 - noisy.episodes["spread"], abs=1e-5)
    assert set(noisy.episodes["plain_spread"]) == {1.5} and noisy.episodes["drop"].std() > 0.01


def test_half_width_by_hand():
    """Student's t at 2 degrees is 4.303: of 1, 2 and 3 (deviation 1) half is 4.303 / sqrt(3). At 40 it is 2.0211."""
    assert half_width(torch.tensor([1.0, 2.0, 3.0]).numpy()) == pytest.approx(4.303 / 3**0.5)
    values = torch.cat([torch.zeros(1), torch.ones(20), -torch.ones(20)]).numpy()
    assert half_width(values) == pytest.approx(2.0211 / 41**0.5, rel=1e-4)


@pytest.mark.parametrize("task", [["task.n_agents=2"], ["task=task/mixed_transport", *JOINT[:2]]], ids=["one", "two"])
def test_without_noise_it_is_an_evaluation(task, tmp_path):
    train(hetrl.load("omdpg", *task, *JOINT), tmp_path / "run", quiet=True)
    state = torch.get_rng_state()
    plain, noisy = probe(tmp_path / "run", [0, 0.5])
    assert torch.equal(torch.get_rng_state(), state)
    assert plain.episodes["return"].tolist() == evaluate_run(tmp_path / "run").returns.tolist()
    assert noisy.episodes["return"].tolist() != plain.episodes["return"].tolist()
    assert plain.episodes["spread"].tolist() == plain.episodes["plain_spread"].tolist()
    assert set(plain.episodes["drop"]) == {0.0} and (noisy.episodes["spread"] > 0).all()
    (few,) = probe(tmp_path / "run", [0.5], n_episodes=2)
    assert len(few.episodes["return"]) == 2 and math.isnan(few.half("return"))


def test_the_command_draws_and_writes(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    train(hetrl.load("omdpg", *JOINT), tmp_path / "run_0", quiet=True)
    shutil.copytree(tmp_path / "run_0", tmp_path / "run_1")
    cli.app(["probe", str(tmp_path / "run_0"), "--noise", "0,0.3", "--episodes", "4"], standalone_mode=False)
    printed = capsys.readouterr().out
    found = probe(tmp_path / "run_0", [0, 0.3], n_episodes=4)
    for level in found:
        assert f"{level.mean('return'):.4g} ± {level.half('return'):.2g}" in printed
    with (tmp_path / "run_0" / "probe.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["noise"], row["episodes"]) for row in rows] == [("0.0", "4"), ("0.3", "4")]
    for row, level in zip(rows, found, strict=True):
        for figure in ("return", "change", "spread", "plain_spread", "drop"):
            assert float(row[figure]) == pytest.approx(level.mean(figure))
            assert float(row[f"{figure}_half"]) == pytest.approx(level.half(figure))
    assert matplotlib.image.imread(tmp_path / "run_0" / "probe.png").std() > 0
    both = [str(tmp_path / f"run_{seed}") for seed in (0, 1)]
    picture = tmp_path / "of" / "both.png"
    cli.app(["probe", *both, "--noise", "0.1", "--episodes", "2", "--to", str(picture)], standalone_mode=False)
    assert picture.exists() and picture.with_suffix(".csv").read_text().count("\n") == 3


@pytest.mark.parametrize("noise", ["", "a", "0,-0.1", "0;1", "nan", "inf"])
def test_noise_that_is_none_is_refused(noise):
    assert parsed("0,0.05, 1e-1") == [0, 0.05, 0.1]
    with pytest.raises(RunError, match=r"write numbers of at least 0 with commas between them, such as 0,0\.1,0\.2"):
        parsed(noise)


@pytest.mark.parametrize(
    ("recipe", "changes", "says"),
    [
        ("haddpg", JOINT, "its critic has one member, which cannot disagree; train with nets.q.ensemble=2 or more"),
        (
            "happo",
            [*TINY, "nets.value.hidden=[8]"],
            "its recipe has no critic of joint actions; the probe asks a net/joint_q",
        ),
        ("omdpg_discrete", JOINT, r"the actions of 'agent_0' are discrete\[9\], and noise is for continuous ones"),
    ],
)
def test_a_run_that_cannot_be_probed_is_refused(recipe, changes, says, tmp_path):
    train(hetrl.load(recipe, *changes), tmp_path / "run", quiet=True)
    with pytest.raises(RunError, match=says):
        probe(tmp_path / "run", [0.1])
    shutil.rmtree(Folder(tmp_path / "run").checkpoint.parent)
    with pytest.raises(RunError, match="has no checkpoint yet"):
        probe(tmp_path / "run", [0.1])
