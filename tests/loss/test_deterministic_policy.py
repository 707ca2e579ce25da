import torch

from hetrl.loss.deterministic_policy import DeterministicPolicy


def test_by_hand():
    """What is worth 3 costs -3; the slope is -1 in every sample, whatever the batch's shape."""
    q = torch.tensor([[3.0, -2.0]], requires_grad=True)
    found = DeterministicPolicy().compute(q)["loss"]
    assert found.tolist() == [[-3.0, 2.0]]
    found.sum().backward()
    assert q.grad.tolist() == [[-1.0, -1.0]]


def test_descending_it_climbs_the_action_value():
    """Q(a) = -(a - 0.7)^2 has its best action at 0.7."""
    action = torch.zeros(1, requires_grad=True)
    step = torch.optim.SGD([action], lr=0.2)
    for _ in range(50):
        step.zero_grad()
        DeterministicPolicy().compute(-((action - 0.7) ** 2))["loss"].mean().backward()
        step.step()
    torch.testing.assert_close(action.detach(), torch.tensor([0.7]), rtol=0, atol=1e-4)
