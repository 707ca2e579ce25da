"""Environments of TorchRL and rows in processes, from their registration to a run that goes on."""

import re
from pathlib import Path

import pytest
import torch
from env.test_workers import Pair
from env.torchrl_worlds import Walk

import hetrl
from hetrl import catalog
from hetrl.runs.folder import Folder
from hetrl.runs.run import resume

PAGE = Path(__file__).parents[2] / "docs" / "details" / "torchrl_environments.md"
# Lightning's advice for other kinds of training.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*"),
    pytest.mark.filterwarnings("ignore:.*no pre-optimization state.*"),
]
TASKS = {
    "rows at once": (Walk, "horizon: 7"),
    "rows in processes": (
        lambda own_stream=True: Walk(own_stream=own_stream),
        "horizon: 7, workers: 2, own_stream: false",
    ),
    "PettingZoo in processes": (Pair, "workers: 2"),
}


@pytest.fixture(autouse=True)
def _names_of_this_test(monkeypatch):
    for word in ("REGISTERED", "REGISTRATIONS"):
        monkeypatch.setattr(catalog, word, {})


@pytest.mark.parametrize("task", TASKS)
def test_trains_evaluates_and_goes_on_bit_for_bit(task, tmp_path):
    thing, words = TASKS[task]
    hetrl.register("env/my.world", thing)
    recipe = ("happo", f"task={{use: env/my.world, n_envs: 4, {words}}}", "nets.actor.use=net/mixed_policy",
              "data.frames=40", "run.device=cpu", "run.eval_every=40", "run.n_eval_episodes=2", "nets.actor.hidden=[8]",
              "nets.value.hidden=[8]")  # fmt: skip
    hetrl.train(hetrl.load(*recipe, "run.frames=80"), folder=tmp_path / "run")
    resumed = resume(tmp_path / "run", "run.frames=120", quiet=True).load_checkpoint()
    hetrl.train(hetrl.load(*recipe, "run.frames=120"), folder=tmp_path / "whole")
    whole = Folder(tmp_path / "whole").load_checkpoint()
    assert whole["state_dict"].keys() == resumed["state_dict"].keys()
    assert all(torch.equal(value, resumed["state_dict"][key]) for key, value in whole["state_dict"].items())
    told = (tmp_path / "run" / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"eval/info/far", "info/far"} <= set(told) or {"eval/info/count", "info/count"} <= set(told)


def test_the_pages_example_trains(tmp_path, monkeypatch):
    """As it stands, but for the frames; and it goes on bit for bit, as the page says."""
    monkeypatch.chdir(tmp_path)
    world, run = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    names: dict = {}
    exec(compile(world, str(PAGE), "exec"), names)
    exec(compile(run.replace("=48000", "=960").replace("=9600", "=480"), str(PAGE), "exec"), names)
    from hetrl.env.adapter.torchrl import TorchRL

    env = TorchRL(factory=names["Chase"], n_envs=3, horizon=30)
    assert env.repeats and env.team.sizes == "1 runner: 1 -> continuous[1]; 1 guard: 2 -> discrete[3]"
    assert Folder(Path("chase")).load_checkpoint()["hetrl"]["frames"] == 960
