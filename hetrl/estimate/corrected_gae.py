"""The advantage under those already updated, from data of before."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hetrl.arguments import Fraction, Positive
from hetrl.component import Component
from hetrl.ops.discounted import discounted_sums


class CorrectedGAE(Component):
    """Generalised advantage estimate whose trace counts what those already updated would still do.

    delta_t = r_t + gamma V(s_{t+1}) (1 - terminated_t) - V(s_t)
    A_t = delta_t + gamma lambda (1 - done_t) min(cap, F_{t+1}) A_{t+1},   return_t = A_t + V(s_t)

    F is the compound ratio of the agents updated before in this sweep (``weight/importance_factor``). A step that they
    would hardly take any more passes little on of what came after it. That of step t itself is left to the loss. With
    F = 1 this is ``estimate/gae``. With gamma = lambda = 0.5, deltas 1 and 2 and F_1 = 0.5 the advantages are
    1 + 0.25 * 0.5 * 2 = 1.25 and 2.

    The first dimension of every role is time, and ends are as in ``estimate/gae``.

    Args:
        gamma: discount per step [1], 0 to 1.
        lmbda: trace decay per step [1], 0 to 1.
        cap: largest ratio that counts [ratio], above 0.
    Source: Wang et al. 2023, arXiv:2302.06205 (preceding-agent off-policy correction); the cap: Munos et al. 2016,
        arXiv:1606.02647.
    Differs: nothing.
    """

    reads = {
        "reward": "reward",
        "value": "value",
        "next_value": "next.value",
        "factor": "factor",
        "terminated": "terminated",
        "truncated": "truncated",
    }
    writes = {"advantage": "advantage", "return": "return"}
    follows = {"terminated": "reward", "truncated": "reward"}
    along_time = True

    def __init__(self, *, gamma: Fraction = 0.99, lmbda: Fraction = 0.95, cap: Positive = 1.0) -> None:
        super().__init__()
        self.gamma, self.lmbda, self.cap = gamma, lmbda, cap

    def compute(
        self,
        reward: Float[Tensor, "time *batch"],
        value: Float[Tensor, "time *batch"],
        next_value: Float[Tensor, "time *batch"],
        factor: Float[Tensor, "time *batch"],
        terminated: Bool[Tensor, "time *batch"],
        truncated: Bool[Tensor, "time *batch"],
    ) -> dict[str, Float[Tensor, "time *batch"]]:
        """Return ``advantage`` and ``return`` in reward units."""
        delta = reward + self.gamma * next_value.masked_fill(terminated, 0.0) - value
        following = torch.cat([factor[1:], torch.ones_like(factor[:1])]).clamp(max=self.cap)
        decay = (self.gamma * self.lmbda) * following.masked_fill(terminated | truncated, 0.0)
        advantage = discounted_sums(delta, decay)
        return {"advantage": advantage, "return": advantage + value}
