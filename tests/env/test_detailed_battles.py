"""Shields, armour, bonus damage, healing and flight, each rule by hand."""

from dataclasses import replace

import pytest
import torch

from hetrl.env.battle import Battle
from hetrl.env.combat import detailed, outcome, script, sight, ticks
from hetrl.env.combat.battlefield import N_MOVES, STOP, Battlefield, Ground
from hetrl.env.combat.deployment import battlefield
from hetrl.env.combat.maps import MAPS, BattleMap
from hetrl.env.combat.units import DETAILED_TYPES, UNIT_TYPES

CPU = torch.device("cpu")
NEVER = torch.zeros(1, 1, 1)
"""Late by nothing."""


def ground_of(allies, enemies):
    return Ground(BattleMap(tuple(allies), tuple(enemies), detailed=True), CPU, detailed=True)


def fielded(ground, places, **changes):
    """Return a battle of units at these places, pushed by nobody; reserve words and the rest as given by unit."""
    position = torch.tensor([places], dtype=torch.float32)
    field = replace(battlefield(ground, position, ground.types.unsqueeze(0)), position=position)
    reserve = dict(zip(detailed.Reserve._fields, field.reserve.unbind(-1), strict=True))
    for word, values in changes.items():
        values = torch.tensor([values], dtype=torch.float32)
        if word in reserve:
            reserve[word] = values
        else:
            field = replace(field, **{word: values})
    return replace(field, reserve=torch.stack(list(reserve.values()), -1))


def after(ground, field, *actions, ticks=1):
    """Return bodies after some ticks in which units do these actions; who heals may begin."""
    traits = ground.traits(field.types)
    told = detailed.orders(ground, torch.tensor([actions]))
    tends = (told.aim > 0) & (traits.detail.heals > 0)
    bodies = detailed.Combatants(field.position, field.health, field.cooldown, *detailed.Reserve.of(field)[:3])
    for _ in range(ticks):
        bodies = detailed.tick(traits, bodies, told, tends, torch.zeros(1, ground.n_units))
    return bodies


SHOOT, STAY = N_MOVES, STOP


@pytest.mark.parametrize(
    ("shooter", "target", "shield", "health", "left"),
    [
        ("marine", "marine", 0, 45, (0, 45 - 6)),
        ("marine", "marauder", 0, 125, (0, 125 - (6 - 1))),  # armour 1
        ("marauder", "marauder", 0, 125, (0, 125 - (10 + 10 - 1))),  # 10 more to the armoured
        ("marauder", "zealot", 0, 100, (0, 100 - (10 - 1))),
        ("stalker", "stalker", 80, 80, (80 - 18, 80)),  # a shield has no armour
        ("stalker", "stalker", 10, 80, (0, 80 - (18 - 10 - 1))),
        ("zealot", "zealot", 0, 100, (0, 100 - 2 * (8 - 1))),  # armour counts at each of the two hits
        ("zealot", "stalker", 10, 80, (0, 80 - 5)),  # 8 and 2 to the shield, 6 - 1 to health: the docstring's
        ("zealot", "stalker", 8, 80, (0, 80 - 7)),
        ("zealot", "zealot", 50, 100, (50 - 16, 100)),
        ("marine", "medivac", 0, 150, (0, 150 - 5)),
        ("marine", "marine", 0, 3, (0, 0)),
    ],
)
def test_one_shot(shooter, target, shield, health, left):
    ground = ground_of([shooter], [target])
    most = DETAILED_TYPES[ground.types[0]].health
    field = fielded(ground, [(10, 10), (11.5, 10)], health=[most, health], shield=[0, shield], quiet=[0, 0])
    found = after(ground, field, SHOOT, STAY)
    assert (found.shield[0, 1].item(), found.health[0, 1].item()) == left
    assert found.cooldown[0, 0] == pytest.approx(DETAILED_TYPES[ground.types[0]].reload)


def test_shots_at_once_fall_in_the_order_of_who_shoots():
    """A marine's 6 are the shield's, 2 of it are left to the marauder's 20: 18 - 1 = 17 reach the stalker's health."""
    ground = ground_of(["marine", "marauder"], ["stalker"])
    field = fielded(ground, [(10, 10), (10, 12), (12, 11)], shield=[0, 0, 8], quiet=[0, 0, 0])
    found = after(ground, field, SHOOT, SHOOT, STAY)
    assert (found.shield[0, 2].item(), found.health[0, 2].item()) == (0, 80 - 17)


def test_two_may_kill_each_other():
    ground = ground_of(["marine"], ["marine"])
    found = after(ground, fielded(ground, [(10, 10), (12, 10)], health=[5, 6]), SHOOT, SHOOT)
    assert found.health.tolist() == [[0, 0]]


