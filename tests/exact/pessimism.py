"""What pessimism about unseen joint actions is worth in random one-step games, of which the team has seen a part.

PYTHONPATH=tests python -m exact.pessimism 10
PYTHONPATH=tests python -m exact.pessimism 10 update.critic.steps.pessimistic_uncertainty.beta=0

Every run holds 8 games, one for each state: four agents with three options, whose 81 payoffs are independent normal
draws, so that what was not tried can only be guessed. Each game is played 40 times on average: offline all plays are
random, online half of them. The number of updates is the same.
"""

import itertools
import math
import sys
from typing import Any, NamedTuple

import torch
from exact import penalty_game
from torch import Tensor

import hetrl
from hetrl.ops.markov_game import MarkovGame

N_AGENTS, N_OPTIONS, N_STATES, N_PLAYS, N_UPDATES = 4, 3, 8, 320, 200
FIRST, HALF = N_PLAYS - N_STATES, N_PLAYS // 2  # as many environments as games
OVERRIDES = (
    f"task={{use: env/tabular_game, n_states: {N_STATES}, n_actions: {[N_OPTIONS] * N_AGENTS}, n_envs: {N_STATES}}}",
    "nets.actor={use: net/categorical_policy, per: agent, hidden: [], target: {tau: 0.05}}",
    "nets.q={use: net/joint_q, hidden: [64, 64], ensemble: 5, target: {tau: 0.05}}",
    "update.critic.optim.lr=0.01",
    "update.actors.optim.lr=0.4",
    "nets.alpha.initial=0.2",
    "update.actors.order.of=agent",
    f"update.actors.every={N_UPDATES // 10}",
    f"run={{frames: {N_PLAYS}, device: cpu, threads: 1}}",
)
"""Ten sweeps with bold steps: ``exact`` tries 81 joint actions in each of four turns."""

DATA = {
    "offline": {"warmup": FIRST, "updates": N_UPDATES},  # the last 8 are the untrained policies'
    "online": {"warmup": HALF, "updates": N_UPDATES * N_STATES // HALF},
}


class Cell(NamedTuple):
    """What differs between runs."""

    data: str
    completion: str
    ensemble: str
    """What the ensemble says of a joint action: its ``min`` or its ``mean``."""
    coef: float
    """Of the pessimistic loss."""


CELLS = [Cell(*each) for each in itertools.product(DATA, ("greedy", "refine", "exact"), ("min", "mean"), (0.0, 0.1))]


def recipe(cell: Cell, seed: int, *overrides: str) -> hetrl.Recipe:
    """Return the recipe of a run. Nothing follows a play (``gamma`` 0), so the ensemble counts where actors ask it."""
    tree: dict[str, Any] = hetrl.load("omdpg_discrete").tree
    tree["data"] = {"use": "data/replay", "capacity": N_PLAYS, "batch": 64, "n_step": 1, "gamma": 0, **DATA[cell.data]}
    return hetrl.load(
        tree, *OVERRIDES, f"run.seed={seed}", f"task.game_seed={seed}",
        f"update.critic.steps.pessimistic_uncertainty.coef={cell.coef}",
        f"update.actors.steps.optimal_marginal_q.completion={cell.completion}",
        f"update.actors.steps.optimal_marginal_q.keys={{value: q.{cell.ensemble}}}",
        *overrides,
    )  # fmt: skip


def payoffs(seed: int) -> Tensor:
    """Return what every joint action is worth in every game, ``[S, A_1, ..., A_n]`` [reward]."""
    made = MarkovGame.random(N_STATES, [N_OPTIONS] * N_AGENTS, 0.0, torch.Generator().manual_seed(seed))
    return made.reward.float()


@torch.no_grad()
def train(cell: Cell, seed: int, *overrides: str) -> tuple[float, float]:
    """Train a team; return the mean payoff over games of everybody's likeliest options, and what its critic says."""
    module, data = recipe(cell, seed, *overrides).build()
    with torch.enable_grad():
        penalty_game.run(module, data)
    seen = torch.eye(N_STATES)
    options = torch.arange(N_OPTIONS).view(-1, 1, 1).expand(-1, N_STATES, 1)
    policies = [module.linked.policy((agent,)) for agent in module.linked.team.agents]
    chosen = [policy.log_prob(seen.expand(N_OPTIONS, -1, -1), options)["log_prob"].argmax(0) for policy in policies]
    (critic,) = module.linked.nets["q"].values()
    one_hot = tuple(torch.nn.functional.one_hot(each, N_OPTIONS).float() for each in chosen)
    said = getattr(critic, cell.ensemble)(seen.repeat(1, N_AGENTS), one_hot)["q"]
    return payoffs(seed)[torch.arange(N_STATES), *chosen].mean().item(), said.mean().item()


def error(values: Tensor) -> float:
    """Return the standard error of the mean over seeds."""
    return values.std().item() / math.sqrt(len(values))


def main() -> None:
    """Print each run, seed by seed, then every cell's payoff, what its critic said, and what the loss changed."""
    n_seeds, overrides = int(sys.argv[1]), sys.argv[2:]
    found: dict[Cell, list[tuple[float, float]]] = {cell: [] for cell in CELLS}
    for seed, cell in itertools.product(range(n_seeds), CELLS):
        found[cell].append(train(cell, seed, *overrides))
        print(seed, *cell, *(f"{each:.3f}" for each in found[cell][-1]), flush=True)
    best = torch.stack([payoffs(seed).flatten(1).amax(1).mean() for seed in range(n_seeds)])
    print(f"the best joint actions: {best.mean():.2f}")
    for cell in CELLS:
        got, said = torch.tensor(found[cell]).T
        line = f"{got.mean():.2f} +- {error(got):.2f}, said {said.mean():.2f}"
        if cell.coef:
            gain = got - torch.tensor(found[cell._replace(coef=0.0)])[:, 0]
            line += f", the loss changes {gain.mean():+.2f} +- {error(gain):.2f}"
        print(*cell, line)


if __name__ == "__main__":
    main()
