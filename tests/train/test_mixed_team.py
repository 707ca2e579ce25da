"""Teams in which one agent chooses and two steer: collected, stored, updated, learned and resumed."""

import lightning as L
import pytest
import torch
from torch.utils._pytree import tree_flatten_with_path

import hetrl
from hetrl.runs import run as runs
from hetrl.runs.csv_table import read

TEAM = [
    "task={use: env/cue_game, n_cues: 3, delay: 0, discrete_agents: 1, continuous_agents: 2, n_envs: 32}",
    "nets.actor.use=net/mixed_policy", "nets.actor.hidden=[16]", "nets.value.hidden=[16]",
    "update.critic.optim.lr=3e-3", "run.device=cpu",
]  # fmt: skip
TINY = ["data.frames=64", "run.frames=384", "run.checkpoint_every=64", "run.eval_every=128", "run.n_eval_episodes=3"]
QUIET = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
FAST = {
    "happo": ["update.actors.optim.lr=3e-3"],
    "haa2c": ["update.actors.optim.lr=3e-3", "update.actors.epochs=5", "update.actors.minibatches=4"],
    "hatrpo": ["update.actors.optim.radius=0.02"],
}
"""Recipe -> what makes it quick on a task this small."""


def test_it_is_collected_and_stored_without_padding():
    """Agents of other kinds differ in sizes and types, and only those that choose have a mask, which they obey."""
    _, data = hetrl.load("happo", *TEAM, *TINY, "task.delay=1", "task.leave=0.5").build()
    batch = data.source.rollout()
    assert batch["discrete", "observation"].shape == (2, 32, 1, 4)
    assert batch["continuous", "observation"].shape == (2, 32, 2, 2)
    assert (batch["discrete", "action"].shape, batch["discrete", "action"].dtype) == ((2, 32, 1, 1), torch.int64)
    assert (batch["continuous", "action"].shape, batch["continuous", "action"].dtype) == ((2, 32, 2, 1), torch.float32)
    assert "action_mask" not in set(batch["continuous"].keys())
    assert batch["state"].shape == (2, 32, 4 + 2 * 2)
    mask, action = batch["discrete", "action_mask"], batch["discrete", "action"]
    assert mask.gather(-1, action).all() and not mask.all()
    for episodes in (batch, data.source.rollout()):  # whole ones: all are there at the first step, not at the second
        for group in ("discrete", "continuous"):
            active = episodes[group, "active"]
            assert active[0].all() and 0 < active[1].float().mean() < 1


def test_masks_go_with_the_observation_they_were_made_with():
    """Three collections of 2 steps of an episode of 3: flags and masks agree at every step, across batches too."""
    _, data = hetrl.load("happo", *TEAM, *TINY, "task.delay=2").build()
    for _ in range(3):
        batch = data.source.rollout()
        time_to_answer = batch["discrete", "observation"][..., -1] == 1
        assert torch.equal(time_to_answer, ~batch["discrete", "action_mask"][..., 0])
        assert torch.equal(time_to_answer.squeeze(-1), batch["terminated"])


@pytest.mark.parametrize("name", FAST)
@pytest.mark.parametrize("task", [[], ["task.delay=1", "task.leave=0.3"]], ids=["all_there", "some_leave"])
def test_every_agent_is_updated(name, task):
    module, data = hetrl.load(name, *TEAM, *TINY, *task).build()
    actors = module.linked.nets["actor"]
    before = {agent: [p.clone() for p in actors[agent].parameters()] for agent in module.linked.team.names}
    L.Trainer(max_epochs=1, enable_checkpointing=False, log_every_n_steps=1, **QUIET).fit(module, data)
    assert list(before) == ["discrete_0", "continuous_0", "continuous_1"]
    for agent, old in before.items():
        now = list(actors[agent].parameters())
        assert any(not torch.equal(*pair) for pair in zip(old, now, strict=True)), agent
        assert all(parameter.isfinite().all() for parameter in now), agent


@pytest.mark.parametrize("name", FAST)
def test_it_learns_its_task(name, tmp_path):
    """From a greedy start near 0.5 to more than 0.95 of the optimum, 1, in 20 updates."""
    sizes = ["data.frames=512", "run.frames=10240", "run.eval_every=10240", "run.n_eval_episodes=256"]
    folder = runs.train(hetrl.load(name, *TEAM, *FAST[name], *sizes), tmp_path / "run", quiet=True)
    rows = read(folder.metrics)
    assert rows[0]["eval/return"] < 0.75
    assert rows[-1]["eval/return"] > 0.95
    assert rows[-1]["return"] > 0.8  # of the last batch, with exploration


def same(left, right):
    """Compare two trees of tensors and primitives bit for bit."""
    (mine, shape), (theirs, other) = tree_flatten_with_path(left), tree_flatten_with_path(right)
    assert shape == other
    for (where, one), (_, two) in zip(mine, theirs, strict=True):
        if isinstance(one, torch.Tensor):
            assert torch.equal(one, two) or (one.isnan() & two.isnan()).all(), where
        else:
            assert one == two, where


def state(folder):
    checkpoint = folder.load_checkpoint()
    del checkpoint["hetrl"]["global"]["python"]  # libraries draw file names from it; nothing in training does
    return {key: checkpoint[key] for key in ("state_dict", "optimizer_states", "hetrl", "Collection")}


@pytest.mark.parametrize("name", FAST)
def test_it_resumes_bit_for_bit(tmp_path, name):
    """Stopped in the middle of episodes of 3 steps (batches have 2), with agents that have left and masks in force."""
    recipe = [name, *TEAM, *TINY, "task.delay=2", "task.leave=0.2"]
    whole = runs.train(hetrl.load(*recipe), tmp_path / "whole", quiet=True)
    half = runs.train(hetrl.load(*recipe, "run.frames=128"), tmp_path / "half", quiet=True)
    saved = half.load_checkpoint()
    assert saved["hetrl"]["frames"] == 128
    assert not all(mask.all() for mask in saved["Collection"]["source"]["masks"]["active"].values())
    resumed = runs.resume(half.path, "run.frames=384", quiet=True)
    same(state(whole), state(resumed))