def test_a_shield_comes_back_ten_seconds_after_the_last_hit():
    """160 ticks without a hit, and with the 160th an eighth of a health; a hit begins the count anew."""
    ground = ground_of(["marine"], ["stalker"])
    field = fielded(ground, [(10, 10), (12, 10)], shield=[0, 20], quiet=[0, 3])
    hit = after(ground, field, SHOOT, STAY)
    assert (hit.shield[0, 1].item(), hit.quiet[0, 1].item()) == (14, 0)
    field = replace(field, reserve=torch.stack([hit.shield, hit.quiet, hit.energy, 0 * hit.energy], -1))
    assert after(ground, field, STAY, STAY, ticks=159).shield[0, 1] == 14
    assert after(ground, field, STAY, STAY, ticks=160).shield[0, 1] == 14.125
    assert after(ground, field, STAY, STAY, ticks=168).shield[0, 1] == 14 + 9 * 0.125
    whole = fielded(ground, [(10, 10), (12, 10)], shield=[0, 79.9375], quiet=[0, 20])
    assert after(ground, whole, STAY, STAY).shield[0, 1] == 80
    dead = fielded(ground, [(10, 10), (12, 10)], shield=[0, 5], quiet=[0, 20], health=[45, 0])
    assert after(ground, dead, STAY, STAY).shield[0, 1] == 5


CARE = (["marine", "marine", "medivac", "medivac"], ["marine"])
"""Two marines, two who heal, and an enemy."""
BESIDE = [(10, 10), (10, 12), (12, 10), (12, 12), (14, 11)]
HEAL = (N_MOVES + 0, N_MOVES + 1)
"""What a medivac does to heal the first marine, or the second."""


def cared(*actions, ticks=1, **changes):
    ground = ground_of(*CARE)
    field = fielded(ground, BESIDE, **changes)
    return after(ground, field, *actions, ticks=ticks)


def test_healing_by_hand():
    """9 / 16 a tick for 3 / 16 energy, of which 0.5625 / 16 come back; of what is missing each pays its share."""
    found = cared(STAY, STAY, HEAL[0], STAY, STAY, health=[20, 45, 150, 150, 45])
    assert found.health[0, 0] == 20 + 0.5625
    assert found.energy[0, 2].item() == pytest.approx(50 - 0.1875 + 0.5625 / 16)
    assert found.energy[0, 3].item() == pytest.approx(50 + 0.5625 / 16) and found.energy[0, 0] == 0
    both = cared(STAY, STAY, HEAL[0], HEAL[0], STAY, health=[20, 45, 150, 150, 45])
    assert both.health[0, 0] == 20 + 2 * 0.5625
    last = cared(STAY, STAY, HEAL[0], HEAL[0], STAY, health=[44.25, 45, 150, 150, 45])
    assert last.health[0, 0] == 45
    assert last.energy[0, 2].item() == pytest.approx(50 - 0.375 / 3 + 0.5625 / 16)
    full = cared(STAY, STAY, STAY, HEAL[0], STAY)
    assert full.energy[0, 3].item() == pytest.approx(50 + 0.5625 / 16)


def test_what_is_lost_and_given_is_summed_up_and_nobody_revives():
    hurt = cared(STAY, STAY, HEAL[0], STAY, SHOOT + 3, health=[20, 45, 150, 150, 45])
    assert hurt.health[0, 0] == 20 - 6 + 0.5625  # an enemy counts from the other end, so that the first is its last
    saved = cared(STAY, STAY, HEAL[0], STAY, SHOOT + 3, health=[5.5, 45, 150, 150, 45])
    assert saved.health[0, 0] == 0.0625
    dead = cared(STAY, STAY, HEAL[0], STAY, STAY, ticks=8, health=[0, 45, 150, 150, 45])
    assert dead.health[0, 0] == 0 and dead.energy[0, 2].item() == pytest.approx(50 + 0.5625 / 2)
    healer = cared(STAY, STAY, HEAL[0], STAY, STAY, health=[20, 45, 0, 150, 45])
    assert healer.health[0, 0] == 20


def test_an_empty_healer_heals_what_comes_back():
    """Three health for each energy: none of none, and what a tick's charge is worth in the next."""
    found = cared(STAY, STAY, HEAL[0], STAY, STAY, ticks=2, health=[20, 45, 150, 150, 45], energy=[0] * 5)
    assert found.health[0, 0].item() == pytest.approx(20 + 3 * 0.5625 / 16)
    far = cared(STAY, STAY, STAY, STAY, STAY, energy=[0, 0, 200, 199.99, 0])
    assert far.energy[0].tolist() == [0, 0, 200, 200, 0]


