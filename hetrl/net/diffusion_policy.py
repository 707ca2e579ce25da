"""Diffusion policies."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from hetrl.arguments import Count, Fraction, Positive, Widths
from hetrl.encoder import Encoder, Encoding, in_front
from hetrl.errors import RecipeError, RunError
from hetrl.network import MLP, Activation, Policy, mode
from hetrl.ops.activation import ACTIVATIONS
from hetrl.ops.diffusion import (
    ReverseStep,
    Sampler,
    Schedule,
    Spacing,
    information_weights,
    noised,
    reverse,
    reverse_steps,
    signal_rates,
)
from hetrl.ops.truncated_normal import truncated_normal, two_truncated_normals
from hetrl.team import Agent, Box, Team

_EMBEDDING = 32
_LEAST_VARIANCE = 1e-6
"""Of candidates of which one has all the weight, so that their logarithm is a number."""
_LEAST_LEFT = 0.1
"""Of 1 - sum w^2, by which a variance of few candidates is divided; below, hardly more than one counts."""
_REFERENCE = 0.1
"""Deviation of the normal with whose entropy a policy's is compared, in halves of the range: some -1 nat a dimension,
at which temperatures hold it."""
_CACHED = 131_072
"""Hidden activations, 0.5 MB, that are worked on at once: what a layer has written is still in a CPU's cache."""


