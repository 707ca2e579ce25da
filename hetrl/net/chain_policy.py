"""Policies drawn along a short noising process run backwards."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from hetrl.arguments import Count, Fraction, Widths
from hetrl.encoder import Encoder, Encoding, in_front
from hetrl.errors import RecipeError, RunError
from hetrl.network import MLP, Activation, Policy, mode
from hetrl.ops.activation import ACTIVATIONS, SLOPES
from hetrl.ops.chain import chain, cross_entropy_back, noising_rates, signal_left
from hetrl.ops.gaussian import log_prob
from hetrl.ops.layers import layers
from hetrl.ops.tanh import log_slope, squash, unsquash
from hetrl.team import Agent, Box, Team

_RAW = (-20.0, 2.0)
"""Where s is held, as the log deviations of squashed Gaussians usually are."""
_FAR = 3.0
"""How far out actions on a bound are taken to be before the squashing: 0.995 of the way."""


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
    steps: Tensor

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
        table = torch.tensor([self.rates, signal_left(self.rates)[:-1]])
        self.register_buffer("steps", table, persistent=False)  # b_k and abar_k
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

    # Towards a density that is known but for its constant

    @mode(
        reads={"action": "agent.action", "proposal": "agent.proposal"},
        writes={
            "candidates": "agent.candidates",
            "prior": "agent.candidate_prior",
            "point": "agent.point",
            "time": "agent.point_time",
        },
        learned=False,
    )
    def around(
        self,
        action: Float[Tensor, "*batch dim"],
        proposal: Float[Tensor, "*batch dim"],
        *,
        n: Count = 16,
        own: Fraction = 0.4,
        uniform: Fraction = 0.2,
    ) -> dict[str, Tensor]:
        """Return a noised action as ``point``, the ``time`` from which a step leads to it, and ``n`` actions of origin.

        Half of the ``candidates`` [action] are normal around the point, as the noising says, half uniform in the box,
        stratified. ``prior`` is the log of what each counts before Q does: the noising's density over that of drawing
        it, up to a constant. Points are made as by ``around`` of ``net/diffusion_policy``, before the squashing.

        Args:
            action: what was done, of which those points are made that are neither of the next two.
            proposal: an action of the policy.
            n: K, an even number of candidates.
            own: share of the points that are made of the proposal.
            uniform: share of those made of a uniform action.

        Raises:
            RunError: the two shares are more than 1 together, or n is odd.
        """
        if own + uniform > 1 or n % 2:
            raise RunError(f"around: own = {own} and uniform = {uniform} add up to 1 at most, and n = {n} is even.")
        chosen, width = torch.rand_like(action[..., :1]), self.high - self.low
        start = torch.where(chosen < own, proposal, action)
        start = torch.where(chosen >= 1 - uniform, self.low + width * torch.rand_like(action), start)
        start = unsquash(start, self.low, self.high).clamp(-_FAR, _FAR)
        time = torch.randint(len(self.rates), action.shape[:-1], device=action.device)
        rate, left = self.steps[:, time].unsqueeze(-1)
        left = left * (1 - rate)
        point = left.sqrt() * start + (1 - left).sqrt() * torch.randn_like(start)
        centre, spread = (point / left.sqrt()).unsqueeze(-2), ((1 - left) / left).sqrt().unsqueeze(-2)
        share = torch.rand(*action.shape[:-1], n // 2, self.size, dtype=action.dtype, device=action.device)
        share = (torch.rand_like(share).argsort(-2) + share) / (n // 2)
        near = centre + spread * torch.randn_like(share)
        clean = torch.cat([near, unsquash(2 * share - 1, -torch.ones_like(self.low), torch.ones_like(self.low))], -2)
        of_near = log_prob(clean, centre.expand_as(clean), spread.log().expand_as(clean))
        of_flat = log_slope(clean) - self.size * math.log(2)
        prior = of_near + of_flat - torch.logaddexp(of_near, of_flat)  # exp(Q / alpha) is a density of actions
        return {"candidates": squash(clean, self.low, self.high), "prior": prior, "point": point, "time": time}

    @mode(
        reads={
            "observation": "agent.observation",
            "point": "agent.point",
            "time": "agent.point_time",
            "candidates": "agent.candidates",
            "weight": "agent.weight",
        },
        writes={"error": "agent.backward_error"},
    )
    def backward_error(
        self,
        observation: Float[Tensor, "*batch seen"],
        point: Float[Tensor, "*batch dim"],
        time: Int[Tensor, "*batch"],
        candidates: Float[Tensor, "*batch several dim"],
        weight: Float[Tensor, "*batch several"],
    ) -> dict[str, Float[Tensor, "*batch"]]:
        """Return as ``error`` how unlikely the steps are that lead from the point back to the candidates [nat].

        -sum_k w_k E log p(x_t | x_{t+1}, o), over where x_t was if the candidate k was the clean action
        """
        clean, share = unsquash(candidates, self.low, self.high), weight.unsqueeze(-1)
        mean = (share * clean).sum(-2)
        variance = (share * (clean - mean.unsqueeze(-2)).square()).sum(-2)
        shift, raw = self.body(self.body.seen_at(observation, time), point)
        rate, left = self.steps[:, time].unsqueeze(-1)
        return {"error": cross_entropy_back(shift, raw, point, mean, variance, rate, left)}

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

    def seen_at(self, observation: Tensor, time: Tensor) -> Tensor:
        """Return the same of one step for each observation, ``*B H``; ``time`` says which, ``*B``."""
        known = self.known(observation if self.encoder is None else self.encoder(observation))
        return known + functional.embedding(time, self.point.weight[:, self._size :].t())

    def forward(self, seen: Tensor, point: Tensor) -> tuple[Tensor, Tensor]:
        """Return shift and raw of a step from a point x_{k+1}, ``*B A`` each, given what :meth:`seen` made for it."""
        start = seen.expand(*point.shape[:-1], -1).reshape(-1, seen.shape[-1])
        weights = [self.point.weight[:, : self._size], *[linear.weight for linear in self.step.layers]]
        biases = [start, *[linear.bias for linear in self.step.layers]]
        shift, raw = layers(point, weights, biases, self._activation, self._slope).chunk(2, -1)
        return shift, raw.clamp(*_RAW)
