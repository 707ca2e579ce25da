from collections import Counter

import torch
from scipy.stats import chi2

from hetrl.order.semi_greedy import SemiGreedy

SIZES = tuple(torch.full((7,), size) for size in (1.0, -5.0, 3.0, 4.0))
"""From the greatest on: agents 1, 3, 2, 0."""


def orders(times, seed=0, sizes=SIZES):
    """Return who comes first, second, ... in some sweeps."""
    order = SemiGreedy()
    order.generator.manual_seed(seed)
    members = torch.arange(len(sizes))
    return [tuple(order.compute(members, sizes)["round"].argsort().tolist()) for _ in range(times)]


def test_every_other_one_is_the_greatest_of_the_rest():
    for found in orders(50):
        assert sorted(found) == [0, 1, 2, 3]
        assert found[0] == 1
        assert found[2] == next(agent for agent in (3, 2, 0) if agent != found[1])


def test_those_between_are_anybody_of_the_rest():
    """Chi-square of 3000 draws over the three, at level 1e-3 (2 degrees of freedom)."""
    counts = Counter(found[1] for found in orders(3000))
    assert set(counts) == {0, 2, 3}
    assert sum((count - 1000) ** 2 / 1000 for count in counts.values()) < chi2.isf(1e-3, 2)


def test_a_later_draw_does_not_depend_on_an_earlier_one():
    """Five members: after the greatest, one of four; then the greatest of the rest; then one of two, evenly."""
    sizes = tuple(torch.full((2,), float(size)) for size in range(5))
    found = Counter((found[1], found[3]) for found in orders(4000, sizes=sizes))
    for second in range(4):
        pair = [count for (first, _), count in found.items() if first == second]
        assert len(pair) == 2
        assert (pair[0] - pair[1]) ** 2 / sum(pair) < chi2.isf(1e-3, 1)


def test_follows_its_seed_and_state():
    assert orders(20, seed=3) == orders(20, seed=3) != orders(20, seed=4)
    first, second = SemiGreedy(), SemiGreedy()
    for _ in range(3):
        first.compute(torch.arange(4), SIZES)
    second.load_state_dict(first.state_dict())
    assert torch.equal(*(each.compute(torch.arange(4), SIZES)["round"] for each in (first, second)))
