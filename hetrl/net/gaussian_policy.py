"""Gaussian policies on an unbounded action."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from hetrl.arguments import Positive, Widths
from hetrl.encoder import Encoding, behind, in_front
from hetrl.net.gaussian_head import GaussianHead, Std, StdMap, joined
from hetrl.network import Activation, Policy, mode
from hetrl.ops import gaussian
from hetrl.team import Agent, Box, Team


class GaussianPolicy(Policy):
    """Diagonal Gaussian over the action; the environment clips what lies outside its bounds.

    a = mean(o) + std(o) noise,   std = e^x | log(1 + e^x) | max_std / (1 + e^-x) of a raw x

    Args:
        hidden: widths of the hidden layers.
        activation: between them.
        layer_norm: normalise the observation and each hidden layer.
        std: ``state_independent`` (one raw number per action dimension) or ``state_dependent`` (a head of the network).
        std_map: how the raw number becomes a deviation: ``exp``, ``clamped_exp`` (x within
            -20 and 2), ``softplus``, or the bounded ``sigmoid``.
        initial_std: deviation before training [action], above 0 (below ``max_std`` for the sigmoid).
        max_std: upper end of the sigmoid [action], above 0.
        encoder: what stands in front of the network, ``{use: net/...}``; left out, it reads what is seen itself.

    Raises:
        RecipeError: an argument is out of range.
    Source: Williams 1992; ``sigmoid`` with 0.5 as in the reference code of Zhong et al. 2024, ``exp`` as in Schulman et
        al. 2017, arXiv:1707.06347.
    Differs: the reference also divides x by a coefficient inside the sigmoid, which only rescales a parameter.
    """

    draws = "normal"

    def __init__(
        self,
        agent: Agent,
        team: Team,
        *,
        hidden: Widths = [64, 64],  # noqa: B006 (never written to; the signature is the schema)
        activation: Activation = "tanh",
        layer_norm: bool = False,
        std: Std = "state_independent",
        std_map: StdMap = "exp",
        initial_std: Positive = 1.0,
        max_std: Positive = 0.5,
        encoder: Encoding | None = None,
    ) -> None:
        super().__init__()
        assert isinstance(agent.action, Box)  # the checker has compared it with `serves`
        self.size = agent.action.size
        front, size = in_front(encoder, agent, team)
        head = GaussianHead(size, self.size, hidden, activation, std, std_map, initial_std, max_std, layer_norm)
        self.head = behind(front, head)

    @mode(
        reads={"observation": "agent.observation", "action": "agent.action"},
        writes={"log_prob": "agent.log_prob", "entropy": "agent.entropy"},
    )
    def log_prob(
        self, observation: Float[Tensor, "*batch seen"], action: Float[Tensor, "*batch dim"]
    ) -> dict[str, Tensor]:
        """Return ``log_prob`` of a given action and the policy's ``entropy`` [nat], summed over action dimensions."""
        mean, log_std = self.head(observation)
        log_prob = gaussian.log_prob(action, mean, log_std)
        return {"log_prob": log_prob, "entropy": gaussian.entropy(log_std).expand(log_prob.shape)}

    @mode(
        reads={"observation": "agent.observation", "noise": "agent.noise"},
        writes={"proposal": "agent.proposal", "proposal_log_prob": "agent.proposal_log_prob"},
    )
    def sample(
        self, observation: Float[Tensor, "*batch seen"], noise: Float[Tensor, "*batch dim"] | None = None
    ) -> dict[str, Tensor]:
        """Return a reparametrised ``proposal`` [action] and its ``proposal_log_prob`` [nat]."""
        mean, log_std = self.head(observation)
        noise = torch.randn_like(mean) if noise is None else noise
        log_prob = gaussian.drawn_log_prob(noise, log_std)
        return {"proposal": gaussian.sample(mean, log_std, noise), "proposal_log_prob": log_prob}

    @mode(reads={"observation": "agent.observation"}, writes={"distribution": "agent.distribution"})
    def distribution(self, observation: Float[Tensor, "*batch seen"]) -> dict[str, Tensor]:
        """Return mean and log deviation side by side as ``distribution``, what ``kl`` compares with."""
        return {"distribution": joined(*self.head(observation))}

    @mode(
        reads={"observation": "agent.observation", "old_distribution": "agent.old_distribution"},
        writes={"kl": "agent.kl"},
    )
    def kl(
        self, observation: Float[Tensor, "*batch seen"], old_distribution: Float[Tensor, "*batch both"]
    ) -> dict[str, Tensor]:
        """Return ``kl``, KL(old || now) summed over action dimensions [nat]."""
        old, now = old_distribution.chunk(2, -1), joined(*self.head(observation)).chunk(2, -1)
        return {"kl": gaussian.kl(*old, *now)}

    @mode(reads={"observation": "agent.observation"}, writes={"proposal": "agent.proposal"})
    def act(self, observation: Float[Tensor, "*batch seen"]) -> dict[str, Tensor]:
        """Return the mean as ``proposal`` [action]."""
        return {"proposal": self.greedy(observation)}

    def noise(self, shape: Sequence[int], generator: torch.Generator) -> Tensor:
        """Return standard normal draws, ``*shape A``."""
        return torch.randn(*shape, self.size, generator=generator, device=generator.device)

    def draw(self, observation: Tensor, noise: Tensor, action_mask: Tensor | None = None) -> Tensor:
        """Return a sampled action, ``*B A``."""
        mean, log_std = self.head(observation)
        return gaussian.sample(mean, log_std, noise)

    def greedy(self, observation: Tensor, action_mask: Tensor | None = None) -> Tensor:
        """Return the mean, ``*B A``."""
        return self.head(observation)[0]
