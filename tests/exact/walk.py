"""Agents of one network that have to part within a few steps, not at once.

PYTHONPATH=tests python -m exact.walk
"""

import logging
import warnings
from collections.abc import Mapping
from typing import Any
from unittest import mock

import lightning as L
import torch
from exact.two_modes import payoff
from torch import Tensor

import hetrl
from hetrl import catalog
from hetrl.env.team_env import Grouped, Reward, TeamEnv
from hetrl.team import Agent, Box, Team

N_ENVS, WARMUP, N_SWEEPS = 16, 1024, 1000


class Walk(TeamEnv):
    """Two agents on the line from -1 to 1 begin at 0, see where they are and how late it is, and move by -1 to 1 each
    step; the last step pays *split* of where they are then. With one step it is that game."""

    def __init__(
        self, *, steps: int, n_envs: int = N_ENVS, reward: Reward = "mean", seed: int = 0, device: str = "cpu"
    ) -> None:
        super().__init__(n_envs=n_envs, horizon=steps, reward=reward, device=device)
        agents = tuple(Agent(f"agent_{i}", "agents", i, 2, Box((-1.0,), (1.0,)), "agents") for i in range(2))
        self.team = Team(agents, state_size=4)
        self._make_specs()
        self.start()

    def start(self) -> Grouped:
        self._place, self._time = torch.zeros(self.n_envs, 2), 0
        return self._see()

    def _see(self) -> Grouped:
        self._observation = {"agents": seen(self._place, self._time / self.horizon)}
        return self._observation

    def _simulate(self, actions: Mapping[str, Tensor]) -> tuple[Grouped, Grouped, Tensor, Tensor]:
        self._place, self._time = moved(self._place, actions["agents"].squeeze(-1)), self._time + 1
        over = torch.full((self.n_envs,), self._time == self.horizon)
        earned = payoff("split", *self._place.unbind(-1)) * over
        return self._see(), {"agents": earned.unsqueeze(-1).repeat(1, 2)}, over, torch.zeros_like(over)

    def _reset_rows(self, rows: Tensor) -> Grouped:
        return self.start() if len(rows) else self._observation  # all end together

    def seed(self, seed: int) -> None:
        """Nothing is random."""

    def state_dict(self, *_: Any, **__: Any) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any], *_: Any, **__: Any) -> None:
        self.start()


def seen(place: Tensor, late: float) -> Tensor:
    """Return what agents at ``place`` ``[...]`` see, ``[..., 2]``."""
    return torch.stack([place, torch.full_like(place, late)], -1)


def moved(place: Tensor, action: Tensor) -> Tensor:
    """Return where an action leads."""
    return (place + action.clamp(-1, 1)).clamp(-1, 1)


def trained(name: str, steps: int, seed: int = 0) -> L.LightningModule:
    """Train a recipe with one policy for both agents and a learned critic, in ``N_SWEEPS`` updates."""
    tree = hetrl.load(name).tree
    tree["nets"]["q"]["hidden"] = [64, 64]
    loaded = hetrl.load(
        tree, f"task={{use: env/walk, steps: {steps}}}", "nets.actor.hidden=[64, 64]", "nets.actor.per=team",
        "data.batch=128", f"data.warmup={WARMUP}", "data.n_step=1",
        f"run={{frames: {WARMUP + N_ENVS * N_SWEEPS}, seed: {seed}, device: cpu, threads: 1}}",
    )  # fmt: skip
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with mock.patch.dict(catalog.BUILT_IN, {"env/walk": "exact.walk:Walk"}), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice for other kinds of training
        module, data = loaded.build()
        L.Trainer(
            max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False,
        ).fit(module, data)  # fmt: skip
    return module


@torch.no_grad()
def worth(module: L.LightningModule, steps: int, count: int = 4096) -> float:
    """Return what policies earn that draw their actions, each by itself, in ``count`` episodes."""
    generator, places = torch.Generator().manual_seed(0), torch.zeros(2, count)
    for time in range(steps):
        for agent, place in zip(module.linked.team.agents, places, strict=True):
            policy = module.linked.policy((agent,))
            drawn = policy.draw(seen(place, time / steps), policy.noise((count,), generator))
            place.copy_(moved(place, drawn.squeeze(-1)))
    return payoff("split", *places).mean().item()


def main() -> None:
    """Print what two recipes earn with one, two and three steps, three seeds each."""
    for name in ("hasac", "chain_hasac"):
        for steps in (1, 2, 3):
            found = [f"{worth(trained(name, steps, seed), steps):.3f}" for seed in range(3)]
            print(f"{name}, {steps} steps: {' '.join(found)}", flush=True)


if __name__ == "__main__":
    main()
