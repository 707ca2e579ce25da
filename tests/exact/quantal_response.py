"""Quantal response equilibria by root finding, HASAC trained on the penalty game; and the picture of both.

PYTHONPATH=tests python -m exact.quantal_response docs/img
"""

import itertools
import string
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from exact import penalty_game
from numpy.typing import NDArray
from scipy.optimize import root
from torch import Tensor

import hetrl

Policies = list[NDArray[np.float64]]
PENALTY = ((5, -20, -20), (-20, 10, -20), (-20, -20, 20))
N_ENVS, WARMUP, N_COLLECTIONS, BATCH = 16, 512, 250, 256
OVERRIDES = (
    f"task={{use: env/matrix_game, payoff: penalty, n_envs: {N_ENVS}}}",
    f"nets.actor={{use: net/categorical_policy, per: agent, hidden: [], initial_probs: {list(penalty_game.START)}}}",
    "nets.q.hidden=[64]",
    f"data={{use: data/replay, capacity: 100_000, batch: {BATCH}, warmup: {WARMUP}, n_step: 1, updates: 2}}",
    "update.critic.optim.lr={linear: [0.02, 0.0]}",
    "update.actors.optim.lr={linear: [0.05, 0.0]}",
    f"run={{frames: {WARMUP + N_ENVS * N_COLLECTIONS}, device: cpu, threads: 1}}",
)
"""A one-shot game has no next value, so what counts is that the critic learns nine payoffs, which the warm-up plays.
Rates fall to 0: what is left of the noise is then an average over many samples."""

EXACT_STEPS = [{"net": "actor.options"}, {"net": "q.candidates"}, {"use": "loss/expected_soft_policy"}]
"""The expectation over the agent's own options, in place of one straight-through sample."""


def equilibria(payoff: NDArray[np.float64], alpha: float, n_random: int = 8) -> list[Policies]:
    """Return the quantal response equilibria of a common payoff ``[A_1, ..., A_n]`` that a root finder comes upon.

    The unknowns are each agent's Qbar / alpha; it begins at those of every joint action and of random policies.
    """
    sizes = payoff.shape
    ends = np.cumsum(sizes)[:-1]
    generator = np.random.default_rng(0)
    pure = [[np.eye(size)[action] for size, action in zip(sizes, joint, strict=True)]
            for joint in itertools.product(*map(range, sizes))]  # fmt: skip
    mixed = [[generator.dirichlet(np.ones(size)) for size in sizes] for _ in range(n_random)]

    def scaled(policies: Policies) -> NDArray[np.float64]:
        return np.concatenate([_own_payoff(payoff, policies, agent) for agent in range(len(sizes))]) / alpha

    def policies_of(x: NDArray[np.float64]) -> Policies:
        return [_softmax(part) for part in np.split(x, ends)]

    found: list[Policies] = []
    for start in [*pure, *mixed]:
        solution = root(lambda x: x - scaled(policies_of(x)), scaled(start), tol=1e-13)
        policies = policies_of(solution.x)
        if variation(policies, policies_of(scaled(policies))) < 1e-10 and all(
            variation(policies, other) > 1e-6 for other in found
        ):
            found.append(policies)
    return found


def variation(one: Policies, other: Policies) -> float:
    """Return the total variation between two agents' policies, of the agent where it is largest."""
    return max(float(np.abs(a - b).sum()) / 2 for a, b in zip(one, other, strict=True))


def _own_payoff(payoff: NDArray[np.float64], policies: Policies, agent: int) -> NDArray[np.float64]:
    """Return the mean payoff of each of an agent's actions over the others'."""
    letters = string.ascii_lowercase[: payoff.ndim]
    others = [place for place in range(payoff.ndim) if place != agent]
    terms = ",".join([letters, *(letters[place] for place in others)])
    return np.einsum(f"{terms}->{letters[agent]}", payoff, *(policies[place] for place in others))


def _softmax(x: NDArray[np.float64]) -> NDArray[np.float64]:
    weight = np.exp(x - x.max())
    return weight / weight.sum()


# ----- training


def fixed(alpha: float, exact: bool = True) -> dict[str, Any]:
    """Return HASAC at one temperature: without the phases that would learn it, as ``fixed: true`` asks.

    Args:
        alpha: of the agents and of the critic [reward/nat].
        exact: the actors' steps; one straight-through sample where it is false.
    """
    tree = hetrl.load("hasac").tree
    tree["update"] = [phase for phase in tree["update"] if phase["train"] in ("q", "actor")]
    for net in ("alpha", "alpha_joint"):
        tree["nets"][net] |= {"initial": float(alpha), "fixed": True}
    if exact:
        next(phase for phase in tree["update"] if phase["train"] == "actor")["steps"] = EXACT_STEPS
    return tree


