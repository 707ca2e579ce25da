"""Exploration that falls over a run: what it is at each collection, from the first to the last, and when it goes on."""

import pytest
import torch

import hetrl
from hetrl.data.replay import Replay
from hetrl.runs import run as runs

SMALL = [
    "task.n_envs=4", "task.horizon=7", "run.frames=200", "run.checkpoint_every=20", "run.eval_every=100",
    "run.n_eval_episodes=2", "run.device=cpu", "nets.utility.hidden=[8]", "nets.utility.per=agent", "data.capacity=240",
    "data.batch=8", "data.warmup=40", "data.frames=20",
]  # fmt: skip
EPSILON = "nets.utility.epsilon={linear: [1.0, 0.1], until: 0.5}"


@pytest.fixture
def seen(monkeypatch):
    """Return the frames before each collection, and what exploration every agent's policy then has."""
    found = []
    collect = Replay.collect

    def watched(self):
        behaviour = self._behaviour
        behaviour.refresh()
        (group,) = behaviour._groups.values()
        found.append((self.ring.written * self.n_envs, group._weights["epsilon"].tolist()))
        if len(found) == watched.stop:
            raise RuntimeError("the power is cut")
        return collect(self)

    watched.stop = None
    monkeypatch.setattr(Replay, "collect", watched)
    return found, watched


def test_it_is_where_the_run_is_at_every_collection(seen, tmp_path):
    """1 at the first, of random actions; after 40 frames of 200 it is 1 - 0.9 * 0.4; from 100 on exactly 0.1."""
    found, _ = seen
    runs.train(hetrl.load("iql", *SMALL, EPSILON), tmp_path / "run", quiet=True)
    assert [frames for frames, _ in found] == [0, *range(40, 200, 20)]
    for frames, each in found:
        assert each == [torch.tensor(1 - 0.9 * frames / 100 if frames < 100 else 0.1).item()] * 3


def test_a_run_that_was_cut_off_explores_on_and_ends_the_same(seen, tmp_path):
    found, watched = seen
    whole = runs.train(hetrl.load("iql", *SMALL, EPSILON), tmp_path / "whole", quiet=True)
    wanted = list(found)
    found.clear()
    watched.stop = 4
    with pytest.raises(RuntimeError, match="power"):
        runs.train(hetrl.load("iql", *SMALL, EPSILON), tmp_path / "cut", quiet=True)
    watched.stop = None
    resumed = runs.resume(tmp_path / "cut", quiet=True)
    assert found[:3] + found[4:] == wanted
    ends = [folder.load_checkpoint()["state_dict"] for folder in (whole, resumed)]
    weights = [name for name, value in ends[0].items() if isinstance(value, torch.Tensor)]
    assert weights and all(torch.equal(ends[0][name], ends[1][name]) for name in weights)
    assert whole.metrics.read_text() == resumed.metrics.read_text()


def test_drawn_policies_of_a_run_explore_as_it_did_by_then(tmp_path):
    """The last checkpoint is of the end: 0.1; the weights say nothing of it, the frames do."""
    folder = runs.train(hetrl.load("iql", *SMALL, EPSILON), tmp_path / "run", quiet=True)
    policy = hetrl.Run(folder.path).policies(stochastic=True, seed=0)["marine_0"]._policy
    assert policy.epsilon.item() == torch.tensor(0.1).item()
    assert not any("epsilon" in name for name in folder.load_checkpoint()["state_dict"])
