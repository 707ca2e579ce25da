"""Gaussian policies squashed into the action's bounds."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from hetrl.arguments import Count, Positive, Widths
from hetrl.encoder import Encoding, behind, in_front
from hetrl.errors import RecipeError
from hetrl.net.gaussian_head import GaussianHead, Std, StdMap, joined
from hetrl.network import Activation, Policy, mode
from hetrl.ops import gaussian
from hetrl.ops.tanh import log_slope, squash, unsquash
from hetrl.team import Agent, Box, Team


class SquashedGaussianPolicy(Policy):
    """A Gaussian behind tanh, rescaled to each dimension's own low and high.

    u = mean(o) + std(o) noise,   a = low + (high - low) (1 + tanh u) / 2
    log pi(a|o) = log N(u) - sum log((high - low) / 2 (1 - tanh^2 u))

    The entropy has no closed form: it is the Gaussian's own, which is exact, plus the slope of the squashing at one
    reparametrised sample, drawn from the ``noise`` role or, without one, from torch's generator.

    Args:
        hidden: widths of the hidden layers.
        activation: between them.
        layer_norm: normalise the observation and each hidden layer.
        std: ``state_independent`` (one raw number per action dimension) or ``state_dependent`` (a head of the network).
        std_map: how the raw number becomes the deviation of u: ``exp``, ``clamped_exp`` (x within
            -20 and 2), ``softplus``, or the bounded ``sigmoid``.
        initial_std: deviation of u before training [1], above 0 (below ``max_std`` for the sigmoid).
        max_std: upper end of the sigmoid [1], above 0.
        density: what log-probs are densities of: the ``action``, or the ``unit`` action tanh u between -1 and 1.
        encoder: what stands in front of the network, ``{use: net/...}``; left out, it reads what is seen itself.

    Raises:
        RecipeError: an argument is out of range.
    Source: Haarnoja et al. 2018, arXiv:1801.01290, appendix C.
    Differs: the bounds need not be symmetric, and their scale is part of the log-prob (the reference code of Liu et al.
        2024 leaves it out, which shifts every log-prob by a constant; ``density: unit`` does that).
    """

    draws = "normal"
    low: Tensor
    high: Tensor

    def __init__(
        self,
        agent: Agent,
        team: Team,
        *,
        hidden: Widths = [64, 64],  # noqa: B006 (never written to; the signature is the schema)
        activation: Activation = "tanh",
        layer_norm: bool = False,
        std: Std = "state_dependent",
        std_map: StdMap = "softplus",
        initial_std: Positive = 1.0,
        max_std: Positive = 0.5,
        density: Literal["action", "unit"] = "action",
        encoder: Encoding | None = None,
    ) -> None:
        super().__init__()
        assert isinstance(agent.action, Box)  # the checker has compared it with `serves`
        if not agent.action.bounded:
            raise RecipeError(f"agent '{agent.name}' has an action without bounds; use net/gaussian_policy.")
        self.size = agent.action.size
        self.register_buffer("low", torch.tensor(agent.action.low), persistent=False)
        self.register_buffer("high", torch.tensor(agent.action.high), persistent=False)
        scale = (self.high.double() - self.low.double()) / 2
        self._log_scale = scale.log().sum().item() if density == "action" else 0.0  # a number, so that it costs nothing
        front, size = in_front(encoder, agent, team)
        head = GaussianHead(size, self.size, hidden, activation, std, std_map, initial_std, max_std, layer_norm)
        self.head = behind(front, head)

    @mode(
        reads={"observation": "agent.observation", "action": "agent.action", "noise": "agent.noise"},
        writes={"log_prob": "agent.log_prob", "entropy": "agent.entropy"},
    )
    def log_prob(
        self,
        observation: Float[Tensor, "*batch seen"],
        action: Float[Tensor, "*batch dim"],
        noise: Float[Tensor, "*batch dim"] | None = None,
    ) -> dict[str, Tensor]:
        """Return ``log_prob`` of a given action and an estimate of the ``entropy`` [nat]."""
        mean, log_std = self.head(observation)
        given = unsquash(action, self.low, self.high)
        fresh = gaussian.sample(mean, log_std, torch.randn_like(mean) if noise is None else noise)
        return {
            "log_prob": gaussian.log_prob(given, mean, log_std) - self._log_slope(given),
            "entropy": gaussian.entropy(log_std) + self._log_slope(fresh),
        }

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
        u = gaussian.sample(mean, log_std, noise)
        log_prob = gaussian.drawn_log_prob(noise, log_std) - self._log_slope(u)
        return {"proposal": squash(u, self.low, self.high), "proposal_log_prob": log_prob}

    @mode(
        reads={"observation": "agent.observation", "noise": "agent.candidate_noise"},
        writes={"candidates": "agent.candidates"},
    )
    def candidates(
        self,
        observation: Float[Tensor, "*batch seen"],
        noise: Float[Tensor, "*batch several dim"] | None = None,
        *,
        n: Count = 64,
    ) -> dict[str, Float[Tensor, "*batch several dim"]]:
        """Return ``n`` actions of the policy as ``candidates`` [action].

        Args:
            observation: what the agent sees.
            noise: as for ``sample``, ``*B K A``; drawn where nothing writes it.
            n: K, how many are drawn.
        """
        mean, log_std = self.head(observation.unsqueeze(-2))
        mean = mean.expand(*mean.shape[:-2], n if noise is None else noise.shape[-2], -1)
        noise = torch.randn_like(mean) if noise is None else noise
        return {"candidates": squash(gaussian.sample(mean, log_std, noise), self.low, self.high)}

    @mode(
        reads={"observation": "agent.observation", "chosen": "agent.chosen"},
        writes={"log_prob": "agent.chosen_log_prob"},
    )
    def chosen_log_prob(
        self, observation: Float[Tensor, "*batch seen"], chosen: Float[Tensor, "*batch several dim"]
    ) -> dict[str, Float[Tensor, "*batch several"]]:
        """Return ``log_prob`` of several given actions [nat]."""
        mean, log_std = self.head(observation.unsqueeze(-2))
        given = unsquash(chosen, self.low, self.high)
        return {"log_prob": gaussian.log_prob(given, mean.expand_as(given), log_std) - self._log_slope(given)}

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
        """Return ``kl``, KL(old || now) summed over action dimensions [nat]: that of the Gaussians before squashing."""
        old, now = old_distribution.chunk(2, -1), joined(*self.head(observation)).chunk(2, -1)
        return {"kl": gaussian.kl(*old, *now)}

    @mode(reads={"observation": "agent.observation"}, writes={"proposal": "agent.proposal"})
    def act(self, observation: Float[Tensor, "*batch seen"]) -> dict[str, Tensor]:
        """Return the squashed mean as ``proposal`` [action]."""
        return {"proposal": self.greedy(observation)}

    def noise(self, shape: Sequence[int], generator: torch.Generator) -> Tensor:
        """Return standard normal draws, ``*shape A``."""
        return torch.randn(*shape, self.size, generator=generator, device=generator.device)

    def draw(self, observation: Tensor, noise: Tensor, action_mask: Tensor | None = None) -> Tensor:
        """Return a sampled action, ``*B A``."""
        mean, log_std = self.head(observation)
        return squash(gaussian.sample(mean, log_std, noise), self.low, self.high)

    def greedy(self, observation: Tensor, action_mask: Tensor | None = None) -> Tensor:
        """Return the squashed mean, ``*B A``."""
        return squash(self.head(observation)[0], self.low, self.high)

    def _log_slope(self, u: Tensor) -> Tensor:
        return log_slope(u) + self._log_scale
