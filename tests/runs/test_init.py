"""Starting from the weights of another run: what fits is taken over, and of everything else it is said why not."""

import copy
import json
from pathlib import Path

import pytest
import torch

import hetrl
from hetrl.errors import RunError
from hetrl.runs import run as runs
from hetrl.runs.folder import Folder
from hetrl.runs.origin import Origin
from hetrl.runs.seeds import train_seeds
from hetrl.train.inherit import inherit

GAME = "task={use: env/tabular_game, n_states: 3, n_actions: [2, 2], n_envs: 4, horizon: 7}"
THREE = "task={use: env/tabular_game, n_states: 3, n_actions: [2, 2, 2], n_envs: 4, horizon: 7}"
TINY = [
    GAME, "nets.actor.use=net/categorical_policy", "nets.actor.hidden=[8]", "nets.value.hidden=[8]", "data.frames=40",
    "run.frames=80", "run.eval_every=null", "run.device=cpu",
]  # fmt: skip
SHARED = ["nets.actor.per=group", "update.actors.order.of=group"]
SLOW = [
    "task.n_envs=4", "task.horizon=7", "nets.q.hidden=[8]", "nets.actor.hidden=[8]", "data.capacity=100",
    "data.batch=8", "data.warmup=40", "run.frames=60", "run.eval_every=null", "run.device=cpu",
]  # fmt: skip


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Return the folders of runs to start from: one with an actor for each agent, and one with a shared one."""
    place = tmp_path_factory.mktemp("runs")
    own = runs.train(hetrl.load("happo", *TINY), place / "own", quiet=True)
    shared = runs.train(hetrl.load("happo", *TINY, *SHARED), place / "shared", quiet=True)
    return own, shared


def given(folder, *changes, nets=(), optimizers=False, recipe="happo", sizes=TINY):
    """Return a module with a run's weights, and what was told."""
    module, _ = hetrl.load(recipe, *sizes, *changes).build()
    checkpoint = folder.load_checkpoint()
    return module, inherit(module, checkpoint, folder.tree(), nets, optimizers=optimizers)


def weights(checkpoint, prefix):
    start = f"linked.{prefix}."
    return {
        name.removeprefix(start): value for name, value in checkpoint["state_dict"].items() if name.startswith(start)
    }


def equal(module, expected):
    found = module.state_dict()
    return list(found) == list(expected) and all(torch.equal(found[name], expected[name]) for name in found)


def test_everything_that_fits_is_taken_with_its_statistics(done):
    own, _ = done
    module, report = given(own, "update.actors.optim.lr=1e-3")
    assert equal(module.linked.nets, weights(own.load_checkpoint(), "nets"))
    assert any("normalizer" in name or "mean" in name for name in module.linked.nets["value"].state_dict())
    assert report.loaded == {
        "actor": {"agent_0": "agent_0", "agent_1": "agent_1"}, "value": {"team": "team"},
    }  # fmt: skip
    assert list(report.lines()) == [
        "actor: loaded (agent_0, agent_1)",
        "value: loaded (team)",
        "optimisers: new",
        "new in any case: orders, the state of losses and estimates, random numbers, simulator, replay buffer",
        "differs: update.1.optim.lr is 0.0005 there and 0.001 here",
    ]
    assert all(
        not optimizer.state_dict()["state"] for phase in module.phases for optimizer in phase.optimizers.values()
    )


def test_some_nets_alone(done):
    own, _ = done
    fresh, _ = hetrl.load("happo", *TINY).build()
    module, report = given(own, nets=["actor"])
    assert equal(module.linked.nets["actor"], weights(own.load_checkpoint(), "nets.actor"))
    assert equal(module.linked.nets["value"], fresh.linked.nets["value"].state_dict())
    assert (report.loaded.keys(), report.new) == ({"actor"}, {})


def test_optimisers_go_on_where_that_is_asked_for_and_follow_the_new_settings(done):
    own, _ = done
    module, report = given(own, "update.actors.optim.lr=1e-3", nets=["actor"], optimizers=True)
    assert report.optimizers == ["actors.agent_0", "actors.agent_1"]
    assert "optimisers: actors.agent_0, actors.agent_1 go on" in report.lines()
    states = own.load_checkpoint()["optimizer_states"]
    for index, optimizer in enumerate(module.phases[1].optimizers.values()):
        found = optimizer.state_dict()
        assert found["param_groups"][0]["lr"] == 1e-3 and states[index]["param_groups"][0]["lr"] == 5e-4
        for number, moments in found["state"].items():
            assert torch.equal(moments["exp_avg"], states[index]["state"][number]["exp_avg"])
    assert not next(iter(module.phases[2].optimizers.values())).state_dict()["state"]


