import copy
from collections import Counter

import pytest
import torch

import hetrl
from hetrl.errors import RecipeError
from hetrl.order.blocks import Blocks
from hetrl.order.random_permutation import RandomPermutation


def rounds(order, n, times):
    return [tuple(order.compute(torch.arange(n))["round"].tolist()) for _ in range(times)]


def seeded(order, seed=0):
    order.generator.manual_seed(seed)
    return order


def test_the_docstrings_sizes():
    for found in rounds(Blocks(size=3), 7, 20):
        assert Counter(found) == {0: 3, 1: 3, 2: 1}


def test_its_ends_are_in_turn_and_at_once():
    in_turn = rounds(seeded(RandomPermutation(), 4), 6, 10)
    assert rounds(seeded(Blocks(size=1), 4), 6, 10) == in_turn
    assert rounds(Blocks(size=6), 6, 3) == rounds(Blocks(size=99), 6, 3) == [(0,) * 6] * 3


def test_is_fresh_each_sweep_and_follows_its_seed():
    """Six members are parted in 20 ways, in two orders: ten draws all alike have a probability of 40^-9."""
    found = rounds(seeded(Blocks(size=3)), 6, 10)
    assert len(set(found)) > 1
    assert found == rounds(seeded(Blocks(size=3)), 6, 10) != rounds(seeded(Blocks(size=3), 2), 6, 10)


def test_every_pair_meets_as_often():
    """Of six in threes, any two share a round with probability 2/5; 3000 sweeps have a deviation of 27."""
    found = rounds(seeded(Blocks(size=3)), 6, 3000)
    for first in range(6):
        for second in range(first):
            together = sum(each[first] == each[second] for each in found)
            assert abs(together - 1200) < 4 * 27


def test_state_dict_resumes_the_sequence():
    order = seeded(Blocks(size=2), 1)
    rounds(order, 8, 5)
    state = copy.deepcopy(order.state_dict())
    resumed = seeded(Blocks(size=2), 99)
    expected = rounds(order, 8, 5)
    resumed.load_state_dict(state)
    assert rounds(resumed, 8, 5) == expected


def test_a_block_of_nobody_is_refused():
    with pytest.raises(RecipeError, match="size"):
        hetrl.check(hetrl.load("happo", "update.actors.order={use: order/blocks, of: agent, size: 0}"))


def test_a_recipe_takes_it_of_agents_and_of_groups():
    for of in ("agent", "group"):
        hetrl.check(hetrl.load("happo", f"update.actors.order={{use: order/blocks, of: {of}, size: 2}}"))