def train(recipe: str | dict[str, Any], *overrides: str, seed: int = 0, critic: Any = None) -> tuple[Tensor, Any]:
    """Train on the penalty game; return probabilities, collections by agents by actions, and the joint Q.

    Args:
        recipe: HASAC, or something made of it.
        overrides: beside those that all runs share.
        seed: of everything.
        critic: a joint Q to begin with; left out, a new one.
    """
    module, data = hetrl.load(recipe, *OVERRIDES, *overrides, f"run.seed={seed}").build()
    (own,) = module.linked.nets["q"].values()
    if critic is not None:
        own.load_state_dict(critic.state_dict())
    return penalty_game.fit(module, data), own


def learned_critic(seed: int = 0) -> Any:
    """Return a joint Q that has learned the game from random plays and a policy that stayed at the start."""
    return train(fixed(1.0), "update.actors.optim.lr=0.0", seed=seed)[1]


@torch.no_grad()
def learned_payoffs(critic: Any) -> Tensor:
    """Return what the critic says of the nine joint actions, the least of its members, ``[3, 3]``."""
    one_hot = torch.eye(3)
    actions = one_hot.repeat_interleave(3, 0), one_hot.repeat(3, 1)
    return critic.min(torch.ones(9, 2), actions)["q"].view(3, 3)


def nearest(policies: Tensor, alpha: float) -> float:
    """Return the total variation between two policies ``[2, 3]`` and the nearest equilibrium of the penalty game."""
    found = [policy.double().numpy() for policy in policies]
    return min(variation(found, each) for each in equilibria(np.array(PENALTY, dtype=float), alpha))


def main() -> None:
    """Print the distances of trained policies from the equilibria, and draw how the probabilities go."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    print("alpha, seed, steps, total variation to the nearest equilibrium, mean of both agents' last policies")
    for alpha, seed in itertools.product((1, 3, 7, 12, 25), range(3)):
        for exact, name in ((True, "expectation"), (False, "straight through")):
            last = train(fixed(alpha, exact), seed=seed)[0][-1]
            print(alpha, seed, name, f"{nearest(last, alpha):.4f}", last.mean(0).tolist(), flush=True)

    n_seeds = 3
    critics = [learned_critic(seed) for seed in range(n_seeds)]
    happo = torch.stack([penalty_game.train("happo", seed) for seed in range(penalty_game.N_SEEDS)])
    panels: list[tuple[str, Tensor, int, float | None]] = [("HAPPO", happo, penalty_game.N_ENVS, None)]
    for alpha in (4, 8, 20):
        seen = torch.stack([train(fixed(alpha), seed=seed, critic=own)[0] for seed, own in enumerate(critics)])
        panels.append((f"HASAC, \u03b1 = {alpha}", seen, N_ENVS, alpha))
        print(alpha, "critic first", [round(nearest(last, alpha), 4) for last in seen[:, -1]])

    figure, axes = plt.subplots(1, 4, figsize=(15, 3.8), sharey=True, layout="constrained")
    for axis, (title, seen, n_envs, own_alpha) in zip(axes, panels, strict=True):
        plays = torch.arange(seen.shape[1]) * n_envs
        for action, name in enumerate("ABC"):
            each = seen[..., action].movedim(1, 0).flatten(1)  # a line for each seed and agent
            axis.plot(plays, each, color=f"C{action}", linewidth=0.7, alpha=0.5)
            axis.plot(plays, each.mean(1), ":" if name == "C" else "-", color=f"C{action}", linewidth=2.5, label=name)
            for level in _levels(seen[0, -1], own_alpha, action):
                axis.axhline(level, color=f"C{action}", linestyle="--", linewidth=1)
        axis.set(title=title, xlabel="plays", ylim=(-0.02, 1.02))
        axis.grid(alpha=0.3)
    axes[0].set(ylabel="probability")
    axes[-1].legend(loc="upper right", title="dashed: equilibrium")
    path = Path(sys.argv[1]) / "quantal_response.png"
    figure.savefig(path, dpi=130)
    print(path)


def _levels(last: Tensor, alpha: float | None, action: int) -> Sequence[float]:
    """Return an action's probability at the equilibrium nearest to the last policies; nothing where there is none."""
    if alpha is None:
        return []
    found = [policy.double().numpy() for policy in last]
    roots = equilibria(np.array(PENALTY, dtype=float), alpha)
    return [min(roots, key=lambda each: variation(found, each))[0][action]]


if __name__ == "__main__":
    main()
