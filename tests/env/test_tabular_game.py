import io

import pytest
import torch
from torchrl.envs.utils import check_env_specs

import hetrl
from hetrl.env.tabular_game import TabularGame
from hetrl.errors import RecipeError


def random_actions(env, generator):
    return {
        group: torch.randint(agents[0].action.choices[0], (env.n_envs, len(agents), 1), generator=generator)
        for group, agents in env.team.layout.items()
    }


@pytest.mark.parametrize(
    "arguments", [{}, {"n_states": 1, "n_actions": [2, 2]}, {"n_actions": [3, 2, 3], "reward": "sum"}]
)
def test_torchrl_accepts_specs_and_rollouts(arguments):
    env = TabularGame(n_envs=3, horizon=4, **arguments)
    check_env_specs(env)
    rollout = env.rollout(9, break_when_any_done=False)["next"]
    assert rollout["truncated"][0].flatten().tolist() == [(step + 1) % 4 == 0 for step in range(9)]
    assert not rollout["terminated"].any()


def test_a_step_follows_the_tables():
    """Rewards are the table's; 40,000 transitions have the table's frequencies, within five standard errors."""
    env = TabularGame(n_states=3, n_actions=[2, 3], n_envs=40_000, horizon=5)
    game, generator = env.game(gamma=0.9), torch.Generator().manual_seed(0)
    observation = env.start()
    starts = env._at.bincount(minlength=3) / 40_000
    assert ((starts - game.start).abs() < 5 * (game.start * (1 - game.start) / 40_000).sqrt()).all()
    seen = observation["choices_2"][:, 0].argmax(-1)
    assert torch.equal(seen, env._at) and torch.equal(observation["choices_3"].sum(-1), torch.ones(40_000, 1))
    actions = random_actions(env, generator)
    moved = env.advance(actions)
    chosen = (seen, actions["choices_2"][:, 0, 0], actions["choices_3"][:, 0, 0])
    torch.testing.assert_close(moved.reward["choices_2"][:, 0], game.reward[chosen].float())
    torch.testing.assert_close(moved.reward["choices_3"], moved.reward["choices_2"])
    after = moved.next_observation["choices_2"][:, 0]
    for state, first, second in [(0, 0, 0), (1, 1, 2), (2, 0, 1)]:
        here = (chosen[0] == state) & (chosen[1] == first) & (chosen[2] == second)
        expected = game.transition[state, first, second]
        error = (expected * (1 - expected) / here.sum()).sqrt()
        assert ((after[here].double().mean(0) - expected).abs() < 5 * error).all()


def test_returns_are_what_the_linear_algebra_says():
    """Uniform play, 20,000 episodes of 60 steps: the mean discounted return within five standard errors of J."""
    env = TabularGame(n_states=4, n_actions=[2, 3], n_envs=20_000, horizon=60)
    game, generator = env.game(gamma=0.8), torch.Generator().manual_seed(0)
    env.start()
    total = torch.zeros(20_000)
    for step in range(60):
        total += 0.8**step * env.team_reward(env.advance(random_actions(env, generator)).reward)
    uniform = [torch.full((4, size), 1 / size, dtype=torch.float64) for size in (2, 3)]
    assert (total.mean() - game.performance(uniform)).abs() < 5 * total.std() / 20_000**0.5


def test_finished_rows_start_again_and_others_go_on():
    env, generator = TabularGame(n_envs=4, horizon=3), torch.Generator().manual_seed(0)
    env.start()
    env._steps += torch.tensor([0, 0, 1, 0])
    env.advance(random_actions(env, generator))
    moved = env.advance(random_actions(env, generator))
    assert moved.truncated.tolist() == [False, False, True, False]
    changed = (moved.observation["choices_2"] != moved.next_observation["choices_2"]).flatten(1).any(1)
    assert not changed[[0, 1, 3]].any()
    assert env._steps.tolist() == [2, 2, 0, 2]


def test_state_continues_bit_for_bit():
    env, twin = (TabularGame(n_envs=4, horizon=3, seed=seed) for seed in (1, 2))
    generator = torch.Generator().manual_seed(0)
    env.start()
    for _ in range(4):
        env.advance(random_actions(env, generator))
    file = io.BytesIO()
    torch.save(env.state_dict(), file)
    file.seek(0)
    twin.load_state_dict(torch.load(file, weights_only=True))
    for _ in range(8):
        drawn = random_actions(env, generator)
        mine, theirs = env.advance(drawn), twin.advance(drawn)
        for part in ("next_observation", "reward", "observation"):
            assert all(torch.equal(getattr(mine, part)[g], getattr(theirs, part)[g]) for g in env.team.layout)
        assert torch.equal(mine.truncated, theirs.truncated)


def test_seeds():
    """``seed`` moves what happens, ``game_seed`` the game; the process's random state stays as it was."""
    before = torch.get_rng_state()
    one, same, other = (TabularGame(n_envs=50, seed=seed) for seed in (1, 1, 2))
    starts = [env.start()["choices_2"] for env in (one, same, other)]
    assert torch.equal(starts[0], starts[1]) and not torch.equal(starts[0], starts[2])
    one.seed(1)
    assert torch.equal(one.start()["choices_2"], starts[0])
    assert torch.equal(one.game(0.9).reward, other.game(0.9).reward)
    assert not torch.equal(one.game(0.9).reward, TabularGame(n_envs=1, game_seed=1).game(0.9).reward)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_recipe_can_name_it():
    task = "task={use: env/tabular_game, n_states: 3, n_actions: [2, 2, 4], horizon: 10}"
    hetrl.check(hetrl.load("happo", task, "nets.actor.use=net/categorical_policy"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"n_actions": [10] * 6, "n_states": 10},
            "task.n_actions: with n_states = 10 the table has 100,000,000 transitions, more than 16,777,216; use fewer "
            "agents, actions or states.",
        ),
        ({"n_actions": [2, 0]}, "env/tabular_game: n_actions[1] = 0: Input should be greater than 0."),
        ({"n_states": 0}, "env/tabular_game: n_states = 0: Input should be greater than 0."),
        ({"n_state": 3}, "env/tabular_game has no argument 'n_state'. Nearest: 'n_states'."),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(RecipeError) as caught:
        TabularGame(**arguments)
    assert str(caught.value) == message
