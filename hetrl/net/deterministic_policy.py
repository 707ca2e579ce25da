"""Deterministic policies."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from hetrl.arguments import Count, NonNegative, Widths
from hetrl.encoder import Encoding, behind, in_front
from hetrl.errors import RecipeError
from hetrl.network import MLP, Activation, Policy, mode
from hetrl.ops.inverted import held
from hetrl.team import Agent, Box, Team


class DeterministicPolicy(Policy):
    """mu(o), scaled to each dimension's own low and high; exploration adds Gaussian noise.

    mu(o) = low + (high - low) (1 + tanh u(o)) / 2,   explores with clip(mu(o) + noise (high - low) / 2 eps, low, high)

    Behind tanh a policy that runs to the ends of the box while the critic is still wrong hardly comes back, as there
    is no gradient there. With ``bounds: inverted`` u is clipped instead, and its gradient inverted beyond the ends
    (:func:`hetrl.ops.inverted.held`).

    Args:
        hidden: widths of the hidden layers.
        activation: between them.
        noise: deviation of the exploration, in halves of the action's range [1], 0 or more.
        bounds: what keeps it in the box, ``tanh`` or ``inverted`` gradients.
        encoder: what stands in front of the network, ``{use: net/...}``; left out, it reads what is seen itself.
    Source: Lillicrap et al. 2016, arXiv:1509.02971; Fujimoto et al. 2018, arXiv:1802.09477; Hausknecht and Stone 2016,
        arXiv:1511.04143 (inverted).
    Differs: the bounds need not be symmetric.
    """

    draws = "normal"
    low: Tensor
    high: Tensor

    def __init__(
        self,
        agent: Agent,
        team: Team,
        *,
        hidden: Widths = [256, 256],  # noqa: B006 (never written to; the signature is the schema)
        activation: Activation = "relu",
        noise: NonNegative = 0.1,
        bounds: Literal["tanh", "inverted"] = "tanh",
        encoder: Encoding | None = None,
    ) -> None:
        super().__init__()
        assert isinstance(agent.action, Box)  # the checker has compared it with `serves`
        if not agent.action.bounded:
            raise RecipeError(f"agent '{agent.name}' has an action without bounds; use net/gaussian_policy.")
        self.size, self.deviation = agent.action.size, noise
        self._bounded = torch.tanh if bounds == "tanh" else held
        self.register_buffer("low", torch.tensor(agent.action.low), persistent=False)
        self.register_buffer("high", torch.tensor(agent.action.high), persistent=False)
        front, size = in_front(encoder, agent, team)
        self.body = behind(front, MLP([size, *hidden, self.size], activation, last_gain=0.01))

    @mode(reads={"observation": "agent.observation"}, writes={"proposal": "agent.proposal"})
    def act(self, observation: Float[Tensor, "*batch seen"]) -> dict[str, Tensor]:
        """Return mu(o) as ``proposal`` [action]."""
        return {"proposal": self.greedy(observation)}

    @mode(
        reads={"observation": "agent.observation", "noise": "agent.noise"},
        writes={"proposal": "agent.proposal"},
    )
    def smoothed(
        self,
        observation: Float[Tensor, "*batch seen"],
        noise: Float[Tensor, "*batch dim"] | None = None,
        *,
        std: NonNegative = 0.2,
        clip: NonNegative = 0.5,
    ) -> dict[str, Tensor]:
        """Return mu(o) with clipped noise as ``proposal`` [action]: a target policy's smoothing.

        clip(mu(o) + clip(std eps, -clip, clip) (high - low) / 2, low, high)

        Args:
            observation: what the agent sees.
            noise: eps; drawn where nothing writes it.
            std: deviation, in halves of the range [1].
            clip: largest deviation, in halves of the range [1].
        """
        action = self.greedy(observation)
        drawn = torch.randn_like(action) if noise is None else noise
        return {"proposal": self._moved(action, (std * drawn).clamp(-clip, clip))}

    @mode(
        reads={"observation": "agent.observation", "noise": "agent.candidate_noise"},
        writes={"candidates": "agent.candidates"},
    )
    def candidates(
        self,
        observation: Float[Tensor, "*batch seen"],
        noise: Float[Tensor, "*batch several dim"] | None = None,
        *,
        n: Count = 16,
        std: NonNegative = 0.3,
    ) -> dict[str, Float[Tensor, "*batch several dim"]]:
        """Return ``n`` actions around mu(o) as ``candidates`` [action].

        clip(mu(o) + std (high - low) / 2 eps_k, low, high)

        Args:
            observation: what the agent sees.
            noise: eps_k; drawn where nothing writes it.
            n: K, how many are drawn.
            std: deviation, in halves of the range [1].
        """
        action = self.greedy(observation).unsqueeze(-2)
        drawn = torch.randn_like(action.expand(*action.shape[:-2], n, -1)) if noise is None else noise
        return {"candidates": self._moved(action, std * drawn)}

    def noise(self, shape: Sequence[int], generator: torch.Generator) -> Tensor:
        """Return standard normal draws, ``*shape A``."""
        return torch.randn(*shape, self.size, generator=generator, device=generator.device)

    def draw(self, observation: Tensor, noise: Tensor, action_mask: Tensor | None = None) -> Tensor:
        """Return mu(o) with exploration noise, ``*B A``."""
        return self._moved(self.greedy(observation), self.deviation * noise)

    def greedy(self, observation: Tensor, action_mask: Tensor | None = None) -> Tensor:
        """Return mu(o), ``*B A``."""
        return self.low + (self.high - self.low) * 0.5 * (1 + self._bounded(self.body(observation)))

    def _moved(self, action: Tensor, by: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(action + by * (self.high - self.low) / 2, self.low), self.high)
