"""Two continuous games with two good actions each, trained; and the picture of docs/details/haqo_two_modes.md.

PYTHONPATH=tests python -m exact.two_modes docs/img
"""

import logging
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import lightning as L
import torch
from torch import Tensor

import hetrl
from hetrl import catalog
from hetrl.env.team_env import Grouped, Reward, TeamEnv
from hetrl.net.deterministic_policy import DeterministicPolicy
from hetrl.net.joint_q import JointQ
from hetrl.network import Network, mode
from hetrl.team import Agent, Box, Team

MODE, WIDTH = 0.6, 0.2
Payoff = Literal["either", "same", "split"]


def payoff(kind: Payoff, one: Tensor, other: Tensor) -> Tensor:
    """Return what a pair of actions is worth, 0 to 1.

    With e(a, m) = exp(-(a - m)^2 / (2 0.2^2)), modes at m = -0.6 and 0.6: *either*, the mean over agents of
    max_m e(a_i, m), so that all four pairs of modes are worth 1; *same*, max_m e(a_1, m) e(a_2, m), so that the two
    pairs of equal ones are, and the two others 0; *split*, max_m e(a_1, m) e(a_2, -m), the two others.
    """
    modes = torch.tensor([-MODE, MODE])
    near = [(-(action.unsqueeze(-1) - modes).square() / (2 * WIDTH**2)).exp() for action in (one, other)]
    if kind == "either":
        return (near[0].amax(-1) + near[1].amax(-1)) / 2
    return (near[0] * (near[1] if kind == "same" else near[1].flip(-1))).amax(-1)


class TwoModes(TeamEnv):
    """One step, two agents, an action within -1 and 1 each; every agent sees the constant 1 and earns the payoff."""

    def __init__(
        self, *, payoff: Payoff, n_envs: int = 16, reward: Reward = "mean", seed: int = 0, device: str = "cpu"
    ) -> None:
        super().__init__(n_envs=n_envs, horizon=1, reward=reward, device=device)
        self._payoff = payoff
        agents = tuple(Agent(f"agent_{i}", "agents", i, 1, Box((-1.0,), (1.0,)), "agents") for i in range(2))
        self.team = Team(agents, state_size=2)
        self._make_specs()

    @classmethod
    def check_arguments(cls, arguments: Mapping[str, Any]) -> None:
        """All are right."""

    def start(self) -> Grouped:
        self._observation = {"agents": torch.ones(self.n_envs, 2, 1)}
        return self._observation

    def _simulate(self, actions: Mapping[str, Tensor]) -> tuple[Grouped, Grouped, Tensor, Tensor]:
        earned = payoff(self._payoff, *actions["agents"].clamp(-1, 1).squeeze(-1).unbind(-1))
        over = torch.ones(self.n_envs, dtype=torch.bool)
        return self.start(), {"agents": earned.unsqueeze(-1).repeat(1, 2)}, over, ~over

    def _reset_rows(self, rows: Tensor) -> Grouped:
        return self._observation

    def seed(self, seed: int) -> None:
        """Nothing is random."""

    def state_dict(self, *_: Any, **__: Any) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any], *_: Any, **__: Any) -> None:
        self.start()


class ExactQ(JointQ):
    """The payoff in place of what a critic has learned of it."""

    def __init__(self, agent: Agent, team: Team, *, payoff: Payoff) -> None:
        super().__init__(agent, team, hidden=[], ensemble=1)
        self._payoff = payoff

    @classmethod
    def trainable(cls, arguments: Mapping[str, Any]) -> bool:
        return False

    def _members(self, state: Tensor, action: tuple[Tensor, ...]) -> Tensor:
        return payoff(self._payoff, *(each.squeeze(-1) for each in action)).unsqueeze(0)


class Anywhere(Network):
    """Candidates from all over the box, whatever the policy."""

    def __init__(self, agent: Agent, team: Team) -> None:
        super().__init__()

    @classmethod
    def trainable(cls, arguments: Mapping[str, Any]) -> bool:
        return False

    @mode(reads={"observation": "agent.observation"}, writes={"candidates": "agent.candidates"}, learned=False)
    def candidates(self, observation: Tensor, *, n: int = 8) -> dict[str, Tensor]:
        return {"candidates": torch.rand(*observation.shape[:-1], n, 1) * 2 - 1}


