"""A sum over agents that is kept while they change one by one."""

import pytest
import torch

from hetrl.ops.kept_sum import KeptSum

N, ROWS = 6, 5
CALLS = []
"""Of the sum over everybody."""


def share(place, part):
    return (place + 1) * part[0] * (part[1] if len(part) > 1 else 1)


def whole(parts):
    CALLS.append(1)
    return sum(share(place, part) for place, part in enumerate(parts))


def others(kept, common, parts, live):
    return kept.others(common, parts, live, whole, share)


def expected(parts, live):
    return sum(share(place, part) for place, part in enumerate(parts) if place != live)


@pytest.fixture
def kept():
    CALLS.clear()
    made = KeptSum()
    made.keep(True)
    return made


def numbers(masks):
    common = torch.randn(ROWS, 3).double()
    here = [(torch.rand(ROWS) < 0.5,) if masks else () for _ in range(N)]
    return common, [(torch.randn(ROWS).double(), *each) for each in here]


def test_by_hand(kept):
    """Shares 1 x 10, 2 x 20, 3 x 30 = 10, 40, 90: without the second 100; the first one 7 instead of 10, 97."""
    common = torch.zeros(1)
    parts = [(torch.tensor([10.0 * (place + 1)]),) for place in range(3)]
    assert others(kept, common, parts, 1).item() == 100
    parts[0] = (torch.tensor([7.0]),)
    assert others(kept, common, parts, 1).item() == 97
    assert len(CALLS) == 1


@pytest.mark.parametrize("masks", [False, True])
def test_a_sweep_sums_once(kept, masks):
    """In every turn the live part is another, and that of the turn before has moved."""
    common, parts = numbers(masks)
    for live in (3, 0, 5, 1):
        now = list(parts)
        now[live] = (torch.randn(ROWS).double().requires_grad_(), *parts[live][1:])
        found = others(kept, common, now, live)
        assert not found.requires_grad
        torch.testing.assert_close(found, expected(parts, live))
        parts[live] = (torch.randn(ROWS).double(), *parts[live][1:])
    assert len(CALLS) == 1


def test_a_view_of_the_same_memory_is_the_same_part(kept):
    common, parts = numbers(masks=True)
    for _ in range(3):
        others(kept, common.view(ROWS, 3), [tuple(each.view(ROWS) for each in part) for part in parts], 2)
    assert len(CALLS) == 1


@pytest.mark.parametrize("written", ["common", "part", "live"])
def test_nothing_is_kept_from_what_has_been_written_to(kept, written):
    common, parts = numbers(masks=False)
    others(kept, common, parts, 1)
    {"common": common, "part": parts[4][0], "live": parts[1][0]}[written].add_(1)
    torch.testing.assert_close(others(kept, common, parts, 1), expected(parts, 1))
    assert len(CALLS) == 2


@pytest.mark.parametrize("change", ["common", "most", "rows", "agents"])
def test_what_is_new_is_summed_anew(kept, change):
    common, parts = numbers(masks=False)
    others(kept, common, parts, 1)
    if change == "common":
        common = torch.randn_like(common)
    elif change == "most":
        parts = [*parts[:2], *((torch.randn(ROWS).double(),) for _ in parts[2:])]
    elif change == "rows":
        common, parts = common[:3], [(part[0][:3],) for part in parts]
    else:
        parts = parts[:4]
    torch.testing.assert_close(others(kept, common, parts, 1), expected(parts, 1))
    assert len(CALLS) == 2


def test_nothing_is_kept_unless_it_is_said(kept):
    common, parts = numbers(masks=False)
    kept.keep(False)
    for turn in range(2):
        torch.testing.assert_close(others(kept, common, parts, turn), expected(parts, turn))
    assert len(CALLS) == 2
