"""The terms of the bound: how a sweep changed the return, what the critic promised, and how far policies moved."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hetrl import rng
from hetrl.data.behaviour import Behaviour
from hetrl.engine.linked import Linked, SharedNetwork
from hetrl.engine.turns import in_rounds
from hetrl.ops.diffusion import path_kl
from hetrl.report.critic import MemberValues, critic_of, discount
from hetrl.report.rollout import Rollout, VisitedStates
from hetrl.team import Agent, Box, Team

_N_STATES = 256
"""States that gains, distances and covariances are averaged over."""
_DRAWS = 64
"""Actions drawn in each state for a covariance, for each of an action's entries."""
_FLOOR = 0.1
"""Least deviation of a diffusion policy's last step, as in ``loss/path_kl``."""


@dataclass(frozen=True)
class BeforeSweep:
    """Copies of what a sweep is going to change."""

    policy: SharedNetwork
    orders: Mapping[str, Any]
    """Phase -> a copy of its order, which draws the same order of the agents as the sweep will."""

    @classmethod
    def of(cls, linked: Linked) -> "BeforeSweep":
        """Copy them now."""
        policy: SharedNetwork = linked.nets[linked.plan.policy]  # type: ignore[assignment]
        return cls(copy.deepcopy(policy), {name: copy.deepcopy(order) for name, order in linked.orders.items()})


@torch.no_grad()
def measure(linked: Linked, before: BeforeSweep, device: torch.device, frames: int) -> dict[str, float]:
    """Return the figures, by name; see :class:`~hetrl.report.monitor.BoundMonitor`.

    Seeds the global generators; the caller puts them back.

    Args:
        linked: the recipe's modules after the sweep.
        before: what was kept of them before it.
        device: where the modules are.
        frames: of the run so far; the random draws are derived from it.
    """
    recipe, team = linked.recipe, linked.team
    seed = rng.derive(recipe.run.seed, "monitor", str(frames))
    rng.seed(seed)
    old, new = before.policy.of, linked.policy
    rollouts = [
        Rollout.of(recipe, Behaviour(team, policy), device, seed)  # type: ignore[arg-type]
        for policy in (old, new)
    ]
    change = rollouts[1].returns - rollouts[0].returns
    found = {"change": change.mean(), "change_error": change.std() / len(change) ** 0.5}
    states = rollouts[0].states(team, _N_STATES, torch.Generator(device).manual_seed(seed))
    generator = torch.Generator(device).manual_seed(seed)
    for agent in team.agents:
        found |= {
            f"{agent.name}/{name}": value
            for name, value in _of_agent(agent, old((agent,)), new((agent,)), states, generator).items()
        }
    critic = critic_of(linked)
    if critic is not None:
        found |= rollouts[1].bias(team, critic.values, discount(recipe))
        if critic.joint:
            found |= _gains(team, _rounds(linked, before), old, new, critic.values, states, seed)
    return {name: float(value) for name, value in found.items()}


def _drawn(policy: Any, seen: Tensor, mask: Tensor | None, generator: torch.Generator) -> Tensor:
    """Return an action of a policy in every state."""
    noise = policy.noise(seen.shape[:-1], generator)
    return policy.draw(seen, noise) if mask is None else policy.draw(seen, noise, mask)


def _of_agent(agent: Agent, old: Any, new: Any, states: VisitedStates, generator: torch.Generator) -> dict[str, Tensor]:
    """Return one agent's KL and the least eigenvalue of the covariance of its new policy's actions, where they exist.

    Args:
        agent: whose policies these are.
        old: its policy before the sweep.
        new: its policy after it.
        states: where both are compared.
        generator: draws the actions.
    """
    seen, mask = states.observation[agent.name], states.action_mask.get(agent.name)
    found: dict[str, Tensor] = {}
    given = {"observation": seen} | ({} if mask is None else {"action_mask": mask})
    if "kl" in new.modes:
        found["kl"] = new.kl(old_distribution=old.distribution(**given)["distribution"], **given)["kl"].mean()
    elif "path_error" in new.modes:
        path = old.path(seen)
        error = new.path_error(seen, path["path"], path["mean"], path["place"])["error"]
        found["kl"] = path_kl(error, path["std"], _FLOOR).mean()
    if isinstance(agent.action, Box) and agent.action.bounded:
        found["least_eigenvalue"] = _least_eigenvalue(agent.action, new, seen, generator)
    return found


def _least_eigenvalue(space: Box, policy: Any, seen: Tensor, generator: torch.Generator) -> Tensor:
    """Return the least eigenvalue of the covariance of a policy's actions, in halves of their range, over states."""
    low, high = (torch.tensor(each, device=seen.device) for each in (space.low, space.high))
    count = _DRAWS * space.size
    drawn = _drawn(policy, seen.unsqueeze(1).expand(-1, count, -1), None, generator)
    scaled = (drawn - low) * 2 / (high - low)
    centred = scaled - scaled.mean(1, keepdim=True)
    covariance = centred.mT @ centred / (count - 1)
    return torch.linalg.eigvalsh(covariance)[:, 0].mean()


def _rounds(linked: Linked, before: BeforeSweep) -> list[int]:
    """Return the round in which each agent is updated; one after the other where nothing orders them."""
    team, trained = linked.team, linked.plan.policy
    for phase in linked.recipe.update:
        if trained in phase.trained and phase.order is not None:
            rounds = in_rounds(before.orders[phase.name], team.members(phase.order.of), {})
            return [next(number for number, agents in enumerate(rounds) if agent in agents) for agent in team.agents]
    return list(range(len(team.agents)))


def _gains(
    team: Team, rounds: Sequence[int], old: Any, new: Any, values: MemberValues, states: VisitedStates, seed: int
) -> dict[str, Tensor]:
    """Return what each agent's new policy adds to the critic's value, those before it acting with theirs already."""

    def actions(policy: Any) -> list[Tensor]:  # the same draws for the old policies and the new ones
        generator = torch.Generator(states.state.device).manual_seed(seed)
        return [
            _drawn(policy((agent,)), states.observation[agent.name], states.action_mask.get(agent.name), generator)
            for agent in team.agents
        ]

    joint, after = actions(old), actions(new)
    worth = values(states.state, tuple(joint)).amin(0).mean()
    found, first = {}, worth
    for index in sorted(range(len(rounds)), key=lambda index: rounds[index]):
        joint[index] = after[index]
        value = values(states.state, tuple(joint)).amin(0).mean()
        found[f"{team.agents[index].name}/gain"] = value - worth
        worth = value
    return {"gain": worth - first, **found}
