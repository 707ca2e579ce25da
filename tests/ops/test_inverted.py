import pytest
import torch

from hetrl.ops.inverted import held


@pytest.mark.parametrize(
    ("u", "g", "expected"),
    [(0.5, -1.0, -0.25), (0.5, 1.0, 0.75), (1.2, -1.0, 0.1), (1.2, 1.0, 1.1), (-1.2, 1.0, -0.1), (0.3, 0.0, 0.0)],
)
def test_the_gradient_fades_towards_the_bound_and_turns_around_beyond(u, g, expected):
    u = torch.tensor([u], requires_grad=True)
    action = held(u)
    assert action.item() == u.clamp(-1, 1).item()
    (found,) = torch.autograd.grad(action, u, torch.tensor([g]))
    torch.testing.assert_close(found, torch.tensor([expected]))


def test_it_comes_back_from_where_tanh_does_not():
    def steps_until_back(bounded):
        u = torch.tensor([8.0], requires_grad=True)
        optimiser = torch.optim.SGD([u], lr=0.1)
        for step in range(200):
            if bounded(u).item() < 0.1:
                return step
            optimiser.zero_grad()
            bounded(u).square().sum().backward()
            optimiser.step()
        return None

    assert steps_until_back(torch.tanh) is None
    assert steps_until_back(held) is not None


def test_it_maps_over_a_stack():
    u = torch.tensor([[0.5], [1.2]], requires_grad=True)
    (found,) = torch.autograd.grad(torch.vmap(held)(u).sum(), u)
    torch.testing.assert_close(found, torch.tensor([[0.75], [1.1]]))
