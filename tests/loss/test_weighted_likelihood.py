import pytest
import torch
from jaxtyping import TypeCheckError

from hetrl.loss.weighted_likelihood import WeightedLikelihood
from hetrl.net.squashed_gaussian_policy import SquashedGaussianPolicy
from hetrl.team import Agent, Box, Team


def test_the_docstrings_numbers():
    """-(0 * -5 + 3 * -2) / 2 = 3; and -(1 * -1 + 1 * -3) / 2 = 2."""
    log_prob = torch.tensor([[-5.0, -2.0], [-1.0, -3.0]])
    out = WeightedLikelihood().compute(log_prob, torch.tensor([[0.0, 3.0], [1.0, 1.0]]))
    assert out["loss"].tolist() == [3, 2] and out["weight"].tolist() == [1.5, 1]


def test_without_weights_neither_loss_nor_gradient():
    log_prob = -torch.rand(4, 3).requires_grad_()
    loss = WeightedLikelihood().compute(log_prob, torch.zeros(4, 3))["loss"]
    assert loss.count_nonzero() == 0
    assert torch.autograd.grad(loss.sum(), log_prob)[0].count_nonzero() == 0


def test_refuses_to_broadcast():
    with pytest.raises(TypeCheckError):
        WeightedLikelihood().compute(torch.zeros(4, 3), torch.zeros(4, 1))


def test_ends_at_the_weighted_mean_and_deviation():
    """The likeliest Gaussian behind tanh has the weighted moments of the actions' u: (1 * -1 + 3 * 1) / 4 = 1/2."""
    agent = Agent("a", "agents", 0, 1, Box((-1.0,), (1.0,)), "agents")
    net = SquashedGaussianPolicy(agent, Team((agent,), 1), hidden=[], std="state_independent", std_map="exp").double()
    seen, chosen = torch.ones(1, 1).double(), torch.tensor([[[-1.0], [1.0]]]).double().tanh()
    weight = torch.tensor([[1.0, 3.0]]).double()
    optim = torch.optim.LBFGS(net.parameters(), max_iter=200, tolerance_change=1e-14, line_search_fn="strong_wolfe")

    def closure():
        optim.zero_grad()
        loss = WeightedLikelihood().compute(net.chosen_log_prob(seen, chosen)["log_prob"], weight)["loss"].sum()
        loss.backward()
        return loss

    optim.step(closure)
    mean, log_std = net.head(seen)
    assert mean.item() == pytest.approx(0.5, abs=1e-5)
    assert log_std.exp().item() == pytest.approx(0.75**0.5, abs=1e-5)  # 1/4 (3/2)^2 + 3/4 (1/2)^2 = 3/4
