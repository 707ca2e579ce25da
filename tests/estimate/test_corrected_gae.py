import pytest
import torch

from hetrl.estimate.corrected_gae import CorrectedGAE
from hetrl.estimate.gae import GAE

HALF = {"gamma": 0.5, "lmbda": 0.5}


def batch(steps=40, envs=5):
    generator = torch.Generator().manual_seed(0)
    reward, value, next_value = torch.randn(3, steps, envs, generator=generator, dtype=torch.float64)
    factor = torch.randn(steps, envs, generator=generator, dtype=torch.float64).exp()
    terminated, truncated = torch.rand(2, steps, envs, generator=generator) < 0.1
    return {"reward": reward, "value": value, "next_value": next_value, "factor": factor, "terminated": terminated,
            "truncated": truncated}  # fmt: skip


def two_steps(factor, **ends):
    """Rewards 1 2, values 1 2, next values 2 4: deltas 1 and 2."""
    flags = {name: torch.tensor(ends.get(name, [False, False])) for name in ("terminated", "truncated")}
    roles = {"reward": [1.0, 2.0], "value": [1.0, 2.0], "next_value": [2.0, 4.0], "factor": factor}
    out = CorrectedGAE(**HALF).compute(**{role: torch.tensor(each) for role, each in roles.items()}, **flags)
    return out["advantage"].tolist(), out["return"].tolist()


def test_by_hand():
    """A_1 = 2, A_0 = 1 + 0.25 * 0.5 * 2 = 1.25; the ratio of the step itself, 9, does not count."""
    assert two_steps([9.0, 0.5]) == ([1.25, 2.0], [2.25, 4.0])


def test_ratios_are_capped():
    """min(1, 3) = 1: A_0 = 1 + 0.25 * 2."""
    assert two_steps([1.0, 3.0])[0] == [1.5, 2.0]


def test_ends_are_those_of_the_plain_estimate():
    """Terminated: 1 - 1 = 0; truncated: delta_0 = 1 alone."""
    assert two_steps([1.0, 0.5], terminated=[True, False])[0] == [0.0, 2.0]
    assert two_steps([1.0, 0.5], truncated=[True, False])[0] == [1.0, 2.0]


@pytest.mark.parametrize("arguments", [{}, HALF, {"lmbda": 1.0}])
def test_with_ratios_of_1_it_is_the_plain_estimate(arguments):
    given = batch()
    given["factor"] = torch.ones_like(given["factor"])
    found = CorrectedGAE(**arguments).compute(**given)
    wanted = GAE(**arguments).compute(**{role: each for role, each in given.items() if role != "factor"})
    for role in ("advantage", "return"):
        torch.testing.assert_close(found[role], wanted[role], rtol=0, atol=1e-10)


def test_is_the_published_sum():
    """A_t = sum_k gamma^k (prod over j = 1..k of lambda min(1, F_{t+j})) delta_{t+k}, up to the episode's end."""
    given, gamma, lmbda = batch(12, 3), 0.9, 0.8
    delta = given["reward"] + gamma * given["next_value"] * ~given["terminated"] - given["value"]
    done = given["terminated"] | given["truncated"]
    wanted = torch.zeros_like(delta)
    for start in range(12):
        weight = torch.ones(3, dtype=torch.float64)
        for step in range(start, 12):
            if step > start:
                weight = weight * gamma * lmbda * given["factor"][step].clamp(max=1) * ~done[step - 1]
            wanted[start] += weight * delta[step]
    found = CorrectedGAE(gamma=gamma, lmbda=lmbda).compute(**given)["advantage"]
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-10)
