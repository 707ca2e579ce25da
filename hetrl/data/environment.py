"""What collection needs of an environment."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from hetrl.team import Grouped, Team


class Environment(Protocol):
    """Vectorised environments as plain tensors, by layout group (see ``env/team_env``)."""

    team: Team
    masks: Mapping[str, Grouped]
    """Word -> layout group -> mask of the present step: ``action_mask``, ``active``; see ``env/transition``."""

    def start(self) -> dict[str, Tensor]:
        """Reset every environment and return observations ``[N, n, F]``."""

    def advance(self, actions: dict[str, Tensor]) -> Any:
        """Take one step; finished environments are reset inside."""

    def frame(self, row: int = 0) -> np.ndarray:
        """Draw one environment as it is now, ``[H, W, 3]`` uint8; for videos only."""

    def state_dict(self) -> dict[str, Any]:
        """Everything an exact continuation needs."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
