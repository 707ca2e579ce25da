"""What environments tell and what agents earn, as columns of a run's metrics."""

import pytest
import torch
from data.scripted import Scripted

import hetrl
from hetrl import catalog
from hetrl.runs.board import GrowingTable
from hetrl.runs.csv_table import read
from hetrl.runs.folder import Folder
from hetrl.runs.run import evaluate_run, resume, train

SMALL = [
    "nets.actor={use: net/categorical_policy, hidden: [8]}", "nets.value.hidden=[8]", "data.frames=20",
    "run.frames=60", "run.eval_every=40", "run.n_eval_episodes=3", "run.checkpoint_every=20", "run.device=cpu",
]  # fmt: skip
PAID = [{"reward": [1.0, 3.0]}, {"reward": [1.0, 0.0]}]
SHARED = [{"reward": [1.0, 1.0]}] * 2


class Telling(Scripted):
    """Episodes of two steps, of which the first six of four environments tell nothing; then every second is a win.

    Args:
        script: see the class above.
        n_envs: environments in the batch.
        reward: the team's.
        seed: of nothing.
        device: where it lives.
    """

    def __init__(self, *, script: list, n_envs: int = 4, reward: str = "mean", seed: int = 0, device: str = "cpu"):
        self.lived = 0
        super().__init__(script=script, n_envs=n_envs, reward=reward, device=device)

    @property
    def infos(self):
        self.lived += 1
        if self.lived <= 6 and self.n_envs == 4:
            return {}
        return {"won, at last": torch.full((self.n_envs,), float(self.lived % 2))}

    def state_dict(self, *_, **__):
        return {"lived": self.lived, **super().state_dict()}

    def load_state_dict(self, state, *_, **__):
        self.lived = state["lived"]
        super().load_state_dict(state)


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(catalog.REGISTERED, "env/test.telling", Telling)


def trained(folder, script, *changes):
    task = f"task={{use: env/test.telling, n_envs: 4, script: {script}}}"
    train(hetrl.load("happo", task, *SMALL, *changes), folder, quiet=True)
    return read(Folder(folder).metrics)


def test_columns_that_come_late(tmp_path):
    """Five steps a batch, seven episodes in three: the first six tell nothing, and the seventh a win."""
    rows = trained(tmp_path / "run", PAID)
    assert [row.get("return/a_0") for row in rows] == [None, 2.0, 2.0, 2.0]
    assert [row.get("return/a_1") for row in rows] == [None, 3.0, 3.0, 3.0]
    assert [row.get("return") for row in rows] == [None, 2.5, 2.5, 2.5]
    assert [row.get("info/won, at last") for row in rows] == [None, None, None, 1.0]
    evaluated = [row for row in rows if "eval/return" in row]
    assert [row["eval/return/a_1"] for row in evaluated] == [3.0] * len(evaluated)
    assert {row["eval/info/won, at last"] for row in evaluated} == {1.0}
    table = GrowingTable(Folder(tmp_path / "run").metrics)
    table.read()
    assert table.latest["info/won, at last"] == 1.0 and table.latest["return/a_1"] == 3.0


def test_a_shared_reward_has_one_column(tmp_path):
    rows = trained(tmp_path / "run", SHARED)
    assert {name for row in rows for name in row if "return/" in name} == set()
    assert rows[-1]["return"] == 2.0


def test_goes_on_bit_for_bit_in_the_middle_of_an_episode(tmp_path):
    whole = trained(tmp_path / "whole", PAID)
    trained(tmp_path / "part", PAID, "run.frames=20")
    resume(tmp_path / "part", "run.frames=60", quiet=True)
    assert read(Folder(tmp_path / "part").metrics)[-1] == whole[-1]


def test_an_evaluation_afterwards_has_them_by_episode(tmp_path):
    trained(tmp_path / "run", PAID, "run.frames=20")
    episodes = evaluate_run(tmp_path / "run")
    assert episodes.agent_returns["a_1"].tolist() == [3.0] * 3
    assert episodes.infos["won, at last"].tolist() == [1.0] * 3