def test_it_takes_five_energy_to_begin_and_less_to_go_on():
    ground = ground_of(*CARE)
    field = fielded(ground, BESIDE, health=[20, 20, 150, 150, 45], energy=[0, 0, 4, 50, 0])
    actions = torch.tensor([[STAY, STAY, HEAL[0], HEAL[1], STAY]])
    first = detailed.step(ground, field, actions, NEVER)
    kept = detailed.Reserve.of(first)
    assert first.health[0, 0] == 20 and first.health[0, 1] == 24.5  # eight ticks of 9 / 16
    assert kept.patient[0].tolist() == [0, 0, 0, HEAL[1], 0]
    poor = replace(first, reserve=first.reserve.index_fill(-1, torch.tensor(2), 1.0))  # one energy each
    again = detailed.step(ground, poor, actions, NEVER)
    assert again.health[0, 0] == 20 and again.health[0, 1] > 24.5 + 3  # the one, and what comes back
    other = detailed.step(ground, poor, torch.tensor([[STAY, STAY, STAY, HEAL[0], STAY]]), NEVER)
    assert other.health[0, 0] == 20 and detailed.Reserve.of(other).patient[0, 3] == 0


def test_a_whole_patient_is_dropped():
    ground = ground_of(*CARE)
    field = fielded(ground, BESIDE, health=[44, 45, 150, 150, 45])
    done = detailed.step(ground, field, torch.tensor([[STAY, STAY, HEAL[0], STAY, STAY]]), NEVER)
    assert done.health[0, 0] == 45 and detailed.Reserve.of(done).patient[0, 2] == 0


def test_who_flies_is_in_nobodys_way_but_another_fliers():
    ground = ground_of(["marine", "marine", "medivac", "medivac"], ["marine"])
    field = fielded(ground, [(10, 10), (10.5, 10), (10, 10.25), (10, 11.25), (30, 11)])
    moved = after(ground, field, STAY, STAY, STAY, STAY, STAY).position[0]
    assert moved[0].tolist() == pytest.approx([9.875, 10]) and moved[1].tolist() == pytest.approx([10.625, 10])
    assert moved[2].tolist() == pytest.approx([10, 10]) and moved[3].tolist() == pytest.approx([10, 11.5])


def test_masks_of_who_heals_and_of_who_cannot_hit_the_air():
    """Actions are team-mates for who heals and opponents for who fights; as many as the longer list."""
    ground = ground_of(["marauder", "marine", "medivac"], ["medivac", "marine"])
    field = fielded(ground, [(10, 10), (10, 12), (12, 10), (13, 11), (13, 12)])
    own = sight.options(ground, field, 0)[0].int()
    assert own.shape == (3, N_MOVES + 3) and ground.last_option.tolist() == [6, 6, 7, 6, 7]
    assert own[:, :N_MOVES].all()
    assert own[0, N_MOVES:].tolist() == [0, 1, 0]  # a marauder cannot hit who flies
    assert own[1, N_MOVES:].tolist() == [1, 1, 0]
    assert own[2, N_MOVES:].tolist() == [1, 1, 0]  # hurt or not, but not itself, who flies
    theirs = sight.options(ground, field, 1)[0].int()
    assert theirs[1, N_MOVES:].tolist() == [1, 1, 1]  # the marine: allies from the other end, medivac first
    assert theirs[0, N_MOVES:].tolist() == [1, 0, 0]  # their medivac: the marine, who is the last, comes first
    gone = replace(field, health=field.health * torch.tensor([[0.0, 1, 1, 1, 1]]))
    assert sight.options(ground, gone, 0)[0, :, N_MOVES:].int().tolist() == [[0, 0, 0], [1, 1, 0], [0, 1, 0]]
    assert sight.options(ground, gone, 0)[0, 0].int().tolist() == [0, 0, 0, 0, 1, 0, 0, 0]


def test_what_is_not_allowed_does_nothing():
    ground = ground_of(["marauder", "marine", "medivac"], ["medivac", "marine"])
    field = fielded(ground, [(10, 10), (10, 12), (12, 10), (13, 11), (13, 12)], health=[50, 45, 100, 150, 45])
    for action in (N_MOVES, N_MOVES + 2):  # at who flies, and at nobody
        assert after(ground, field, action, STAY, STAY, STAY, STAY).health.equal(field.health)
    assert after(ground, field, STAY, STAY, N_MOVES + 2, STAY, STAY).health.equal(field.health)  # itself


def test_a_side_with_healers_alone_has_lost_and_what_is_healed_costs_nothing():
    ground = ground_of(["marine", "medivac"], ["stalker", "medivac"])
    before = fielded(ground, [(10, 10), (10, 12), (15, 10), (15, 12)], health=[45, 150, 40, 100])
    here = fielded(ground, [(10, 10), (10, 12), (15, 10), (15, 12)], health=[45, 150, 0, 150], shield=[0, 0, 7, 0])
    ally, enemy = (outcome.standing(ground, here, side) for side in (0, 1))
    assert ally.won and ally.over and enemy.over and not enemy.won
    # The stalker loses 40 of 160 and its shield of 80; what the medivac was given is no loss: (120 / 160) / 2, and won.
    assert outcome.reward(ground, before, here, 0).item() == pytest.approx(120 / 160 / 2 + 1)
    assert outcome.reward(ground, here, before, 0).item() == pytest.approx(50 / 150 / 2)


