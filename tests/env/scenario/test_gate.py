"""The gate: only a heavy guard opens it, only a small runner goes through, and walls hide the goal."""

import pytest
import torch
from env.scenario.scripted import play, steer

from hetrl.env.vmas import Vmas
from hetrl.errors import RecipeError


def script(seen):
    """The guard stands on the plate; the runner waits before the gate, goes through, and looks for the goal."""
    guard, runner = seen["guard"], seen["runner"]
    place, velocity, opening, goal, sees = runner.split([2, 2, 1, 2, 1], -1)
    x, y = place.split(1, -1)
    before, behind = torch.tensor([-0.15, 0.0]), torch.tensor([0.3, 0.0])
    may_pass = (opening > 0.9) & (x > -0.25) & (y.abs() < 0.1)
    away = torch.where(may_pass | (x > 0.1), behind, before) - place
    away = torch.where((x > 0.1) & (sees > 0), goal, away)
    return {"guard": steer(guard[:, 4:6], guard[:, 2:4]), "runner": steer(away, velocity, damping=2.0)}


def test_together_they_arrive():
    earned, arrived = play(script, "gate", horizon=100)
    assert arrived.float().mean() > 0.98 and earned.mean() > 1.95


@pytest.mark.parametrize(
    ("team", "at_most"),
    [({"without": ["guard"]}, 0.4), ({"without": ["runner"]}, 0.5), ({"difference": 0.0}, 0.8)],
    ids=["no_guard", "no_runner", "all_alike"],
)
def test_a_lesser_team_does_not(team, at_most):
    earned, arrived = play(script, "gate", horizon=100, **team)
    assert not arrived.any() and earned.mean() < at_most


def opened(on_plate, **arguments):
    """Return how far the gate is open after 15 steps with these agents on the plate, and the environment."""
    env = Vmas(scenario="hetrl/gate", n_envs=2, **arguments)
    env.start()
    scenario = env._simulator.scenario
    for agent in env._simulator.agents:
        if agent.name in on_plate:
            agent.set_pos(scenario.plate.state.pos + 0.05 * (agent.name == "guard"), batch_index=None)
    still = {name: torch.zeros(2, 1, 2) for name in env.team.layout}
    for _ in range(15):
        observation, *_ = env._simulate(still)
    return observation["guard"][0, 0, 6].item(), env


def test_the_plate_weighs():
    """Masses 4 and 1 against a threshold of 3; two alike weigh 2 each: both are needed, and nobody is left to run."""
    assert opened(["guard"])[0] == pytest.approx(1)
    assert opened(["runner"])[0] == 0 and opened([])[0] == 0
    assert opened(["guard"], difference=0.0)[0] == 0
    assert opened(["guard", "runner"], difference=0.0)[0] == pytest.approx(1)
    assert opened(["guard"], difference=0.5)[0] == 0  # 2.83
    assert opened(["guard"], difference=0.5, threshold=2.8)[0] == pytest.approx(1)
    assert opened(["runner"], threshold=1.0)[0] == pytest.approx(1)


@pytest.mark.parametrize("difference", [0.0, 0.5, 1.0])
def test_the_two_together_open_it_at_every_threshold(difference):
    """4 is the guard's mass at 1 and that of both at 0; between, both have more."""
    assert opened(["guard", "runner"], difference=difference, threshold=4.0)[0] == pytest.approx(1)
    for threshold, message in ((4.5, "less than or equal to 4"), (0.0, "greater than 0")):
        task = {"scenario": "hetrl/gate", "difference": difference, "threshold": threshold}
        with pytest.raises(RecipeError, match=rf"^task: threshold = {threshold}: Input should be {message}\.$"):
            Vmas.check_arguments(task)


def test_only_the_runner_fits_through():
    """Both push to the right for 40 steps, at the open gate: the gap is 0.3 wide, the guard 0.44, the runner 0.12."""
    _, env = opened(["guard"])
    guard, runner = env._simulator.agents
    env._simulator.scenario.threshold = 0.0  # the gate stays open without anybody on the plate
    for agent in (guard, runner):
        agent.set_pos(torch.tensor([-0.3, 0.0]), batch_index=None)
    for _ in range(40):
        env._simulate({name: torch.tensor([1.0, 0.0]).expand(2, 1, 2) for name in env.team.layout})
    assert (guard.state.pos[:, 0] < 0).all() and (runner.state.pos[:, 0] > 0.3).all()


def test_walls_and_the_closed_gate_hide_the_goal():
    """The goal is at (0.6, 0). From (-0.5, 0) the way to it leads through the gate, from (-0.5, 0.6) through a wall."""
    for on_plate, sees in (([], [0, 0, 1]), (["guard"], [1, 0, 1])):
        _, env = opened(on_plate)
        scenario, (_, runner) = env._simulator.scenario, env._simulator.agents
        scenario.goal.set_pos(torch.tensor([0.6, 0.0]), batch_index=None)
        for place, seen in zip([[-0.5, 0.0], [-0.5, 0.6], [0.3, 0.6]], sees, strict=True):
            runner.set_pos(torch.tensor(place), batch_index=None)
            spot = scenario.observation(runner)[0, 5:]
            assert spot.tolist() == pytest.approx([seen * (0.6 - place[0]), seen * -place[1], seen])