def test_another_number_of_agents_where_all_share_a_policy(done):
    _, shared = done
    module, report = given(shared, THREE, *SHARED)
    assert report.loaded == {"actor": {"agents": "agents"}}
    assert list(report.new) == ["value"]  # it sees what all of them see
    assert equal(module.linked.nets["actor"], weights(shared.load_checkpoint(), "nets.actor"))


def test_a_shared_policy_is_where_each_of_many_may_begin(done):
    _, shared = done
    module, report = given(shared, THREE, nets=["actor"])
    assert report.loaded == {"actor": dict.fromkeys(["agent_0", "agent_1", "agent_2"], "agents")}
    assert next(report.lines()) == "actor: loaded (agent_0 from agents, agent_1 from agents, agent_2 from agents)"
    first, second = (module.linked.nets["actor"][name] for name in ("agent_0", "agent_1"))
    assert equal(first, second.state_dict()) and first is not second


def test_an_agent_that_was_not_there_starts_as_new_and_it_is_said(done):
    own, _ = done
    _, report = given(own, THREE, nets=["actor"])
    assert next(report.lines()) == (
        "actor: loaded (agent_0, agent_1); new (agent_2): the other run has it of agent_0, agent_1 only"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("nets.actor.hidden=[16]", r"^the weights of 'actor' \(agent_0\) do not fit: hidden.0 is 8 there and 16 "),
        ("nets.actor.activation=tanh", r"activation is not said there and 'tanh' here\.$"),
        (GAME.replace("3", "5"), r"do not fit: the weight \S+ is \[8, 3\] of torch.float32, not \[8, 5\]"),
    ],
)  # fmt: skip
def test_a_net_that_was_asked_for_and_does_not_fit_is_refused(done, change, message):
    module, _ = hetrl.load("happo", *TINY, change).build()
    before = copy.deepcopy(module.state_dict())
    checkpoint = done[0].load_checkpoint()
    with pytest.raises(RunError, match=message):
        inherit(module, checkpoint, done[0].tree(), ["actor"])
    assert equal(module, before)


def test_what_does_not_fit_is_one_line_and_nothing_at_all_is_an_error(done):
    _, report = given(done[0], "nets.actor.hidden=[16]")
    assert list(report.lines())[:2] == [
        "value: loaded (team)", "actor: new (agent_0, agent_1): hidden.0 is 8 there and 16 here",
    ]  # fmt: skip
    with pytest.raises(RunError, match=r"^the weights of 'actor' \(agent_0\) do not fit: hidden.0 is 8 there and 16"):
        given(done[0], "nets.actor.hidden=[16]", "nets.value.hidden=[16]")
    with pytest.raises(RunError, match=r"^there is no net 'acter' to start from other weights\. Nearest: 'actor'\.$"):
        given(done[0], nets=["acter"])


def test_a_slow_copy_comes_along_and_where_there_is_none_it_starts_equal(tmp_path):
    folder = runs.train(hetrl.load("hasac", *SLOW), tmp_path / "run", quiet=True)
    checkpoint = folder.load_checkpoint()
    module, _ = given(folder, recipe="hasac", sizes=SLOW)
    assert equal(module.linked.slow["q"].net, weights(checkpoint, "slow.q.net"))
    assert not equal(module.linked.slow["q"].net, weights(checkpoint, "nets.q"))
    checkpoint["state_dict"] = {
        name: each for name, each in checkpoint["state_dict"].items() if not name.startswith("linked.slow")
    }
    module, _ = hetrl.load("hasac", *SLOW).build()
    inherit(module, checkpoint, folder.tree())
    assert equal(module.linked.slow["q"].net, weights(checkpoint, "nets.q"))


def test_a_chain_of_runs_says_where_each_began(done, tmp_path, capsys):
    own, _ = done
    second = runs.train(hetrl.load("happo", *TINY), tmp_path / "second", init=own.path)
    assert capsys.readouterr().out.startswith(f"Starts from {own.path} (after 80 frames):\n  actor: loaded (agent_0, ")
    third = runs.train(hetrl.load("happo", *TINY), tmp_path / "third", init=f"{second.path}:actor", quiet=True)
    told = json.loads(third.init.read_text(encoding="utf-8"))
    assert (told["run"], told["frames"], set(told["loaded"])) == (str(second.path), 80, {"actor"})
    assert told["before"]["run"] == str(own.path)
    assert not capsys.readouterr().out
    assert not own.init.exists()


