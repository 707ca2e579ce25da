"""Games of one state whose maximum-entropy policies are known, and diffusion policies trained on the exact Q.

Teams of one-dimensional agents, each with actions from -1 to 1, or one agent of two dimensions. Everybody is trained by
noise estimation weighted by exp(Q / alpha), in turn, with components and modes as a recipe would call them.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

import hetrl
from hetrl.net.diffusion_policy import DiffusionPolicy
from hetrl.team import Agent, Box, Team

Value = Callable[[Sequence[Tensor]], Tensor]
"""The agents' actions, each ``*B A`` -> what they are worth together, ``*B``."""
BATCH, K = 256, 32


def bump(action: Tensor, place: float, width: float) -> Tensor:
    """Return exp(-(a - place)^2 / (2 width^2))."""
    return (-(action - place).square() / (2 * width**2)).exp()


def one_mode(actions: Sequence[Tensor]) -> Tensor:
    """One good action, at 0.3."""
    return bump(actions[0], 0.3, 0.3).squeeze(-1)


def two_modes(actions: Sequence[Tensor]) -> Tensor:
    """Two good actions, of which that at -0.5 is a little better."""
    a = actions[0].squeeze(-1)
    return torch.maximum(bump(a, -0.5, 0.25), 0.9 * bump(a, 0.5, 0.25))


def ridge(actions: Sequence[Tensor]) -> Tensor:
    """Of two dimensions only the difference matters, and it should be 0.3."""
    return bump(actions[0][..., 0] - actions[0][..., 1], 0.3, 0.4)


def meeting(actions: Sequence[Tensor]) -> Tensor:
    """Two agents should be at the same place, and one of them rather to the right."""
    one, other = (action.squeeze(-1) for action in actions)
    return bump(one - other, 0.0, 0.5) + 0.5 * bump(one, 0.6, 0.3)


def equilibrium(payoff: Tensor, alpha: float, start: Tensor) -> list[Tensor]:
    """Return a quantal response equilibrium of two agents, each one's shares of cells, by fixed-point iteration.

    Args:
        payoff: what each pair of cells is worth, ``[n, n]``.
        alpha: temperature [reward/nat].
        start: both agents' shares at first, ``[n]``.
    """
    one = other = start
    for _ in range(10_000):
        answers = (payoff @ other / alpha).softmax(0), (one @ payoff / alpha).softmax(0)
        moved = max((answers[0] - one).abs().max().item(), (answers[1] - other).abs().max().item())
        one, other = (one + answers[0]) / 2, (other + answers[1]) / 2
        if moved < 1e-13:
            break
    return [one, other]


def trained(
    value: Value,
    alpha: float,
    sizes: Sequence[int] = (1,),
    n_answered: int = 1,
    n_sweeps: int = 2500,
    k: int = K,
    near: float = 0.0,
) -> list[DiffusionPolicy]:
    """Return the policies after so many sweeps in turn.

    Args:
        value: of the game.
        alpha: temperature [reward/nat].
        sizes: of each agent's action.
        n_answered: over how many proposals of the others the value of a candidate is averaged before it is weighed.
        n_sweeps: how often everybody has a turn.
        k: candidates for each sample.
        near: share of them drawn near the policy's own.
    """
    torch.manual_seed(0)
    boxes = [Box((-1.0,) * size, (1.0,) * size) for size in sizes]
    agents = tuple(Agent(f"a{place}", "agents", place, 1, box, "agents") for place, box in enumerate(boxes))
    made = {"hidden": [64, 64], "activation": "relu", "schedule": "linear", "n_steps": 100, "n_sample_steps": 20}
    made |= {"sampler": "multistep", "spacing": "quadratic"}
    policies = [DiffusionPolicy(agent, Team(agents, len(agents)), **made) for agent in agents]
    optimizers = [torch.optim.Adam(policy.parameters(), 2e-3) for policy in policies]
    boltzmann, matching = hetrl.component("weight/boltzmann", alpha=alpha), hetrl.component("loss/noise_matching")
    seen = torch.ones(BATCH, 1)
    for sweep in range(n_sweeps):
        with torch.no_grad():
            proposals = [policy.sample(seen)["proposal"] for policy in policies]
        for place, (policy, optimizer) in enumerate(zip(policies, optimizers, strict=True)):
            with torch.no_grad():
                around = policy.around(proposals[place], proposals[place], n=k, uniform=0.5, near=near)
                prior = around.pop("prior")
                q = torch.zeros(BATCH, k)
                for shift in range(n_answered):  # all rows are of one state, so any row's proposals will do
                    others = [each.roll(shift, 0).unsqueeze(-2).expand(-1, k, -1) for each in proposals]
                    q += value([*others[:place], around["candidates"], *others[place + 1 :]]) / n_answered
                weight = boltzmann.compute(q, prior=prior)["weight"]
                noise = policy.implied_noise(**around, weight=weight)["noise"]
            predicted = policy.predict(seen, around["point"], around["time"])["noise"]
            for group in optimizer.param_groups:
                group["lr"] = 2e-3 * (1 - sweep / n_sweeps)
            optimizer.zero_grad()
            matching.compute(predicted, noise)["loss"].mean().backward()
            optimizer.step()
    return policies


@torch.no_grad()
def drawn(policy: DiffusionPolicy, count: int = 20_000) -> Tensor:
    """Return actions of a policy, ``[count, A]``."""
    return policy.draw(torch.ones(count, 1), policy.noise((count,), torch.Generator().manual_seed(0)))


def histogram(actions: Tensor, n_bins: int) -> Tensor:
    """Return the share of actions ``[count, A]`` in each cell of the box, ``[n_bins^A]``."""
    cells = ((actions + 1) / 2 * n_bins).long().clamp(0, n_bins - 1)
    index = (cells * torch.tensor([n_bins**dim for dim in reversed(range(cells.shape[-1]))])).sum(-1)
    return torch.bincount(index, minlength=n_bins ** cells.shape[-1]) / len(actions)


def shares(log_density: Tensor, n_bins: int) -> Tensor:
    """Return the same of a density, from its logarithm at the middles of ``n`` cells of each dimension, ``[n] * A``."""
    density = log_density.flatten().softmax(0).view(log_density.shape)
    for dim in range(density.dim()):
        density = density.unflatten(dim, (n_bins, -1)).sum(dim + 1)
    return density.flatten()


def middles(n: int) -> Tensor:
    """Return the middles of n cells from -1 to 1."""
    return (torch.arange(n, dtype=torch.float64) + 0.5) * 2 / n - 1


def variation(one: Tensor, other: Tensor) -> float:
    """Return the total variation of two lists of shares."""
    return (one - other).abs().sum().item() / 2
