"""A run as its user asks it, from training to a picture."""

import json
import os
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from policy_kinds import KINDS, run_of

import hetrl
from hetrl.api.shown import Shown
from hetrl.data.evaluate import Episodes
from hetrl.errors import HetrlError, RecipeError, RunError, UnknownNameError
from hetrl.runs.run import evaluate_run
from hetrl.runs.seeds import Outcome
from hetrl.runs.seeds_folder import SeedsFolder

pytestmark = pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*")
TINY = [*KINDS["gaussian"][1], "run.frames=96", "run.eval_every=48"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return a trained run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return hetrl.train("happo", *TINY, folder=tmp_path_factory.mktemp("runs") / "balance", quiet=True)


def test_a_trained_run_tells_what_it_is_and_what_it_measured(run):
    assert isinstance(run, hetrl.Run) and run.recipe.name == "recipe" and run.frames == 96 and run.finished
    returns = run.metrics["eval/return"]
    assert isinstance(returns, np.ndarray) and np.isfinite(returns).all()
    assert run.metrics.frames("eval/return").tolist() == [0, 48, 96] and len(returns) == 3
    assert returns[-1] == pytest.approx(run.evaluate().returns.mean().item(), abs=1e-6)
    assert repr(run) == f"<{run.path}: 96 of 96 frames, return {returns[-1]:.4g}>"
    assert not run.is_seeds and run.seeds == {} and run.all_seeds == []
    with pytest.raises(RunError, match="is a single run; evaluate"):
        run.evaluate_seeds()


def test_a_table_has_columns_of_equal_length(run):
    table = run.table()
    lengths = {len(column) for column in table.values()}
    assert len(lengths) == 1 and next(iter(table)) == "frames" and set(table) == set(run.metrics)
    given = ~np.isnan(table["eval/return"])
    assert np.array_equal(table["eval/return"][given], run.metrics["eval/return"])
    assert np.isnan(table["actors/agent_0/surrogate"][0])  # before anything was trained
    pandas = pytest.importorskip("pandas")
    assert pandas.DataFrame(table).set_index("frames")["eval/return"].dropna().index.tolist() == [0, 48, 96]


def test_an_unknown_metric_is_named_with_the_nearest(run):
    with pytest.raises(UnknownNameError, match=r"^no metric 'eval/retrun' was logged\. Nearest: 'eval/return'\.$"):
        run.metrics["eval/retrun"]
    with pytest.raises(UnknownNameError):
        run.metrics.frames("eval/retrun")
    assert "eval/retrun" not in run.metrics and run.metrics.get("eval/retrun") is None


def test_evaluating_with_changes_seeds_and_draws(run):
    found = run.evaluate("task.package_mass=20", episodes=5)
    assert isinstance(found, Episodes) and found.returns.shape == found.lengths.shape == (5,)
    assert set(found.agent_returns) == {"agent_0", "agent_1"}
    assert torch.equal(found.returns, evaluate_run(run.path, "task.package_mass=20", n_episodes=5).returns)
    first, second = run.evaluate(seed=7), run.evaluate(seed=7)
    assert torch.equal(first.returns, second.returns) and not torch.equal(first.returns, run.evaluate().returns)
    assert not torch.equal(run.evaluate(stochastic=True).returns, run.evaluate().returns)
    with pytest.raises(RecipeError, match="package_mas"):
        run.evaluate("task.package_mas=20")
    with pytest.raises(RecipeError):
        run.evaluate(episodes=0)


def test_an_earlier_checkpoint_is_asked_by_its_name(run, tmp_path):
    before = run.evaluate(checkpoint="previous").returns.mean().item()
    assert before == pytest.approx(run.metrics["eval/return"][1], abs=1e-6)
    seen = np.ones(16)
    actions = [run.policies(checkpoint=name)["agent_0"](seen) for name in ("previous", "last")]
    assert not np.array_equal(*actions)
    written = run.export(tmp_path / "out", format="torch", checkpoint="previous")
    assert json.loads((written.path / "policies.json").read_text())["frames"] == 48


def test_pictures_pages_and_films_are_shown_by_a_notebook(run, tmp_path):
    for shown, kind in (
        (run.plot(to=tmp_path / "curve.png"), "image/png"),
        (run.plot("return", to=tmp_path / "curve.svg"), "image/svg+xml"),
        (run.report(to=tmp_path / "report.html"), "text/html"),
    ):
        assert isinstance(shown, Shown) and shown.path.stat().st_size > 1000
        assert os.fspath(shown) == str(shown) == str(shown.path)
        assert len(shown._repr_mimebundle_()[kind]) > 1000
    assert run.plot().path == run.path / "curve.png"
    with pytest.raises(RunError, match=r"has no metric 'retrun'\. Nearest: 'return'\.$"):
        run.plot("retrun")


def test_a_film_is_a_picture_that_moves(run, tmp_path, monkeypatch):
    monkeypatch.setattr("hetrl.env.vmas.Vmas.frame", lambda env, row=0: np.zeros((40, 40, 3), np.uint8))
    shown = run.film(tmp_path / "x.gif", "task.horizon=3")
    assert shown._repr_mimebundle_()["text/html"].startswith('<img src="data:image/gif;base64,')
    (tmp_path / "x.mp4").write_bytes(b"film")
    assert Shown(tmp_path / "x.mp4")._repr_mimebundle_()["text/html"].startswith("<video controls src=")


def test_it_goes_on(run, tmp_path):
    shorter = hetrl.train(run.recipe, "run.frames=48", folder=tmp_path / "run", quiet=True)
    assert shorter.frames == 48
    longer = shorter.resume("run.frames=96", quiet=True)
    assert longer.frames == 96 and longer.recipe.run.frames == 96
    assert np.array_equal(longer.metrics["eval/return"], run.metrics["eval/return"])


def test_it_starts_from_the_weights_of_another(run, tmp_path):
    words = [*TINY, "task.package_mass=20", "run.frames=48"]
    tuned, fresh = (
        hetrl.train("happo", *words, folder=tmp_path / name, init=init, quiet=True)
        for name, init in (("tuned", f"{run.path}:actor"), ("fresh", None))
    )
    before = [each.metrics["eval/return"][0] for each in (tuned, fresh)]
    assert before[0] == pytest.approx(run.evaluate("task.package_mass=20").returns.mean().item(), abs=1e-6)
    assert before[0] != before[1]
    with pytest.raises(RunError, match="nowhere"):
        hetrl.train("happo", *words, folder=tmp_path / "other", init="nowhere", quiet=True)
    assert not (tmp_path / "other").exists()


def test_what_is_said_in_vain_is_a_warning(tmp_path, monkeypatch):
    import hetrl.api.train as training

    monkeypatch.setattr(training, "warnings_of", lambda recipe: ["the recipe says it in vain"])
    with pytest.warns(UserWarning, match="in vain") as told:
        hetrl.train("happo", *TINY, "run.frames=48", folder=tmp_path / "run", quiet=True)
    assert told[0].filename == __file__


def test_what_cannot_be_asked_is_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match=r"^nowhere: there is no such folder; a run's is what hetrl train printed"):
        hetrl.Run("nowhere")
    with pytest.raises(RunError, match=r"^empty is no run \(it has no recipe\.yaml\)\.$"):
        hetrl.Run("empty")
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "recipe.yaml").write_text(hetrl.load("happo", *TINY).yaml())
    begun = hetrl.Run("begun")
    assert begun.frames == 0 and not begun.finished and dict(begun.metrics) == {} and begun.table() == {}
    assert repr(begun) == "<begun: 0 of 96 frames>"
    for ask in (begun.evaluate, begun.policies, lambda: begun.export("out"), lambda: begun.film("x.gif")):
        with pytest.raises(RunError, match=r"^begun has no checkpoint yet \(checkpoints/last\.ckpt\)\.$"):
            ask()
    with pytest.raises(HetrlError):
        begun.plot()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["begun", "empty"]


