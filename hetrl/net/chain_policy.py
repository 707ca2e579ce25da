"""Policies drawn along a short noising process run backwards."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hetrl.arguments import Count, Widths
from hetrl.encoder import Encoder, Encoding, in_front
from hetrl.errors import RecipeError, RunError
from hetrl.network import MLP, Activation, Policy, mode
from hetrl.ops.activation import ACTIVATIONS, SLOPES
from hetrl.ops.chain import chain, noising_rates
from hetrl.ops.layers import layers
from hetrl.ops.tanh import log_slope, squash
from hetrl.team import Agent, Box, Team

_RAW = (-20.0, 2.0)
"""Where s is held, as the log deviations of squashed Gaussians usually are."""


class ChainPolicy(Policy):
    """A diffusion policy of few steps, with gradients through all of them and a bound of its log-prob.

    x_S ~ N(0, 1),   x_k = sqrt(1 - b_k) x_{k+1} + m + sqrt(b_k) e^s noise,   (m, s) = MLP(x_{k+1}, h(o), k)
    a = low + (high - low) (1 + tanh x_0) / 2

    ``proposal_log_prob`` is log p(x_0, ..., x_S | o) - log q(x_1, ..., x_S | x_0) less the slope of the squashing; q
    adds noise step by step. In the mean it is never below log pi(a | o), so minus it never promises more entropy than
    there is. A fresh policy has m = s = 0 and is a standard normal behind tanh; there the two are equal, draw by draw.

    Unlike a Gaussian it can keep several good actions; unlike ``net/diffusion_policy`` it stands wherever
    ``net/squashed_gaussian_policy`` does, as far as proposals go: it has no log-prob of a given action. The
    deterministic action is the chain without noise from x_S = ``latent``.

    Args:
        hidden: widths of the layers that read the observation alone, once for all steps.
        step_hidden: widths of the hidden layers of a step, which reads what those make of it.
        activation: between all of them.
        n_steps: S; few blur the valley between two modes.
        latent: every entry of x_S for the deterministic action [1].
        encoder: what stands in front of the network, ``{use: net/...}``; left out, it reads what is seen itself.

    Raises:
        RecipeError: the action has no bounds.
    Source: Celik et al. 2025, arXiv:2502.02316 (a chain in the place of a Gaussian, and the bound); Li et al. 2026,
        arXiv:2602.18291 (of several agents); Haarnoja et al. 2018, arXiv:1801.01290, appendix C (the squashing).
    Differs: of a few steps, the deviation of each is learned beside its mean, where Celik et al. 2025 take many small
        ones of an equation in continuous time; the bounds need not be symmetric.
    """

    draws = "normal"
    low: Tensor
    high: Tensor

    def __init__(
        self,
        agent: Agent,
        team: Team,
        *,
        hidden: Widths = [128],  # noqa: B006 (never written to; the signature is the schema)
        step_hidden: Widths = [64, 64],  # noqa: B006
        activation: Activation = "relu",
        n_steps: Count = 4,
        latent: float = 0.0,
        encoder: Encoding | None = None,
    ) -> None:
        super().__init__()
        assert isinstance(agent.action, Box)  # the checker has compared it with `serves`
        if not agent.action.bounded:
            raise RecipeError(f"agent '{agent.name}' has an action without bounds; use net/gaussian_policy.")
        self.size, self.n_draws, self.latent = agent.action.size, n_steps + 1, latent
        self.rates = noising_rates(n_steps)
        self.register_buffer("low", torch.tensor(agent.action.low), persistent=False)
        self.register_buffer("high", torch.tensor(agent.action.high), persistent=False)
        self._log_scale = ((self.high.double() - self.low.double()) / 2).log().sum().item()
        front, size = in_front(encoder, agent, team)
        self.body = BackwardStep(self.size, size, n_steps, hidden, step_hidden, activation, front)

    @mode(
        reads={"observation": "agent.observation", "noise": "agent.noise"},
        writes={"proposal": "agent.proposal", "proposal_log_prob": "agent.proposal_log_prob"},
    )
    def sample(
        self, observation: Float[Tensor, "*batch seen"], noise: Float[Tensor, "*batch draws dim"] | None = None
    ) -> dict[str, Tensor]:
        """Return a reparametrised ``proposal`` [action] and the bound of its log-prob, ``proposal_log_prob`` [nat].

        Args:
            observation: what the agent sees.
            noise: x_S and the noise of the steps, ``*B S+1 A``; drawn where nothing writes it.

        Raises:
            RunError: there are more or fewer draws.
        """
        noise = self._normal(observation, observation.shape[:-1]) if noise is None else noise
        x, log_prob = self._chain(observation, noise)
        log_prob = log_prob - log_slope(x) - self._log_scale
        return {"proposal": squash(x, self.low, self.high), "proposal_log_prob": log_prob}

    @mode(reads={"observation": "agent.observation"}, writes={"proposal": "agent.proposal"})
    def act(self, observation: Float[Tensor, "*batch seen"]) -> dict[str, Tensor]:
        """Return the deterministic action as ``proposal`` [action]."""
        return {"proposal": self.greedy(observation)}

    @mode(
        reads={"observation": "agent.observation", "noise": "agent.candidate_noise"},
        writes={"candidates": "agent.candidates"},
    )
    def candidates(
        self,
        observation: Float[Tensor, "*batch seen"],
        noise: Float[Tensor, "*batch several draws dim"] | None = None,
        *,
        n: Count = 64,
    ) -> dict[str, Float[Tensor, "*batch several dim"]]:
        """Return ``n`` actions of the policy as ``candidates`` [action].

        Args:
            observation: what the agent sees.
            noise: as for ``sample``, ``*B K S+1 A``; drawn where nothing writes it.
            n: K, how many are drawn.
        """
        noise = self._normal(observation, (*observation.shape[:-1], n)) if noise is None else noise
        return {"candidates": self.draw(observation.unsqueeze(-2), noise)}

    # What collection asks

    def noise(self, shape: Sequence[int], generator: torch.Generator) -> Tensor:
        """Return standard normal draws, ``*shape S+1 A``."""
        return torch.randn(*shape, self.n_draws, self.size, generator=generator, device=generator.device)

    def draw(self, observation: Tensor, noise: Tensor, action_mask: Tensor | None = None) -> Tensor:
        """Return an action of the policy, ``*B A``; the noise is what :meth:`noise` draws."""
        return squash(self._chain(observation, noise)[0], self.low, self.high)

    def greedy(self, observation: Tensor, action_mask: Tensor | None = None) -> Tensor:
        """Return the end of the chain without noise that starts from the latent, ``*B A``."""
        start = observation.new_full((*observation.shape[:-1], 1, self.size), self.latent)
        still = observation.new_zeros((*observation.shape[:-1], self.n_draws - 1, self.size))
        return self.draw(observation, torch.cat([start, still], -2))

    # Inside

    def _chain(self, observation: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        if noise.shape[-2] != self.n_draws:
            raise RunError(f"the chain takes {self.n_draws} draws of noise, and there are {noise.shape[-2]}.")
        seen = self.body.seen(observation)
        return chain(lambda point, k: self.body(seen[k], point), self.rates, noise)

    def _normal(self, like: Tensor, shape: Sequence[int]) -> Tensor:
        return torch.randn(*shape, self.n_draws, self.size, dtype=like.dtype, device=like.device)


class BackwardStep(nn.Module):
    """What a step back adds to a point, and how much wider or narrower than the noising it is.

    (shift, raw) = MLP(x_{k+1}, h(o), k),   raw held between -20 and 2

    h is another MLP, which is not asked again at every step. The last layer begins at 0, so that a fresh chain is the
    noising reversed.

    Args:
        size: entries of an action.
        observation_size: entries of an observation.
        n_steps: S.
        hidden: widths of the layers of h.
        step_hidden: widths of the hidden layers of a step.
        activation: after all of them.
        encoder: makes of what is seen what it takes for the observation.
    """

    def __init__(
        self,
        size: int,
        observation_size: int,
        n_steps: int,
        hidden: Sequence[int],
        step_hidden: Sequence[int],
        activation: Activation,
        encoder: Encoder | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        first, *others = [*step_hidden, 2 * size]
        gain = math.sqrt(2) if others else 0.0
        self.known = MLP([observation_size, *hidden, first], activation, last_gain=gain)
        self.point = nn.Linear(size + n_steps, first, bias=False)
        nn.init.orthogonal_(self.point.weight, gain)
        self.step = MLP([first, *others], activation, last_gain=0.0)
        self._size = size
        self._activation = ACTIVATIONS[activation]
        self._slope = SLOPES.get(self._activation)

    def seen(self, observation: Tensor) -> tuple[Tensor, ...]:
        """Return what the first layer makes of an observation in each of the S steps, ``*B H``."""
        known = self.known(observation if self.encoder is None else self.encoder(observation))
        return (known.unsqueeze(-2) + self.point.weight[:, self._size :].t()).unbind(-2)

    def forward(self, seen: Tensor, point: Tensor) -> tuple[Tensor, Tensor]:
        """Return shift and raw of a step from a point x_{k+1}, ``*B A`` each, given what :meth:`seen` made for it."""
        start = seen.expand(*point.shape[:-1], -1).reshape(-1, seen.shape[-1])
        weights = [self.point.weight[:, : self._size], *[linear.weight for linear in self.step.layers]]
        biases = [start, *[linear.bias for linear in self.step.layers]]
        shift, raw = layers(point, weights, biases, self._activation, self._slope).chunk(2, -1)
        return shift, raw.clamp(*_RAW)
