"""The values of one collected batch, by key and agent, while its phases run."""

from collections.abc import Sequence

import torch
from tensordict import TensorDictBase
from torch import Tensor

from hetrl import keys
from hetrl.errors import RunError
from hetrl.team import Agent, Team


class Store:
    """What has been written so far: team values, agents' values, and the collected data as it was stacked.

    A *lane* is the agents that one program run serves: one agent, several of one layout group (their values then carry
    an agent dimension right after the batch dimensions), or none.
    """

    def __init__(self, team: Team, batch: TensorDictBase) -> None:
        self.team = team
        self.batch_size = batch.batch_size
        self._team: dict[str, Tensor] = {}
        self._agent: dict[tuple[str, str], Tensor] = {}
        self._stacked: dict[tuple[str, str], Tensor] = {}
        self.device = batch.device or next(iter(batch.values(include_nested=True, leaves_only=True))).device
        for path, value in batch.items(include_nested=True, leaves_only=True):
            words: tuple[str, ...] = (path,) if isinstance(path, str) else tuple(path)
            time = words[:1] if words[0] == keys.NEXT else ()
            words = words[len(time) :]
            if words[0] in team.layout and len(words) > 1:
                self._stacked[words[0], ".".join([*time, *words[1:]])] = value
            elif words[0] in team.names and len(words) > 1:
                self._agent[words[0], ".".join([*time, *words[1:]])] = value
            else:
                self._team[".".join([*time, *words])] = value

    def has(self, key: str, lane: Sequence[Agent]) -> bool:
        """Whether ``key`` has been written for the lane."""
        scope = keys.scope(key)
        if not scope:
            return key in self._team
        rest = keys.without_agent(key)
        members = lane if scope == keys.AGENT else self.team.agents
        if rest in keys.OF_EPISODES and rest in self._team:
            return True
        return all((a.name, rest) in self._agent or (a.group, rest) in self._stacked for a in members)

    def read(self, key: str, lane: Sequence[Agent]) -> Tensor | tuple[Tensor, ...]:
        """Return the lane's value of ``key``; team values are expanded to a lane of several agents.

        Raises:
            RunError: nothing has written it.
        """
        try:
            return self._read(key, lane)
        except KeyError:
            raise RunError(
                f"'{key}' is not in the batch; whoever provides() it, the task or its source of data, did not give it."
            ) from None

    def _read(self, key: str, lane: Sequence[Agent]) -> Tensor | tuple[Tensor, ...]:
        scope = keys.scope(key)
        if not scope:
            return self.expanded(self._team[key], lane)
        rest = keys.without_agent(key)
        if scope == keys.AGENTS:
            return tuple(self.expanded(self._single(agent, rest), lane) for agent in self.team.agents)
        if len(lane) == 1:
            return self._single(lane[0], rest)
        whole = self.team.layout[lane[0].group]
        fresh = any((agent.name, rest) in self._agent for agent in lane)
        if tuple(lane) == whole and not fresh:
            stacked = self._stacked.get((whole[0].group, rest))
            return self.expanded(self._episodes(rest), lane) if stacked is None else stacked
        return torch.stack([self._single(agent, rest) for agent in lane], len(self.batch_size))

    def expanded(self, value: Tensor, lane: Sequence[Agent]) -> Tensor:
        """Return a team value with an agent dimension where the lane has several agents (a view)."""
        if len(lane) < 2:
            return value
        at = len(self.batch_size)
        shape = [*value.shape[:at], len(lane), *value.shape[at:]]
        return value.unsqueeze(at).expand(shape)

    def _single(self, agent: Agent, rest: str) -> Tensor:
        value = self._agent.get((agent.name, rest))
        if value is None:
            stacked = self._stacked.get((agent.group, rest))
            value = self._episodes(rest) if stacked is None else stacked.select(len(self.batch_size), agent.index)
        return value

    def _episodes(self, rest: str) -> Tensor:
        """Return what is the episode's, and an agent's where nothing tells of its own; see ``keys.OF_EPISODES``."""
        if rest not in keys.OF_EPISODES:
            raise KeyError(rest)
        return self._team[rest]

    def write(self, key: str, lane: Sequence[Agent], value: Tensor | tuple[Tensor, ...]) -> None:
        """Put the lane's value under ``key``; of an ``agents.`` key the value is a tuple in team order."""
        if not keys.scope(key):
            assert isinstance(value, Tensor)
            self._team[key] = value
            return
        rest = keys.without_agent(key)
        parts: Sequence[Tensor]
        if isinstance(value, tuple):
            lane, parts = self.team.agents, value
        else:
            parts = (value,) if len(lane) == 1 else value.unbind(len(self.batch_size))
        for agent, part in zip(lane, parts, strict=True):
            self._agent[agent.name, rest] = part

    def write_turns(self, rounds: Sequence[Sequence[Agent]]) -> None:
        """Put under ``agent.turn`` the round in which each agent is updated."""
        for number, agents in enumerate(rounds):
            # Filled where it is: a number copied from the host would wait for the device.
            turn = torch.full((), number, device=self.device).expand(self.batch_size)
            for agent in agents:
                self.write(keys.TURN, (agent,), turn)
