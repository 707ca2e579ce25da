"""The two objects under a user's own Trainer."""

import math

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

import hetrl
from hetrl.errors import DivergenceError, RecipeError, RunError
from hetrl.runs import run as runs
from hetrl.runs.csv_table import read
from hetrl.runs.folder import Folder

TINY = [
    "task.n_envs=4", "task.horizon=7", "data.frames=40", "run.frames=120", "run.eval_every=80", "run.n_eval_episodes=3",
    "nets.actor.hidden=[8]", "nets.value.hidden=[8]", "run.device=cpu",
]  # fmt: skip
QUIET = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}


def test_the_five_lines(tmp_path):
    module, data = hetrl.load("happo", *TINY).build()
    before = [parameter.clone() for parameter in module.parameters()]
    trainer = L.Trainer(max_epochs=1, enable_checkpointing=False, log_every_n_steps=1, **QUIET)
    trainer.fit(module, data)
    assert module.frames == 120
    assert module.iteration == 3
    assert any(not torch.equal(old, new) for old, new in zip(before, module.parameters(), strict=True))
    assert {"return", "eval/return"} <= set(trainer.callback_metrics)
    # 3 batches x (3 agents + 1 critic) x 5 epochs x 4 minibatches, counted by Lightning as it does
    assert trainer.global_step == 3 * 4 * 20


def test_a_trainer_without_an_end_stops_with_the_run(tmp_path):
    module, data = hetrl.load("happo", *TINY).build()
    L.Trainer(enable_checkpointing=False, max_epochs=50, log_every_n_steps=1, **QUIET).fit(module, data)
    assert module.frames == 120


