"""Evaluation: one episode in each environment, with the deterministic policies."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from hetrl.data.behaviour import Actions, forgotten
from hetrl.data.environment import Environment
from hetrl.team import Grouped

Watch = Callable[[Environment, int, float], None]
"""Called before every step of environment 0's episode: the environments, the step's number, the return so far."""


class Acting(Protocol):
    """Who acts: :class:`~hetrl.data.behaviour.Behaviour`, or somebody in front of one."""

    def refresh(self) -> None:
        """Take the policies' current weights."""

    def blank(self, observations: Grouped) -> dict[str, Tensor]:
        """Return memories of nothing; called once, with what is seen first."""

    def remember(self, observations: Grouped, memories: Grouped) -> dict[str, Tensor]:
        """Return the memories after a step; called before every action, with what is seen."""

    def greedy(self, observations: Grouped, action_masks: Grouped) -> Actions:
        """Return deterministic actions; a memory, where there is one, stands in place of what is seen."""


@dataclass(frozen=True)
class Episodes:
    """What each evaluation episode came to, ``[N]``."""

    returns: Tensor
    lengths: Tensor


def evaluate(env: Environment, behaviour: Acting, reward: str, watch: Watch | None = None) -> Episodes:
    """Run every environment from a reset to the end of its first episode.

    Args:
        env: the evaluation environments, of their own; the training ones are not touched.
        behaviour: who acts, greedily.
        reward: ``sum`` adds the agents' rewards; otherwise their mean is taken.
        watch: who looks on, see :data:`Watch`.

    Returns:
        Undiscounted returns [reward] and lengths [step].
    """
    observation, masks = env.start(), env.masks
    memory = behaviour.blank(observation)
    first = next(iter(observation.values()))
    returns, lengths = (torch.zeros(first.shape[0], device=first.device) for _ in range(2))
    running = torch.ones_like(returns, dtype=torch.bool)
    behaviour.refresh()
    while running.any():  # an evaluation may wait for the device; training may not
        if watch is not None and running[0]:
            watch(env, int(lengths[0]), returns[0].item())
        memory = behaviour.remember(observation, memory)
        moved = env.advance(behaviour.greedy({**observation, **memory}, masks.get("action_mask", {})))
        returns += torch.where(running, env.team.reward(moved.reward, reward), 0.0)
        lengths += running
        running &= ~(moved.terminated | moved.truncated)
        observation, masks = moved.observation, moved.masks
        memory = forgotten(memory, moved.terminated, moved.truncated)
    return Episodes(returns, lengths)
