"""Who expects the others to answer best leaves the trap that who expects them to stay as they are falls into."""

import pytest
import torch
from exact.optimal_marginal_game import train
from exact.penalty_game import START


def test_the_best_answer_leads_to_the_best_equilibrium():
    """phi* of A, B and C is (5, 10, 20) for the first agent; it counts as having chosen C, and the second joins it."""
    seen, _ = train("exact", "best")
    torch.testing.assert_close(seen[0], torch.tensor([START, START]))
    assert (seen[-1, :, 2] > 0.95).all()  # (C, C), payoff 20


@pytest.mark.slow
def test_coordinate_ascent_does_not_leave_an_equilibrium():
    """An untrained critic leads both to B; from (B, B) nobody alone finds more than its 10, so ``refine`` stays."""
    seen, _ = train("refine", "best", 500)
    assert (seen[-1, :, 1] > 0.95).all()


@pytest.mark.slow
def test_the_greedy_answer_ends_in_the_trap():
    """Each is told (5, -20, -20) while the other's likeliest action is A: (A, A), payoff 5, as for HAPPO."""
    seen, _ = train("greedy")
    assert (seen[-1, :, 0] > 0.99).all()


@pytest.mark.slow
def test_one_small_step_is_not_yet_a_choice():
    """The first agent moves a little towards C, and still proposes what it did; the second answers that, not C."""
    seen, _ = train("exact", "proposal")
    assert (seen[-1, :, 2] < 0.01).all()
