import math

import pytest
import torch
from jaxtyping import TypeCheckError

from hetrl.loss.temperature import Temperature


def loss(log_alpha, log_prob, target):
    given = torch.tensor([float(log_alpha)], requires_grad=True)
    out = Temperature().compute(given, torch.tensor([float(log_prob)]), torch.tensor([float(target)]))["loss"]
    (slope,) = torch.autograd.grad(out.sum(), given)
    return out.item(), slope.item()


def test_the_docstrings_numbers():
    """-(-2) (1 - 3) = -4; the slope along log alpha is -(1 - 3) = 2."""
    assert loss(-2, 1, -3) == (-4.0, 2.0)


@pytest.mark.parametrize(("log_prob", "goes"), [(2.5, "up"), (1.5, "down"), (2.0, "nowhere")])
def test_the_price_follows_the_entropy(log_prob, goes):
    """Target entropy -2: with log-prob 2.5 there is too little of it and alpha rises, whatever alpha is."""
    for log_alpha in (-3.0, 0.0, 3.0):
        slope = loss(log_alpha, log_prob, -2.0)[1]
        assert {"up": slope < 0, "down": slope > 0, "nowhere": slope == 0}[goes]


def test_alpha_settles_where_the_entropy_is_the_target():
    """The softmax of Q = (0, 1) has entropy H(alpha) = 0.5 at one alpha, wherever the search begins."""
    q = torch.tensor([0.0, 1.0]).double()

    def entropy(alpha):
        p = torch.softmax(q / alpha, -1)
        return -(p * p.log()).sum()

    for start in (0.05, 5.0):
        log_alpha = torch.tensor([math.log(start)], dtype=torch.float64, requires_grad=True)
        step = torch.optim.SGD([log_alpha], lr=0.5)
        for _ in range(400):
            step.zero_grad()
            log_prob = -entropy(log_alpha.exp()).detach().reshape(1)
            Temperature().compute(log_alpha, log_prob, torch.full((1,), 0.5).double())["loss"].mean().backward()
            step.step()
        assert entropy(log_alpha.exp()).item() == pytest.approx(0.5, abs=1e-6)


def test_refuses_to_broadcast():
    with pytest.raises(TypeCheckError):
        Temperature().compute(torch.zeros(3), torch.zeros(3, 1), torch.zeros(3))
