import io

import pytest
import torch
from torchrl.envs.utils import check_env_specs

import hetrl
from hetrl.env.matrix_game import GAMES, MatrixGame
from hetrl.errors import RecipeError, RunError
from hetrl.team import Discrete

UNEVEN = [[[1, 2], [3, 4], [5, 6]], [[7, 8], [9, 10], [11, 12]]]  # 2 x 3 x 2: two layout groups
PENALTY = torch.tensor(GAMES["penalty"], dtype=torch.float32)


def played(env, *columns):
    """Return an action for every environment: one column of choices for each agent, in team order."""
    by_name = dict(zip(env.team.names, columns, strict=True))
    return {
        group: torch.stack([torch.tensor(by_name[agent.name]) for agent in agents], 1).unsqueeze(-1)
        for group, agents in env.team.layout.items()
    }


@pytest.mark.parametrize("reward", ["mean", "sum", "per_agent"])
@pytest.mark.parametrize(("payoff", "horizon"), [("penalty", 1), ("penalty", 3), (UNEVEN, 4)])
def test_torchrl_accepts_specs_and_rollouts(payoff, horizon, reward):
    env = MatrixGame(payoff=payoff, n_envs=3, horizon=horizon, reward=reward)
    check_env_specs(env)
    rollout = env.rollout(5, break_when_any_done=False)["next"]
    ends = rollout["done"].squeeze(-1)
    assert ends[0].tolist() == [(step + 1) % horizon == 0 for step in range(5)] and torch.equal(ends[0], ends[2])
    assert ("reward" in set(rollout.keys())) == (reward != "per_agent")


def test_every_joint_action_of_the_penalty_game():
    """5, 10 and 20 where the agents agree, -20 elsewhere; each agent earns it."""
    env = MatrixGame(payoff="penalty", n_envs=9)
    env.start()
    rows, columns = [0, 0, 0, 1, 1, 1, 2, 2, 2], [0, 1, 2] * 3
    moved = env.advance(played(env, rows, columns))
    expected = [5, -20, -20, -20, 10, -20, -20, -20, 20]
    assert moved.reward["agents"].tolist() == [[payoff, payoff] for payoff in expected]
    assert env.team_reward(moved.reward).tolist() == expected
    assert env.team_reward({"agents": moved.reward["agents"]}).dtype == torch.float32


def test_three_agents_in_two_groups():
    """Agents with two actions and the one with three; dimensions of the payoff are agents in team order."""
    env = MatrixGame(payoff=UNEVEN, n_envs=2, reward="sum")
    assert {group: [agent.name for agent in agents] for group, agents in env.team.layout.items()} == {
        "choices_2": ["agent_0", "agent_2"],
        "choices_3": ["agent_1"],
    }
    assert [agent.action for agent in env.team.agents] == [Discrete((2,)), Discrete((3,)), Discrete((2,))]
    env.start()
    moved = env.advance(played(env, [1, 0], [2, 1], [0, 1]))  # [1][2][0] and [0][1][1]
    assert moved.reward["choices_2"].tolist() == [[11, 11], [4, 4]]
    assert moved.reward["choices_3"].tolist() == [[11], [4]]
    assert env.team_reward(moved.reward).tolist() == [33, 12]


def test_everyone_sees_1():
    env = MatrixGame(payoff="penalty", n_envs=4)
    assert env.team.state_size == 2 and env.team.agents[0].observation_size == 1
    observation = env.start()
    assert torch.equal(observation["agents"], torch.ones(4, 2, 1))
    assert torch.equal(env.state(observation), torch.ones(4, 2))


def test_one_shot_terminates_and_repeated_truncates():
    for horizon in (1, 3):
        env = MatrixGame(payoff="penalty", n_envs=2, horizon=horizon)
        env.start()
        for step in range(1, 7):
            moved = env.advance(played(env, [0, 1], [0, 0]))
            over = step % horizon == 0
            assert moved.terminated.tolist() == [over and horizon == 1] * 2
            assert moved.truncated.tolist() == [over and horizon > 1] * 2
            assert (moved.observation is moved.next_observation) == (not over)


