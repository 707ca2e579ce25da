"""Mutated recipes and command lines: each is refused in one line, or links, and some of those train."""

import pytest
from fuzz.cases import sweep


def hold(seeds):
    figures = sweep(seeds)
    print("\n".join(f"{count:6} {end}" for end, count in sorted(figures.ends.items())))
    assert not figures.failures, f"{len(figures.failures)} failed; the first:\n" + "\n".join(figures.failures[:5])


def test_some_cases(one_seed):
    hold(range(300) if one_seed is None else [one_seed])


@pytest.mark.slow
@pytest.mark.parametrize("part", range(20))
def test_many_cases(part, one_seed):
    if one_seed is not None:
        pytest.skip("one seed was asked for")
    hold(range(500 * part, 500 * (part + 1)))
