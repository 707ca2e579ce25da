"""Running normalisation of value targets."""

import torch
from torch import Tensor, nn

from hetrl import ranks


class ValueNormalizer(nn.Module):
    """Debiased running mean and variance of the returns.

    m1 <- beta m1 + (1 - beta) mean(x), m2 likewise with x^2, d <- beta d + (1 - beta), all starting at 0;
    mean = m1 / max(d, 1e-5), var = max(m2 / max(d, 1e-5) - mean^2, 1e-2).

    The statistics are buffers, so they travel with ``state_dict``. ``per_element`` weights a batch of n as n updates
    would, beta^n.

    Source: Yu et al. 2022, arXiv:2103.01955 (value normalisation), constants of its code and of Zhong et al. 2024.
    """

    m1: Tensor
    m2: Tensor
    d: Tensor

    def __init__(self, beta: float = 0.99999, per_element: bool = False) -> None:
        super().__init__()
        self.beta, self.per_element = beta, per_element
        for name in ("m1", "m2", "d"):
            # The variance is a difference of large numbers: float32 loses it where returns are far from zero. And one
            # element, not a scalar: compiled for a CPU, updates of a float64 scalar are lost without a word.
            self.register_buffer(name, torch.zeros(1, dtype=torch.float64))

    def _moments(self) -> tuple[Tensor, Tensor]:
        weight = self.d.clamp(min=1e-5)
        mean = self.m1 / weight
        return mean.squeeze(), (self.m2 / weight - mean**2).clamp(min=1e-2).squeeze()

    def update(self, x: Tensor) -> None:
        """Take a batch of returns into the statistics."""
        beta = self.beta ** (x.numel() * ranks.count()) if self.per_element else self.beta
        x = x.detach().double()
        first, second = ranks.means([x.mean(), x.square().mean()])
        for moment, value in ((self.m1, first), (self.m2, second), (self.d, torch.ones_like(self.d))):
            moment.copy_(beta * moment + (1 - beta) * value)

    def normalize(self, x: Tensor) -> Tensor:
        """Return (x - mean) / sqrt(var)."""
        mean, var = self._moments()
        return ((x - mean) / var.sqrt()).to(x.dtype)

    def denormalize(self, x: Tensor) -> Tensor:
        """Return x sqrt(var) + mean."""
        mean, var = self._moments()
        return (x * var.sqrt() + mean).to(x.dtype)
