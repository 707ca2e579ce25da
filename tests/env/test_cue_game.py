"""The cue game by hand: what is seen, what may be done, what it is worth, and that only memory helps."""

import io
import math
import random

import numpy as np
import pytest
import torch
from torchrl.envs.utils import check_env_specs

from hetrl.env.cue_game import CueGame
from hetrl.errors import RecipeError, RunError

MIXED = {"discrete_agents": 1, "continuous_agents": 2, "n_cues": 3, "delay": 2}


def game(**arguments):
    """Return a started game of 3 cues, one in each environment in order."""
    env = CueGame(**{"n_envs": 3, **MIXED, **arguments})
    env.start()
    env._cue = torch.arange(env.n_envs) % env.n_cues
    env._observe()
    return env


def actions(env, option=0, number=0.0):
    """Every discrete agent takes an option, every continuous one gives a number (or one for each environment)."""
    taken = {}
    for group, agents in env.team.layout.items():
        value = option if "discrete" in group else number
        kind = torch.int64 if "discrete" in group else torch.float32
        each = torch.as_tensor(value, dtype=kind).expand(env.n_envs)
        taken[group] = each.reshape(-1, 1, 1).expand(-1, len(agents), 1)
    return taken


def perfect(env, first):
    """What one answers who remembers the first observations."""
    taken = {}
    for group, seen in first.items():
        if "discrete" in group:
            answers = 1 + seen[..., :-1].argmax(-1, keepdim=True)
            taken[group] = torch.where(env.masks["action_mask"][group][..., :1], 0, answers)
        else:
            taken[group] = (seen[..., :1] * env.n_cues - 1) / (env.n_cues - 1)
    return taken


def episode(env, policy):
    """Return the team's return of an episode that all environments begin now."""
    first = env.start()
    earned = torch.zeros(env.n_envs)
    for step in range(env.delay + 1):
        moved = env.advance(policy(env, first))
        earned += env.team_reward(moved.reward)
        assert moved.terminated.all() == (step == env.delay) and not moved.truncated.any()
    return earned


def by_chance(env, _):
    """A random option out of those that may be chosen, and a random number."""
    masks = env.masks.get("action_mask", {})
    return {
        group: masks[group].float().flatten(0, 1).multinomial(1).view(env.n_envs, -1, 1)
        if group in masks
        else torch.rand(env.n_envs, len(agents), 1)
        for group, agents in env.team.layout.items()
    }


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


def through_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


# ----- dynamics


def test_an_episode_by_hand():
    """Cues 0 1 2, delay 2: seen at step 0, nothing at step 1, the flag alone at step 2, which ends it."""
    env = game()
    seen = env._observation
    assert seen["discrete"].squeeze(1).tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]
    for agent in range(2):
        torch.testing.assert_close(seen["continuous"][:, agent], torch.tensor([[1 / 3, 0], [2 / 3, 0], [1.0, 0]]))
    for step in (1, 2):
        moved = env.advance(actions(env))
        assert moved.observation["discrete"].squeeze(1).tolist() == [[0, 0, 0, step == 2]] * 3
        assert moved.observation["continuous"].tolist() == [[[0, step == 2]] * 2] * 3
        assert not moved.terminated.any() and all((reward == 0).all() for reward in moved.reward.values())
    moved = env.advance(actions(env, option=torch.tensor([1, 2, 3]), number=torch.tensor([0.0, 0.5, 1.0])))
    assert env.team_reward(moved.reward).tolist() == [1, 1, 1]
    assert moved.terminated.all() and not moved.truncated.any()
    assert all((last == 0).all() for last in moved.next_observation.values())
    assert (moved.observation["discrete"][..., :-1].sum(-1) == 1).all() and (env._steps == 0).all()


def test_scores_by_hand():
    """The docstring's: cue 1 of 3, option 2 and the number 0.75: (1 + 0.5) / 2 = 0.75. Cue 0: (0 + 0) / 2, as 0.75 is
    more than 1/2 from 0. Cue 2: (0 + 0.5) / 2.
    """
    env = game(delay=0, continuous_agents=1)
    moved = env.advance(actions(env, option=2, number=0.75))
    assert env.team_reward(moved.reward).tolist() == [0, 0.75, 0.25]


def test_numbers_are_clamped_to_their_bounds():
    """-5 counts as 0 and 9 as 1: right for cues 0 and 2."""
    env = game(delay=0, discrete_agents=0)
    moved = env.advance(actions(env, number=torch.tensor([-5.0, 0.5, 9.0])))
    assert env.team_reward(moved.reward).tolist() == [1, 1, 1]


