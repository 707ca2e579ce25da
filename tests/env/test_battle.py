"""Battles by hand, at their ends, whole, and compiled."""

import io
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hetrl.data.random_actions import RandomActions
from hetrl.env import battle
from hetrl.env.battle import Battle
from hetrl.env.combat import kernel, script, ticks
from hetrl.env.combat.maps import MAPS
from hetrl.errors import RecipeError, RunError
from hetrl.team import STATE

NORTH, EAST, SOUTH, WEST, STOP, ATTACK = range(6)
BASELINE = Path(__file__).parent.parent / "vectors" / "smax" / "baseline.txt"


def field(env, **words):
    """Put the battles of an environment so; each word is a value for all of them."""
    given = {
        word: torch.as_tensor(value, dtype=old.dtype).expand_as(old).clone()
        for word, value in words.items()
        for old in [getattr(env._field, word)]
    }
    env._field = replace(env._field, **given)
    env._look()


def act(env, *options):
    """One option for each ally, the same in all environments."""
    return {"agents": torch.tensor(options).reshape(1, -1, 1).expand(env.n_envs, -1, -1)}


def line(east, west=24.0):
    """Places of three allies and three enemies, each side a column."""
    return [[x, y] for x in (east, west) for y in (12.0, 16.0, 20.0)]


def marines(**arguments):
    """Return three marines a side, all enemies far away, a battle each in two environments."""
    env = Battle(**{"map": "3m", "n_envs": 2, **arguments})
    env.start()
    field(env, position=line(8.0))
    return env


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


# ----- the team


def test_agents_are_named_and_grouped_by_their_kinds():
    team = Battle(map="2s3z", n_envs=1).team
    assert team.names == ("stalker_0", "stalker_1", "zealot_0", "zealot_1", "zealot_2")
    assert {body: len(agents) for body, agents in team.bodies.items()} == {"stalker": 2, "zealot": 3}
    assert team.sizes == "5 agents: 127 -> discrete[10]"
    assert Battle(map="smacv2_5_units", n_envs=1).team.names == tuple(f"unit_{i}" for i in range(5))


@pytest.mark.parametrize(
    ("name", "seen", "state", "options"),
    [
        ("3m", 75, 72, 8), ("8m", 205, 192, 13), ("25m", 647, 600, 30), ("5m_vs_6m", 140, 132, 11),
        ("10m_vs_11m", 270, 252, 16), ("27m_vs_30m", 738, 684, 35), ("2s3z", 127, 120, 10), ("3s5z", 205, 192, 13),
        ("3s5z_vs_3s6z", 218, 204, 14), ("3s_vs_5z", 101, 96, 10), ("6h_vs_8z", 179, 168, 13),
        ("smacv2_5_units", 127, 120, 10), ("smacv2_10_units", 257, 240, 15), ("smacv2_20_units", 517, 480, 25),
    ],
)  # fmt: skip
def test_the_sizes_are_the_originals(name, seen, state, options):
    team = Battle(map=name, n_envs=1, state="original").team
    assert (team.agents[0].observation_size, team.state_size) == (seen, state)
    assert team.agents[0].action.choices == (options,)
    assert Battle(map=name, n_envs=1).team.state_size == state * 10 // 12


@pytest.mark.parametrize("name", ["2s3z", "MMM"])
def test_the_state_may_be_what_everybody_sees(name):
    env = Battle(map=name, n_envs=2, state="observations")
    assert env.team.state_size == len(env.team) * env.team.agents[0].observation_size
    seen = env.start()
    assert set(seen) == {"agents"}  # nothing is stored beside them
    torch.testing.assert_close(env.team.state(seen), seen["agents"].flatten(1), rtol=0, atol=0)
    same = Battle(map=name, n_envs=2).start()
    torch.testing.assert_close(seen["agents"], same["agents"], rtol=0, atol=0)


