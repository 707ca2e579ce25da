"""The penalty game for learners that ask what their action is worth if the later agents answer best."""

from typing import Any

from exact import penalty_game
from exact.quantal_response import BATCH, N_COLLECTIONS, N_ENVS, WARMUP
from torch import Tensor

import hetrl

OVERRIDES = (
    f"task={{use: env/matrix_game, payoff: penalty, n_envs: {N_ENVS}}}",
    "nets.actor={use: net/categorical_policy, per: agent, hidden: [], target: {tau: 0.005}, "
    f"initial_probs: {list(penalty_game.START)}}}",
    "nets.q.hidden=[64]",
    f"data={{use: data/replay, capacity: 100_000, batch: {BATCH}, warmup: {WARMUP}, n_step: 1, updates: 2}}",
    "update.critic.optim.lr={linear: [0.02, 0.0]}",
    "update.actors.optim.lr={linear: [0.05, 0.0]}",
    "update.actors.order.of=agent",
)


def train(completion: str, prefix: str = "proposal", n_collections: int = N_COLLECTIONS) -> tuple[Tensor, Any]:
    """Train with a completion and a prefix; return probabilities, collections by agents by actions, and the joint Q."""
    module, data = hetrl.load(
        "omdpg_discrete",
        *OVERRIDES,
        f"update.actors.steps.1.completion={completion}",
        f"update.actors.steps.1.prefix={prefix}",
        f"run={{frames: {WARMUP + N_ENVS * n_collections}, device: cpu, threads: 1}}",
    ).build()
    (critic,) = module.linked.nets["q"].values()
    return penalty_game.fit(module, data), critic