def test_answers_count_at_the_answer_only():
    """Right all the time but for the last step, where nobody says it: 0."""
    env = game()
    right = actions(env, option=torch.tensor([1, 2, 3]), number=torch.tensor([0.0, 0.5, 1.0]))
    wrong = actions(env, option=0, number=torch.tensor([1.0, 0.0, 0.0]))
    earned = [env.team_reward(env.advance(taken).reward) for taken in (right, right, wrong)]
    assert torch.stack(earned).sum() == 0


@pytest.mark.parametrize(("reward", "best"), [("mean", 1.0), ("sum", 3.0)])
def test_all_agents_earn_the_same(reward, best):
    env = game(reward=reward, delay=0)
    moved = env.advance(perfect(env, env._observation))
    assert env.team_reward(moved.reward).tolist() == [best] * 3
    assert moved.reward["discrete"].tolist() == [[1]] * 3 and moved.reward["continuous"].tolist() == [[1, 1]] * 3


def test_per_agent_makes_no_team_reward():
    env = game(reward="per_agent", delay=0)
    assert env.team_reward(env.advance(actions(env)).reward) is None
    assert "reward" not in CueGame.provides({"reward": "per_agent"})


# ----- what is best, and what chance gives


@pytest.mark.parametrize("delay", [0, 1, 5])
@pytest.mark.parametrize("team", [(2, 0), (0, 2), (1, 2)])
def test_memory_reaches_the_optimum(team, delay):
    env = CueGame(discrete_agents=team[0], continuous_agents=team[1], n_cues=4, delay=delay, n_envs=50)
    torch.testing.assert_close(episode(env, perfect), torch.ones(50))


@pytest.mark.parametrize("n_cues", [2, 3, 5])
def test_no_single_answer_beats_chance(n_cues):
    """Averaged over the cues an option is worth exactly 1 / K, a number at most that, and some are."""
    for answers in (range(1, n_cues + 1), torch.linspace(-0.5, 1.5, 81).tolist()):
        discrete = isinstance(answers, range)
        team = {"discrete_agents": int(discrete), "continuous_agents": int(not discrete)}
        worth = []
        for answer in answers:
            env = game(n_cues=n_cues, n_envs=n_cues, delay=0, **team)
            taken = actions(env, option=int(answer), number=answer)
            worth.append(env.team_reward(env.advance(taken).reward).mean().item())
        assert max(worth) == pytest.approx(1 / n_cues)
        assert not discrete or min(worth) == pytest.approx(1 / n_cues)


def test_nothing_after_the_first_step_tells_the_cue():
    """With the cues 0 1 2 side by side, observations, state and masks of all environments are the same."""
    env = game()
    env.advance(actions(env))
    for _ in range(2):
        told = [*env._observation.values(), env.state(env._observation), *env.masks["action_mask"].values()]
        assert all((part == part[:1]).all() for part in told)
        env._simulate(actions(env))


def test_random_answers_average_to_chance():
    """3,000 episodes of 3 cues; an option is right with 1/3, a uniform number scores 1/4, 1/2, 1/4, 1/3 on average."""
    for team in ((1, 0), (0, 1)):
        env = CueGame(discrete_agents=team[0], continuous_agents=team[1], n_cues=3, n_envs=3000)
        earned = episode(env, by_chance)
        assert abs(earned.mean() - 1 / 3) < 5 * earned.std() / math.sqrt(3000)


def test_cues_are_uniform_at_starts_and_resets():
    env = CueGame(n_cues=4, n_envs=4000, delay=0)
    env.start()
    for _ in range(2):
        shares = env._cue.bincount(minlength=4) / 4000
        assert (shares - 0.25).abs().max() < 5 * math.sqrt(0.25 * 0.75 / 4000)
        before = env._cue
        env.advance(actions(env))
        assert not torch.equal(env._cue, before)


# ----- masks


def test_action_masks():
    """Wait only, until the answer; then everything but to wait. Continuous agents have none."""
    env = game()
    for step in range(3):
        assert list(env.masks) == ["action_mask"] and list(env.masks["action_mask"]) == ["discrete"]
        allowed = [False, True, True, True] if step == 2 else [True, False, False, False]
        assert env.masks["action_mask"]["discrete"].tolist() == [[allowed]] * 3
        moved = env.advance(actions(env))
    assert moved.next_masks["action_mask"]["discrete"].tolist() == [[[True, False, False, False]]] * 3
    assert same(moved.masks["action_mask"], env.masks["action_mask"])


def test_masks_that_nobody_needs_are_absent():
    assert CueGame(discrete_agents=0, continuous_agents=1).masks == {}
    provided = [CueGame.provides(given) for given in ({}, {"leave": 0.1}, {"discrete_agents": 0})]
    assert [[key for key in keys if "mask" in key or "active" in key] for keys in provided] == [
        ["agent.action_mask"],
        ["agent.action_mask", "agent.active"],
        [],
    ]