class DiffusionPolicy(Policy):
    """Actions that are drawn by taking noise away, step by step.

    x_T ~ N(0, 1),   x_s = mean(x_t, clip(x_0, -1, 1)) + sigma_t noise,   a = low + (high - low) (1 + x_0) / 2
    x_0 = (x_t - sqrt(1 - abar_t) eps(x_t, o, t)) / sqrt(abar_t)

    It can represent several good actions at once; it has no log-prob. The deterministic action (``act``, and that of
    evaluation) needs the agent's observation only: the chain without noise from x_T = ``latent``. In one dimension that
    tends, as steps become many, to the quantile of the policy which ``latent`` is of the normal distribution; 0, the
    median, lies between two equally likely actions, and another number takes a side.

    Actions are drawn by ``sampler``. ``path`` is always of the ancestral chain, over the same steps: one without noise
    has no density. So the drift that it measures is the policy's own where the sampler is ancestral too.

    Args:
        hidden: widths of the hidden layers.
        activation: between them.
        n_steps: T.
        schedule: how noise comes in over the T steps; all of them end in noise.
        sampler: ``ancestral``, with fresh noise at every step but the last; ``ddim``, where x_T is all the noise;
            ``multistep``, the same to second order, which takes no longer.
        n_sample_steps: S, how many of the T steps are taken when drawing; left out, all.
        spacing: which ones: ``even``, or ``quadratic``, closer to each other where little noise is left. Few steps
            make a policy narrower than it was trained to be; these the least.
        latent: every entry of x_T for the deterministic action [1].
        encoder: what stands in front of the network, ``{use: net/...}``; left out, it reads what is seen itself.

    Raises:
        RecipeError: the action has no bounds, or there are more sample steps than steps.
    Source: Ho et al. 2020, arXiv:2006.11239 (the chain); Song et al. 2021, arXiv:2010.02502 (ddim, the spacings); Lu
        et al. 2022, arXiv:2211.01095 (multistep); Ding et al. 2024, arXiv:2405.16173 (as an online policy: 20 steps,
        cosine, Mish, clipped predictions); Lin and Lee 2026, OpenReview kPrvXjUZPG (of several agents).
    Differs: evaluation in Ding et al. 2024 draws several actions and takes the best by the critic, which an agent of a
        team does not have. The bounds need not be symmetric. The predicted noise has a term outside of the network, see
        :class:`NoisePredictor`.
    """

    draws = "normal"
    low: Tensor
    high: Tensor
    rates: Tensor
    counts: Tensor
    reference: Tensor
    times: Tensor
    coefficients: Tensor

    def __init__(
        self,
        agent: Agent,
        team: Team,
        *,
        hidden: Widths = [256, 256, 256],  # noqa: B006 (never written to; the signature is the schema)
        activation: Activation = "mish",
        n_steps: Count = 20,
        schedule: Schedule = "cosine",
        sampler: Sampler = "ancestral",
        n_sample_steps: Count | None = None,
        spacing: Spacing = "even",
        latent: float = 0.0,
        encoder: Encoding | None = None,
    ) -> None:
        super().__init__()
        assert isinstance(agent.action, Box)  # the checker has compared it with `serves`
        if not agent.action.bounded:
            raise RecipeError(f"agent '{agent.name}' has an action without bounds; use net/gaussian_policy.")
        n_sample_steps = n_sample_steps or n_steps
        if n_sample_steps > n_steps:
            raise RecipeError(f"n_sample_steps = {n_sample_steps} is more than n_steps = {n_steps}; lower it.")
        self.size, self.n_steps, self.latent = agent.action.size, n_steps, latent
        rates = signal_rates(schedule, n_steps)
        self.ancestral = reverse_steps(rates, n_sample_steps, "ancestral", spacing)
        self.direct = reverse_steps(rates, n_sample_steps, "ddim" if sampler == "ancestral" else sampler, spacing)
        self.chain = self.ancestral if sampler == "ancestral" else self.direct
        self.n_draws = n_sample_steps if sampler == "ancestral" else 1
        self.register_buffer("low", torch.tensor(agent.action.low), persistent=False)
        self.register_buffer("high", torch.tensor(agent.action.high), persistent=False)
        self.register_buffer("rates", rates.to(self.low.dtype), persistent=False)
        counts, noise = information_weights(rates), (1 - rates) / rates
        reference = noise * _REFERENCE**2 / (noise + _REFERENCE**2)  # the variance that is left when x_t is known
        self.register_buffer("counts", counts.to(self.low.dtype), persistent=False)
        self.register_buffer("reference", reference.to(self.low.dtype), persistent=False)
        self._reference_entropy = 0.5 * (counts @ reference + (2 * math.pi * math.e * reference[1]).log()).item()
        self._log_scale = ((self.high.double() - self.low.double()) / 2).log().sum().item()
        times, *coefficients = zip(*(step[:-1] for step in self.ancestral), strict=True)  # of first order
        self.register_buffer("times", torch.tensor(times), persistent=False)
        self.register_buffer("coefficients", torch.tensor(coefficients), persistent=False)
        self._rows = _CACHED // max(hidden, default=1)
        front, size = in_front(encoder, agent, team)
        self.body = NoisePredictor(self.size, size, rates, hidden, activation, front)

    # Drawing

    @mode(reads={"observation": "agent.observation", "noise": "agent.noise"}, writes={"proposal": "agent.proposal"})
    def sample(
        self, observation: Float[Tensor, "*batch seen"], noise: Float[Tensor, "*batch draws dim"] | None = None
    ) -> dict[str, Tensor]:
        """Return an action of the policy as ``proposal`` [action].

        Args:
            observation: what the agent sees.
            noise: x_T and the noise of the steps, ``*B S A``; x_T alone, ``*B 1 A``, where the sampler is not
                ancestral; drawn where nothing writes it.

        Raises:
            RunError: there are more or fewer draws.
        """
        noise = self._normal(observation, (*observation.shape[:-1], self.n_draws)) if noise is None else noise
        return {"proposal": self.draw(observation, noise)}

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
            noise: as for ``sample``, ``*B K S A`` or ``*B K 1 A``; drawn where nothing writes it.
            n: K, how many are drawn.
        """
        if noise is None:
            noise = self._normal(observation, (*observation.shape[:-1], n, self.n_draws))
        return {"candidates": self.draw(observation.unsqueeze(-2), noise)}

    # Denoising

    @mode(
        reads={"chosen": "agent.chosen"},
        writes={"time": "agent.denoising_time", "noise": "agent.denoising_noise"},
        learned=False,
    )
    def denoising_draws(self, chosen: Float[Tensor, "*batch several dim"], *, n: Count = 1) -> dict[str, Tensor]:
        """Return ``n`` steps and noises for each action, to denoise it alike before and after an update.

        Args:
            chosen: the actions.
            n: D, how many are drawn for each: ``time``, ``*B M D``, uniform on 1 to T; ``noise``, ``*B M D A``, normal.
        """
        shape = (*chosen.shape[:-1], n)
        return {"time": self._steps(chosen, shape), "noise": self._normal(chosen, shape)}

    @mode(
        reads={
            "observation": "agent.observation",
            "chosen": "agent.chosen",
            "time": "agent.denoising_time",
            "noise": "agent.denoising_noise",
        },
        writes={"error": "agent.denoising_error"},
    )
    def denoise(
        self,
        observation: Float[Tensor, "*batch seen"],
        chosen: Float[Tensor, "*batch several dim"],
        time: Int[Tensor, "*batch several times"] | None = None,
        noise: Float[Tensor, "*batch several times dim"] | None = None,
        *,
        n: Count = 1,
    ) -> dict[str, Float[Tensor, "*batch several"]]:
        """Return how far off the predicted noise is, averaged over draws, as ``error`` [1].

        mean over D of ||eps - eps_theta(sqrt(abar_t) a + sqrt(1 - abar_t) eps, o, t)||^2

        Args:
            observation: what the agent sees.
            chosen: the actions, which are scaled to -1 to 1.
            time: t, for each of D draws; drawn uniformly on 1 to T where nothing writes it.
            noise: eps of each; drawn where nothing writes it.
            n: D, where they are drawn here.

        Raises:
            RunError: one of ``time`` and ``noise`` is given, and the other is not.
        """
        if (time is None) != (noise is None):
            raise RunError(
                "denoise: steps and noises belong together; write both, {net: ....denoising_draws}, or none."
            )
        shape = (*chosen.shape[:-1], n if time is None else time.shape[-1])
        time = self._steps(chosen, shape) if time is None else time
        noise = self._normal(chosen, shape) if noise is None else noise
        point = noised(self._unit(chosen).unsqueeze(-2).expand_as(noise), noise, self.rates[time])
        predicted = self.body.given(observation.unsqueeze(-2).unsqueeze(-2))(point, time)
        return {"error": (noise - predicted).square().sum(-1).mean(-1)}

    @mode(reads={"observation": "agent.observation"}, writes={"error": "agent.uniform_error"})
    def denoise_uniform(
        self, observation: Float[Tensor, "*batch seen"], *, n: Count = 10
    ) -> dict[str, Float[Tensor, "*batch several"]]:
        """Return the same of ``n`` actions drawn uniformly within the bounds, as ``error``.

        Args:
            observation: what the agent sees.
            n: U, how many are drawn, each with a step and a noise of its own.
        """
        point, time, noise = self._uniform(observation, n)
        predicted = self.body.given(observation.unsqueeze(-2))(point, time)
        return {"error": (noise - predicted).square().sum(-1)}

    @mode(
        reads={
            "observation": "agent.observation",
            "chosen": "agent.chosen",
            "path": "agent.path",
            "old_mean": "agent.old_path_mean",
            "place": "agent.path_place",
        },
        writes={
            "error": "agent.denoising_error",
            "uniform_error": "agent.uniform_error",
            "path_error": "agent.path_error",
        },
    )
    def denoise_all(
        self,
        observation: Float[Tensor, "*batch seen"],
        chosen: Float[Tensor, "*batch several dim"],
        path: Float[Tensor, "*batch steps dim"],
        old_mean: Float[Tensor, "*batch steps dim"],
        place: Int[Tensor, "*batch steps"],
        *,
        n: Count = 1,
        n_uniform: Count = 10,
    ) -> dict[str, Tensor]:
        """Return what ``denoise``, ``denoise_uniform`` and ``path_error`` do, of one pass through the network.

        Small passes are mostly overhead: of 256 samples the three take about half as long together.

        Args:
            observation: what the agent sees.
            chosen: the actions, which are scaled to -1 to 1.
            path: the points of an old chain.
            old_mean: the old means there.
            place: which steps of the chain these are.
            n: D, how many steps and noises are drawn for each of the actions.
            n_uniform: U, how many uniform actions are drawn for each sample.
        """
        chosen = chosen.repeat_interleave(n, -2)
        time = self._steps(chosen, chosen.shape[:-1])
        noise = self._normal(chosen, chosen.shape[:-1])
        point = noised(self._unit(chosen), noise, self.rates[time])
        uniform, uniform_time, uniform_noise = self._uniform(observation, n_uniform)
        points = torch.cat([point, uniform, path], -2)
        times = torch.cat([time, uniform_time, self.times[place]], -1)
        predicted = self.body.given(observation.unsqueeze(-2))(points, times)
        of_chosen, of_uniform, of_path = predicted.split([each.shape[-2] for each in (point, uniform, path)], -2)
        return {
            "error": (noise - of_chosen).square().sum(-1).unflatten(-1, (-1, n)).mean(-1),
            "uniform_error": (uniform_noise - of_uniform).square().sum(-1),
            "path_error": self._moved(path, of_path, old_mean, place),
        }

    # Paths

    @mode(
        reads={"observation": "agent.observation", "noise": "agent.path_noise"},
        writes={
            "path": "agent.path",
            "mean": "agent.old_path_mean",
            "std": "agent.path_std",
            "place": "agent.path_place",
        },
    )
    def path(
        self,
        observation: Float[Tensor, "*batch seen"],
        noise: Float[Tensor, "*batch draws dim"] | None = None,
        *,
        n: Count | None = None,
    ) -> dict[str, Tensor]:
        """Return a chain of the policy, or some steps of it, to compare with it after an update.

        ``path``, ``*B n A``: the points x_t from which it steps; ``mean`` of each step, ``*B n A``; its deviation
        ``std``, ``*B n``, all in halves of the action's range [1]; and ``place``, ``*B n``, which steps they are: 0 is
        the one from x_T.

        Args:
            observation: what the agent sees.
            noise: x_T and the noise of the steps, ``*B S A``, whatever the sampler; drawn where nothing writes it.
            n: how many of the S steps are kept for each sample, drawn uniformly and with replacement; left out, all.

        Raises:
            RunError: there are more or fewer draws.
        """
        batch, several = observation.shape[:-1], len(self.ancestral)
        noise = self._normal(observation, (*batch, several)) if noise is None else _checked(noise, several)
        points, means = (torch.stack(each, -2) for each in reverse(self.body.given(observation), self.ancestral, noise))
        if n is None:
            place = torch.arange(several, device=points.device).expand(*batch, -1)
        else:
            place = torch.randint(several, (*batch, n), device=points.device)
            points, means = (each.take_along_dim(place.unsqueeze(-1), -2) for each in (points, means))
        return {"path": points, "mean": means, "std": self.coefficients[-1][place], "place": place}

    @mode(
        reads={
            "observation": "agent.observation",
            "path": "agent.path",
            "old_mean": "agent.old_path_mean",
            "place": "agent.path_place",
        },
        writes={"error": "agent.path_error"},
    )
    def path_error(
        self,
        observation: Float[Tensor, "*batch seen"],
        path: Float[Tensor, "*batch steps dim"],
        old_mean: Float[Tensor, "*batch steps dim"],
        place: Int[Tensor, "*batch steps"],
    ) -> dict[str, Float[Tensor, "*batch steps dim"]]:
        """Return how far the mean of each step along an old path has moved, as ``error`` [1].

        Of n steps drawn from S, times sqrt(S / n): the sum of what is squared is that of all S on average.
        """
        noise = self.body.given(observation.unsqueeze(-2))(path, self.times[place])
        return {"error": self._moved(path, noise, old_mean, place)}

    # Proposals around a noised point

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
        near: Fraction = 0.0,
        width: Positive = 0.1,
    ) -> dict[str, Tensor]:
        """Return a noised action as ``point``, its step ``time``, and ``n`` actions that may have led to it.

        x_t = sqrt(abar_t) a_0 + sqrt(1 - abar_t) eps,   a_k ~ N(x_t / sqrt(abar_t), (1 - abar_t) / abar_t) in the box

        The ``candidates`` [action] are drawn from what is known of a_0 by x_t alone, so weighed by exp(Q / alpha) they
        are draws of the policy proportional to that, given x_t: wherever the point comes from. Points and steps are
        drawn one for each sample, the steps uniformly on 1 to T.

        Where the policy has become narrow and x_t says little, hardly one of K such draws is any good. So a share of
        them may be drawn ``near`` the proposal instead, N(proposal, width^2) in the box; ``prior`` is the log of what
        each counts before Q does, the first density over that of the mixture, at most 1 / (1 - near). So the weighted
        mean aims at the same, with more that counts in it.

        Args:
            action: what was done, of which those points are made that are neither of the next two.
            proposal: an action of the policy.
            n: K, how many are drawn.
            own: share of the points that are made of the proposal.
            uniform: share of those made of a uniform action.
            near: share of the candidates drawn near the proposal, below 1; rounded to whole ones.
            width: their deviation, in halves of the range.

        Raises:
            RunError: the first two shares are more than 1 together, or all candidates are drawn near the proposal.
        Source: Dong et al. 2025, arXiv:2502.11612 (noise estimation weighted by Q); Owen and Zhou 2000, J. Am. Stat.
            Assoc. 95(449) (a mixture of proposals, weighed by its own density).
        """
        if own + uniform > 1:
            raise RunError(f"around: own = {own} and uniform = {uniform} are more than 1 together; lower one.")
        chosen, anywhere = torch.rand_like(action[..., :1]), torch.rand_like(action) * 2 - 1
        start = torch.where(chosen < own, self._unit(proposal), self._unit(action))
        start = torch.where(chosen >= 1 - uniform, anywhere, start)
        time = self._steps(action, action.shape[:-1])
        rate = self.rates[time]
        point = noised(start, torch.randn_like(action), rate)
        known, rate = (point / rate.sqrt().unsqueeze(-1)).unsqueeze(-2), rate.unsqueeze(-1).unsqueeze(-1)
        spread = ((1 - rate) / rate).sqrt()
        share = torch.rand(*action.shape[:-1], n, self.size, dtype=action.dtype, device=action.device)
        if not (n_near := round(near * n)):
            unit = truncated_normal(known.expand_as(share), spread, share)
            prior = share.new_zeros(()).expand(share.shape[:-1])
        elif n_near < n:
            centre = self._unit(proposal).unsqueeze(-2)
            unit, prior = two_truncated_normals(known, spread, centre, torch.full_like(spread, width), n_near, share)
        else:
            raise RunError(f"around: near = {near} leaves none of n = {n} candidates to the point; lower one.")
        return {"candidates": self._action(unit), "prior": prior, "point": point, "time": time}

    @mode(
        reads={
            "point": "agent.point",
            "time": "agent.point_time",
            "candidates": "agent.candidates",
            "weight": "agent.weight",
        },
        writes={"noise": "agent.point_noise"},
        learned=False,
    )
    def implied_noise(
        self,
        point: Float[Tensor, "*batch dim"],
        time: Int[Tensor, "*batch"],
        candidates: Float[Tensor, "*batch several dim"],
        weight: Float[Tensor, "*batch several"],
    ) -> dict[str, Float[Tensor, "*batch dim"]]:
        """Return the ``noise`` that is in a point if the weighted mean of the candidates is what it was made of [1].

        (x_t - sqrt(abar_t) sum_k w_k a_k) / sqrt(1 - abar_t)

        Args:
            point: x_t.
            time: t.
            candidates: the a_k.
            weight: w_k, which add up to 1.
        """
        rate = self.rates[time].unsqueeze(-1)
        clean = (weight.unsqueeze(-1) * self._unit(candidates)).sum(-2)
        return {"noise": (point - rate.sqrt() * clean) / (1 - rate).sqrt()}

    @mode(
        reads={"observation": "agent.observation", "point": "agent.point", "time": "agent.point_time"},
        writes={"noise": "agent.predicted_noise"},
    )
    def predict(
        self,
        observation: Float[Tensor, "*batch seen"],
        point: Float[Tensor, "*batch dim"],
        time: Int[Tensor, "*batch"],
    ) -> dict[str, Float[Tensor, "*batch dim"]]:
        """Return the ``noise`` that the network predicts in a point [1].

        Args:
            observation: what the agent sees.
            point: x_t.
            time: t.
        """
        return {"noise": self.body.given(observation)(point, time)}

    @mode(
        reads={"time": "agent.point_time", "candidates": "agent.candidates", "weight": "agent.weight"},
        writes={"entropy": "agent.entropy", "log_prob": "agent.proposal_log_prob"},
        learned=False,
    )
    def entropy(
        self,
        time: Int[Tensor, "*batch"],
        candidates: Float[Tensor, "*batch several dim"],
        weight: Float[Tensor, "*batch several"],
    ) -> dict[str, Float[Tensor, "*batch"]]:
        """Return what one point tells of the policy's ``entropy``, and minus that in the place of a log-prob [nat].

        sum over dimensions of h + T c_t (v_t - u_t) / 2,   and for t = 1 also T / 2 log(v_1 / u_1)

        v_t is the variance of the weighted candidates, sum_k w_k (a_k - mean)^2 / (1 - sum_k w_k^2), and c_t what the
        step counts in the integral over signal to noise (:func:`hetrl.ops.diffusion.information_weights`). h is the
        entropy of a normal of deviation 0.1, in halves of the range, and u_t what x_t leaves of its variance. That
        normal cancels in the mean; the nearer it is to the policy, the less one point's figure says of anything else.
        Only the mean over many points is an entropy, and only of points all of which are draws of the policy
        (``around`` with ``own: 1.0``).

        Args:
            time: t.
            candidates: those around the point.
            weight: theirs, which add up to 1.
        """
        unit, share = self._unit(candidates), weight.unsqueeze(-1)
        left = (1 - share.square().sum(-2)).clamp(min=_LEAST_LEFT)
        variance = (share * (unit - (share * unit).sum(-2, keepdim=True)).square()).sum(-2) / left
        reference = self.reference[time].unsqueeze(-1)
        found = self.counts[time].unsqueeze(-1) * (variance - reference)
        last = (variance.clamp(min=_LEAST_VARIANCE) / reference).log()
        found = 0.5 * self.n_steps * (found + torch.where(time.unsqueeze(-1) == 1, last, 0.0)).sum(-1)
        found = found + self.size * self._reference_entropy + self._log_scale
        return {"entropy": found, "log_prob": -found}

    # What collection asks

    def noise(self, shape: Sequence[int], generator: torch.Generator) -> Tensor:
        """Return standard normal draws, ``*shape S A``; ``*shape 1 A`` where the sampler is not ancestral."""
        return torch.randn(*shape, self.n_draws, self.size, generator=generator, device=generator.device)

    def draw(self, observation: Tensor, noise: Tensor, action_mask: Tensor | None = None) -> Tensor:
        """Return an action of the policy, ``*B A``; the noise is what :meth:`noise` draws."""
        return self._end(observation, self.chain, _checked(noise, self.n_draws))

    def greedy(self, observation: Tensor, action_mask: Tensor | None = None) -> Tensor:
        """Return the end of the chain without noise that starts from the latent, ``*B A``."""
        start = observation.new_full((*observation.shape[:-1], 1, self.size), self.latent)
        return self._end(observation, self.direct, start)

    # Inside

    def _end(self, observation: Tensor, steps: Sequence[ReverseStep], noise: Tensor) -> Tensor:
        """Return where the chain ends, ``*B A``."""
        parts = [(observation, noise)]
        if noise.device.type == "cpu" and not torch.compiler.is_exporting():  # an exported chain takes any batch
            rows = max(1, self._rows * noise.shape[0] * noise.shape[-1] * noise.shape[-2] // max(1, noise.numel()))
            if len(noise) > rows:
                parts = list(zip(observation.split(rows), noise.split(rows), strict=True))
        ends = [reverse(self.body.given(seen), steps, draws)[1][-1] for seen, draws in parts]
        unit = ends[0] if len(ends) == 1 else torch.cat(ends)
        return self._action(unit)

    def _action(self, unit: Tensor) -> Tensor:
        """Return what is scaled to -1 to 1 as actions."""
        return self.low + (self.high - self.low) * 0.5 * (1 + unit)

    def _unit(self, action: Tensor) -> Tensor:
        """Return actions scaled to -1 to 1."""
        return (action - self.low) * 2 / (self.high - self.low) - 1

    def _uniform(self, observation: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return ``n`` noisy uniform actions for each sample, their steps, and the noises in them."""
        shape = (*observation.shape[:-1], n)
        noise = self._normal(observation, shape)
        time = self._steps(observation, shape)
        return noised(torch.rand_like(noise) * 2 - 1, noise, self.rates[time]), time, noise

    def _moved(self, path: Tensor, noise: Tensor, old_mean: Tensor, place: Tensor) -> Tensor:
        """Return how far the means have moved; times sqrt(S / n), so that squares add up as those of all S would."""
        steps = ReverseStep(self.times[place], *self.coefficients[:, place].unsqueeze(-1))
        return (steps.mean(path, noise) - old_mean) * math.sqrt(len(self.ancestral) / path.shape[-2])

    def _normal(self, like: Tensor, shape: Sequence[int]) -> Tensor:
        return torch.randn(*shape, self.size, dtype=like.dtype, device=like.device)

    def _steps(self, like: Tensor, shape: Sequence[int]) -> Tensor:
        return torch.randint(1, self.n_steps + 1, tuple(shape), device=like.device)


