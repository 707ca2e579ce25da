"""Tether: the tractor pulls and steers, the trailer swings, and the bar between them keeps its length."""

import pytest
import torch
from env.scenario.scripted import play, steer

from hetrl.env.vmas import Vmas
from hetrl.errors import RecipeError

BEHIND_THE_GAP = torch.tensor([0.15, 0.0])


def script(seen):
    """Both go through the gap, then to their docks; the tractor turns to where it has to go."""
    tractor, trailer = seen["tractor"], seen["trailer"]
    place, heading = tractor[:, :2], tractor[:, 4:6]
    away = torch.where(place[:, :1] < 0.1, BEHIND_THE_GAP - place, tractor[:, 9:11])
    distance = torch.linalg.vector_norm(away, dim=-1, keepdim=True)
    ahead = (heading * away).sum(-1, keepdim=True)
    aside = heading[:, :1] * away[:, 1:] - heading[:, 1:] * away[:, :1]
    drive = torch.cat([4 * ahead, 3 * aside / distance.clamp(min=0.05) * ahead.sign()], -1).clamp(-1, 1)
    drive = torch.where(distance < 0.06, 0.0, drive)
    place = trailer[:, :2]
    away = torch.where(place[:, :1] < 0.1, BEHIND_THE_GAP - place, trailer[:, 6:8])
    return {"tractor": drive, "trailer": steer(away, trailer[:, 2:4], gain=8.0, damping=2.0)}


def test_together_they_arrive():
    earned, arrived = play(script, "tether", horizon=150, n_envs=100)
    assert arrived.float().mean() > 0.98 and earned.mean() > 1.95


@pytest.mark.parametrize(("without", "at_most"), [("tractor", 0.5), ("trailer", 1.0)])
def test_one_alone_does_not(without, at_most):
    earned, arrived = play(script, "tether", horizon=150, n_envs=100, without=[without])
    assert not arrived.any() and earned.mean() < at_most


@pytest.mark.parametrize(("length", "at_least"), [(0.2, 0.98), (0.6, 0.7)])
def test_they_arrive_with_the_shortest_and_the_longest_bar(length, at_least):
    _, arrived = play(script, "tether", horizon=150, n_envs=100, length=length)
    assert arrived.float().mean() > at_least


@pytest.mark.parametrize(
    ("length", "bound"), [(0.05, "greater than or equal to 0.2"), (2.0, "less than or equal to 0.6")]
)
def test_a_bar_that_cannot_be_is_refused(length, bound):
    with pytest.raises(RecipeError, match=rf"^task: length = {length}: Input should be {bound}\.$"):
        Vmas.check_arguments({"scenario": "hetrl/tether", "length": length})


def moved(force, steps=10, **arguments):
    """Return how far each goes, ``[2, 2]``, while both do ``force``, and the scenario."""
    env = Vmas(scenario="hetrl/tether", n_envs=2, **arguments)
    env.start()
    start = [agent.state.pos.clone() for agent in env._simulator.agents]
    for _ in range(steps):
        env._simulate({name: torch.tensor([[force]] * 2) for name in env.team.layout})
    now = [agent.state.pos for agent in env._simulator.agents]
    return [(after - before)[0].tolist() for before, after in zip(start, now, strict=True)], env


def test_the_tractor_does_not_step_aside():
    """The second number turns the tractor where it stands and pushes the trailer aside."""
    (tractor, trailer), env = moved([0.0, 1.0])
    assert abs(tractor[1]) < 0.02 and trailer[1] > 0.03
    assert env._simulator.agents[0].state.rot[0, 0] > 1.0
    (tractor, _), _ = moved([0.0, 1.0], difference=0.0)
    assert tractor[1] > 0.05


def test_the_bar_keeps_its_length():
    """It is a spring of 130 per unit; 6 stretch it by 0.05."""
    _, env = moved([1.0, 0.5], steps=30, length=0.4)
    tractor, trailer = (agent.state.pos for agent in env._simulator.agents)
    assert torch.linalg.vector_norm(tractor - trailer, dim=-1).tolist() == pytest.approx([0.4] * 2, abs=0.05)


def test_docks_are_side_by_side():
    env = Vmas(scenario="hetrl/tether", n_envs=64)
    env.start()
    first, second = (dock.state.pos for dock in env._simulator.scenario.docks)
    torch.testing.assert_close((second - first).abs(), torch.tensor([[0.0, 0.35]]).expand(64, 2))
    assert 16 < (second > first)[:, 1].sum() < 48
