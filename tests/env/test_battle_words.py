"""What a task may say of a battle beside its map, what it says itself of its numbers, and pictures."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import hetrl
from hetrl.encoder import Encoding
from hetrl.env.battle import Battle
from hetrl.env.combat.battlefield import N_MOVES
from hetrl.env.painter import PALETTE, SIDE
from hetrl.errors import RecipeError
from hetrl.net.state_value import StateValue
from hetrl.net.units import Units
from hetrl.team import STATE

UNEVEN = {"marine": {"health": 2.0}, "marine_1": {"speed": 0.5, "health": 1.5}}


def test_traits_multiply_an_allys_numbers_and_tell_bodies_apart():
    """Marines of 45: twice as much, and one of them half as much again; enemies stay as they are."""
    env = Battle(map="3m", traits=UNEVEN, n_envs=2)
    env.start()
    assert env._field.health[0].tolist() == [90, 135, 90, 45, 45, 45]
    assert [agent.body for agent in env.team.agents] == ["marine_0", "marine_1", "marine_0"]
    before = env._field.position.clone()
    env.advance({"agents": torch.zeros(2, 3, 1, dtype=torch.int64)})  # north
    went = (env._field.position - before)[:, :3, 1]
    torch.testing.assert_close(went[:, 1], went[:, 0] / 2, atol=0.2, rtol=0)  # but for who is pushed
    assert env._observation["agents"][:, :, -10].eq(1).all()  # all of one's own health, whatever that is


def test_a_kind_that_is_changed_alike_stays_one_body():
    env = Battle(map="2s3z", traits={"zealot": {"reach": 1.5}}, n_envs=1)
    assert list(env.team.bodies) == ["stalker", "zealot"]


def test_rules_may_be_told():
    env = Battle(map="3s5z", rules="detailed", n_envs=2)
    env.start()
    assert env._field.health[0, 0] == 80 and env._field.reserve[0, 0].tolist() == [80, 10, 0, 0]
    assert env.team.agents[0].observation_size == 15 * 15 + 12
    assert Battle(map="3s5z", n_envs=1)._field.reserve is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            {"map": "MMM", "rules": "plain"},
            r"^task.rules: plain ones know nobody who heals, and the map has some; drop",
        ),
        (
            {"map": "MMM", "state": "original"},
            r"^task.state: the original knows no detailed rules; write scaled, or rul",
        ),
        (
            {"traits": {"marin": {"speed": 2.0}}},
            r"^task.traits: no ally or kind of ally is called 'marin'. Nearest: 'mar",
        ),
        (
            {"map": "MMM", "traits": {"medivac_0": {"speed": 2.0, "reload": 2.0}}},
            r"^task.traits.medivac_0.reload: 'medivac_0' heals and does not shoot; drop reload.$",
        ),
        ({"traits": {"marine": {"sped": 2.0}}}, "sped"),
        ({"traits": {"marine": {"speed": 0.0}}}, "greater than 0"),
        ({"traits": {"marine": {"speed": 1e9}}}, "less than or equal to 1000000"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_built(words, message):
    with pytest.raises(RecipeError, match=message):
        Battle(**words)
    with pytest.raises(RecipeError, match=message):
        hetrl.check(hetrl.load("happo", f"task={json.dumps({'use': 'env/battle', **words})}"))


@pytest.mark.parametrize(("name", "state"), [("2s3z", "scaled"), ("2s3z", "original"), ("MMM2", "scaled")])
def test_listings_are_where_the_units_are(name, state):
    """The kind of each, one-hot, stands where the listings say, in the order of the units."""
    env = Battle(map=name, state=state, n_envs=2)
    observation = env.start()
    ground, agent = env._ground, env.team.agents[1]
    (allies, enemies), others = env.team.state_listings, agent.listings
    kinds = ground.traits(ground.types).one_hot
    everybody = torch.cat([
        observation[STATE][0, each.start : each.end].view(each.count, each.size) for each in (allies, enemies)
    ])  # fmt: skip
    torch.testing.assert_close(everybody[:, 4 : 4 + ground.n_kinds], kinds)
    if allies.scale:
        assert (everybody * torch.tensor(allies.scale)).abs().max() <= 1
    seen = observation["agents"][0, 1]
    mates = seen[others[0].start : others[0].end].view(others[0].count, -1)
    assert mates[:, 0].eq(1).all()  # all healthy, and near
    torch.testing.assert_close(mates[:, 7 : 7 + ground.n_kinds], kinds[[0, *range(2, ground.counts[0])]])
    assert others[-1].end + others[-1].size - 3 == agent.observation_size


def test_the_order_of_enemies_is_nothing_to_a_value_behind_units():
    env = Battle(map="MMM2", n_envs=2, seed=3)
    state = env.start()[STATE]
    value = StateValue(env.team.agents[0], env.team, hidden=[8], encoder=Encoding(Units, {"size": 8, "each": 0}))
    listing = env.team.state_listings[1]
    enemies = state[:, listing.start : listing.end].view(2, listing.count, -1)
    turned = torch.cat([state[:, : listing.start], enemies.flip(1).flatten(1)], -1)
    torch.testing.assert_close(value.value(turned)["value"], value.value(state)["value"])


def test_a_policy_behind_units_learns_for_two_updates(tmp_path):
    run = hetrl.train(
        "happo", "task={use: env/battle, map: 5m2d_vs_8m, n_envs: 4}", "nets.value.encoder={use: net/units, each: 0}",
        "nets.actor={use: net/categorical_policy, per: group, hidden: [8], encoder: {use: net/units, size: 8}}",
        "data.frames=40", "run.frames=80", "run.eval_every=80", "run.n_eval_episodes=2", folder=tmp_path / "run",
    )  # fmt: skip
    assert {"eval/info/won", "eval/info/won_low", "eval/info/won_high"} <= set(run.metrics)


def test_a_picture_shows_sides_bars_shots_and_the_fallen():
    """Colours, from which side's place they come, and the green line of who heals."""
    env = Battle(map="MMM", n_envs=2, seed=0)
    env.start()
    places = torch.full((2, 20, 2), 16.0)
    places[:, :, 1] = torch.linspace(6, 26, 20)
    places[:, 10:, 0] = 20.0
    places[:, 9] = torch.tensor([8.0, 16.0])
    patient = N_MOVES + 2
    aim = torch.zeros(2, 20, dtype=torch.int64)
    aim[:, 9], aim[:, 2] = patient, N_MOVES
    reserve = env._field.reserve.clone()
    reserve[:, 9, 3] = patient
    health = env._field.health.clone()
    health[:, 2], health[:, 19] = 10, 0
    cooldown = torch.zeros(2, 20)
    cooldown[:, 2] = 0.5
    env._field = replace(
        env._field, position=places, aim=aim, reserve=reserve, health=health, cooldown=cooldown
    )  # fmt: skip
    picture = env.frame(1)
    assert picture.shape == (SIDE, SIDE, 3) and picture.dtype == np.uint8
    middle = (picture == PALETTE[0]).all(-1).sum(), (picture == PALETTE[5]).all(-1).sum()
    assert min(middle) > 200  # both sides' colours
    care = (picture == PALETTE[2]).all(-1)
    env._field = replace(env._field, reserve=reserve.index_fill(-1, torch.tensor(3), 0.0))
    assert care.sum() > (env.frame(1) == PALETTE[2]).all(-1).sum() + 50  # a line fewer
    env._field = replace(env._field, position=places * 1.1)
    assert (env.frame(1) == PALETTE[0]).all(-1).sum() < middle[0]  # from farther away
    with pytest.raises(hetrl.errors.RunError, match=r"^frame: no environment 2"):
        env.frame(2)


def test_a_film_of_a_battle_goes_at_its_own_pace(tmp_path):
    """Six steps a second: a frame lasts for 160 ms in a gif, which counts in hundredths."""
    from PIL import Image

    from hetrl.report.video import Film

    env = Battle(map="3m", n_envs=1)
    env.start()
    with Film(tmp_path / "a.gif") as film:
        for step in range(3):
            film(env, step, 0.0)
            env.advance({"agents": torch.full((1, 3, 1), step)})
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.n_frames == 3 and gif.info["duration"] == 160
