"""An agent may be called anything: what its modules, keys, columns and files are called is hetrl's business."""

import lightning as L
import numpy as np
import pytest
import torch
from env.worlds import TINY, Living, recipe, varied
from gymnasium import spaces

import hetrl
from hetrl.engine.show import show
from hetrl.engine.task import team_of
from hetrl.runs.run import evaluate_run, resume, train
from hetrl.team import Box, Team

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*smaller than the logging interval.*", "ignore:.*no pre-optimization state.*"
)
ODD = [
    "forward", "train", "state", "next", "a.b", "a b", "a_b", "type", "0", "7th", "per", "owner", "of", "training",
    "keys", "reward", "done", "terminated", "episode", "agents", "agent", "team", "", "loss", "log", "é", "self",
    "slot", "batch_size", "group", "memory", "_modules", "return", "nan", "true", "null", "weights", "../x",
]  # fmt: skip


def team(unlike):
    """A class whose agents have these names, each with an observation size of its own, or all alike."""

    def space(self, agent):
        return spaces.Box(0, 1, (3 + (ODD.index(agent) if unlike else 0),), np.float32)

    def see(self, agent):
        return self.rng.random(self.observation_space(agent).shape).astype(np.float32)

    return varied(possible_agents=list(ODD), observation_space=space, see=see)


@pytest.mark.parametrize("unlike", [False, True])
@pytest.mark.parametrize("per", ["agent", "group"])
def test_teams_of_odd_names_are_built_shown_and_trained(unlike, per, monkeypatch):
    words = [*TINY, "data.frames=4", "run.frames=4", f"nets.actor.per={per}", "task.n_envs=2", "update.actors.epochs=1"]
    made_of = recipe(monkeypatch, team(unlike), words=words)
    found = team_of(made_of)
    assert len(set(found.names)) == len(ODD) == len(found)
    assert show(made_of, found)
    module, data = hetrl.build(made_of)
    (batch,) = data.source.collect().samples
    fitted = L.Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_progress_bar=False,
                       enable_model_summary=False, enable_checkpointing=False)  # fmt: skip
    fitted.fit(module, data)
    assert module.frames == 4 and batch["done"].shape == (2, 2)


def test_a_run_of_theirs_is_evaluated_and_continued(tmp_path, monkeypatch):
    cls = team(True)
    cls.possible_agents = ODD[:10]
    words = [*TINY, "data.frames=20", "run.frames=40", "task.n_envs=2", "run.eval_every=20", "update.actors.epochs=1"]
    made_of = recipe(monkeypatch, cls, words=words)
    folder = train(made_of, tmp_path / "run", quiet=True)
    assert evaluate_run(folder.path).returns.tolist() == [10, 10]
    resumed = resume(folder.path, "run.frames=60", quiet=True).load_checkpoint()["state_dict"]
    whole = train(hetrl.load(made_of, "run.frames=60"), tmp_path / "whole", quiet=True).load_checkpoint()["state_dict"]
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())


def test_off_policy_too(tmp_path, monkeypatch):
    words = ["run.frames=48", "run.eval_every=null", "run.device=cpu", "data.warmup=16", "data.batch=8",
             "task.n_envs=2", "data.capacity=64", "nets.q.hidden=[8]",
             "nets.actor={use: net/categorical_policy, hidden: [8]}"]  # fmt: skip
    cls = team(True)
    cls.possible_agents = ODD[:6]
    train(recipe(monkeypatch, cls, base="hasac", words=words), tmp_path / "run", quiet=True)


def test_names_that_are_plain_stay_as_they_are(monkeypatch):
    """So do the names of what is in a checkpoint."""
    module, _ = hetrl.build(recipe(monkeypatch, Living))
    assert {name.split(".")[3] for name in module.state_dict() if ".nets.actor." in name} == {"a_0", "a_1"}


def test_groups_may_be_called_anything_too():
    alike = Team.of(["a", "b", "c"], [2] * 3, [Box((-1.0,), (1.0,))] * 3)
    shared = alike.shared({"forward": ["a", "b"], "of": ["c"]})
    assert list(shared.bodies) == ["forward", "of"]
    unlike = Team.of(["state", "next", "x"], [2, 3, 4], [Box((-1.0,), (1.0,))] * 3)
    assert list(unlike.layout) == ["state_group", "next_group", "x"] and unlike.names == ("state", "next", "x")


def test_a_component_is_wired_to_whoever_it_is():
    loss = hetrl.component("loss/clipped_surrogate").wire(agent="0")
    assert ("0", "log_prob") in loss.in_keys


def test_names_may_be_numbers(monkeypatch):
    cls = varied(possible_agents=[0, 1])
    module, _ = hetrl.build(recipe(monkeypatch, cls))
    assert module.linked.team.names == ("0", "1")
