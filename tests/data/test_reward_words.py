"""The four words of ``task.reward`` on one example: two agents, 10 steps, 1 a step each, one dies with the first."""

import pytest
import torch
from data.scripted import Scripted, Waiting, source

from hetrl.data.evaluate import evaluate
from hetrl.team import Discrete, Team

N_STEPS = 10


def example(pays_the_dead):
    gone = [1.0, 1.0 if pays_the_dead else 0.0]
    first = {"reward": [1.0, 1.0], "ended": [False, True], "active": [True, False]}
    return [first, *({"reward": gone, "active": [True, False]} for _ in range(N_STEPS - 1))]


RETURNS = {
    ("mean", False): 5.5, ("mean", True): 10.0,
    ("sum", False): 11.0, ("sum", True): 20.0,
    ("of_the_living", False): 10.0, ("of_the_living", True): 10.0,
    ("per_agent", False): 5.5, ("per_agent", True): 10.0,
}  # fmt: skip
"""Word, and whether the environment pays the dead -> the return that is logged; (10 + 1) / 2 is 5.5."""


@pytest.mark.parametrize(("word", "pays"), RETURNS)
def test_what_a_team_earns(word, pays):
    expected, own = RETURNS[word, pays], {"a_0": 10.0, "a_1": 10.0 if pays else 1.0}
    for kind in ("on_policy", "replay"):
        collected = source(kind, example(pays), N_STEPS, 2, word).collect()
        assert (collected.returns / collected.episodes).item() == expected
        told = {name: value.item() / 2 for name, value in collected.agent_returns.items()}
        assert told == (pytest.approx({"a_0": float("nan"), "a_1": float("nan")}, nan_ok=True) if pays else own)
    episodes = evaluate(Scripted(script=example(pays), n_envs=2, reward=word), Waiting(), word)
    assert episodes.returns.tolist() == [expected] * 2
    assert {name: value[0].item() for name, value in episodes.agent_returns.items()} == own
    rollout = Scripted(script=example(pays), n_envs=2, reward=word).rollout(N_STEPS, break_when_any_done=False)
    if word != "per_agent":
        assert rollout["next", "reward"].sum(1).flatten().tolist() == [expected] * 2


def test_of_several_steps_each_has_its_living():
    """Three steps with gamma 0.5: (1 + 1) / 2, then 1 of the one who is left, twice: 1 + 0.5 + 0.25."""
    made = source("replay", example(False), N_STEPS, 1, "of_the_living", {"n_step": 3, "gamma": 0.5})
    made.collect()
    assert made.gather(torch.tensor([0]))["reward"].tolist() == [1.75]


def test_an_agents_own_sums_end_where_it_does_and_the_teams_do_not():
    """Paid on after its death: its own three steps come to 1, the team's mean to 1 + 0.5 + 0.25."""
    made = source("replay", example(True), N_STEPS, 1, "mean", {"n_step": 3, "gamma": 0.5})
    made.collect()
    row = made.gather(torch.tensor([0]))
    assert row["reward"].tolist() == [1.75] and row["agents", "reward"].tolist() == [[1.75, 1.0]]
    assert row["agents", "terminated"].tolist() == [[False, True]]


def test_the_mean_of_the_living_by_hand():
    """1 and 3, the second gone: 1. Nobody there: 0. Groups without a mask are there: (1 + 5) / 2."""
    team = Team.of(["a", "b", "c"], [1, 1, 2], [Discrete((2,))] * 3)
    reward = {"a": torch.tensor([[1.0, 3.0]]), "c": torch.tensor([[5.0]])}
    group = team.agents[0].group
    reward = {group: reward["a"], "c": reward["c"]}
    gone = {group: torch.tensor([[True, False]])}
    assert team.reward(reward, "of_the_living", gone).tolist() == [3.0]
    nobody = {group: torch.tensor([[False, False]]), "c": torch.tensor([[False]])}
    assert team.reward(reward, "of_the_living", nobody).tolist() == [0.0]
    assert team.reward(reward, "of_the_living").tolist() == team.reward(reward, "mean").tolist() == [3.0]
