"""Generalised advantage estimation."""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hetrl.arguments import Fraction
from hetrl.component import Component
from hetrl.ops.discounted import discounted_sums


class GAE(Component):
    """Generalised advantage estimate and the value target that goes with it.

    delta_t = r_t + gamma V(s_{t+1}) (1 - terminated_t) - V(s_t)
    A_t = delta_t + gamma lambda (1 - done_t) A_{t+1},   return_t = A_t + V(s_t)

    The first dimension of every role is time. ``next_value`` is the value of the state that the step led to, before
    any reset, so an episode cut off by its time limit (truncated) is bootstrapped and one that ended is not. A step
    with both flags is a genuine end. One worked step: r = 1, V = 0.5, V' = 2 and gamma = 0.9 give
    A = 1 + 1.8 - 0.5 = 2.3, and A = 0.5 where it terminated.

    Args:
        gamma: discount per step [1], 0 to 1.
        lmbda: trace decay per step [1], 0 to 1; 1 gives Monte-Carlo returns.
        truncation: ``bootstrap`` with the value of the true final state; or ``discard``: the truncated step gets
            advantage 0 and return V(s_t).
    Source: Schulman et al. 2016, arXiv:1506.02438, equation 16; truncation: Pardo et al. 2018, arXiv:1712.00378.
    Differs: the reference code of Zhong et al. 2024 discards truncated steps, which ``truncation: discard`` reproduces.
    """

    reads = {
        "reward": "reward",
        "value": "value",
        "next_value": "next.value",
        "terminated": "terminated",
        "truncated": "truncated",
    }
    writes = {"advantage": "advantage", "return": "return"}
    follows = {"terminated": "reward", "truncated": "reward"}
    along_time = True

    def __init__(
        self,
        *,
        gamma: Fraction = 0.99,
        lmbda: Fraction = 0.95,
        truncation: Literal["bootstrap", "discard"] = "bootstrap",
    ) -> None:
        super().__init__()
        self.gamma, self.lmbda, self.truncation = gamma, lmbda, truncation

    def compute(
        self,
        reward: Float[Tensor, "time *batch"],
        value: Float[Tensor, "time *batch"],
        next_value: Float[Tensor, "time *batch"],
        terminated: Bool[Tensor, "time *batch"],
        truncated: Bool[Tensor, "time *batch"],
    ) -> dict[str, Float[Tensor, "time *batch"]]:
        """Return ``advantage`` and ``return`` in reward units."""
        done = terminated | truncated
        if self.truncation == "discard":
            cut = truncated & ~terminated
            # With reward V(s_t) and no bootstrap, delta is exactly 0 there.
            reward, terminated = torch.where(cut, value, reward), done
        delta = reward + self.gamma * next_value.masked_fill(terminated, 0.0) - value
        decay = (~done).to(value.dtype) * (self.gamma * self.lmbda)
        advantage = discounted_sums(delta, decay)
        return {"advantage": advantage, "return": advantage + value}
