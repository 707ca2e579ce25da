import pytest
import torch
from jaxtyping import TypeCheckError

from hetrl.loss.soft_policy import SoftPolicy


def test_the_docstrings_numbers():
    """0.2 * -1 - 3 = -3.2; alpha 0 leaves -Q."""
    found = SoftPolicy().compute(torch.tensor([0.2, 0.0]), torch.tensor([-1.0, 7.0]), torch.tensor([3.0, 3.0]))["loss"]
    torch.testing.assert_close(found, torch.tensor([-3.2, -3.0]))


def test_its_slopes():
    """alpha along the log-prob, -1 along the action value."""
    log_prob, q = torch.randn(4, requires_grad=True), torch.randn(4, requires_grad=True)
    alpha = torch.rand(4)
    SoftPolicy().compute(alpha, log_prob, q)["loss"].sum().backward()
    assert torch.equal(log_prob.grad, alpha) and torch.equal(q.grad, -torch.ones(4))


def test_the_best_policy_of_one_state_is_the_softmax():
    """Over two options with Q = (1, 3) and alpha = 2 the mean loss is least at p proportional to e^(Q / alpha)."""
    q, alpha = torch.tensor([1.0, 3.0]).double(), torch.full((2,), 2.0).double()

    def mean(first):
        p = torch.tensor([first, 1 - first]).double()
        return (p * SoftPolicy().compute(alpha, p.log(), q)["loss"]).sum().item()

    best = torch.softmax(q / alpha, -1)[0].item()
    assert mean(best) < min(mean(best + 1e-3), mean(best - 1e-3))
    assert mean(best) == pytest.approx(-2 * torch.logsumexp(q / alpha, -1).item())


def test_refuses_to_broadcast():
    with pytest.raises(TypeCheckError):
        SoftPolicy().compute(torch.zeros(3), torch.zeros(3, 1), torch.zeros(3))