# ----- training

ENTRIES = {"env/two_modes": f"{__name__}:TwoModes", "net/exact_q": f"{__name__}:ExactQ",
           "net/anywhere": f"{__name__}:Anywhere"}  # fmt: skip
N_ENVS, WARMUP, BATCH = 16, 1024, 128


def recipe(
    name: str, kind: Payoff, exact: bool, n_sweeps: int, *overrides: str, seed: int = 0, anywhere: bool = False
) -> hetrl.Recipe:
    """Return a shipped recipe on a game, with smaller networks and batches.

    Args:
        name: of the recipe.
        kind: the game.
        exact: the payoff itself in place of a learned critic: the phases that train policies, and no others.
        n_sweeps: how many times every agent has its turn.
        overrides: beside those that all runs share.
        seed: of everything.
        anywhere: candidates from all over the box in place of the policy's own.
    """
    tree = hetrl.load(name).tree
    collections = n_sweeps
    actors = next(phase for phase in tree["update"] if phase["train"] == "actor")
    if anywhere:
        tree["nets"]["anywhere"] = {"use": "net/anywhere"}
        (own,) = (step for step in actors["prepare"] if step.get("net") == "actor.candidates")
        own["net"] = "anywhere.candidates"
    if exact:
        tree["update"] = [actors]
        tree["nets"]["q"] = {"use": "net/exact_q", "payoff": kind}
        tree["nets"].pop("alpha_joint", None)
        if "alpha" in tree["nets"]:
            tree["nets"]["alpha"]["fixed"] = True
        if not any(str(step.get("net")).startswith("actor.target") for step in actors.get("prepare", [])):
            tree["nets"]["actor"].pop("target", None)
        actors["every"] = 1
    else:
        tree["nets"]["q"]["hidden"] = [64, 64]
        collections *= actors.get("every", 1)
    return hetrl.load(
        tree,
        f"task={{use: env/two_modes, payoff: {kind}, n_envs: {N_ENVS}}}",
        "nets.actor.hidden=[64, 64]",
        f"data.batch={BATCH}", f"data.warmup={WARMUP}", "data.n_step=1",
        f"run={{frames: {WARMUP + N_ENVS * collections}, seed: {seed}, device: cpu, threads: 1}}",
        *overrides,
    )  # fmt: skip


def train(loaded: hetrl.Recipe, *callbacks: L.Callback) -> L.LightningModule:
    """Train a recipe to its end and return the module."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with mock.patch.dict(catalog.BUILT_IN, ENTRIES), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice for other kinds of training
        module, data = loaded.build()
        L.Trainer(
            max_epochs=1, accelerator="cpu", logger=False, callbacks=list(callbacks), enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False,
        ).fit(module, data)  # fmt: skip
    return module


@torch.no_grad()
def drawn(module: L.LightningModule, count: int = 4096) -> Tensor:
    """Return ``count`` actions of each agent, drawn by itself, ``[2, count]``; a deterministic one's without noise."""
    generator, found = torch.Generator().manual_seed(0), []
    for agent in module.linked.team.agents:
        policy, seen = module.linked.policy((agent,)), torch.ones(count, 1)
        explores = isinstance(policy, DeterministicPolicy)  # what it draws is its action and noise beside it
        actions = policy.greedy(seen) if explores else policy.draw(seen, policy.noise((count,), generator))
        found.append(actions.squeeze(-1))
    return torch.stack(found)


@torch.no_grad()
def deterministic(module: L.LightningModule, latent: float | None = None) -> list[float]:
    """Return each agent's deterministic action; of a diffusion policy from another latent, where one is given."""
    found = []
    for agent in module.linked.team.agents:
        policy = module.linked.policy((agent,))
        kept = getattr(policy, "latent", None)
        if latent is not None:
            policy.latent = latent
        found.append(policy.greedy(torch.ones(1, 1)).item())
        if latent is not None:
            policy.latent = kept
    return found


