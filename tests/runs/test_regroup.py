"""A run that goes on with shared policies: everything but them is what it was, and it resumes exactly."""

import shutil

import pytest
import torch

import hetrl
from hetrl import cli
from hetrl.errors import RunError
from hetrl.report.alike import alike
from hetrl.runs.csv_table import read
from hetrl.runs.folder import Folder
from hetrl.runs.regroup import regroup
from hetrl.runs.run import resume, train

TINY = ["run.eval_every=null", "run.n_eval_episodes=3", "run.device=cpu", "nets.actor.hidden=[8]"]
RECIPES = {
    "happo": [*TINY, "nets.value.hidden=[8]", "data.frames=28", "run.frames=56",
              "task={use: env/tabular_game, n_states: 3, n_actions: [2, 2, 2], n_envs: 4, horizon: 7}",
              "nets.actor.use=net/categorical_policy"],
    "omdpg": [*TINY, "nets.q.hidden=[8]", "data.warmup=20", "data.batch=8", "run.frames=40", "task.n_envs=4",
              "task.horizon=7", "nets.actor.per=agent", "update.actors.order.of=agent"],
    "hasac": [*TINY, "nets.q.hidden=[8]", "data.warmup=20", "data.batch=8", "run.frames=40", "task.n_envs=4",
              "task.horizon=7"],
}  # fmt: skip
MORE = "run.frames=84"
A, B, C = "agent_0", "agent_1", "agent_2"
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:vmas"),
    # Lightning's advice for other kinds of training: a short epoch.
    pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*"),
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return a function that returns the folder of a short run of a recipe, trained once."""
    place = tmp_path_factory.mktemp("runs")

    def run(name):
        if not (place / name).exists():
            train(hetrl.load(name, *RECIPES[name]), place / name, quiet=True)
        return place / name

    return run


def equal(one, other):
    """Say whether two trees of tensors and primitives are the same, bit for bit."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def of_agents(checkpoint, names):
    """Return the weights with groups called by the names of their agents."""
    weights = checkpoint["state_dict"].items()
    return {".".join(names.get(word, word) for word in key.split(".")): value for key, value in weights}


@pytest.mark.parametrize("name", ["happo", "omdpg", pytest.param("hasac", marks=pytest.mark.slow)])
def test_a_group_for_each_agent_goes_on_as_the_run_does(name, runs, tmp_path):
    """Nothing is lost on the way: networks, moments, replay, simulator, orders, generators, metrics."""
    names = {"one": A, "two": B, "three": C}
    regroup(runs(name), {word: [agent] for word, agent in names.items()}, names, tmp_path / "grouped")
    shutil.copytree(runs(name), tmp_path / "plain")
    plain, grouped = (resume(tmp_path / folder, MORE, quiet=True) for folder in ("plain", "grouped"))
    one, other = plain.load_checkpoint(), grouped.load_checkpoint()
    assert other["hetrl"]["frames"] == one["hetrl"]["frames"] > 56
    assert equal(of_agents(one, {}), of_agents(other, names))
    assert equal(one["optimizer_states"], other["optimizer_states"])
    assert equal(one["Collection"]["source"].get("ring"), other["Collection"]["source"].get("ring"))
    values = [[sorted(row.items()) for row in read(folder.metrics)] for folder in (plain, grouped)]
    assert [[value for _, value in row] for row in values[0]] == [[value for _, value in row] for row in values[1]]


@pytest.mark.parametrize("name", RECIPES)
def test_a_group_takes_one_agents_policy_and_keeps_the_rest(name, runs, tmp_path):
    """``pair`` is agents 0 and 2 with the policy of 2; what is not the policy's, temperatures too, is as it was."""
    models = {"pair": C, "alone": B}
    regroup(runs(name), {"pair": [A, C], "alone": [B]}, models, tmp_path / "new")
    one, other = Folder(runs(name)).load_checkpoint(), Folder(tmp_path / "new").load_checkpoint()
    weights, kept = one["state_dict"], of_agents(other, models)
    gone = {key for key in weights if ".actor." in key and A in key.split(".")}
    assert sorted(kept) == sorted(weights.keys() - gone)
    assert all(equal(value, weights[key]) for key, value in kept.items())
    assert not all(equal(weights[key], weights[key.replace(A, C)]) for key in gone)
    assert len(one["optimizer_states"]) - len(other["optimizer_states"]) == 1
    moments = {float(state["state"][0]["exp_avg"].sum()) for state in other["optimizer_states"]}
    assert moments < {float(state["state"][0]["exp_avg"].sum()) for state in one["optimizer_states"]}
    assert equal(one["Collection"], other["Collection"])


def test_it_resumes_exactly(runs, tmp_path):
    for folder in ("whole", "parts"):
        regroup(runs("omdpg"), {"pair": [A, C], "alone": [B]}, {"pair": C, "alone": B}, tmp_path / folder)
    whole = resume(tmp_path / "whole", MORE, quiet=True)
    resume(tmp_path / "parts", "run.frames=60", quiet=True)
    parts = resume(tmp_path / "parts", MORE, quiet=True)
    one, other = whole.load_checkpoint(), parts.load_checkpoint()
    for part in ("state_dict", "optimizer_states"):
        assert equal(one[part], other[part])
    rows = read(whole.metrics)
    assert rows == read(parts.metrics) and rows[: len(read(runs("omdpg") / "metrics.csv"))] == read(
        runs("omdpg") / "metrics.csv"
    )
    assert any(name.startswith("actors/pair/") for name in rows[-1])


def test_the_command_merges_again_and_again(runs, tmp_path, capsys):
    """All are alike at a threshold of 2; at 0 nobody is, and a run that shares some can share more."""

    def command(*words):
        cli.app(["groups", *map(str, words)], standalone_mode=False)
        return capsys.readouterr().out

    regroup(runs("omdpg"), {"pair": [A, C], "alone": [B]}, {"pair": C, "alone": B}, tmp_path / "two")
    assert sorted(map(sorted, alike(tmp_path / "two", 0.0).groups.values())) == [[A, C], [B]]
    printed = command(tmp_path / "two", "--threshold", "2", "--into", tmp_path / "one")
    assert "stands at 40 of 40 frames" in printed
    words = printed.split(f"hetrl train --resume {tmp_path / 'one'}")[1].split()
    recipe = hetrl.load(tmp_path / "one" / "recipe.yaml")
    assert [sorted(members) for members in recipe.groups.values()] == [[A, B, C]]
    assert {recipe.nets["actor"].per, *(phase.order.of for phase in recipe.update if phase.train == "actor")} == {
        "group"
    }
    assert words == ["run.frames=80"]
    resume(tmp_path / "one", *words, quiet=True)
    with pytest.raises(RunError, match="its policies are shared already"):
        alike(tmp_path / "one", 0.1)
    with pytest.raises(RunError, match="choose another --folder"):
        regroup(runs("omdpg"), {"pair": [A, C], "alone": [B]}, {"pair": C, "alone": B}, tmp_path / "one")


def test_the_model_is_in_the_middle(runs):
    """Of three that are one group it is the one nearest to the other two."""
    found = alike(runs("omdpg"), 2.0)
    ((names, each),) = found.distances.values()
    assert found.models == {"agents_group_0": names[int(each.sum(1).argmin())]}