def test_the_catalogue_has_every_map():
    found = Battle.catalogue()
    assert list(found) == list(MAPS)
    assert found["3s_vs_5z"] == "3 stalker against 5 zealot; 3 agents: 101 -> discrete[10]"
    assert found["smacv2_5_units"] == "5 of any kind against 5 of any kind; 5 agents: 127 -> discrete[10]"


def test_a_wrong_word_is_refused_with_the_nearest():
    with pytest.raises(RecipeError, match=r"^task\.map: no map '3s5y'\. Nearest: '3s5z'\.$"):
        Battle(map="3s5y")
    with pytest.raises(RecipeError, match=r"^task\.map: no map 'MM'\."):
        Battle.check_arguments({"map": "MM"})
    with pytest.raises(RecipeError, match=r"^env/battle: enemy = 'closets': Input should be 'closest' or 'random'"):
        Battle(enemy="closets")


# ----- a step, by hand


def test_a_move_goes_as_far_as_half_a_second_takes_it():
    env = marines()
    env.advance(act(env, NORTH, EAST, STOP))
    moved = env._field.position[0, :3] - torch.tensor(line(8.0)[:3])
    torch.testing.assert_close(moved, torch.tensor([[0.0, 3.15 / 2], [3.15 / 2, 0.0], [0.0, 0.0]]))


def test_a_shot_takes_its_damage_and_pays_its_share():
    env = marines()
    field(env, position=line(8.0, west=11.0), cooldown=9.0)
    cooldown = torch.full((2, 6), 9.0)
    cooldown[:, 0] = 0
    field(env, cooldown=cooldown)
    mask = env.masks["action_mask"]["agents"]
    assert mask[0].tolist()[0] == [True] * 5 + [True, False, False]  # the others are 5 away, which is out of reach
    moved = env.advance(act(env, ATTACK, ATTACK + 1, STOP))
    assert env._field.health[0].tolist() == [45, 45, 45, 36, 45, 45]
    torch.testing.assert_close(moved.reward["agents"], torch.full((2, 3), 9 / 45 / 3))
    assert not (moved.terminated | moved.truncated).any()
    least, most = 0.61 + ticks.LEAST_LATE - 7 / 16, 0.61 + ticks.MOST_LATE - 7 / 16
    assert ((env._field.cooldown[:, 0] >= least) & (env._field.cooldown[:, 0] <= most)).all()


def test_what_cannot_be_done_does_nothing():
    env = marines()
    before = env._field
    moved = env.advance(act(env, ATTACK, ATTACK + 1, ATTACK + 2))
    assert torch.equal(env._field.health, before.health)
    assert torch.equal(env._field.position[:, :3], before.position[:, :3])
    assert (moved.reward["agents"] == 0).all()


def test_the_edge_of_the_map_kills():
    env = marines()
    field(env, position=[[0.5, 12.0], *line(8.0)[1:]])
    moved = env.advance(act(env, WEST, STOP, STOP))
    assert env._field.alive[0].tolist() == [False] + [True] * 5
    assert moved.agent_terminated["agents"][0].tolist() == [True, False, False]
    assert moved.masks["active"]["agents"][0].tolist() == [False, True, True]
    assert moved.masks["action_mask"]["agents"][0, 0].nonzero().flatten().tolist() == [STOP]
    assert (moved.observation["agents"][:, 0] == 0).all()
    assert not env.advance(act(env, WEST, STOP, STOP)).agent_terminated["agents"].any()


def test_overlapping_bodies_push_each_other():
    env = Battle(map="2s3z", n_envs=1)
    env.start()
    far = [[28.0, 3.0 * i + 4] for i in range(8)]
    field(env, position=[[8.0, 16.0], [8.8, 16.0], *far])  # two stalkers of radius 0.625 overlap by 0.45
    env.advance({"agents": torch.full((1, 5, 1), STOP)})
    apart = env._field.position[0, 1] - env._field.position[0, 0]
    torch.testing.assert_close(apart, torch.tensor([1.25, 0.0]), rtol=0, atol=1e-4)


