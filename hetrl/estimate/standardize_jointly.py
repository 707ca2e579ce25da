"""Standardised advantages of agents that have a value each."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hetrl import ranks
from hetrl.arguments import Positive
from hetrl.component import Component
from hetrl.ops.moments import moments


class StandardizeJointly(Component):
    """Each agent's own advantage, with the mean and deviation of all agents' together.

    (A^i - mean A) / (std A + eps),   mean and std over the batch and the agents

    Standardising each agent alone would make equal what is unequal: an agent with little to gain would count as much as
    one with a lot. The statistics are taken where ``agents.active`` holds (everywhere where nothing writes it). With
    advantages (1, 3) of one agent and (5, 7) of another, mean 4 and deviation sqrt 5, the first becomes
    (-1.34, -0.45), up to eps.

    Args:
        eps: added to the deviation [reward], above 0.
    Source: reference code of Zhong et al. 2024, JMLR 25, 23-0488, for states that differ by agent.
    Differs: nothing.
    """

    reads = {"advantage": "agent.raw_advantage", "advantages": "agents.raw_advantage", "active": "agents.active"}
    writes = {"advantage": "agent.advantage"}

    def __init__(self, *, eps: Positive = 1e-5) -> None:
        super().__init__()
        self.eps = eps

    def compute(
        self,
        advantage: Float[Tensor, "*batch"],
        advantages: tuple[Float[Tensor, "*batch"], ...],
        active: tuple[Bool[Tensor, "*batch"], ...] | None = None,
    ) -> dict[str, Float[Tensor, "*batch"]]:
        """Return the standardised ``advantage`` [1]."""
        mean, std = moments(torch.stack(advantages), None if active is None else torch.stack(active), ranks.gathering())
        return {"advantage": (advantage - mean) / (std + self.eps)}