# ----- leaving


def test_who_left_sees_nothing_waits_and_does_not_count():
    """At the answer the discrete agent (right) and one continuous agent (wrong) are there in environment 0: 1/2; only
    the other continuous one (right) in environment 1: 1; nobody in environment 2: 0.
    """
    env = game(leave=0.5)
    env._steps += 2
    env._active = torch.tensor([[True, True, False], [False, False, True], [False, False, False]])
    seen = env._observe()
    assert seen["discrete"].squeeze(1).tolist() == [[0, 0, 0, 1], [0] * 4, [0] * 4]
    assert seen["continuous"].tolist() == [[[0, 1], [0, 0]], [[0, 0], [0, 1]], [[0, 0], [0, 0]]]
    waits, answers = [True, False, False, False], [False, True, True, True]
    assert env.masks["action_mask"]["discrete"].squeeze(1).tolist() == [answers, waits, waits]
    assert env.masks["active"]["discrete"].tolist() == [[True], [False], [False]]
    assert env.masks["active"]["continuous"].tolist() == [[True, False], [False, True], [False, False]]
    taken = actions(env, option=torch.tensor([1, 0, 0]), number=torch.tensor([1.0, 0.5, 1.0]))
    moved = env.advance(taken)
    assert env.team_reward(moved.reward).tolist() == [0.5, 1, 0]
    assert all(mask.all() for mask in moved.masks["active"].values())  # all are back in the next episode


def test_who_left_stays_away():
    env = CueGame(**MIXED | {"delay": 6}, leave=0.4, n_envs=200)
    env.start()
    before = env._active
    assert before.all()
    for _ in range(6):
        env.advance(actions(env))
        assert not (env._active & ~before).any() and (env._active != before).any()
        before = env._active


def test_leaving_has_its_probability_and_the_optimum_its_formula():
    """After 2 steps 0.7^2 = 0.49 are still there; somebody of three is with 1 - 0.51^3 = 0.867349."""
    env = CueGame(**MIXED, leave=0.3, n_envs=4000)
    env.start()
    for _ in range(2):
        env.advance(actions(env))
    assert abs(env._active.float().mean() - 0.49) < 5 * math.sqrt(0.49 * 0.51 / 12000)
    found = episode(env, perfect)
    assert set(found.tolist()) == {0.0, 1.0}
    assert abs(found.mean() - 0.867349) < 5 * math.sqrt(0.867349 * 0.132651 / 4000)


def test_all_may_leave_at_once():
    env = CueGame(leave=1.0, n_envs=2)
    assert episode(env, perfect).tolist() == [0, 0]


# ----- teams, specs, resets


def test_teams():
    env = CueGame(n_cues=5, discrete_agents=2, continuous_agents=1)
    assert [(a.name, a.group, a.index, a.observation_size, str(a.action)) for a in env.team.agents] == [
        ("discrete_0", "discrete", 0, 6, "discrete[6]"),
        ("discrete_1", "discrete", 1, 6, "discrete[6]"),
        ("continuous_0", "continuous", 0, 2, "continuous[1]"),
    ]
    assert env.team.state_size == 14 and env.horizon == env.delay + 1
    assert (env.team["continuous_0"].action.low, env.team["continuous_0"].action.high) == ((0,), (1,))


def test_the_state_is_what_all_see_in_team_order():
    env = game(delay=0)
    state = env.state(env._observation)
    torch.testing.assert_close(state[1], torch.tensor([0, 1, 0, 1, 2 / 3, 1, 2 / 3, 1]))


@pytest.mark.parametrize("arguments", [{}, {"leave": 0.4}, {"delay": 0}, {"reward": "per_agent"}])
@pytest.mark.parametrize("team", [(2, 0), (0, 2), (2, 1)])
def test_torchrl_accepts_specs_and_rollouts(team, arguments):
    env = CueGame(discrete_agents=team[0], continuous_agents=team[1], **{"delay": 2, "n_envs": 4, **arguments})
    check_env_specs(env)
    steps = env.horizon
    rollout = env.rollout(2 * steps, break_when_any_done=False)
    ends = rollout["next", "terminated"][0, :, 0].nonzero().flatten().tolist()
    assert ends == [steps - 1, 2 * steps - 1]
    words = set(rollout[next(iter(env.team.layout))].keys())
    assert ("active" in words) == ("leave" in arguments)
    if team[0]:
        assert rollout["discrete", "action_mask"].shape == (4, 2 * steps, team[0], 1 + env.n_cues)
        for when in (rollout, rollout["next"]):  # the mask goes with the observation beside it: flag set, no waiting
            seen, mask = (when["discrete", word] for word in ("observation", "action_mask"))
            assert torch.equal(seen[..., -1] == 1, ~mask[..., 0])


