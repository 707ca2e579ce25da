"""Evaluation with drawn actions, beside that with deterministic ones."""

import hetrl
from hetrl.runs.csv_table import read
from hetrl.runs.run import train

SMALL = ["task.n_envs=4", "task.horizon=7", "nets.actor.hidden=[8]", "nets.q.hidden=[8]", "data.capacity=100",
         "data.batch=8", "data.warmup=20", "run.frames=40", "run.eval_every=20", "run.n_eval_episodes=3",
         "run.device=cpu"]  # fmt: skip


def rows_of(tmp_path, name, *more, recipe="hasac"):
    return read(train(hetrl.load(recipe, *SMALL, *more), tmp_path / name, quiet=True).metrics)


def without_clocks(row):
    return {key: value for key, value in row.items() if key != "eval/drawn_return" and "time" not in key}


def test_drawn_returns_stand_beside_and_change_nothing_else(tmp_path):
    """Not the training, nor the other evaluation; and the draws are the same at each, so that equal policies are."""
    plain, both, again = (
        rows_of(tmp_path, name, *more)
        for name, more in (("plain", []), ("both", ["run.eval_drawn=true"]), ("again", ["run.eval_drawn=true"]))
    )
    evaluated = [row for row in both if "eval/return" in row]
    assert len(evaluated) == 3 and all("eval/drawn_return" in row for row in evaluated)
    assert all(row["eval/drawn_return"] != row["eval/return"] for row in evaluated)
    assert not any("eval/drawn_return" in row for row in plain)
    assert [without_clocks(row) for row in both] == [without_clocks(row) for row in plain]
    assert [row.get("eval/drawn_return") for row in both] == [row.get("eval/drawn_return") for row in again]


def test_policies_that_draw_nothing_have_the_same_return_twice(tmp_path):
    rows = rows_of(tmp_path, "run", "run.eval_drawn=true", "nets.actor.noise=0", recipe="haddpg")
    evaluated = [row for row in rows if "eval/return" in row]
    assert evaluated and all(row["eval/drawn_return"] == row["eval/return"] for row in evaluated)
