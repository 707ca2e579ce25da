"""Weights of a maximum-entropy policy."""

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from jaxtyping import Float
from torch import Tensor

from hetrl.arguments import SCHEDULABLE, Positive
from hetrl.component import Component


class Boltzmann(Component):
    """What each candidate counts in the policy proportional to exp(Q / alpha).

    w_k = exp(Q_k / alpha + c_k) / sum_j exp(Q_j / alpha + c_j)

    c is 0 where all were drawn alike, and ``agent.candidate_prior`` where whoever drew them writes it. A constant added
    to Q changes nothing. Values 0 and ln 3 with alpha = 1 have the weights 1/4 and 3/4.

    Args:
        alpha: the temperature [reward/nat], above 0; left out, the agent's own, ``agent.alpha``.
    Source: Haarnoja et al. 2017, arXiv:1702.08165, equation 10; Dong et al. 2025, arXiv:2502.11612 (of candidates
        around a noised action).
    Differs: nothing.
    """

    reads = {"q": "agent.candidate_q", "own_alpha": "agent.alpha", "prior": "agent.candidate_prior"}
    writes = {"weight": "agent.weight", "effective": "log.agent.effective_candidates"}

    def __init__(self, *, alpha: Annotated[Positive | None, SCHEDULABLE] = None) -> None:
        super().__init__()
        self.alpha = alpha

    @classmethod
    def required(cls, arguments: Mapping[str, Any]) -> frozenset[str]:
        """Return ``own_alpha`` where no temperature is given."""
        return frozenset(["own_alpha"] if arguments.get("alpha") is None else [])

    def compute(
        self,
        q: Float[Tensor, "*batch several"],
        own_alpha: Float[Tensor, "*batch"] | None = None,
        prior: Float[Tensor, "*batch several"] | None = None,
    ) -> dict[str, Float[Tensor, "*batch several"] | Float[Tensor, "*batch"]]:
        """Return the ``weight`` of each candidate [1], and how many are ``effective``, 1 / sum_k w_k^2."""
        below = q - q.amax(-1, keepdim=True)  # before dividing, so that a constant is not even rounded differently
        if self.alpha is not None:
            score = below / self.alpha
        else:
            assert own_alpha is not None  # required says so
            score = below / own_alpha.unsqueeze(-1)
        weight = torch.softmax(score if prior is None else score + prior, -1)
        return {"weight": weight, "effective": 1 / weight.square().sum(-1)}