def test_the_first_evaluation_is_of_the_weights_that_were_given(done, tmp_path):
    from hetrl.runs.csv_table import read

    changes = ["run.eval_every=80", "run.n_eval_episodes=3"]
    first = runs.train(hetrl.load("happo", *TINY, *changes), tmp_path / "first", quiet=True)
    second = runs.train(hetrl.load("happo", *TINY, *changes), tmp_path / "second", init=first.path, quiet=True)
    assert read(second.metrics)[0]["eval/return"] == read(first.metrics)[-1]["eval/return"]


def test_what_cannot_be_begun_with_leaves_no_folder(done, tmp_path):
    own, _ = done
    recipe, folder = hetrl.load("happo", *TINY, "nets.actor.hidden=[16]"), tmp_path / "new"
    with pytest.raises(RunError, match=rf"^--init {own.path}:actor: the weights of 'actor' \(agent_0\) do not fit"):
        runs.train(recipe, folder, init=f"{own.path}:actor", quiet=True)
    with pytest.raises(RunError, match=r"nowhere is no run \(it has no recipe.yaml\)"):
        runs.train(recipe, folder, init=tmp_path / "nowhere", quiet=True)
    assert not folder.exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("runs/a", ()),
        ("runs/a:actor", ("actor",)),
        ("runs/a:actor,value", ("actor", "value")),
        ("C:\\runs\\a", ()),
        ("C:/runs/a", ()),
        ("C:\\runs\\a:actor", ("actor",)),
    ],
)
def test_how_it_is_written(text, expected):
    found = Origin.parse(text)
    assert found.nets == expected
    assert str(found) == text and not found.optimizers


def test_how_optimisers_are_asked_for():
    assert Origin.parse("a:actor+optimizers") == Origin(Path("a"), ("actor",), optimizers=True)
    assert Origin.parse("a:+optimizers").optimizers and Origin.parse("a:+optimizers").nets == ()
    assert str(Origin.parse("a:actor+optimizers")) == "a:actor+optimizers"
    with pytest.raises(RunError, match=r"^--init a:actor\+optim: after '\+' comes 'optimizers', as in a:actor\+optim"):
        Origin.parse("a:actor+optim")
    with pytest.raises(RunError, match=r"^--init needs a run's folder"):
        Origin.parse("")


def test_each_seed_begins_with_its_own(tmp_path):
    sizes = [*TINY, "run.frames=40", "run.threads=1"]
    first = train_seeds(hetrl.load("happo", *sizes), 2, tmp_path / "first")
    second = train_seeds(hetrl.load("happo", *sizes), 2, tmp_path / "second", init=f"{first.folder.path}:actor")
    assert second.done == [0, 1]
    for seed, run in second.folder.runs.items():
        assert json.loads(Folder(run).init.read_text(encoding="utf-8"))["run"] == str(first.folder.runs[seed])
    with pytest.raises(RunError, match=r"first has no seed 2; name one of its runs, as \S+/seed0\.$"):
        train_seeds(hetrl.load("happo", *sizes), 3, tmp_path / "third", init=first.folder.path)
    assert not (tmp_path / "third").exists()


def test_a_run_begins_with_weights_from_python_and_from_the_command_line(done, tmp_path, monkeypatch, capsys):
    from hetrl import cli

    own, _ = done
    run = hetrl.train("happo", *TINY, folder=tmp_path / "a", init=own.path, keep="every:40", quiet=True)
    assert json.loads(Folder(run.path).init.read_text(encoding="utf-8"))["run"] == str(own.path)
    assert (run.path / "checkpoints" / "frames-40.ckpt").exists()
    more = ["--folder", str(tmp_path / "b"), "--init", f"{own.path}:actor", "--keep", "every:40"]
    words = ["train", "happo", *TINY, *more]
    monkeypatch.setattr("sys.argv", ["hetrl", *words])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code
    assert capsys.readouterr().out.startswith(f"Starts from {own.path}:actor (after 80 frames):\n  actor: loaded ")
    for checkpoint in ("last", "40"):
        monkeypatch.setattr("sys.argv", ["hetrl", "eval", str(tmp_path / "b"), "--checkpoint", checkpoint])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert not end.value.code and "64 episodes" in capsys.readouterr().out
    for more, message in (
        (["--resume", str(own.path), "--init", str(own.path)], "--init and --resume do not go together; a run goes on"),
        (["happo", "--checkpoint", "best"], "--checkpoint goes with --resume of one run; to start from other weights"),
        (["--resume", str(own.path), "update.actors.optim.lr=1e-4", "run.frames=160"],
         "a new run may start from its weights and be another one: hetrl train RECIPE --init RUN."),
    ):  # fmt: skip
        monkeypatch.setattr("sys.argv", ["hetrl", "train", *more])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert end.value.code == 2 and message in capsys.readouterr().err
