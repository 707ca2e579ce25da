"""One episode in each of some fresh environments, the policies drawing their actions, and the states they visit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hetrl.data.behaviour import Behaviour
from hetrl.data.environment import Environment, used
from hetrl.engine.task import make_env
from hetrl.ops.joint_action import JointAction
from hetrl.recipe.schema import Recipe
from hetrl.report.critic import MemberValues
from hetrl.team import Team


@dataclass(frozen=True)
class VisitedStates:
    """Some states, and what the agents see and may do in them."""

    state: Tensor
    """``B S``."""
    observation: dict[str, Tensor]
    """Agent's name -> ``B F``."""
    action_mask: dict[str, Tensor]
    """Agent's name -> what is allowed; without those who may do everything."""


@dataclass(frozen=True)
class Rollout:
    """One episode of each environment, time first; what follows an episode's end is there too, and not ``alive``."""

    observation: dict[str, Tensor]
    """Layout group -> ``T N n F``, and the environment's own state where it has one."""
    action_mask: dict[str, Tensor]
    """Layout group -> what was allowed; without those who may do everything."""
    action: dict[str, Tensor]
    """Layout group -> ``T N n A``."""
    reward: Tensor
    """``T N``, 0 after the end."""
    alive: Tensor
    """``T N``: before the end."""
    terminated: Tensor
    """``N``: it ended by itself, and was not cut."""
    final: tuple[Tensor, JointAction]
    """State and joint action after the last step, of whose value an episode that was cut is worth the rest."""

    @property
    def returns(self) -> Tensor:
        """Undiscounted, ``N`` [reward]."""
        return self.reward.sum(0)

    @classmethod
    def of(cls, recipe: Recipe, behaviour: Behaviour, device: torch.device, seed: int) -> "Rollout":
        """Run ``run.n_eval_episodes`` environments from a reset to the end of their first episodes.

        Args:
            recipe: whose task it is.
            behaviour: draws the actions.
            device: where the environments are.
            seed: of the environments and of the draws.
        """
        with used(make_env(recipe, device, seed, n_envs=recipe.run.n_eval_episodes)) as env:
            return cls._of(env, recipe, behaviour, torch.Generator(device).manual_seed(seed))

    @classmethod
    def _of(cls, env: Environment, recipe: Recipe, behaviour: Behaviour, generator: torch.Generator) -> "Rollout":
        team = env.team
        observation, masks = env.start(), env.masks
        behaviour.refresh()
        kind = recipe.task.arguments.get("reward", "mean")
        taken: list[tuple[Any, ...]] = []
        alive: Tensor | None = None
        while alive is None or alive.any():
            available = masks.get("action_mask", {})
            action = behaviour.explore(observation, available, generator)
            moved = env.advance(action)
            running = torch.ones_like(moved.terminated) if alive is None else alive
            earned = torch.where(running, team.reward(moved.reward, kind, masks.get("active")), 0.0)
            taken.append((observation, available, action, earned, running, moved))
            alive = running & ~(moved.terminated | moved.truncated)
            observation, masks = moved.observation, moved.masks
        return cls._joined(team, behaviour, taken, generator)

    @classmethod
    def _joined(
        cls, team: Team, behaviour: Behaviour, taken: Sequence[tuple[Any, ...]], generator: torch.Generator
    ) -> "Rollout":
        """Stack what was noted of every step, and draw the actions after the last one."""
        seen, available, action, earned, running, moved = zip(*taken, strict=True)
        alive = torch.stack(running)
        last = alive.sum(0) - 1

        def at_end(values: Sequence[Tensor]) -> Tensor:
            return torch.stack(list(values))[last, torch.arange(len(last), device=last.device)]

        final = {group: at_end([each.next_observation[group] for each in moved]) for group in seen[0]}
        after = [each.next_masks.get("action_mask", {}) for each in moved]
        masks = {group: at_end([each[group] for each in after]) for group in after[0]}
        return cls(
            observation={group: torch.stack([each[group] for each in seen]) for group in seen[0]},
            action_mask={group: torch.stack([each[group] for each in available]) for group in available[0]},
            action={group: torch.stack([each[group] for each in action]) for group in team.layout},
            reward=torch.stack(earned),
            alive=alive,
            terminated=at_end([each.terminated for each in moved]),
            final=(team.state(final), by_agent(team, behaviour.explore(final, masks, generator))),
        )

    def states(self, team: Team, count: int, generator: torch.Generator) -> VisitedStates:
        """Draw ``count`` of the states that were visited, with replacement."""
        visited = self.alive.flatten().nonzero().squeeze(-1)
        chosen = visited[torch.randint(len(visited), (count,), generator=generator, device=visited.device)]
        seen = {group: value.flatten(0, 1)[chosen] for group, value in self.observation.items()}
        masks = {group: value.flatten(0, 1)[chosen] for group, value in self.action_mask.items()}
        return VisitedStates(
            team.state(seen),
            {agent.name: seen[agent.group][:, agent.index] for agent in team.agents},
            {agent.name: masks[agent.group][:, agent.index] for agent in team.agents if agent.group in masks},
        )

    def bias(self, team: Team, values: MemberValues, discount: float) -> dict[str, Tensor]:
        """Return how far a critic is from the discounted returns, as means over the steps [reward].

        Args:
            team: the agents.
            values: the critic.
            discount: its gamma [1].
        """
        following = torch.where(self.terminated, 0.0, values(*self.final).mean(0))
        returns = torch.zeros_like(self.reward)
        for step in reversed(range(len(self.reward))):
            following = torch.where(self.alive[step], self.reward[step] + discount * following, following)
            returns[step] = following
        members = values(team.state(self.observation), by_agent(team, self.action))[:, self.alive]
        off = members.mean(0) - returns[self.alive]
        found = {"critic_bias": off.mean(), "critic_error": off.abs().mean()}
        return found | ({"critic_spread": members.std(0).mean()} if len(members) > 1 else {})


def by_agent(team: Team, grouped: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
    """Return each agent's part ``*B A`` of a layout group's ``*B n A``, in the order of the team."""
    return tuple(grouped[agent.group].select(-2, agent.index) for agent in team.agents)
