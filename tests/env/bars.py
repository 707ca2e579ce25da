"""Agents who see pictures: is the bar in it upright or lying?"""

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from annotated_types import Ge
from torch import Tensor

from hetrl.arguments import Count, Seed, checked
from hetrl.env.team_env import Reward, TeamEnv
from hetrl.team import Discrete, Grouped, Team

LENGTH = 5
_NOISE = 40


class Bars(TeamEnv):
    """Every agent sees a bar anywhere in a noisy picture, says whether it is upright, and earns 1 if that is right.

    Who does not look earns 1/2 a step. Agents who see numbers see the answer, 1 or -1, and noise beside it.

    Args:
        side: of the pictures [pixel].
        eyes: agents who see pictures.
        others: agents who see numbers.
        scale: of that noise.
        n_envs: environments in the batch.
        horizon: steps of an episode.
        reward: the team's.
        seed: of the pictures.
        device: where they live.
    """

    def __init__(
        self,
        *,
        side: Count = 12,
        eyes: Annotated[int, Ge(0)] = 2,
        others: Annotated[int, Ge(0)] = 0,
        scale: float = 1.0,
        n_envs: Count = 16,
        horizon: Count = 8,
        reward: Reward = "mean",
        seed: Seed = 0,
        device: str = "cpu",
    ) -> None:
        super().__init__(n_envs=n_envs, horizon=horizon, reward=reward, device=device)
        self.side, self.scale = side, scale
        names = [*(f"eye_{index}" for index in range(eyes)), *(f"other_{index}" for index in range(others))]
        shapes, dtypes = [(side, side, 1)] * eyes + [3] * others, [torch.uint8] * eyes + [torch.float32] * others
        self.team = Team.of(names, shapes, [Discrete((2,))] * len(names), dtypes=dtypes)
        self._generator = torch.Generator(self.device).manual_seed(seed)
        self._upright = {group: torch.zeros(n_envs, len(agents)).bool() for group, agents in self.team.layout.items()}
        self._make_specs()

    __init__ = checked(__init__, "env/bars")

    def start(self) -> Grouped:
        """Begin every episode."""
        self._steps = torch.zeros_like(self._steps)
        return self._look()

    def _simulate(self, actions: Mapping[str, Tensor]) -> tuple[Grouped, Grouped, Tensor, Tensor]:
        reward = {
            group: (actions[group].squeeze(-1).bool() == upright).float() for group, upright in self._upright.items()
        }
        self._steps = self._steps + 1
        none = torch.zeros(self.n_envs, dtype=torch.bool)
        return self._look(), reward, none, self._steps >= self.horizon

    def _reset_rows(self, rows: Tensor) -> Grouped:
        self._steps[rows] = 0
        return self._observation

    def _look(self) -> Grouped:
        """Draw what everybody sees next."""
        self._upright = {
            group: torch.rand(self.n_envs, len(agents), generator=self._generator) < 0.5
            for group, agents in self.team.layout.items()
        }
        self._observation = {
            group: self._pictures(upright) if self.team.layout[group][0].observation_dtype == torch.uint8
            else self._numbers(upright)
            for group, upright in self._upright.items()
        }  # fmt: skip
        return self._observation

    def _pictures(self, upright: Tensor) -> Tensor:
        side, shape = self.side, upright.shape
        picture = torch.randint(_NOISE, (*shape, side, side), generator=self._generator)
        along = torch.randint(side - LENGTH + 1, shape, generator=self._generator)
        across = torch.randint(side, shape, generator=self._generator)
        place = torch.arange(side)
        on = ((place - along[..., None]) >= 0) & ((place - along[..., None]) < LENGTH)
        bar = on[..., :, None] & (place == across[..., None])[..., None, :]
        bar = torch.where(upright[..., None, None], bar, bar.mT)
        return torch.where(bar, 255 - picture, picture).to(torch.uint8).flatten(2)

    def _numbers(self, upright: Tensor) -> Tensor:
        noise = torch.randn(*upright.shape, 2, generator=self._generator)
        return torch.cat([upright[..., None] * 2.0 - 1, noise * self.scale], -1)

    def seed(self, seed: int) -> None:
        """Start the random stream afresh."""
        self._generator.manual_seed(seed)

    def state_dict(self, *_: Any, **__: Any) -> dict[str, Any]:
        """Everything that the next steps depend on."""
        return {
            "generator": self._generator.get_state(),
            "steps": self._steps.clone(),
            "upright": {group: value.clone() for group, value in self._upright.items()},
            "observation": {group: value.clone() for group, value in self._observation.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any], *_: Any, **__: Any) -> None:
        """Continue from a state."""
        self._generator.set_state(state["generator"].cpu())
        self._steps = state["steps"].clone()
        self._upright, self._observation = (
            {group: value.clone() for group, value in state[word].items()} for word in ("upright", "observation")
        )
