import torch

from hetrl.loss.noise_matching import NoiseMatching


def test_by_hand():
    """(1 - 0)^2 + (0 - 2)^2 = 5, and 0 where they are equal."""
    predicted = torch.tensor([[1.0, 0.0], [0.5, 2.0]])
    found = NoiseMatching().compute(predicted, torch.tensor([[0.0, 2.0], [0.5, 2.0]]))
    assert found["loss"].tolist() == [5, 0]


def test_the_least_is_the_mean_of_what_is_implied():
    """Which makes it the posterior's mean, whatever the noise in the weights, as long as that is 0 on average."""
    implied = torch.randn(50, 2, dtype=torch.float64)
    predicted = implied.mean(0, keepdim=True).requires_grad_()
    NoiseMatching().compute(predicted.expand(50, 2), implied)["loss"].mean().backward()
    torch.testing.assert_close(predicted.grad, torch.zeros_like(predicted))