def test_a_part_that_this_process_does_not_know_is_one_line(tmp_path):
    (tmp_path / "run").mkdir()
    text = hetrl.load("happo", *TINY).yaml().replace("env/vmas", "env/my.world")
    (tmp_path / "run" / "recipe.yaml").write_text(text)
    run = hetrl.Run(tmp_path / "run")
    with pytest.raises(HetrlError, match=r"env/my\.world") as refused:
        run.evaluate()
    assert "\n" not in str(refused.value) and "\n" not in repr(run)


def test_words_that_do_not_go_together(tmp_path):
    with pytest.raises(RunError, match=r"at_once=\.\.\.\) goes with seeds"):
        hetrl.train("happo", *TINY, folder=tmp_path / "run", at_once=2)
    with pytest.raises(RunError, match=r"on=\.\.\., slurm=\.\.\.\) goes with seeds"):
        hetrl.train("happo", *TINY, folder=tmp_path / "run", on="slurm")
    with pytest.raises(RunError, match="without callbacks"):
        hetrl.train("happo", *TINY, folder=tmp_path / "run", seeds=2, callbacks=[object()])
    for seeds in (0, True, 2.0):
        with pytest.raises(RunError, match="give the number of seeds, 1 or more"):
            hetrl.train("happo", *TINY, folder=tmp_path / "run", seeds=seeds)
    assert list(tmp_path.iterdir()) == []


