"""What environments tell of episodes, and what each agent earned, arrives in collections and in evaluation."""

import math

import pytest
import torch
from data.scripted import Scripted, Waiting, source

from hetrl.data.evaluate import evaluate
from hetrl.data.figures import Figures
from hetrl.ops.rate import wilson

WON = [{"reward": [1.0, 2.0]}, {"reward": [1.0, 0.0], "info": {"won": 1, "left": math.nan}}]
"""Two steps of which the second ends the episode: the agents earn 2 each, with 1 and 2 on the way."""
UNLIKE = [{"reward": [1.0, 2.0]}, {"reward": [1.0, 4.0], "info": {"won": True, "score": -0.5}}]


@pytest.mark.parametrize("kind", ["on_policy", "replay"])
def test_sums_over_the_episodes_that_ended(kind):
    """Three steps of two environments: one episode each ends, with 2 and 6; the third step is of the next."""
    made = source(kind, UNLIKE, 3)
    first = made.collect()
    assert {name: value.item() for name, value in first.agent_returns.items()} == {"a_0": 4.0, "a_1": 12.0}
    assert {name: value.tolist() for name, value in first.infos.items()} == {"won": [2.0, 2.0], "score": [-1.0, 2.0]}
    assert first.returns == 8.0 and first.episodes == 2
    second = made.collect()  # ends the second with its first step, and the third whole
    assert {name: value.item() for name, value in second.agent_returns.items()} == {"a_0": 8.0, "a_1": 24.0}
    assert second.infos["won"].tolist() == [4.0, 4.0]


@pytest.mark.parametrize("kind", ["on_policy", "replay"])
def test_who_earns_the_same_is_not_told_apart(kind):
    """Both have earned 2 when the episode ends, though not step by step; what is NaN is not told."""
    found = source(kind, WON, 2).collect()
    assert all(math.isnan(value) for value in found.agent_returns.values())
    assert found.infos["won"].tolist() == [2.0, 2.0] and found.infos["left"].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("kind", ["on_policy", "replay"])
def test_continues_in_the_middle_of_an_episode(kind):
    whole, other = source(kind, UNLIKE, 1), source(kind, UNLIKE, 1)
    whole.collect()
    other.load_state_dict(whole.state_dict())
    one, two = whole.collect(), other.collect()
    assert one.agent_returns["a_1"].item() == two.agent_returns["a_1"].item() == 12.0
    whole.collect()
    none = pytest.approx(math.nan, nan_ok=True)
    older = {word: value for word, value in whole.state_dict().items() if word != "figures"}
    other.load_state_dict(older)  # of a checkpoint that knew nothing of them: 2 of the 6 are not counted
    assert [other.collect().agent_returns["a_1"].item() for _ in range(3)] == [8.0, none, 12.0]


def test_only_what_ended_is_looked_at():
    from hetrl.env.transition import Transition

    env = Scripted(script=WON, n_envs=3)
    figures, no = Figures(env.team, 3, torch.device("cpu")), torch.zeros(3, dtype=torch.bool)
    told = {"won": torch.tensor([1.0, 1.0, math.inf])}
    first, third = torch.tensor([True, False, False]), torch.tensor([False, False, True])
    figures.tell(Transition({}, {}, first, third, {}, infos=told))
    figures.tell(Transition({}, {}, ~no, no, {}, infos={"won": torch.tensor([0.0, 1.0, 0.0])}))
    assert figures.told()["won"].tolist() == [2.0, 4.0] and figures.told() == {}


def test_evaluation_has_them_of_each_episode():
    episodes = evaluate(Scripted(script=UNLIKE, n_envs=3), Waiting(), "sum")
    assert episodes.returns.tolist() == [8.0] * 3
    assert {name: value.tolist() for name, value in episodes.agent_returns.items()} == {
        "a_0": [2.0] * 3, "a_1": [6.0] * 3,
    }  # fmt: skip
    assert episodes.infos["won"].tolist() == [1.0] * 3
    least = 3 / (3 + 1.959963984540054**2)  # three wins of three
    assert episodes.more() == {
        "return/a_0": 2.0, "return/a_1": 6.0, "info/won": 1.0, "info/score": -0.5,
        "info/won_low": pytest.approx(least), "info/won_high": 1.0,
    }  # fmt: skip


def test_a_win_rate_is_over_the_episodes_that_told_of_it():
    from hetrl.data.evaluate import Episodes

    won = torch.tensor([1.0, 0.0, math.nan, 1.0])
    same = {"a": torch.ones(4), "b": torch.ones(4)}
    found = Episodes(torch.ones(4), torch.ones(4), same, {"won": won, "never": torch.full((4,), math.nan)})
    low, high = wilson(2, 3)
    assert found.more() == {"info/won": pytest.approx(2 / 3), "info/won_low": low, "info/won_high": high}
    assert found.rates == {"won": (2 / 3, low, high)}


def test_what_is_ever_another_number_is_no_rate():
    from hetrl.data.evaluate import Episodes

    told = {"killed": torch.tensor([0.0, 2.0]), "far": torch.tensor([0.5, 1.0]), "lost": torch.tensor([0.0, 0.0])}
    assert list(Episodes(torch.ones(2), torch.ones(2), {}, told).rates) == ["lost"]
