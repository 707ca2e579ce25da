"""Categorical policies, of one choice or several."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hetrl.arguments import Positive, Widths
from hetrl.encoder import Encoding, behind, in_front
from hetrl.errors import RecipeError, RunError
from hetrl.network import Activation, Policy, mlp, mode
from hetrl.ops import categorical
from hetrl.team import Agent, Discrete, Team


class CategoricalPolicy(Policy):
    """A softmax over the options of each choice; log-probs and entropies are summed over choices.

    log pi(a|o) = sum over choices d of log softmax(logits_d(o))[a_d]

    Options that ``action_mask`` rules out have probability 0 wherever the environment writes one. Sampling is the
    argmax of logits plus Gumbel noise.

    Args:
        hidden: widths of the hidden layers.
        activation: between them.
        layer_norm: normalise the observation and each hidden layer.
        initial_probs: probabilities of the options before training, the same for every observation; for one choice.
            Left out, they are nearly uniform.
        encoder: what stands in front of the network, ``{use: net/...}``; left out, it reads what is seen itself.

    Raises:
        RecipeError: ``initial_probs`` are not one positive number for each option, with sum 1.
    Source: Williams 1992; Gumbel-max: Maddison et al. 2014, arXiv:1411.0030; straight through: Jang et al. 2017,
        arXiv:1611.01144.
    Differs: the reference code of Zhong et al. 2024 broadcasts a multi-discrete log-prob over the choices, which
        raises the ratio to the number of choices; here there is one ratio.
    """

    serves: ClassVar[tuple[type, ...]] = (Discrete,)
    draws = "gumbel"

    def __init__(
        self,
        agent: Agent,
        team: Team,
        *,
        hidden: Widths = [64, 64],  # noqa: B006 (never written to; the signature is the schema)
        activation: Activation = "tanh",
        layer_norm: bool = False,
        initial_probs: list[Positive] | None = None,
        encoder: Encoding | None = None,
    ) -> None:
        super().__init__()
        assert isinstance(agent.action, Discrete)  # the checker has compared it with `serves`
        self.choices = list(agent.action.choices)
        front, size = in_front(encoder, agent, team)
        sizes = [size, *hidden, sum(self.choices)]
        self.body = behind(front, mlp(sizes, activation, last_gain=0.01, layer_norm=layer_norm))
        if initial_probs is not None:
            self._start_at(initial_probs)

    def _start_at(self, probs: Sequence[float]) -> None:
        if self.choices != [len(probs)] or abs(sum(probs) - 1) > 1e-6:
            raise RecipeError(
                f"initial_probs = {list(probs)} must be one probability for each option of one choice, with sum 1; "
                f"the options are {self.choices}."
            )
        with torch.no_grad():
            self.body.last.weight.zero_()
            self.body.last.bias.copy_(torch.tensor(probs).log())

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
        logits = self._logits(observation, action_mask)
        log_prob, entropy = categorical.log_prob_and_entropy(logits, action, self.choices)
        return {"log_prob": log_prob, "entropy": entropy}

    @mode(
        reads={
            "observation": "agent.observation",
            "noise": "agent.noise",
            "action_mask": "agent.action_mask",
        },
        writes={"proposal": "agent.proposal", "proposal_log_prob": "agent.proposal_log_prob"},
    )
    def sample(
        self,
        observation: Float[Tensor, "*batch seen"],
        noise: Float[Tensor, "*batch options"] | None = None,
        action_mask: Bool[Tensor, "*batch options"] | None = None,
    ) -> dict[str, Tensor]:
        """Return a sampled ``proposal``, one-hot, and its ``proposal_log_prob`` [nat].

        The proposal's gradient is that of the softmax of logits plus ``noise`` (Gumbel draws): straight through.
        """
        logits = self._logits(observation, action_mask)
        drawn = categorical.gumbel(logits) if noise is None else noise
        proposal, log_prob = categorical.straight_through(logits, drawn, self.choices)
        return {"proposal": proposal, "proposal_log_prob": log_prob}

    @mode(
        reads={"observation": "agent.observation", "action_mask": "agent.action_mask"},
        writes={"candidates": "agent.candidates", "log_prob": "agent.candidate_log_prob"},
    )
    def options(
        self, observation: Float[Tensor, "*batch seen"], action_mask: Bool[Tensor, "*batch options"] | None = None
    ) -> dict[str, Tensor]:
        """Return every option, one-hot, as ``candidates`` ``*B K K``, and its ``log_prob`` ``*B K`` [nat].

        Raises:
            RunError: there are several choices, whose combinations would have to be listed.
        """
        if len(self.choices) > 1:
            raise RunError(
                f"options: the agent has {len(self.choices)} discrete choices, and the options of one are listed; use "
                "a task whose agents make one choice, such as task.actions=discrete on VMAS."
            )
        logits = self._logits(observation, action_mask)
        one_hot = torch.eye(self.choices[0], dtype=logits.dtype, device=logits.device)
        return {"candidates": one_hot.expand(*logits.shape, -1), "log_prob": logits.log_softmax(-1)}

    @mode(
        reads={"observation": "agent.observation", "action_mask": "agent.action_mask"},
        writes={"distribution": "agent.distribution"},
    )
    def distribution(
        self, observation: Float[Tensor, "*batch seen"], action_mask: Bool[Tensor, "*batch options"] | None = None
    ) -> dict[str, Tensor]:
        """Return the logits as ``distribution``, what ``kl`` compares with."""
        return {"distribution": self._logits(observation, action_mask)}

    @mode(
        reads={
            "observation": "agent.observation",
            "old_distribution": "agent.old_distribution",
            "action_mask": "agent.action_mask",
        },
        writes={"kl": "agent.kl"},
    )
    def kl(
        self,
        observation: Float[Tensor, "*batch seen"],
        old_distribution: Float[Tensor, "*batch options"],
        action_mask: Bool[Tensor, "*batch options"] | None = None,
    ) -> dict[str, Tensor]:
        """Return ``kl``, KL(old || now) summed over choices [nat]."""
        return {"kl": categorical.kl(old_distribution, self._logits(observation, action_mask), self.choices)}

    @mode(
        reads={"observation": "agent.observation", "action_mask": "agent.action_mask"},
        writes={"proposal": "agent.proposal"},
    )
    def act(
        self, observation: Float[Tensor, "*batch seen"], action_mask: Bool[Tensor, "*batch options"] | None = None
    ) -> dict[str, Tensor]:
        """Return the likeliest option of each choice as ``proposal``, one-hot, with the gradient of the softmax."""
        logits = self._logits(observation, action_mask)
        return {"proposal": categorical.straight_through(logits, torch.zeros_like(logits), self.choices)[0]}

    def noise(self, shape: Sequence[int], generator: torch.Generator) -> Tensor:
        """Return Gumbel draws, ``*shape`` by the number of options."""
        return categorical.gumbel(torch.empty(*shape, sum(self.choices), device=generator.device), generator)

    def draw(self, observation: Tensor, noise: Tensor, action_mask: Tensor | None = None) -> Tensor:
        """Return sampled options, ``*B`` by choices."""
        return categorical.argmax(self._logits(observation, action_mask) + noise, self.choices)

    def greedy(self, observation: Tensor, action_mask: Tensor | None = None) -> Tensor:
        """Return the likeliest options, ``*B`` by choices."""
        return categorical.argmax(self._logits(observation, action_mask), self.choices)

    def _logits(self, observation: Tensor, action_mask: Tensor | None) -> Tensor:
        return categorical.masked(self.body(observation), action_mask)
