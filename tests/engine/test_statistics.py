"""Observations standardised by what was seen so far: the numbers, when they change, and who reads them."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from hetrl.data.behaviour import Behaviour
from hetrl.engine.link import link
from hetrl.engine.statistics import CLIP, Statistics
from hetrl.errors import RecipeError
from hetrl.recipe.read import load
from hetrl.team import STATE, Box, Team

ARM = Box((-1.0,), (1.0,))
TEAM = Team.of(["a_0", "b", "a_1"], [2, 3, 2], [ARM] * 3)
WORD = "task={use: env/vmas, scenario: balance, normalize_observations: true}"


def stream(n, generator, offset=5.0):
    """Return what was seen in some steps, ``[n, 4]`` environments, and who took part."""
    seen = {"a": torch.randn(n, 4, 2, 2, generator=generator) * 3 + offset, "b": torch.randn(n, 4, 1, 3) - 100}
    return seen, {"a": torch.rand(n, 4, 2, generator=generator) < 0.7}


def taken(team=TEAM, batches=3):
    """Return statistics that have taken some batches, and those."""
    generator = torch.Generator().manual_seed(0)
    statistics, seen = Statistics(team), [stream(n, generator) for n in range(1, batches + 1)]
    for each in seen:
        statistics.watch(*each)
        statistics.take()
    return statistics, seen


def test_numbers_are_those_of_numpy_over_all_who_took_part():
    statistics, seen = taken()
    rows = np.concatenate([each["a"][active["a"]].double().numpy() for each, active in seen])
    mean, deviation, clip = statistics.of(TEAM["a_1"])
    np.testing.assert_allclose(mean, rows.mean(0), rtol=1e-6)
    np.testing.assert_allclose(deviation, np.sqrt(rows.var(0) + 1e-8), rtol=1e-6)
    assert clip == CLIP == 10
    value = torch.tensor([[5.0, 5.0], [1e6, -1e6]])
    wanted = ((value.numpy() - rows.mean(0)) / np.sqrt(rows.var(0) + 1e-8)).clip(-10, 10)
    np.testing.assert_allclose(statistics.standardized("a", value), wanted, rtol=1e-4, atol=1e-5)


def test_the_state_is_made_of_standardised_observations():
    statistics, seen = taken()
    raw = seen[-1][0]
    wanted = TEAM.state({group: statistics.standardized(group, value) for group, value in raw.items()})
    torch.testing.assert_close(statistics.standardized_state(TEAM.state(raw)), wanted)
    some = replace(TEAM, state_size=3, state_from=((1, 2), (0, 1), (2, 0)))
    chosen, _ = taken(some)
    wanted = some.state({group: chosen.standardized(group, value) for group, value in raw.items()})
    torch.testing.assert_close(chosen.standardized_state(some.state(raw)), wanted)


def test_a_state_of_the_environments_own_has_its_own_statistics():
    own = replace(TEAM, state_size=2, state_shape=(2,))
    statistics = Statistics(own)
    states = torch.tensor([[0.0, 10.0], [2.0, 30.0]])
    seen, _active = stream(1, torch.Generator())
    statistics.watch({**{group: value[0, :2] for group, value in seen.items()}, STATE: states}, {})
    statistics.take()
    torch.testing.assert_close(statistics.standardized_state(states), torch.tensor([[-1.0, -1.0], [1.0, 1.0]]))


def test_what_is_watched_counts_from_when_it_is_taken():
    """Until then, numbers are read as they are, within the clip."""
    statistics = Statistics(TEAM)
    value = torch.tensor([[3.0, -50.0]])
    statistics.watch(*stream(2, torch.Generator().manual_seed(0)))
    assert (statistics.begun, statistics.watched) == (False, True)
    assert statistics.standardized("a", value).tolist() == [[3.0, -10.0]]
    statistics.take()
    assert (statistics.begun, statistics.watched) == (True, False)
    assert statistics.standardized("a", value)[0, 0] != 3


def test_they_are_saved_and_come_back_and_are_never_copied():
    statistics, seen = taken()
    other = Statistics(TEAM)
    other.load_state_dict(copy.copy(statistics.state_dict()))
    value = seen[0][0]["a"]
    assert torch.equal(other.standardized("a", value), statistics.standardized("a", value))
    assert copy.deepcopy(statistics) is statistics
    assert sorted(statistics.state_dict()) == [
        f"{group}:{word}" for group in "ab" for word in ("count", "mean", "squares")
    ]


def test_images_stay_from_0_to_1():
    team = Team.of(["eye", "hand"], [(1, 2), 2], [ARM] * 2, dtypes=[torch.uint8, torch.float32])
    statistics = Statistics(team)
    image, number = torch.tensor([[[0, 255]]], dtype=torch.uint8), torch.tensor([[[4.0, 8.0]]])
    statistics.watch({"eye": image, "hand": number}, {})
    statistics.take()
    assert statistics.standardized("eye", image).tolist() == [[[0.0, 1.0]]]
    assert statistics.standardized_state(team.state({"eye": image, "hand": number})).tolist() == [[0.0, 1.0, 0.0, 0.0]]
    assert statistics.of(team["eye"])[2] == float("inf")


# ----- nets behind them


def linked_with(*overrides, recipe="happo"):
    from hetrl.engine.task import team_of

    loaded = load(recipe, WORD, *overrides)
    return link(loaded, team_of(loaded))


def test_nets_read_standardised_numbers_whoever_asks_them():
    """Modes, acting one by one and together, a slow copy, and critics: as the plain net with standardised numbers."""
    linked = linked_with()
    team, agent = linked.team, linked.team.agents[0]
    seen = torch.randn(6, 3, agent.observation_size) * 1000
    linked.statistics.watch({"agents": seen}, {})
    linked.statistics.take()
    policy, plain = linked.policy((agent,)), linked.policy((agent,)).net
    read = linked.statistics.standardized("agents", seen)
    assert read.abs().max() < 5 and read.std(unbiased=False).sub(1).abs() < 1e-3
    noise = torch.randn(6, agent.action.size)
    assert torch.equal(policy.draw(seen[:, 0], noise), plain.draw(read[:, 0], noise))
    assert torch.equal(policy.greedy(seen[:, 0]), plain.greedy(read[:, 0]))
    found = policy.log_prob(seen[:, 0], action=noise)["log_prob"]
    assert torch.equal(found, plain.log_prob(read[:, 0], noise)["log_prob"])
    together = Behaviour(team, linked.policy).greedy({"agents": seen}, {})["agents"]
    torch.testing.assert_close(together[:, 0], plain.greedy(read[:, 0]))
    value = linked.nets["value"].of(())
    state = team.state({"agents": seen})
    assert torch.equal(value.value(state)["value"], value.net.value(team.state({"agents": read}))["value"])
    assert policy.memory == 0 and policy.modes is plain.modes


def test_a_slow_copy_reads_the_same():
    linked = linked_with(recipe="hasac")
    slow = next(iter(linked.slow.values()))
    name = next(iter(linked.slow))
    assert slow.net.of(())._lenses["state"].__self__ is linked.nets[name].of(())._lenses["state"].__self__


def test_without_the_word_nets_are_as_they_were():
    plain = linked_with(f"{WORD.replace('true', 'false')}")
    assert plain.statistics is None and not hasattr(plain.nets["actor"].of(plain.team.agents[:1]), "net")


def test_what_does_not_go_together_is_refused():
    with pytest.raises(RecipeError, match=r"^task.normalize_observations must be true or false, not 1"):
        load("happo", "task.normalize_observations=1")
    eyes = Team.of(["a", "b"], [(9, 9)] * 2, [ARM] * 2, dtypes=[torch.uint8] * 2)
    with pytest.raises(RecipeError, match=r"^task.normalize_observations: all agents see images"):
        link(load("happo", "task.normalize_observations=true"), eyes)
    with pytest.raises(
        RecipeError, match=r"^nets.actor.encoder \(net/entities\) tells by its zeros who is absent, and "
    ):
        linked_with("nets.actor.encoder={use: net/entities, own: 4, entity: 2}")
