import copy
from collections import Counter
from itertools import permutations

import torch
from scipy.stats import chi2, ncx2

from hetrl.order.random_permutation import RandomPermutation


def rounds(order, n, times):
    return [tuple(order.compute(torch.arange(n))["round"].tolist()) for _ in range(times)]


def seeded(seed):
    order = RandomPermutation()
    order.generator.manual_seed(seed)
    return order


def test_one_member_a_round():
    assert all(sorted(found) == list(range(6)) for found in rounds(RandomPermutation(), 6, 20))


def test_is_fresh_each_call_and_follows_its_seed():
    """Of 8! = 40320 orders, 20 draws repeat one with probability 0.5 %, and this seed's do not."""
    found = rounds(seeded(0), 8, 20)
    assert len(set(found)) == 20
    assert found == rounds(seeded(0), 8, 20)
    assert found != rounds(seeded(2), 8, 20)


def test_draws_from_a_generator_of_its_own():
    first = rounds(seeded(1), 8, 3)
    torch.manual_seed(123)
    outside = torch.get_rng_state()
    assert rounds(seeded(1), 8, 3) == first
    assert torch.equal(torch.get_rng_state(), outside)


def test_state_dict_resumes_the_sequence():
    order = seeded(1)
    rounds(order, 8, 5)
    state = copy.deepcopy(order.state_dict())
    expected = rounds(order, 8, 5)
    resumed = seeded(99)
    resumed.load_state_dict(state)
    assert rounds(resumed, 8, 5) == expected


def test_every_permutation_is_equally_likely():
    """Chi-square of 6000 draws over the 6 permutations of 3, at level 1e-3 (5 degrees of freedom).

    Its power against the classic mistake, swapping each member with any other (probabilities 4/27 and 5/27), is above
    99 %: 6000 * 6 * 6 / 54^2 = 74 is the noncentrality.
    """
    critical = chi2.isf(1e-3, 5)
    assert ncx2.sf(critical, 5, 6000 * 6 * 6 / 54**2) > 0.99
    counts = Counter(rounds(seeded(0), 3, 6000))
    assert set(counts) == set(permutations(range(3)))
    assert sum((count - 1000) ** 2 / 1000 for count in counts.values()) < critical
