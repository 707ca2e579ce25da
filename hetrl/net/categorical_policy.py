"""Categorical policies, of one choice or several."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hetrl.arguments import Widths
from hetrl.network import MLP, Activation, Policy, mode
from hetrl.ops import categorical
from hetrl.team import Agent, Discrete, Team


class CategoricalPolicy(Policy):
    """A softmax over the options of each choice; log-probs and entropies are summed over choices.

    log pi(a|o) = sum over choices d of log softmax(logits_d(o))[a_d]

    Where ``action_mask`` is written, ``log_prob`` gives options that it rules out probability 0; acting takes no mask
    (no environment here writes one). Sampling is the argmax of logits plus Gumbel noise.

    Args:
        hidden: widths of the hidden layers.
        activation: between them.
    Source: Williams 1992; Gumbel-max: Maddison et al. 2014, arXiv:1411.0030.
    Differs: the reference code of Zhong et al. 2024 broadcasts a multi-discrete log-prob over the choices, which
        raises the ratio to the number of choices; here there is one ratio.
    """

    serves: ClassVar[tuple[type, ...]] = (Discrete,)

    def __init__(
        self,
        agent: Agent,
        team: Team,
        *,
        hidden: Widths = [64, 64],  # noqa: B006 (never written to; the signature is the schema)
        activation: Activation = "tanh",
    ) -> None:
        super().__init__()
        assert isinstance(agent.action, Discrete)  # the checker has compared it with `serves`
        self.choices = list(agent.action.choices)
        self.body = MLP([agent.observation_size, *hidden, sum(self.choices)], activation, last_gain=0.01)

    @mode(
        reads={
            "observation": "agent.observation",
            "action": "agent.action",
            "action_mask": "agent.action_mask",
        },
        writes={"log_prob": "agent.log_prob", "entropy": "agent.entropy"},
    )
    def log_prob(
        self,
        observation: Float[Tensor, "*batch seen"],
        action: Int[Tensor, "*batch dim"],
        action_mask: Bool[Tensor, "*batch options"] | None = None,
    ) -> dict[str, Tensor]:
        """Return ``log_prob`` of a given action and the policy's ``entropy`` [nat]."""
        logits = categorical.masked(self.body(observation), action_mask)
        log_prob, entropy = categorical.log_prob_and_entropy(logits, action, self.choices)
        return {"log_prob": log_prob, "entropy": entropy}

    @mode(reads={"observation": "agent.observation"}, writes={"proposal": "agent.proposal"})
    def act(self, observation: Float[Tensor, "*batch seen"]) -> dict[str, Tensor]:
        """Return the likeliest option of each choice as ``proposal``."""
        return {"proposal": self.greedy(observation)}

    def noise(self, shape: Sequence[int], generator: torch.Generator) -> Tensor:
        """Return Gumbel draws, ``*shape`` by the number of options."""
        exponential = torch.empty(*shape, sum(self.choices), device=generator.device)
        return -exponential.exponential_(generator=generator).log()

    def draw(self, observation: Tensor, noise: Tensor) -> Tensor:
        """Return sampled options, ``*B`` by choices."""
        return categorical.argmax(self.body(observation) + noise, self.choices)

    def greedy(self, observation: Tensor) -> Tensor:
        """Return the likeliest options, ``*B`` by choices."""
        return categorical.argmax(self.body(observation), self.choices)