# Lightning's advice on manual optimisation: the state after the steps is just what we want.
@pytest.mark.filterwarnings("ignore:.*no pre-optimization state.*", "ignore:.*exists and is not empty.*")
def test_lightnings_own_checkpoint_resumes(tmp_path):
    whole, data = hetrl.load("mappo", *TINY).build()
    L.Trainer(max_epochs=1, enable_checkpointing=False, log_every_n_steps=1, **QUIET).fit(whole, data)

    module, data = hetrl.load("mappo", *TINY).build()
    saver = ModelCheckpoint(tmp_path, save_last=True, every_n_train_steps=1)
    trainer = L.Trainer(max_epochs=1, limit_train_batches=2, callbacks=[saver], log_every_n_steps=1, **QUIET)
    trainer.fit(module, data)
    assert module.frames == 80

    resumed, data = hetrl.load("mappo", *TINY).build()
    again = ModelCheckpoint(tmp_path, save_last=True, every_n_train_steps=1)
    trainer = L.Trainer(max_epochs=1, callbacks=[again], log_every_n_steps=1, **QUIET)
    trainer.fit(resumed, data, ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    for left, right in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(left, right)


def test_the_same_seed_gives_the_same_run_and_another_seed_another(tmp_path):
    def final(seed: int) -> torch.Tensor:
        module, data = hetrl.load("happo", *TINY, f"run.seed={seed}").build()
        L.Trainer(max_epochs=1, enable_checkpointing=False, log_every_n_steps=1, **QUIET).fit(module, data)
        return torch.cat([parameter.flatten() for parameter in module.parameters()])

    assert torch.equal(final(0), final(0))
    assert not torch.equal(final(0), final(1))


def test_evaluation_does_not_disturb_training(tmp_path):
    def final(every: str) -> torch.Tensor:
        module, data = hetrl.load("happo", *TINY, f"run.eval_every={every}").build()
        L.Trainer(max_epochs=1, enable_checkpointing=False, log_every_n_steps=1, **QUIET).fit(module, data)
        return torch.cat([parameter.flatten() for parameter in module.parameters()])

    assert torch.equal(final("40"), final("null"))


def test_nan_stops_the_run_with_its_name_and_keeps_the_last_good_checkpoint(tmp_path, monkeypatch):
    from hetrl.loss.clipped_surrogate import ClippedSurrogate

    healthy, calls = ClippedSurrogate.compute, []

    def sick(self, *roles):
        calls.append(1)
        written = healthy(self, *roles)
        return written if len(calls) <= 60 else {**written, "loss": written["loss"] * math.nan}

    monkeypatch.setattr(ClippedSurrogate, "compute", sick)
    recipe = hetrl.load("happo", *TINY, "run.checkpoint_every=40")
    with pytest.raises(DivergenceError, match=r"actors/agent_\d/surrogate is nan after 80 frames"):
        runs.train(recipe, tmp_path / "run", quiet=True)
    folder = Folder(tmp_path / "run")
    checkpoint = folder.load_checkpoint()
    assert checkpoint["hetrl"]["frames"] == 40
    assert all(value.isfinite().all() for value in checkpoint["state_dict"].values())
    assert [row["frames"] for row in read(folder.metrics)] == [0, 40]


def test_the_trainers_device_must_be_the_environments(monkeypatch):
    module, data = hetrl.load("happo", *TINY).build()
    monkeypatch.setattr(type(data), "device", torch.device("cuda"))
    with pytest.raises(RunError, match=r"the Trainer runs on cpu but the environments on cuda; .*run.device=cpu"):
        L.Trainer(max_epochs=1, enable_checkpointing=False, **QUIET).fit(module, data)


def test_simultaneous_turns_see_nobodys_update_and_sequential_ones_do():
    """With separate actors, a simultaneous sweep updates each agent as if it were alone; a sequential one does not."""

    def weights(*changes: str) -> list[torch.Tensor]:
        module, data = hetrl.load("happo", *TINY, "update.actors.minibatches=1", "run.frames=40", *changes).build()
        L.Trainer(max_epochs=1, enable_checkpointing=False, log_every_n_steps=1, **QUIET).fit(module, data)
        actors = module.linked.nets["actor"]
        return [torch.cat([p.flatten() for p in actors[f"agent_{i}"].parameters()]) for i in range(3)]

    together = weights("update.actors.order={use: order/simultaneous, of: agent}")
    forward = weights("update.actors.order={use: order/fixed, of: agent}")
    backward = weights("update.actors.order={use: order/reversed, of: agent}")
    assert torch.equal(forward[0], together[0])  # the first in the order has seen nothing yet
    assert torch.equal(backward[2], together[2])
    assert not torch.equal(forward[2], together[2])
    assert not torch.equal(forward[2], backward[2])


def test_a_parameter_that_no_loss_reaches_is_named():
    """An entropy bonus alone says nothing about the mean."""
    changes = ["update.actors.steps=[{net: actor.log_prob}, {use: loss/entropy_bonus}]"]
    module, data = hetrl.load("happo", *TINY, *changes).build()
    with pytest.raises(RecipeError, match=r"update.actors: no loss reaches 'head.body.0.weight' of net 'actor'"):
        L.Trainer(max_epochs=1, enable_checkpointing=False, log_every_n_steps=1, **QUIET).fit(module, data)


@pytest.mark.parametrize("changes", [["update.critic.every=2"], ["run.eval_every=40"]], ids=["every", "eval"])
@pytest.mark.parametrize("last", ["actors", "critic"])
def test_acting_goes_on_whatever_was_trained_last(changes, last):
    """Who trained last has gradients switched on, the others have not; stacking their weights must not mind."""
    tree = hetrl.load("happo", *TINY, *changes).tree
    estimate, actors, critic = tree["update"]
    order = [estimate, actors, critic] if last == "critic" else [estimate, critic, actors]
    module, data = hetrl.load({**tree, "update": order}).build()
    L.Trainer(max_epochs=1, enable_checkpointing=False, log_every_n_steps=1, **QUIET).fit(module, data)
    assert module.frames == 120


def test_a_shared_actor_stays_one_unit_beside_separate_values():
    """Units follow the trained net alone; another net that is not shared splits the lanes inside of it."""
    tree = hetrl.load("mappo", *TINY, "task.reward=per_agent", "nets.value.per=agent").tree
    own = ("value", "advantage", "return", "factor")
    keyed = {word: f"agent.{word}" for word in own}

    def renamed(step: dict) -> dict:
        words = {
            "value": {"value": "agent.value"},
            "estimate/gae": {"reward": "agent.reward", **{w: keyed[w] for w in ("value", "advantage", "return")}},
            "estimate/standardize": {"advantage": "agent.advantage"},
            "weight/unit_factor": {"advantage": "agent.advantage", "factor": "agent.factor"},
        }
        found = dict(words[step.get("use") or step["net"]])
        if step.get("at") == "next":
            found = {"value": "next.agent.value"}
        if step.get("use") == "estimate/gae":
            found["next_value"] = "next.agent.value"
        return {**step, "keys": found}

    estimate, actors, critic = tree["update"]
    actors["prepare"] = [renamed(step) for step in estimate["steps"]] + actors["prepare"]
    actors["steps"][1] = {**actors["steps"][1], "keys": {"advantage": "agent.advantage", "factor": "agent.factor"}}
    critic = {
        **critic,
        "order": {"use": "order/simultaneous", "of": "agent"},
        "prepare": [{"net": "value.normalized", "keys": {"normalized_value": "agent.old_normalized_value"}}],
        "steps": [
            {
                "net": "value.normalize",
                "keys": {"return_": "agent.return", "normalized_return": "agent.normalized_return"},
            },
            {"net": "value.normalized", "keys": {"normalized_value": "agent.normalized_value"}},
            {
                "use": "loss/huber_value",
                "clip": 0.2,
                "keys": {
                    "value": "agent.normalized_value",
                    "return_": "agent.normalized_return",
                    "old_value": "agent.old_normalized_value",
                    "loss": "loss.agent.value",
                },
            },
        ],
    }
    module, data = hetrl.load({**tree, "update": [actors, critic]}).build()
    L.Trainer(max_epochs=1, enable_checkpointing=False, log_every_n_steps=1, **QUIET).fit(module, data)
    assert [len(turn.lanes) for turn in module.phases[0]._turns._made.values()] == [1]
    assert {"actors/agents/surrogate", "critic/agent_2/value"} <= set(module.metrics)
