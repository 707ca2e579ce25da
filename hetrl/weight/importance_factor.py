"""The compound ratio that a sequential update hands on."""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hetrl.component import Component
from hetrl.ops.ratio import ratio


class ImportanceFactor(Component):
    """The factor after an agent's turn: what later agents see of its update.

    F <- F pi_new(a|o) / pi_old(a|o)

    pi_old is the policy just before this turn, so the factor is the telescoping product of the ratios of all agents
    already updated. F = 2 and log-probs 0.0 before, ln 1.5 after give F = 3.

    Args:
        inactive: rows in which the agent is out: ``count`` multiplies by the ratio of the action that it did not take,
            which is 1 on average but adds noise (none where a mask leaves it one option); ``skip`` leaves F as it is.

    Source: Kuba et al. 2022, arXiv:2109.11251, and Zhong et al. 2024, JMLR 25, 23-0488 (the compound ratio M of the
        sequential update scheme, here without the advantage).
    Differs: the reference code can also average the ratios of the action's dimensions; that is no importance weight,
        and not offered. It counts inactive rows.
    """

    reads = {
        "log_prob": "agent.log_prob",
        "old_log_prob": "agent.old_log_prob",
        "factor": "factor",
        "active": "agent.active",
    }
    writes = {"factor": "factor"}

    def __init__(self, *, inactive: Literal["count", "skip"] = "count") -> None:
        super().__init__()
        self.inactive = inactive

    def compute(
        self,
        log_prob: Float[Tensor, "*batch"],
        old_log_prob: Float[Tensor, "*batch"],
        factor: Float[Tensor, "*batch"],
        active: Bool[Tensor, "*batch"] | None = None,
    ) -> dict[str, Float[Tensor, "*batch"]]:
        """Return the updated ``factor`` [ratio]."""
        change = ratio(log_prob, old_log_prob)
        if self.inactive == "skip" and active is not None:
            change = torch.where(active, change, 1.0)
        return {"factor": factor * change}
