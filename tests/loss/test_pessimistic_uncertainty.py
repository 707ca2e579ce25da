"""The pessimistic uncertainty loss on ensembles of known spread."""

import torch

from hetrl.catalog import component


def ensemble(*members, grad=False):
    return torch.tensor(members, dtype=torch.float64).unsqueeze(-1).requires_grad_(grad)


def test_the_worked_example():
    """Slow values (1, 3): mean 2, deviation 1, targets (0, 2). (1 - 0)^2 + (3 - 2)^2 = 2, times 0.1."""
    found = component("loss/pessimistic_uncertainty").compute(ensemble(2, 8), ensemble(1, 3), ensemble(1, 3))
    torch.testing.assert_close(found["loss"], torch.tensor([0.2], dtype=torch.float64))
    assert found["spread"].item() == 3 and found["spread_ood"].item() == 1


def test_the_target_is_each_members_own_less_beta_deviations():
    """Slow values (0, 3, 6): deviation sqrt(6). What it asks for is where the gradient is 0."""
    slow, u = ensemble(0, 3, 6), 6**0.5
    asked = slow - 0.5 * u
    q = asked.clone().requires_grad_()
    component("loss/pessimistic_uncertainty", beta=0.5).compute(slow, q, slow)["loss"].sum().backward()
    assert (q.grad.abs() < 1e-12).all()
    q = (asked + 1).detach().requires_grad_()
    component("loss/pessimistic_uncertainty", beta=0.5, coef=0.3).compute(slow, q, slow)["loss"].sum().backward()
    torch.testing.assert_close(q.grad, torch.full_like(q, 0.6))


def test_no_gradient_where_the_ensemble_agrees_and_equals_its_target():
    q = ensemble(2, 2, 2, grad=True)
    component("loss/pessimistic_uncertainty").compute(q.detach(), q, ensemble(2, 2, 2))["loss"].sum().backward()
    assert (q.grad == 0).all()


def test_without_weight_it_is_nothing():
    q = ensemble(1, 9, grad=True)
    loss = component("loss/pessimistic_uncertainty", coef=0.0).compute(q.detach(), q, ensemble(-4, 5))["loss"]
    loss.sum().backward()
    assert loss.item() == 0 and (q.grad == 0).all()
