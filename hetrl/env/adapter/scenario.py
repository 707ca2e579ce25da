"""What a scenario of VMAS that somebody else wrote gives at its first step, looked over before it is used."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hetrl.errors import RecipeError

_N_ENVS = 2


def look_over(simulator: Any, name: str) -> None:
    """Refuse rewards, observations and ends that are not one for each environment.

    VMAS leaves their shapes to the scenario, and torch would say far from there that two sizes differ.

    Args:
        simulator: of the scenario, with two environments and a step behind it.
        name: of the scenario.

    Raises:
        RecipeError: with what it gives, and what it has to.
    """
    n_envs, scenario = _N_ENVS, simulator.scenario
    for agent in simulator.agents:
        reward = scenario.reward(agent)
        if not isinstance(reward, Tensor) or tuple(reward.shape) not in ((n_envs,), (n_envs, 1)):
            raise _wrong(name, f"reward of '{agent.name}'", reward, f"[{n_envs}]")
        for part in _parts(scenario.observation(agent)):
            if not isinstance(part, Tensor) or part.ndim < 2 or len(part) != n_envs:
                raise _wrong(name, f"observation of '{agent.name}'", part, f"[{n_envs}, F]")
    done = scenario.done()
    if not isinstance(done, Tensor) or tuple(done.shape) != (n_envs,) or done.dtype != torch.bool:
        raise _wrong(name, "done()", done, f"[{n_envs}] of bools")


def _parts(observation: Any) -> list[Any]:
    if isinstance(observation, Mapping):
        return [part for value in observation.values() for part in _parts(value)]
    return [observation]


def _wrong(name: str, what: str, found: Any, wanted: str) -> RecipeError:
    given = (
        f"a tensor {list(found.shape)} of {found.dtype}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
    )
    return RecipeError(
        f"task: scenario '{name}': its {what} is {given}; with two environments it has to be a tensor {wanted}, one "
        "for each."
    )