# ----- ends


def test_a_victory_pays_one_and_terminates():
    env = marines()
    health = [45, 0, 0, 9, 0, 0]
    cooldown = [0.0] + [9.0] * 5
    field(env, health=health, cooldown=cooldown, position=line(8.0, west=11.0))
    moved = env.advance(act(env, ATTACK, STOP, STOP))
    torch.testing.assert_close(moved.reward["agents"], torch.full((2, 3), 1 + 9 / 45 / 3))
    assert moved.terminated.all() and not moved.truncated.any()
    told = {name: value.tolist() for name, value in moved.infos.items()}
    assert told == {"won": [1, 1], "lost": [0, 0]}
    assert not same(moved.observation, moved.next_observation)  # the last is kept
    assert (moved.next_observation["agents"][:, 1:] == 0).all() and (moved.observation["agents"][..., -10] == 1).all()
    assert (env._field.health == 45).all() and (env._steps == 0).all()


def test_a_defeat_and_a_draw_are_told_apart():
    env = marines()
    at_edge = [[0.0, 12.0], *line(8.0)[1:]]
    field(env, health=[45, 0, 0, 45, 45, 45], position=at_edge)
    lost = env.advance(act(env, STOP, STOP, STOP))
    assert lost.infos["lost"].tolist() == [1, 1] and lost.infos["won"].tolist() == [0, 0]
    near = line(8.0, west=11.0)
    field(env, health=[9, 0, 0, 9, 0, 0], cooldown=0.0, position=near)
    drawn = env.advance(act(env, ATTACK, STOP, STOP))  # and the enemy shoots back at the same moment
    assert drawn.infos["lost"].tolist() == drawn.infos["won"].tolist() == [0, 0]
    assert drawn.terminated.all()
    torch.testing.assert_close(drawn.reward["agents"], torch.full((2, 3), 9 / 45 / 3))  # no victory


def test_time_cuts_an_episode_and_does_not_end_it():
    env = marines(horizon=3)
    for step in range(3):
        moved = env.advance(act(env, STOP, STOP, STOP))
        assert moved.truncated.all() == (step == 2) and not moved.terminated.any()
    assert moved.infos["won"].tolist() == moved.infos["lost"].tolist() == [0, 0]
    assert Battle(map="3m").horizon == 101  # of the original, where it is said to be 100


def test_a_reset_leaves_the_other_battles_alone():
    env = marines()
    health = torch.tensor([[45.0, 0, 0, 45, 45, 45], [45.0] * 6])
    position = torch.tensor([line(8.0)] * 2)
    position[0, 0] = 0
    field(env, health=health, position=position)
    moved = env.advance(act(env, STOP, STOP, STOP))
    assert moved.terminated.tolist() == [True, False]
    for words in ("observation", "masks"):
        kept, before = getattr(moved, words), getattr(moved, f"next_{words}")
        if words == "masks":
            kept, before = kept["action_mask"], before["action_mask"]
        assert torch.equal(kept["agents"][1], before["agents"][1])
    assert torch.equal(moved.observation[STATE][1], moved.next_observation[STATE][1])


# ----- the start


def test_units_start_around_their_posts_and_streams_differ():
    env = Battle(map="8m", n_envs=256, seed=3)
    env.start()
    around = env._field.position - env._ground.posts
    assert around.abs().max() <= 2.4 and around.mean().abs() < 0.03  # the push moves some a little beyond
    assert around.std() == pytest.approx(4 / math.sqrt(12), rel=0.05)
    other = Battle(map="8m", n_envs=256, seed=4)
    other.start()
    assert not torch.equal(env._field.position, other._field.position)