def masses(actions: Tensor) -> Tensor:
    """Return the share of actions ``[..., count]`` within 0.3 of -0.6, of 0 and of 0.6, ``[..., 3]``: all of the box
    but its ends."""
    places = torch.tensor([-MODE, 0.0, MODE])
    return ((actions.unsqueeze(-1) - places).abs() < MODE / 2).float().mean(-2)


def worth(kind: Payoff, actions: Tensor, count: int = 2048) -> float:
    """Return what a game is worth to agents that draw ``actions`` ``[2, ...]``, each by itself: the mean of all pairs
    of the first ``count``."""
    one, other = actions[:, :count]
    return payoff(kind, one.unsqueeze(-1), other).mean().item()


# ----- the picture

FASTER = ("update.actors.optim.lr=2e-3",)
ANSWERS = tuple(f"update.actors.{part}.0.net=actor.act" for part in ("before", "after"))
"""Candidates are valued with what the others would do, not with what they draw."""
N_SWEEPS, N_SEEDS = 500, 3
WAYS: dict[str, tuple[str, bool, tuple[str, ...]]] = {
    "HADDPG": ("haddpg", False, FASTER),
    "HASAC": ("hasac", False, FASTER),
    "HAQO, its own candidates": ("haqo", False, FASTER),
    "HAQO, candidates from anywhere": ("haqo", True, FASTER),
}
"""What it is called -> recipe, whether candidates are from anywhere, overrides. All with the payoff for a critic."""


def played(way: str, kind: Payoff, seed: int) -> Tensor:
    """Train one way and return the actions that its policies draw, ``[2, count]``."""
    name, anywhere, overrides = WAYS[way]
    return drawn(train(recipe(name, kind, True, N_SWEEPS, *overrides, seed=seed, anywhere=anywhere)))


def draw(found: Mapping[tuple[str, Payoff], Tensor], path: Path) -> Path:
    """Draw the densities of joint actions, the first seed of each way and game."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    kinds: Sequence[Payoff] = ("either", "same")
    figure, axes = plt.subplots(
        2, 1 + len(WAYS), figsize=(3 * (1 + len(WAYS)), 6.2), sharex=True, sharey=True, layout="constrained"
    )
    grid = torch.linspace(-1, 1, 101)
    for row, kind in zip(axes, kinds, strict=True):
        row[0].imshow(payoff(kind, *torch.meshgrid(grid, grid, indexing="xy")), extent=(-1, 1, -1, 1), origin="lower")
        row[0].set(title=f"payoff, {kind}", ylabel="second agent's action")
        for axis, way in zip(row[1:], WAYS, strict=True):
            actions = found[way, kind][0]
            axis.hist2d(*actions.numpy(), bins=41, range=[[-1.025, 1.025]] * 2, cmap="magma_r", cmin=1)
            if (actions.std(-1) < 0.01).all():
                axis.scatter(*actions[:, 0].tolist(), color="black", s=40)  # one cell would not be seen
            axis.set(title=f"{way}\nworth {payoff(kind, *actions).mean():.2f}", aspect="equal")
            for mode_ in (-MODE, MODE):
                axis.axhline(mode_, color="grey", linewidth=0.5, linestyle=":")
                axis.axvline(mode_, color="grey", linewidth=0.5, linestyle=":")
    for axis in axes[-1]:
        axis.set_xlabel("first agent's action")
    figure.savefig(path, dpi=90)
    plt.close(figure)
    return path


def main() -> None:
    """Print what share of its actions each agent has at -0.6, at 0 and at 0.6, and draw the first seed's."""
    found: dict[tuple[str, Payoff], Tensor] = {}
    for kind in ("either", "same"):
        for way in WAYS:
            found[way, kind] = torch.stack([played(way, kind, seed) for seed in range(N_SEEDS)])
            for seed, actions in enumerate(found[way, kind]):
                shares = " ".join(" ".join(f"{share:.2f}" for share in agent) + "," for agent in masses(actions))
                print(f"{kind}, {way}, seed {seed}: {shares} worth {payoff(kind, *actions).mean():.2f}", flush=True)
    print(draw(found, Path(sys.argv[1]) / "two_modes.png"))


if __name__ == "__main__":
    main()
