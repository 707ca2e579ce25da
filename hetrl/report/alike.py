"""Who behaves alike: sharing groups learned from a run in which every agent had parameters of its own."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hetrl.data.behaviour import Behaviour
from hetrl.data.environment import used
from hetrl.engine.linked import Linked
from hetrl.errors import RunError
from hetrl.runs.restored import restored
from hetrl.team import Box, Discrete

_MOST = 4096
"""Observations on which policies are compared."""


@dataclass(frozen=True)
class Alike:
    """Distances of behaviour within each layout group, and the groups that a threshold makes of them."""

    distances: dict[str, tuple[tuple[str, ...], Tensor]]
    """Layout group -> its agents' names, and ``[n, n]``; see :func:`distance`."""
    groups: dict[str, list[str]]
    """Sharing group -> its agents."""
    models: dict[str, str]
    """Sharing group -> the agent that is nearest to all of them."""

    @property
    def override(self) -> str:
        """The groups as a recipe's override."""
        groups = ", ".join(f"{name}: [{', '.join(members)}]" for name, members in self.groups.items())
        return f"task.groups={{{groups}}}"


def alike(run: Path, threshold: float, n_episodes: int = 16) -> Alike:
    """Group the agents of a run by what their policies do.

    Each agent begins as a group of its own. The two nearest groups of one layout group are merged, as long as the mean
    distance between their members is at most ``threshold``. Policies are compared by what they would do
    deterministically (where actions are discrete, by the probabilities of the options, without masks), not by how much
    they explore. Agents that share a policy already are 0 apart, and stay together.

    Args:
        run: the folder of a run.
        threshold: see :func:`distance`.
        n_episodes: evaluation episodes whose observations are compared on.

    Raises:
        RunError: the run's policies are recurrent, or shared already, or their actions have no bounds; or the threshold
            is no number of at least 0.
    """
    if not threshold >= 0:
        raise RunError(f"--threshold = {threshold} must be a number of at least 0.")
    _, linked, env = restored(run, f"run.n_eval_episodes={n_episodes}")
    with used(env):
        _refuse_shared(run, linked)
        seen = _observations(env, Behaviour(linked.team, linked.policy))
    distances: dict[str, tuple[tuple[str, ...], Tensor]] = {}
    groups: dict[str, list[str]] = {}
    models: dict[str, str] = {}
    for group, agents in linked.team.layout.items():
        space = agents[0].action
        if isinstance(space, Box) and not space.bounded:
            raise RunError(f"{run}: the actions of '{group}' have no bounds, in halves of which policies are compared.")
        acted = [_acted(space, linked.policy((agent,)), seen[group]) for agent in agents]
        each = torch.tensor([[distance(space, one, other) for other in acted] for one in acted])
        names = tuple(agent.name for agent in agents)
        distances[group] = names, each
        for number, members in enumerate(_merged(each, threshold)):
            groups[f"{group}_group_{number}"] = [names[member] for member in members]
            models[f"{group}_group_{number}"] = names[members[int(each[members][:, members].mean(1).argmin())]]
    return Alike(distances, groups, models)


def _refuse_shared(run: Path, linked: Linked) -> None:
    """Refuse a run in which each layout group has one policy already."""
    policies = {(agent.group, linked.policy((agent,))) for agent in linked.team.agents}
    if linked.plan.per[linked.plan.policy] != "agent" and len(policies) == len(linked.team.layout):
        raise RunError(f"{run}: its policies are shared already; train with nets.{linked.plan.policy}.per=agent.")


def distance(space: Box | Discrete, one: Tensor, other: Tensor) -> float:
    """Return how differently two agents would act on the same observations.

    sqrt mean ((a - b) / half the range)^2  where continuous,   mean total variation  where discrete

    Args:
        space: of their actions.
        one: an agent's actions, or probabilities of its options (those of several choices side by side), ``[M, A]``.
        other: the same of another agent.

    Returns:
        0 where they do the same, up to 2 (opposite ends of the range) or 1 (never the same option).
    """
    if isinstance(space, Discrete):
        return float((one - other).abs().sum(-1).mean() / 2 / len(space.choices))
    half = (torch.tensor(space.high) - torch.tensor(space.low)) / 2
    return float(((one - other) / half).square().mean().sqrt())


@torch.no_grad()
def _observations(env: Any, behaviour: Behaviour) -> dict[str, Tensor]:
    """Return what the agents of each layout group see in their first episodes, pooled, ``[M, F]``."""
    observation, masks = env.start(), env.masks
    memory = behaviour.blank(observation)
    if memory:
        raise RunError("the run's policies are recurrent: what they do is no function of what they see at once.")
    running = torch.ones(env.n_envs, dtype=torch.bool)
    found: dict[str, list[Tensor]] = {group: [] for group in env.team.layout}
    while running.any():
        for group, values in found.items():
            values.append(observation[group][running].flatten(0, 1))
        moved = env.advance(behaviour.greedy(observation, masks.get("action_mask", {})))
        running &= ~(moved.terminated | moved.truncated).cpu()
        observation, masks = moved.observation, moved.masks
    pooled = {group: torch.cat(values) for group, values in found.items()}
    generator = torch.Generator().manual_seed(0)
    return {group: all_[torch.randperm(len(all_), generator=generator)[:_MOST]] for group, all_ in pooled.items()}


@torch.no_grad()
def _acted(space: Box | Discrete, policy: Any, seen: Tensor) -> Tensor:
    """Return what an agent would do, as :func:`distance` wants it."""
    if isinstance(space, Box):  # a policy without bounds of its own is held to the box by the environment
        return policy.greedy(seen).cpu().clamp(torch.tensor(space.low), torch.tensor(space.high))
    logits = policy.distribution(seen)["distribution"].cpu()
    return torch.cat([part.softmax(-1) for part in logits.split(list(space.choices), -1)], -1)


def _merged(distances: Tensor, threshold: float) -> list[list[int]]:
    """Merge the nearest two groups while their mean distance is at most the threshold."""
    groups = [[member] for member in range(len(distances))]
    while len(groups) > 1:
        pairs = [(i, j) for i in range(len(groups)) for j in range(i)]
        near = {pair: float(distances[groups[pair[0]]][:, groups[pair[1]]].mean()) for pair in pairs}
        later, earlier = min(near, key=lambda pair: near[pair])
        if near[later, earlier] > threshold:
            break
        groups[earlier] += groups.pop(later)
    return groups
