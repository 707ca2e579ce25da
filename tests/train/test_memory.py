"""A recurrent team learns what it has to remember, and its twin without a memory cannot."""

import pytest

import hetrl
from hetrl.runs import run as runs
from hetrl.runs.csv_table import read

SMALL = [
    "task={use: env/cue_game, n_cues: 3, delay: 4, discrete_agents: 1, continuous_agents: 1, n_envs: 64}",
    "data.frames=1536", "run.frames=23040", "run.eval_every=4608", "run.n_eval_episodes=256", "run.device=cpu",
]  # fmt: skip
RECURRENT = "hidden: [32], memory: 32, chunk: 12"
NETS = {
    "recurrent": f"{{actor: {{use: net/recurrent_policy, per: agent, {RECURRENT}}}, "
    f"value: {{use: net/recurrent_value, normalize: true, {RECURRENT}}}}}",
    "forward": "{actor: {use: net/mixed_policy, per: agent, hidden: [32]}, "
    "value: {use: net/state_value, normalize: true, hidden: [32]}}",
}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_only_memory_beats_chance(tmp_path, seed):
    """Without one, no policy earns more than a third in the mean; the optimum is 1."""
    reached = {}
    for name, nets in NETS.items():
        recipe = hetrl.load("recurrent_happo", *SMALL, f"nets={nets}", f"run.seed={seed}")
        rows = read(runs.train(recipe, tmp_path / name, quiet=True).metrics)
        reached[name] = [row["eval/return"] for row in rows if "eval/return" in row][-1]
    assert reached["recurrent"] > 0.85
    assert reached["forward"] < 0.45