def test_torchrl_resets_only_the_rows_it_asks_for():
    env = MatrixGame(payoff="penalty", n_envs=3, horizon=10)
    after = env.step(env.rand_action(env.reset()))["next"]
    after["_reset"] = torch.tensor([[False], [True], [False]])
    env.reset(after)
    assert env._steps.tolist() == [1, 0, 1]


def test_state_continues():
    env, twin = (MatrixGame(payoff="penalty", n_envs=3, horizon=4) for _ in range(2))
    env.start()
    for _ in range(2):
        env.advance(played(env, [0, 1, 2], [0, 1, 2]))
    file = io.BytesIO()
    torch.save(env.state_dict(), file)
    file.seek(0)
    twin.load_state_dict(torch.load(file, weights_only=True))
    ends = [twin.advance(played(env, [0, 1, 2], [0, 1, 2])).truncated.all().item() for _ in range(6)]
    assert ends == [False, True, False, False, False, True]
    with pytest.raises(RunError, match="saved with n_envs = 2, this task has n_envs = 3"):
        env.load_state_dict(MatrixGame(payoff="penalty", n_envs=2).state_dict())


def test_the_game_itself():
    """With both agents at (0.6, 0.2, 0.2), the first expects -5, -14 and -12 of its actions."""
    game = MatrixGame(payoff="penalty", n_envs=1).game(gamma=0.0)
    start = [torch.tensor([[0.6, 0.2, 0.2]], dtype=torch.float64)] * 2
    own = game.marginal_q(start, [0]).flatten().tolist()
    assert own == pytest.approx([0.6 * 5 - 0.4 * 20, 0.2 * 10 - 0.8 * 20, 0.2 * 20 - 0.8 * 20])
    assert game.performance(start).item() == pytest.approx(0.6 * -5 + 0.2 * -14 + 0.2 * -12)


def test_a_recipe_can_name_it():
    hetrl.check(
        hetrl.load("happo", "task={use: env/matrix_game, payoff: penalty}", "nets.actor.use=net/categorical_policy")
    )
    nested = "task={use: env/matrix_game, payoff: [[1, 0.5, 2], [0, 1, -1]], horizon: 10}"
    hetrl.check(hetrl.load("happo", nested, "nets.actor.use=net/categorical_policy"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"payoff": "penlty"}, "task.payoff: no game 'penlty'. Nearest: 'penalty'."),
        (
            {"payoff": [1, 2]},
            "task.payoff: it has 1 level of lists; write one for each of at least two agents, such as "
            "[[1, 0], [0, 1]].",
        ),
        (
            {"payoff": [[1, 2], [3]]},
            "task.payoff[1]: a list of 1 stands where a list of 2 is; every joint action needs a payoff.",
        ),
        (
            {"payoff": [[[1], [2]], [[3], 4]]},
            "task.payoff[1][1]: 4 stands where a list of 1 is; nest all entries equally deep.",
        ),
        (
            {"payoff": [[1, 2], [3, [4]]]},
            "task.payoff[1][1]: [4] is no finite number; every joint action has one payoff.",
        ),
        ({"payoff": [[1, True]]}, "task.payoff[0][1]: True is no finite number; every joint action has one payoff."),
        (
            {"payoff": [[1, float("nan")]]},
            "task.payoff[0][1]: nan is no finite number; every joint action has one payoff.",
        ),
        ({"horizon": 0}, "env/matrix_game: horizon = 0: Input should be greater than 0."),
        (
            {"reward": "means"},
            "env/matrix_game: reward = 'means': Input should be 'mean', 'sum', 'per_agent' or 'of_the_living'.",
        ),
        ({"horzon": 3}, "env/matrix_game has no argument 'horzon'. Nearest: 'horizon'."),
        ({"device": "gpu"}, "task.device: 'gpu' is no torch device; use 'cpu', 'cuda' or 'cuda:0'."),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(RecipeError) as caught:
        MatrixGame(**{"payoff": "penalty", **arguments})
    assert str(caught.value) == message


def test_the_checker_refuses_a_bad_payoff_before_anything_is_built():
    recipe = hetrl.load("happo", "task={use: env/matrix_game, payoff: penlty}", "nets.actor.use=net/categorical_policy")
    with pytest.raises(RecipeError, match=r"^task\.payoff: no game 'penlty'\. Nearest: 'penalty'\.$"):
        hetrl.check(recipe)
