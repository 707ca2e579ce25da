"""Agents of one network that have to part: a chain beside a Gaussian, and how a chain makes actions out of noise.

PYTHONPATH=tests python -m exact.split docs/img
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import lightning as L
import torch
from exact.two_modes import MODE, drawn, payoff, recipe, train, worth
from torch import Tensor

N_SWEEPS = 1000
NAMES = ("chain_hasac", "hasac")


def trained(name: str, seed: int = 0) -> L.LightningModule:
    """Train a recipe on *split*, one policy for both agents and a learned critic."""
    return train(recipe(name, "split", False, N_SWEEPS, "nets.actor.per=team", seed=seed))


@torch.no_grad()
def points(module: L.LightningModule, count: int = 4096) -> Tensor:
    """Return the points of ``count`` chains from noise to action, squashed as actions are, ``[S + 1, count]``."""
    policy, generator = module.linked.policy((module.linked.team.agents[0],)), torch.Generator().manual_seed(0)
    noise = policy.noise((count,), generator)
    seen = policy.body.seen(torch.ones(count, 1))
    found = [noise[:, 0]]
    for draws, k in zip(noise[:, 1:].unbind(1), reversed(range(len(policy.rates))), strict=True):
        shift, raw = policy.body(seen[k], found[-1])
        rate = policy.rates[k]
        found.append((1 - rate) ** 0.5 * found[-1] + shift + rate**0.5 * raw.exp() * draws)
    return torch.tanh(torch.stack(found)).squeeze(-1)


def draw_pairs(found: Mapping[str, Tensor], path: Path) -> Path:
    """Draw what is paid, and the densities of the pairs that policies draw."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 1 + len(found), figsize=(9, 3.5), sharey=True, layout="constrained")
    grid = torch.linspace(-1, 1, 101)
    axes[0].imshow(payoff("split", *torch.meshgrid(grid, grid, indexing="xy")), extent=(-1, 1, -1, 1), origin="lower")
    axes[0].set_title("what is paid", fontsize=15)
    axes[0].set_ylabel("second agent's action", fontsize=13)
    for axis, (name, actions) in zip(axes[1:], found.items(), strict=True):
        axis.hist2d(*actions.numpy(), bins=41, range=[[-1.025, 1.025]] * 2, cmap="magma_r", cmin=1)
        axis.set_title(f"{name}: {worth('split', actions):.2f}", fontsize=15)
        axis.set_aspect("equal")
    for axis in axes:
        axis.set_xlabel("first agent's action", fontsize=13)
        axis.tick_params(labelsize=12)
    figure.savefig(path, dpi=90)
    plt.close(figure)
    return path


def draw_steps(steps: Tensor, path: Path) -> Path:
    """Draw the densities of a chain's points, from noise to actions, in a row."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(steps), figsize=(10, 2.8), sharex=True, layout="constrained")
    for done, (axis, values) in enumerate(zip(axes, steps, strict=True)):
        axis.hist(values.numpy(), bins=41, range=(-1, 1), color="0.35")
        left = len(steps) - 1 - done
        axis.set_title("noise" if done == 0 else "action" if left == 0 else f"after step {done}", fontsize=16)
        axis.set_yticks([])
        axis.tick_params(labelsize=13)
        for place in (-MODE, MODE):
            axis.axvline(place, color="tab:red", linewidth=1, linestyle=":")
    figure.savefig(path, dpi=90)
    plt.close(figure)
    return path


def main() -> None:
    """Train both recipes with seed 0, print what they earn, and draw the two pictures."""
    import matplotlib

    matplotlib.use("Agg")
    folder = Path(sys.argv[1])
    modules = {name: trained(name) for name in NAMES}
    found = {name: drawn(module) for name, module in modules.items()}
    for name, actions in found.items():
        print(f"{name}: {worth('split', actions):.3f}")
    print(draw_pairs(found, folder / "soft_split.png"))
    print(draw_steps(points(modules["chain_hasac"]), folder / "soft_chain.png"))


if __name__ == "__main__":
    main()