def _checked(noise: Tensor, n_draws: int) -> Tensor:
    """Refuse noise for a longer or a shorter chain, which would be cut, or end in the middle of it."""
    if noise.shape[-2] != n_draws:
        raise RunError(f"the chain takes {n_draws} draws of noise, and there are {noise.shape[-2]}.")
    return noise


class NoisePredictor(nn.Module):
    """Predicts the noise in a noisy action, given the observation and the step.

    eps(x_t, o, t) = sqrt(1 - abar_t) x_t + MLP(x_t, o, e(t))

    The step is 32 sines and cosines (Vaswani et al. 2017) behind a small MLP of its own, e. The first term is what
    would be right of normal actions, so that a fresh policy covers the box; with the MLP alone it would draw hardly
    anything but the ends.

    Args:
        size: entries of an action.
        observation_size: entries of an observation.
        rates: abar_0 to abar_T.
        hidden: widths of the hidden layers; the first is also that of the small MLP.
        activation: between the layers of both.
        encoder: makes of what is seen what it takes for the observation.
    """

    table: Tensor
    spread: Tensor

    def __init__(
        self,
        size: int,
        observation_size: int,
        rates: Tensor,
        hidden: Sequence[int],
        activation: Activation,
        encoder: Encoder | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        angles = torch.arange(len(rates)).unsqueeze(-1) * 10_000 ** -torch.linspace(0, 1, _EMBEDDING // 2)
        self.register_buffer("table", torch.cat([angles.sin(), angles.cos()], -1), persistent=False)
        self.register_buffer("spread", (1 - rates).sqrt().to(self.table.dtype), persistent=False)
        self.embedding = MLP([_EMBEDDING, *hidden[:1], _EMBEDDING], activation, last_gain=1.0)
        self.body = MLP([size + observation_size + _EMBEDDING, *hidden, size], activation, last_gain=0.01)
        self._parts = [size, observation_size, _EMBEDDING]
        self._activation = ACTIVATIONS[activation]

    def given(self, observation: Tensor) -> Callable[[Tensor, Any], Tensor]:
        """Return the predictor for an observation: of points x_t and steps t, a number or one for each point.

        What the first layer makes of the observation and of each of the T steps is worked out here, once for all points
        and steps that are asked for.
        """
        first, *others = self.body.layers
        of_point, of_observation, of_step = first.weight.split(self._parts, 1)
        known = observation if self.encoder is None else self.encoder(observation)
        seen = functional.linear(known, of_observation, first.bias)
        steps = functional.linear(self.embedding(self.table), of_step)

        def predict(point: Tensor, time: Any) -> Tensor:
            step = steps[time] if isinstance(time, int) else functional.embedding(time, steps)  # indexing trains slowly
            x = functional.linear(point, of_point) + (seen + step)
            for linear in others:
                x = functional.linear(self._activation(x), linear.weight, linear.bias)
            return torch.addcmul(x, self.spread[time].unsqueeze(-1), point)

        return predict