def test_drawn_kinds_and_places_are_the_originals():
    env = Battle(map="smacv2_10_units", n_envs=2000)
    env.start()
    begun = env._field
    assert torch.equal(begun.types[:, :10], begun.types[:, 10:])
    share = torch.bincount(begun.types.flatten(), minlength=6) / begun.types.numel()
    torch.testing.assert_close(share, torch.full((6,), 1 / 6), rtol=0, atol=0.01)
    # Of the original 1.4 of 100 units, in 14.1 of 100 episodes, start beyond the map.
    beyond = ((begun.position <= 0) | (begun.position >= 32)).any(-1)
    assert beyond.float().mean() == pytest.approx(0.0135, abs=0.003)
    assert beyond.any(-1).float().mean() == pytest.approx(0.141, abs=0.02)
    mirrored = ((begun.position[:, :10, 1] - begun.position[:, 10:, 1]).abs() < 0.7).all(-1)
    assert mirrored.float().mean() == pytest.approx(0.5, abs=0.04)


# ----- the whole of it


def rows():
    """The rows of the baseline: map, team, and what the original's battles came to."""
    for text in BASELINE.read_text().splitlines():
        words = text.split()
        if len(words) > 2 and words[1] in ("script", "random"):
            figures = dict(word.split("=") for word in words[2:] if "=" in word)
            mean, deviation = map(float, figures.pop("ret").split("+-"))
            kept = {name: float(figures[name]) for name in ("win", "loss", "len")}
            yield words[0], words[1], {**kept, "return": mean, "deviation": deviation, "n": int(figures["E"])}


def battles(name, team, n_envs, seed=0):
    """Fight one battle in each environment. Returns, each ``[N]``, won, lost, the return and the length."""
    env = Battle(map=name, n_envs=n_envs, seed=seed)
    env.start()
    generator = torch.Generator().manual_seed(seed + 1)
    actions, n_allies = RandomActions(env.team, n_envs, generator), len(env.team)
    goal, locked = torch.zeros(n_envs, n_allies, 2), torch.full((n_envs, n_allies), -1)
    going = torch.ones(n_envs, dtype=torch.bool)
    won, lost, earned, length = torch.zeros(4, n_envs)
    while going.any():
        if team == "script":
            seen = script.view(env._ground, env._field, 0)
            chance = script.chances(seen, torch.rand(n_envs, n_allies, 2, generator=generator))
            told = script.command(seen, goal, locked, chance, "closest")
            goal, locked = told.goal, told.locked
            action = {"agents": told.action.unsqueeze(-1)}
        else:
            action = actions.draw(env.masks["action_mask"])
        _, reward, terminated, truncated = env._simulate(action)
        earned += reward["agents"][:, 0] * going
        length += going
        now, told_of = going & (terminated | truncated), env.infos
        won, lost = torch.where(now, told_of["won"], won), torch.where(now, told_of["lost"], lost)
        going = going & ~now
    return won, lost, earned, length


def is_the_originals(name, team, told, n_envs):
    """Compare with the baseline: means within four standard errors, both samples' own, rates likewise."""
    won, lost, earned, length = battles(name, team, n_envs)
    both = 1 / n_envs + 1 / told["n"]
    assert earned.mean() == pytest.approx(told["return"], abs=4 * told["deviation"] * both**0.5)
    assert length.mean() == pytest.approx(told["len"], abs=4 * length.std().item() * both**0.5 + 0.05)
    for found, rate in ((won, told["win"]), (lost, told["loss"])):
        pooled = (found.mean().item() * n_envs + rate * told["n"]) / (n_envs + told["n"])
        assert found.mean() == pytest.approx(rate, abs=4 * (pooled * (1 - pooled) * both) ** 0.5 + 1e-3)


QUICK = [("3m", "script"), ("3m", "random"), ("3s_vs_5z", "script")]


@pytest.mark.parametrize(("name", "team", "told"), [row for row in rows() if row[:2] in QUICK])
def test_teams_come_to_what_they_come_to_in_the_original(name, team, told):
    is_the_originals(name, team, told, 256)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "team", "told"), list(rows()))
