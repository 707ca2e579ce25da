"""The penalty game, trained from the published start; and the picture of docs/details/exact_games.md.

python tests/exact/penalty_game.py docs/img
"""

import logging
import sys
import warnings
from pathlib import Path

import lightning as L
import torch

import hetrl

START = (0.6, 0.2, 0.2)
N_ENVS, N_BATCHES, N_SEEDS = 128, 30, 5
OVERRIDES = (
    f"task={{use: env/matrix_game, payoff: penalty, n_envs: {N_ENVS}}}",
    f"nets.actor={{use: net/categorical_policy, per: agent, hidden: [], initial_probs: {list(START)}}}",
    "nets.value.hidden=[8]",
    f"data.frames={N_ENVS}",
    "update.actors.minibatches=1",
    "update.actors.optim.lr=0.02",
    f"run={{frames: {N_ENVS * N_BATCHES}, device: cpu, threads: 1}}",
)
"""One play in each environment is a batch. Both recipes learn at the same rate; each agent has its own parameters."""


class Watch(L.Callback):
    """Keeps every agent's probabilities, before training and after each batch."""

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Look before the first batch."""
        self.look(pl_module)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: object) -> None:
        """Look after every batch."""
        self.look(pl_module)

    @torch.no_grad()
    def look(self, module: L.LightningModule) -> None:
        """Take every agent's probability of each action, from its log-probs."""
        actions = torch.arange(len(START)).unsqueeze(-1)
        seen = torch.ones(len(START), 1)
        policies = [module.linked.policy((agent,)) for agent in module.linked.team.agents]
        self.seen.append(torch.stack([policy.log_prob(seen, actions)["log_prob"].exp() for policy in policies]))


def train(recipe: str, seed: int) -> torch.Tensor:
    """Train a recipe on the game and return probabilities, batches by agents by actions."""
    module, data = hetrl.load(recipe, *OVERRIDES, f"run.seed={seed}").build()
    return fit(module, data)


def fit(module: L.LightningModule, data: L.LightningDataModule) -> torch.Tensor:
    """Run a built recipe to its end and return probabilities, batches by agents by actions."""
    watch = Watch()
    run(module, data, watch)
    return torch.stack(watch.seen)


def run(module: L.LightningModule, data: L.LightningDataModule, *callbacks: L.Callback) -> None:
    """Run a built recipe to its end, and keep nothing."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice for other kinds of training
        L.Trainer(
            max_epochs=1, accelerator="cpu", logger=False, callbacks=[*callbacks], enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False,
        ).fit(module, data)  # fmt: skip


def main() -> None:
    """Draw how the probabilities go."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 3.8), sharey=True, layout="constrained")
    for axis, recipe in zip(axes, ("happo", "mappo"), strict=True):
        runs = torch.stack([train(recipe, seed) for seed in range(N_SEEDS)])
        print(recipe, "last probabilities of (A, A):", runs[:, -1, :, 0].prod(-1).tolist())
        plays = torch.arange(runs.shape[1]) * N_ENVS
        for action, name in enumerate("ABC"):
            each = runs[..., action].movedim(1, 0).flatten(1)  # a line for each seed and agent
            axis.plot(plays, each, color=f"C{action}", linewidth=0.7, alpha=0.5)
            style = ":" if name == "C" else "-"  # the other rarely chosen action lies right under it
            axis.plot(plays, each.mean(1), style, color=f"C{action}", linewidth=2.5, label=name)
        axis.set(title=recipe.upper(), xlabel="plays", ylim=(-0.02, 1.02))
        axis.grid(alpha=0.3)
    axes[0].set(ylabel="probability")
    axes[1].legend(loc="center right", title=f"mean of both agents, {N_SEEDS} seeds")
    path = Path(sys.argv[1]) / "penalty_game.png"
    figure.savefig(path, dpi=130)
    print(path)


if __name__ == "__main__":
    main()
