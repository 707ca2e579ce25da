"""Evaluation: one episode in each environment, with the deterministic policies."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from hetrl.data.behaviour import Actions, forgotten
from hetrl.data.environment import Environment
from hetrl.data.intake import Intake, Steps
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

    Raises:
        DivergenceError: a policy or the environment gave a number that is not finite; see ``data/intake``.
    """
    observation, masks = env.start(), env.masks
    intake = Intake(env.team, "evaluation")
    intake.start(observation)
    memory = behaviour.blank(observation)
    first = next(iter(observation.values()))
    returns, lengths, ages = (torch.zeros(first.shape[0], device=first.device) for _ in range(3))
    running = torch.ones_like(returns, dtype=torch.bool)
    behaviour.refresh()
    while running.any():  # an evaluation may wait for the device; training may not
        if watch is not None and running[0]:
            watch(env, int(lengths[0]), returns[0].item())
        action: Actions = {}
        try:
            memory = behaviour.remember(observation, memory)
            action = behaviour.greedy({**observation, **memory}, masks.get("action_mask", {}))
            moved = env.advance(action)
        except Exception:
            intake.explain(_step(observation=observation, action=action), ages)
            raise
        end = {"terminated": moved.terminated, "truncated": moved.truncated}
        step = _step(action=action, reward=moved.reward, next_observation=moved.next_observation, end=end)
        intake.look(step, moved.observation, ages)
        returns += torch.where(running, env.team.reward(moved.reward, reward), 0.0)
        lengths += running
        done = moved.terminated | moved.truncated
        running &= ~done
        ages = (ages + 1).masked_fill(done, 0.0)
        observation, masks = moved.observation, moved.masks
        memory = forgotten(memory, moved.terminated, moved.truncated)
    return Episodes(returns, lengths)


def _step(**words: Grouped) -> Steps:
    """Return a single step as the intake takes it."""
    return {(word, group): [value] for word, parts in words.items() for group, value in parts.items()}