def test_on_every_map_teams_come_to_what_they_come_to_in_the_original(name, team, told):
    is_the_originals(name, team, told, 2048 if told["n"] == 512 else 512)


# ----- continuation


@pytest.mark.parametrize("name", ["2s3z", "smacv2_5_units"])
def test_it_goes_on_bit_for_bit_from_a_file(name):
    env = Battle(map=name, n_envs=8, horizon=60)
    env.start()
    actions = RandomActions(env.team, 8, torch.Generator().manual_seed(0))
    env._steps += torch.arange(8) * 10  # so that some are cut
    for _ in range(15):
        env.advance(actions.draw(env.masks["action_mask"]))
    file = io.BytesIO()
    torch.save(env.state_dict(), file)
    file.seek(0)
    other = Battle(map=name, n_envs=8, horizon=60, seed=9)
    other.load_state_dict(torch.load(file, weights_only=True))
    for _ in range(25):
        action = actions.draw(env.masks["action_mask"])
        one, two = env.advance(action), other.advance(action)
        assert same(one.observation, two.observation) and same(one.reward, two.reward)
        assert torch.equal(one.terminated, two.terminated) and torch.equal(one.truncated, two.truncated)
    assert torch.equal(env.state_dict()["generator"], other.state_dict()["generator"])


def test_a_state_of_others_is_refused():
    state = Battle(map="3m", n_envs=2).state_dict()
    with pytest.raises(RunError, match=r"^state: saved with \[n_envs, units\] = \[2, 6\], this task has \[2, 10\]\.$"):
        Battle(map="2s3z", n_envs=2).load_state_dict(state)


# ----- compiled


def test_what_cannot_be_compiled_says_so(monkeypatch):
    def broken(*_):
        raise RuntimeError("no compiler\nmore")

    monkeypatch.setattr(kernel, "compiled", broken)
    with pytest.raises(
        RunError, match=r"^task\.capture: battles cannot be compiled here: RuntimeError: no compiler\. "
    ):
        Battle(map="3m", n_envs=2, capture=True).start()
    monkeypatch.setattr(battle, "PATIENCE", 2)
    env = Battle(map="3m", n_envs=2, capture="auto")
    env.start()
    env.advance(act(env, STOP, STOP, STOP))
    with pytest.warns(UserWarning, match=r"^task\.capture: a part of battles stays uncompiled: RuntimeError: no comp"):
        env.advance(act(env, STOP, STOP, STOP))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "rules"),
    [("2s3z", "plain"), ("5m_vs_6m", "plain"), ("smacv2_5_units", "plain"), ("2s3z", "detailed"), ("MMM2", "detailed")],
)
def test_compiled_battles_are_the_same(name, rules):
    """From each state that the uncompiled ones go through, the same step, to rounding."""
    env, fast = (Battle(map=name, rules=rules, n_envs=32, capture=capture) for capture in (False, True))
    env.start()
    actions = RandomActions(env.team, 32, torch.Generator().manual_seed(0))
    for _ in range(60):
        state, action = env.state_dict(), actions.draw(env.masks["action_mask"])
        fast._field, fast._steps = env._field, env._steps.clone()
        fast._look()
        fast._generator.set_state(state["generator"])
        one, two = env.advance(action), fast.advance(action)
        for word in ("next_observation", "observation", "reward"):
            for group, value in getattr(one, word).items():
                torch.testing.assert_close(getattr(two, word)[group], value, rtol=0, atol=1e-5)
        assert torch.equal(one.terminated, two.terminated)
        for mine, other in zip(env._field.tensors(), fast._field.tensors(), strict=True):
            torch.testing.assert_close(other, mine, rtol=0, atol=1e-4)
        for word in ("action_mask", "active"):
            assert same(one.masks[word], two.masks[word])
