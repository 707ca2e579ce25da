"""The temperature: the price of entropy, learned against a target."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from hetrl.arguments import Positive
from hetrl.network import Network, mode
from hetrl.team import Agent, Discrete, Team


class Temperature(Network):
    """alpha, one number for an agent or, with ``per: team``, for the joint policy.

    alpha = e^x of a parameter x;   target entropy = -dim a^i, or 0.98 log abs(A^i) where the action is discrete

    The joint policy's target entropy is the sum of its agents'.

    Args:
        initial: alpha before training [reward/nat], above 0.
        target_entropy: what an agent's entropy is held at [nat]; left out, the above.
        fixed: keep the initial value; then no phase trains it.
    Source: Haarnoja et al. 2018, arXiv:1812.05905; Liu et al. 2024, arXiv:2306.10715 (one for each agent, and one for
        the critic); Christodoulou 2019, arXiv:1910.07207 (0.98 log abs(A)).
    Differs: options that a mask rules out are not counted (where none or one is left, the target is 0), and the
        reference code of Liu et al. 2024 computes 0 for discrete actions.
    """

    default_mode: ClassVar[str | None] = "alpha"
    default_per: ClassVar[Literal["agent", "team"]] = "agent"
    sized: ClassVar[bool] = False

    def __init__(
        self,
        agent: Agent,
        team: Team,
        *,
        initial: Positive = 0.2,
        target_entropy: float | None = None,
        fixed: bool = False,
    ) -> None:
        super().__init__()
        x = torch.tensor(math.log(initial))
        if fixed:
            self.register_buffer("x", x)
        else:
            self.x = nn.Parameter(x)
        self.given = target_entropy
        self.choices = agent.action.choices if isinstance(agent.action, Discrete) else None
        self.target = self._target(agent)

    @classmethod
    def trainable(cls, arguments: Mapping[str, Any]) -> bool:
        """Whether a phase has to train it."""
        return not arguments.get("fixed", False)

    def _target(self, agent: Agent) -> float:
        if self.given is not None:
            return self.given
        if isinstance(agent.action, Discrete):
            return _of_all(agent.action.choices)
        return -float(agent.action.size)

    @mode(reads={"like": "terminated"}, writes={"alpha": "agent.alpha"})
    def alpha(self, like: Shaped[Tensor, "*batch"]) -> dict[str, Float[Tensor, "*batch"]]:
        """Return ``alpha`` for every sample of ``like`` [reward/nat]."""
        return {"alpha": self.x.exp().expand(like.shape)}

    @mode(
        reads={"log_prob": "agent.proposal_log_prob", "action_mask": "agent.action_mask"},
        writes={"log_alpha": "agent.log_alpha", "target_entropy": "agent.target_entropy"},
    )
    def dual(
        self, log_prob: Float[Tensor, "*batch"], action_mask: Bool[Tensor, "*batch options"] | None = None
    ) -> dict[str, Float[Tensor, "*batch"]]:
        """Return ``log_alpha`` and an agent's ``target_entropy`` [nat], which its loss needs."""
        target = torch.full_like(log_prob, self.target)
        if action_mask is not None and self.choices is not None and self.given is None:
            target = _of_available(action_mask, self.choices, log_prob.dtype)
        return {"log_alpha": self.x.expand(log_prob.shape), "target_entropy": target}

    @mode(
        reads={"log_prob": "joint_log_prob", "target_entropies": "agents.target_entropy"},
        writes={"log_alpha": "log_alpha", "target_entropy": "target_entropy"},
    )
    def joint_dual(
        self, log_prob: Float[Tensor, "*batch"], target_entropies: tuple[Float[Tensor, "*batch"], ...]
    ) -> dict[str, Float[Tensor, "*batch"]]:
        """Return ``log_alpha`` and the whole team's ``target_entropy``, the sum of its agents' [nat]."""
        target = sum(target_entropies[1:], target_entropies[0])
        return {"log_alpha": self.x.expand(log_prob.shape), "target_entropy": target}

    @mode(reads={"like": "terminated"}, writes={"alpha": "alpha"})
    def joint_alpha(self, like: Shaped[Tensor, "*batch"]) -> dict[str, Float[Tensor, "*batch"]]:
        """Return the joint policy's ``alpha`` for every sample of ``like`` [reward/nat]."""
        return self.alpha(like)


def _of_all(choices: Sequence[int]) -> float:
    return 0.98 * sum(math.log(options) for options in choices)


def _of_available(mask: Tensor, choices: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Return the target entropy of the options that a mask leaves, ``*B``."""
    left = torch.stack([part.sum(-1) for part in mask.split(list(choices), -1)])
    return 0.98 * left.clamp(min=1).to(dtype).log().sum(0)
