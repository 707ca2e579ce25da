"""What collection needs of an environment, and what the checker needs of its class."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from hetrl.team import Grouped, Team


class Environment(Protocol):
    """An entry of ``env/``: vectorised environments as plain tensors, by layout group (see ``env/team_env``).

    Its constructor takes keyword-only arguments, among them ``n_envs`` (with a default), ``seed`` and ``device``, which
    the run fills in.
    """

    team: Team
    masks: Mapping[str, Grouped]
    """Word -> layout group -> mask of the present step: ``action_mask``, ``active``; see ``env/transition``."""

    @staticmethod
    @abstractmethod
    def provides(arguments: Mapping[str, Any]) -> list[str]:
        """Return the keys that a step writes, given the task's arguments; asked of the class, nothing is built."""

    @classmethod
    def check_arguments(cls, arguments: Mapping[str, Any]) -> None:
        """Refuse arguments that do not go together, before anything is built; nothing, unless overridden.

        Raises:
            RecipeError: with what to write instead.
        """

    @abstractmethod
    def start(self) -> dict[str, Tensor]:
        """Reset every environment and return observations ``[N, n, F]``."""

    @abstractmethod
    def advance(self, actions: dict[str, Tensor]) -> Any:
        """Take one step, a ``Transition``; finished environments are reset inside."""

    @abstractmethod
    def frame(self, row: int = 0) -> np.ndarray:
        """Draw one environment as it is now, ``[H, W, 3]`` uint8; for videos only."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Everything an exact continuation needs, as tensors and primitives."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state."""


def repeats(env: Any) -> bool:
    """Return whether an environment's state brings back the episodes under way.

    One that says ``repeats = False`` is to be started after it has loaded a state: hardware, say, or a server.
    """
    return bool(getattr(env, "repeats", True))


def trusted(env: Any) -> bool:
    """Tell an environment that it need not ask at each step what it may find out at the end; return whether it does so.

    One that has ``trust()`` and ``held()`` is asked by the second, later, whether all steps since were right. Where
    they were not, it is given its state from before, and takes them again.
    """
    return bool(env.trust()) if hasattr(env, "trust") else False


def close(env: Any) -> None:
    """Close an environment that can be closed, and is not yet."""
    if hasattr(env, "close") and not getattr(env, "is_closed", False):
        env.close()


@contextmanager
def used(env: Any) -> Iterator[Any]:
    """Close an environment that was made for this alone, whatever happens."""
    try:
        yield env
    finally:
        close(env)
