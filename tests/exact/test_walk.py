"""Agents that part within a few steps."""

import math

import pytest
import torch
from exact.walk import Walk, trained, worth


def test_the_last_step_pays_for_places_apart():
    env = Walk(steps=2, n_envs=3)
    env.start()
    half = torch.tensor([[[0.3], [-0.3]], [[0.3], [0.3]], [[0.6], [-0.6]]])
    _, earned, over, _ = env._simulate({"agents": half})
    assert not over.any() and not earned["agents"].any()
    seen, earned, over, truncated = env._simulate({"agents": half})
    assert over.all() and not truncated.any()
    place = torch.tensor([[0.6, -0.6], [0.6, 0.6], [1.0, -1.0]])
    assert torch.equal(seen["agents"], torch.stack([place, torch.ones(3, 2)], -1))
    # The first pair stands on its modes, the second on one side; the third is 0.4 beyond modes of width 0.2.
    assert earned["agents"][0].tolist() == [1.0, 1.0] and earned["agents"][1, 0] < 1e-6
    assert earned["agents"][2, 0].item() == pytest.approx(math.exp(-2 * 0.4**2 / (2 * 0.2**2)))


@pytest.mark.slow
def test_a_gaussian_parts_in_two_steps_and_not_in_one():
    """In one it earns what its best does, 0.130; in two, noise parts the agents, and each goes on to its side."""
    assert worth(trained("hasac", 1), 1) < 0.15
    assert worth(trained("hasac", 2), 2) > 0.4
