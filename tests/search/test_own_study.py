"""A study of one's own, as the documentation has it, on a game that takes moments."""

import re
import sys
from pathlib import Path

import pytest

import hetrl
from hetrl.recipe.read import load

optuna = pytest.importorskip("optuna")
PAGE = Path(__file__).parents[2] / "docs" / "searching.md"
TINY = [
    "task={use: env/tabular_game, n_states: 3, n_actions: [2, 2], n_envs: 4, horizon: 7}",
    "nets.actor.use=net/categorical_policy", "nets.actor.hidden=[8]", "nets.value.hidden=[8]", "data.frames=40",
    "run.frames=80", "run.eval_every=40", "run.n_eval_episodes=3", "run.device=cpu",
]  # fmt: skip


# Lightning's advice for other kinds of training: a short epoch.
@pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*")
def test_the_ten_lines_search(monkeypatch, tmp_path, capsys):
    (block,) = [
        each for each in re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
        if "optuna" in each
    ]  # fmt: skip
    assert len([line for line in block.splitlines() if line]) <= 12
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys.modules[hetrl.train.__module__], "load", lambda recipe, *texts: load(recipe, *texts, *TINY))
    names: dict = {}
    exec(compile(block.replace("n_trials=20", "n_trials=2"), str(PAGE), "exec"), names)
    found = names["study"]
    assert [each.value for each in found.trials] == [
        hetrl.Run(f"runs/mine/trial{number}").metrics["eval/return"][-1] for number in (0, 1)
    ]
    phases = hetrl.load("runs/mine/trial1/recipe.yaml").tree["update"]
    rates = {phase["optim"]["lr"] for phase in phases if "optim" in phase}
    assert rates == {found.trials[1].params["rate"]}
    assert str(found.best_params) in capsys.readouterr().out
