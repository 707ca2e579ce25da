"""Evaluation: one episode in each environment, with the deterministic policies."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from hetrl.data.behaviour import Actions, forgotten
from hetrl.data.ends import lives, own_ends
from hetrl.data.environment import Environment
from hetrl.data.intake import Intake
from hetrl.ops.rate import wilson
from hetrl.team import Grouped

_BLOCK = 16
"""Steps on a GPU after which the host looks whether an episode still runs, and at what was given."""
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
    """The team's, undiscounted [reward]."""
    lengths: Tensor
    """In steps."""
    agent_returns: Mapping[str, Tensor] = field(default_factory=dict)
    """Agent's name -> its own, undiscounted [reward]."""
    infos: Mapping[str, Tensor] = field(default_factory=dict)
    """Name -> what the environment told at the end, NaN where it told nothing; a win is 1 or 0."""

    def more(self) -> dict[str, float]:
        """Return the means of what agents earned and of what was told, by the names under which they are logged.

        ``return/AGENT`` is left out where all agents earned the same in each episode, as a team does whose reward is
        shared; ``info/NAME`` is over the episodes of which it was told, and where it is a rate its 95 % interval goes
        from ``info/NAME_low`` to ``info/NAME_high``; see :attr:`rates`.
        """
        own, found = self.agent_returns, {}
        first = next(iter(own.values()), self.returns)
        if not all(torch.equal(first, other) for other in own.values()):
            found = {f"return/{name}": value.mean().item() for name, value in own.items()}
        found |= {f"info/{name}": value.mean().item() for name, value in self._told.items()}
        for name, (_, low, high) in self.rates.items():
            found |= {f"info/{name}_low": low, f"info/{name}_high": high}
        return found

    @property
    def rates(self) -> dict[str, tuple[float, float, float]]:
        """Name -> how often it was 1, and the ends of that rate's 95 % interval (Wilson's), over these episodes.

        Of what was 1 or 0 whenever it was told, such as a win; the rest are no rates.
        """
        told = {name: value for name, value in self._told.items() if ((value == 0) | (value == 1)).all()}
        counts = {name: (int(value.sum()), len(value)) for name, value in told.items()}
        return {name: (hits / trials, *wilson(hits, trials)) for name, (hits, trials) in counts.items()}

    @property
    def _told(self) -> dict[str, Tensor]:
        """Name -> what was told, without the episodes of which nothing was; without what was never told."""
        told = {name: value[value.isfinite()] for name, value in self.infos.items()}
        return {name: value for name, value in told.items() if len(value)}


def evaluate(env: Environment, behaviour: Acting, reward: str, watch: Watch | None = None) -> Episodes:
    """Run every environment from a reset to the end of its first episode.

    Args:
        env: the evaluation environments, of their own; the training ones are not touched.
        behaviour: who acts, greedily.
        reward: how the team's is made of the agents'; with ``per_agent`` their mean is taken.
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
    own = torch.zeros(len(returns), len(env.team), device=returns.device)
    infos: dict[str, Tensor] = {}
    running = torch.ones_like(returns, dtype=torch.bool)
    behaviour.refresh()
    taken = _Taken(1 if returns.device.type == "cpu" else _BLOCK)
    while taken.steps or running.any():  # asked once in a block of steps: those after the last end count for nothing
        if watch is not None and running[0]:
            watch(env, int(lengths[0]), returns[0].item())
        action: Actions = {}
        try:
            memory = behaviour.remember(observation, memory)
            action = behaviour.greedy({**observation, **memory}, masks.get("action_mask", {}))
            moved = env.advance(action)
        except Exception:
            taken.add(observation=observation, action=action, **masks)
            intake.explain(taken.steps, ages)
            raise
        end = {"terminated": moved.terminated, "truncated": moved.truncated}
        given = {"reward": moved.reward, "next_observation": moved.next_observation, "end": end}
        taken.add(observation=observation, action=action, **given, **masks)
        if taken.full:
            intake.look(taken.steps, moved.observation, ages)
            ages = taken.ages_after(ages)
            taken.clear()
        returns += torch.where(running, env.team.reward(moved.reward, reward, masks.get("active")), 0.0)
        each = torch.cat([moved.reward[group] for group in env.team.layout], -1)
        own += torch.where(running.unsqueeze(-1), each, 0.0)
        lengths += running
        done = moved.terminated | moved.truncated
        for name, value in moved.infos.items():
            told = infos.setdefault(name, torch.full_like(returns, torch.nan))
            infos[name] = torch.where(running & done, value, told)
        running &= ~done
        if memory:
            begun = lives(own_ends(masks, moved), masks, moved)
            memory = forgotten(memory, moved.terminated, moved.truncated, begun)
        observation, masks = moved.observation, moved.masks
    names = [agent.name for agents in env.team.layout.values() for agent in agents]
    return Episodes(returns, lengths, dict(zip(names, own.unbind(-1), strict=True)), infos)


class _Taken:
    """Steps that are looked over together.

    Args:
        most: how many; of several, copies are kept, since an environment may write to what it gave.
    """

    def __init__(self, most: int) -> None:
        self._most, self._n = most, 0
        self.steps: dict[tuple[str, str], list[Tensor]] = {}

    def add(self, **words: Grouped) -> None:
        """Add a step, as the intake takes it."""
        self._n += 1
        for word, parts in words.items():
            for group, value in parts.items():
                self.steps.setdefault((word, group), []).append(value if self._most == 1 else value.clone())

    @property
    def full(self) -> bool:
        """Whether they are to be looked over."""
        return self._n == self._most

    def ages_after(self, ages: Tensor) -> Tensor:
        """Return how many steps the episodes have after these, ``[N]``, from how many they had before."""
        for terminated, truncated in zip(self.steps["end", "terminated"], self.steps["end", "truncated"], strict=True):
            ages = (ages + 1).masked_fill(terminated | truncated, 0.0)
        return ages

    def clear(self) -> None:
        """Forget them."""
        self._n = 0
        self.steps.clear()