# ----- folders of seeds


@pytest.fixture
def seeds(run, tmp_path):
    """Return a folder of three seeds: two that are trained, which are copies of one run, and one that has not begun."""
    folder = SeedsFolder(tmp_path / "five")
    folder.add([0, 1, 2])
    folder.recipe.write_text(run.recipe.yaml())
    for seed in (0, 1):
        shutil.copytree(run.path, folder.runs[seed], dirs_exist_ok=True)
    return hetrl.Run(tmp_path / "five")


def test_a_folder_of_seeds(seeds, run):
    assert seeds.is_seeds and list(seeds.seeds) == [0, 1] and seeds.all_seeds == [0, 1, 2] and not seeds.finished
    assert seeds.seeds[1].frames == 96 and seeds.recipe.name
    assert repr(seeds) == f"<{seeds.path}: seeds, seeds 0, 1, 2>"
    table = seeds.table()
    assert next(iter(table)) == "seed" and len(table["seed"]) == 2 * len(run.table()["frames"])
    assert sorted(set(table["seed"])) == [0, 1]
    found = seeds.evaluate_seeds(episodes=2)
    assert list(found) == [0, 1] and torch.equal(found[0].returns, run.evaluate(episodes=2).returns)
    assert seeds.plot().path == seeds.path / "curve.png"


def test_what_only_one_of_them_has_says_whom_to_ask(seeds):
    for asked, call in {
        "metrics": lambda: seeds.metrics,
        "frames": lambda: seeds.frames,
        "policies": seeds.policies,
        "report": seeds.report,
        "film": seeds.film,
        "export": lambda: seeds.export("out"),
    }.items():
        with pytest.raises(RunError, match=rf"is a folder of seeds; ask one of them, run\.seeds\[0\]\.{asked}\.$"):
            call()
    with pytest.raises(RunError, match=r"is a folder of seeds; evaluate_seeds\(\.\.\.\) evaluates each\.$"):
        seeds.evaluate()


def test_seeds_are_handed_on_as_they_are_asked_for(seeds, monkeypatch):
    import hetrl.api.train as training

    asked = []

    def train_seeds(recipe, count, path, *, init, at_once, wandb, on, slurm):
        asked.append((recipe.tree["run"]["frames"], count, path, init, at_once, wandb, on, slurm))
        return Outcome(SeedsFolder(seeds.path))

    monkeypatch.setattr(training, "train_seeds", train_seeds)
    found = hetrl.train("happo", *TINY, folder="five", seeds=3, at_once=2, init=seeds, on="slurm", slurm={"time": 5})
    assert asked == [(96, 3, Path("five"), seeds.path, 2, None, "slurm", {"time": 5})] and found.all_seeds == [0, 1, 2]


@pytest.mark.slow
def test_seeds_are_trained_in_processes_of_their_own(tmp_path):
    words = [*TINY, "run.frames=48", "run.eval_every=48"]
    run = hetrl.train("happo", *words, folder=tmp_path / "two", seeds=2)
    assert run.finished and list(run.seeds) == [0, 1]
    assert run.seeds[0].metrics["return"].shape == run.seeds[1].metrics["return"].shape


def test_policies_take_changes_to_the_task(tmp_path):
    team = run_of("shared").policies("task.n_agents=4")
    assert list(team) == [f"agent_{i}" for i in range(4)]
    about = json.loads((run_of("shared").export(tmp_path / "d", format="torch").path / "policies.json").read_text())
    assert about["run"] == "shared"