def test_torchrl_resets_only_the_rows_it_asks_for():
    env = CueGame(**MIXED, leave=0.9, n_envs=4)
    after = env.step(env.rand_action(env.reset()))["next"]
    left, cue = env._active.clone(), env._cue.clone()
    after["_reset"] = torch.tensor([[False], [True], [False], [False]])
    again = env.reset(after.clone())
    others = torch.tensor([0, 2, 3])
    assert env._steps.tolist() == [1, 0, 1, 1]
    assert torch.equal(env._active[others], left[others]) and env._active[1].all() and not left[1].all()
    assert torch.equal(env._cue[others], cue[others])
    assert torch.equal(again["discrete", "active"][others], after["discrete", "active"][others])


def test_returned_tensors_do_not_change_afterwards():
    env = game(leave=0.5)
    first, masks = env._observation, env.masks
    kept = ({k: v.clone() for k, v in first.items()}, {k: v.clone() for k, v in masks["active"].items()})
    env._steps += torch.arange(3)  # they finish one after another
    for _ in range(3):
        env.advance(actions(env))
    assert same(first, kept[0]) and same(masks["active"], kept[1])


# ----- random numbers and exact continuation


def play(env, steps=12):
    seen = []
    for step in range(steps):
        moved = env.advance(actions(env, option=step % 4, number=step / steps))
        seen += [*moved.observation.values(), *moved.reward.values(), *moved.masks["active"].values(), moved.terminated]
    return torch.cat([part.flatten().float() for part in seen])


def fresh(seed, **arguments):
    env = CueGame(**{**MIXED, "leave": 0.3, "n_envs": 6, "seed": seed, **arguments})
    env.start()
    env._steps += torch.arange(6) % 3
    return env


def test_state_continues_bit_for_bit():
    env = fresh(3)
    play(env, 7)
    twin = fresh(8)
    twin.load_state_dict(through_file(env.state_dict()))
    assert same(twin._observation, env._observation)
    assert torch.equal(play(twin), play(env))


def test_state_of_another_size_is_refused():
    with pytest.raises(RunError, match=r"saved with \[n_envs, agents\] = \[4, 3\], this task has \[6, 3\]"):
        fresh(0).load_state_dict(CueGame(**MIXED, n_envs=4).state_dict())


def test_seeds():
    expected = play(fresh(1))
    assert torch.equal(play(fresh(1)), expected)
    assert not torch.equal(play(fresh(2)), expected)
    env = fresh(2)
    env.seed(1)
    env.start()
    env._steps += torch.arange(6) % 3
    assert torch.equal(play(env), expected)


def test_the_random_stream_is_private():
    def process():
        return torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()

    before = process()
    alone = play(fresh(1))
    env, other = fresh(1), fresh(1)
    after = process()
    assert torch.equal(before[0], after[0]) and before[1] == after[1] and (before[2] == after[2]).all()
    torch.rand(5)
    play(other)
    assert torch.equal(play(env), alone)


# ----- errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"delai": 2}, "env/cue_game has no argument 'delai'. Nearest: 'delay'."),
        ({"n_cues": 1}, "env/cue_game: n_cues = 1: Input should be greater than or equal to 2."),
        ({"delay": -1}, "env/cue_game: delay = -1: Input should be greater than or equal to 0."),
        ({"delay": 1.5}, "env/cue_game: delay = 1.5: Input should be a valid integer."),
        ({"leave": 1.5}, "env/cue_game: leave = 1.5: Input should be less than or equal to 1."),
        (
            {"reward": "means"},
            "env/cue_game: reward = 'means': Input should be 'mean', 'sum', 'per_agent' or 'of_the_living'.",
        ),
        ({"n_envs": 0}, "env/cue_game: n_envs = 0: Input should be greater than 0."),
        ({"device": "gpu"}, "task.device: 'gpu' is no torch device; use 'cpu', 'cuda' or 'cuda:0'."),
        (
            {"discrete_agents": 1001},
            "task: discrete_agents and continuous_agents are 1,001 together; write at most 1,000.",
        ),
        (
            {"discrete_agents": 0},
            "task: discrete_agents and continuous_agents are both 0; a team has at least one agent.",
        ),
        (
            {"delay": 0, "leave": 0.1},
            "task.leave = 0.1: with delay = 0 nobody has time to leave; use a delay of at least 1, or leave = 0.",
        ),
    ],
)
def test_refuses_wrong_arguments(arguments, message):
    with pytest.raises(RecipeError) as caught:
        CueGame(**arguments)
    assert str(caught.value) == message