def test_the_script_of_who_heals():
    ground = ground_of(["marine"], ["marine", "marine", "medivac"])
    told = script.Commands(torch.full((1, 3), 9), torch.zeros(1, 3, 2), torch.full((1, 3), -1))

    def action(*places, **changes):
        return script.tend(ground, fielded(ground, [(5, 5), *places], **changes), 1, told).action[0].tolist()

    assert action((20, 20), (20, 22), (20, 21), health=[45, 45, 30, 150]) == [9, 9, N_MOVES + 1]
    assert action((20, 20), (20, 22), (20, 21), health=[45, 30, 30, 150])[2] in (N_MOVES + 1, N_MOVES + 2)
    assert action((20, 20), (24, 20), (28, 20), health=[45, 30, 45, 150])[2] == 3  # the hurt one is too far: west
    assert action((20, 20), (24, 20), (28, 20))[2] == 3  # nobody is hurt: towards the nearest
    assert action((20, 20), (27, 20), (28, 20))[2] == STOP
    assert action((2, 2), (2, 4), (28, 20))[2] == 9  # nobody in sight
    assert action((2, 2), (28, 21), (28, 20), health=[45, 45, 0, 150])[2] == 9


def test_nobody_hunts_whom_it_cannot_hit():
    ground = ground_of(["marine", "medivac"], ["zealot"])
    field = fielded(ground, [(20, 20), (10, 11), (10, 10)])
    seen = script.view(ground, field, 1)
    assert not seen.visible.any() and not seen.reachable.any()
    assert script.view(ground, field, 0).visible[0].tolist() == [[False], [False]]


def test_the_same_numbers_as_plain_rules_where_nothing_differs():
    """Hydralisks have neither shield nor armour: a battle of theirs goes on alike under both."""
    plan = BattleMap(("hydralisk",) * 3, ("hydralisk",) * 4)
    plain, full = Ground(plan, CPU), Ground(plan, CPU, detailed=True)
    drawn = torch.rand(5, 7, 2, generator=torch.Generator().manual_seed(0)) * 6 + 12
    fields = [battlefield(ground, drawn, ground.types.expand(5, -1)) for ground in (plain, full)]
    generator = torch.Generator().manual_seed(1)
    for _ in range(20):
        action = torch.randint(0, 8, (5, 7), generator=generator)
        late = torch.rand(5, 1, 7, generator=generator) * 0.1
        fields = [
            advance(ground, field, action, late)
            for advance, ground, field in zip((ticks.step, detailed.step), (plain, full), fields, strict=True)
        ]
    for word in ("position", "health", "cooldown", "heading", "aim"):
        torch.testing.assert_close(getattr(fields[0], word), getattr(fields[1], word))
    assert (fields[0].health < 80).any()


def test_kinds_have_the_same_numbers_but_for_what_is_detailed():
    """Health and shields are health as before; who sees and reaches how far, and how large one is, is the same."""
    for plain, full in zip(UNIT_TYPES, DETAILED_TYPES, strict=False):
        assert plain.health == full.health + full.shield
        for word in ("name", "reach", "sight", "radius"):
            assert getattr(plain, word) == getattr(full, word)


@pytest.mark.parametrize("name", [name for name, plan in MAPS.items() if plan.detailed])
def test_maps_with_healers_run_and_go_on_bit_for_bit(name):
    env = Battle(map=name, n_envs=3, horizon=30, seed=1)
    env.start()
    generator = torch.Generator().manual_seed(0)

    def moved(env):
        options = env.masks["action_mask"]["agents"]
        action = torch.multinomial(options.float().flatten(0, 1), 1, generator=generator).view(3, -1, 1)
        return env.advance({"agents": action})

    for _ in range(40):
        moved(env)
    other = Battle(map=name, n_envs=3, horizon=30, seed=5)
    other.load_state_dict(env.state_dict())
    state = generator.get_state()
    one = [moved(env) for _ in range(20)]
    generator.set_state(state)
    two = [moved(other) for _ in range(20)]
    for mine, theirs in zip(one, two, strict=True):
        assert torch.equal(mine.observation["agents"], theirs.observation["agents"])
        assert torch.equal(mine.reward["agents"], theirs.reward["agents"])
    assert isinstance(env._field, Battlefield) and all(step.observation["agents"].isfinite().all() for step in one)
