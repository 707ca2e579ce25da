"""Where the published methods end: both agents at A, the worst of the three equilibria."""

import pytest
import torch
from exact.penalty_game import N_BATCHES, START, train


@pytest.mark.parametrize("recipe", ["happo", "mappo"])
def test_ends_where_published(recipe):
    """From (0.6, 0.2, 0.2) to (A, A), as in Liu et al., ICLR 2024, arXiv:2306.10715: 5 a play, and never the 20."""
    seen = train(recipe, seed=0)
    assert seen.shape == (N_BATCHES + 1, 2, 3)
    torch.testing.assert_close(seen[0], torch.tensor([START, START]))
    assert (seen[-1, :, 0] > 0.99).all()
