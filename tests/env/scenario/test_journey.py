"""What all journeys promise: the return counts the way, arriving ends it, and the bodies differ as much as asked."""

import pytest
import torch

import hetrl
from hetrl.env.physique import physique
from hetrl.env.scenario.journey import between
from hetrl.env.scenarios import scenario_arguments, scenario_class, scenarios
from hetrl.env.vmas import Vmas
from hetrl.errors import RecipeError

JOURNEYS = [name for name in scenarios() if "difference" in (scenario_arguments(name) or ())]


def physiques(name, difference):
    env = Vmas(scenario=name, n_envs=1, difference=difference)
    return [physique(agent) for agent in env._simulator.agents]


def noise(env, generator):
    return {
        group: 2 * torch.rand(env.n_envs, len(agents), agents[0].action.size, generator=generator) - 1
        for group, agents in env.team.layout.items()
    }


def test_there_are_five():
    assert {"gate", "mixed_transport", "relay", "scout_and_carry", "tether"} == {name[6:] for name in JOURNEYS}


def test_between():
    """1 and 4 at a half: sqrt(1 * 4) = 2. The ends are exact."""
    assert between(1.0, 4.0, 0.5) == 2.0
    assert between(0.3, 7.0, 0.0) == 0.3 and between(0.3, 7.0, 1.0) == 7.0


@pytest.mark.parametrize("name", JOURNEYS)
def test_bodies_are_equal_without_a_difference_and_not_with_one(name):
    assert len(set(physiques(name, 0.0))) == 1
    roles = 3 if name == "hetrl/relay" else 2
    for difference in (0.1, 0.5, 1.0):
        assert len(set(physiques(name, difference))) == roles


@pytest.mark.parametrize("name", JOURNEYS)
def test_the_return_is_the_share_of_the_way(name):
    """After 20 random steps nobody has arrived: rewards add up to 1 - left / left at the start, for every agent."""
    env = Vmas(scenario=name, n_envs=8, horizon=100)
    env.start()
    scenario, generator = env._simulator.scenario, torch.Generator().manual_seed(0)
    whole, earned = scenario.left(), torch.zeros(8)
    assert (whole > 0.3).all()
    for _ in range(20):
        _, reward, terminated, _ = env._simulate(noise(env, generator))
        each = torch.cat(list(reward.values()), 1)
        assert torch.equal(each, each[:, :1].expand_as(each)) and not terminated.any()
        earned += each[:, 0]
    torch.testing.assert_close(earned, 1 - scenario.left() / whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", JOURNEYS)
def test_arriving_earns_the_rest_and_one_and_terminates(name):
    """Where nothing is left, the return is 2; elsewhere the episode goes on."""
    env = Vmas(scenario=name, n_envs=4, horizon=100)
    env.start()
    there, scenario = torch.tensor([True, False, False, True]), env._simulator.scenario
    left = scenario.left
    scenario.left = lambda: torch.where(there, 0.0, left())
    still = {group: torch.zeros_like(value) for group, value in noise(env, None).items()}
    _, reward, terminated, truncated = env._simulate(still)
    assert env.team_reward(reward)[there].tolist() == pytest.approx([2.0, 2.0])
    assert terminated.equal(there) and not truncated.any()


@pytest.mark.parametrize("name", JOURNEYS)
def test_vmas_may_reset_one_environment(name):
    """Our environment never does, but the scenario is VMAS's as well: only that row starts anew."""
    env = Vmas(scenario=name, n_envs=4, horizon=100)
    env.start()
    simulator, generator = env._simulator, torch.Generator().manual_seed(0)
    for _ in range(5):
        env._simulate(noise(env, generator))
    simulator.scenario._arrived = torch.ones(4, dtype=torch.bool)
    before = env._observe(simulator)
    left, whole = simulator.scenario._left, simulator.scenario._whole
    simulator.reset_at(2)
    after = env._observe(simulator)
    others = torch.tensor([0, 1, 3])
    for group in before:
        assert torch.equal(before[group][others], after[group][others])
    assert any((before[group][2] != after[group][2]).any() for group in before)
    for saved, now in ((left, simulator.scenario._left), (whole, simulator.scenario._whole)):
        assert torch.equal(saved[others], now[others])
        assert now[2] == simulator.scenario.left()[2]
    assert simulator.scenario.done().tolist() == [True, True, False, True]


def test_arguments_are_checked_by_name_type_and_range():
    for arguments, message in (
        ({"diference": 1.0}, "task.diference: scenario 'hetrl/gate' has no such argument. Nearest: 'difference'."),
        ({"difference": 2.0}, "task: difference = 2.0: Input should be less than or equal to 1."),
        ({"difference": "much"}, "task: difference = 'much': Input should be a valid number."),
        ({"scenario": "hetrl/gat"}, "task.scenario: no VMAS scenario 'hetrl/gat'. Nearest: 'hetrl/gate'."),
        ({"scenario": "hetrl/journey"}, "task.scenario: no VMAS scenario 'hetrl/journey'."),
    ):
        with pytest.raises(RecipeError) as caught:
            Vmas(**{"scenario": "hetrl/gate", "n_envs": 2, **arguments})
        assert str(caught.value).startswith(message)
    assert scenario_arguments("hetrl/gate") == {"difference", "threshold"}
    assert scenario_class("hetrl/gate").__module__ == "hetrl.env.scenario.gate"


@pytest.mark.parametrize("name", JOURNEYS)
def test_a_task_file_is_shipped(name):
    recipe = hetrl.load("happo", f"task=task/{name.removeprefix('hetrl/')}")
    assert recipe.task.arguments["scenario"] == name
    hetrl.check(recipe)


def test_one_network_for_all_is_for_equal_sizes():
    for task, serves_all in (("mixed_transport", True), ("gate", False)):
        recipe = hetrl.load("happo", f"task=task/{task}", "nets.actor.per=team", "task.n_envs=2")
        if serves_all:
            recipe.build()
        else:
            with pytest.raises(RecipeError, match="per: team"):
                recipe.build()


@pytest.mark.parametrize("actions", ["discrete", "multi_discrete"])
@pytest.mark.parametrize("name", JOURNEYS)
def test_discrete_actions(name, actions):
    env = Vmas(scenario=name, n_envs=2, actions=actions, horizon=3)
    env.rollout(4, break_when_any_done=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", JOURNEYS)
def test_rewards_and_observations_are_one_graph(name):
    """No branch on what is in a tensor, and no mask as an index: nothing waits for a GPU."""
    env = Vmas(scenario=name, n_envs=4, horizon=100)
    env.start()
    env._simulate(noise(env, torch.Generator().manual_seed(0)))
    scenario, agents = env._simulator.scenario, env._simulator.agents

    def look():
        scenario.pre_step()
        return [scenario.reward(agent) for agent in agents], [scenario.observation(agent) for agent in agents]

    torch.compile(look, fullgraph=True, backend="eager")()
