"""The steps of a phase that trains the whole team at once: agents' and the team's, with gradients between them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hetrl import keys
from hetrl.engine.linked import Linked
from hetrl.engine.program import Agents, Program, Values
from hetrl.engine.rows import Cut
from hetrl.recipe.step import Step


class Together(nn.Module):
    """Steps in their order: those of agents run for every agent, lane by lane, those of the team run once.

    What agents have written as ``agent.x`` everybody may read as ``agents.x``; what the team has written as ``x`` or
    ``agents.x``, agents may read as ``x`` or ``agent.x``. Gradients pass.

    Args:
        linked: the recipe's modules.
        steps: of the phase.
        lanes: of the agents; none where no step is an agent's.
    """

    def __init__(self, linked: Linked, steps: Sequence[Step], lanes: Sequence[Agents]) -> None:
        super().__init__()
        agents = linked.team.agents
        self._places = [[agents.index(agent) for agent in lane] for lane in lanes]
        nets: dict[str, nn.Module] = {}
        self.lanes = [(lane, Needs({}, nets)) for lane in (*lanes, ())]
        """The agents' lanes, and the team's; with what each reads from outside."""
        self.blocks = nn.ModuleList()
        by_agents: dict[str, bool] = {}
        """Single key -> whether agents have written it last, or the team."""
        for part in _in_blocks(steps):
            own = self.lanes[:-1] if part[0].per_agent else self.lanes[-1:]
            programs = [linked.program(part, lane) for lane, _ in own]
            block = Block(programs, part[0].per_agent, by_agents)
            for needs in (needs for _, needs in own):
                for key, optional in block.needs.items():
                    needs.reads[key] = needs.reads.get(key, True) and optional
            nets |= {f"{len(self.blocks)} {name}": net for each in programs for name, net in each.nets.items()}
            by_agents |= {keys.single(key): block.of_agents for step in part for key in step.table.writes.values()}
            self.blocks.append(block)
        self._dims = Cut.of(self.lanes[-1][1]).along + 1

    def forward(self, lanes: list[Values]) -> list[list[Values]]:
        """Return what the agents' lanes have written, which is pooled, and what the team has."""
        values = [dict(lane) for lane in lanes]
        batch = _batch(lanes, self._dims)
        agents, team = values[:-1], values[-1]
        for block in self.blocks:
            for take in block.takes:  # type: ignore[union-attr]
                found = self._everybodys(agents, take.source, batch) if take.from_agents else team[take.source]
                if not block.of_agents:
                    team[take.key] = found
                    continue
                for own, places in zip(agents, self._places, strict=True):
                    own[take.key] = _of_lane(found, take.key, places, batch)
            for program, own in zip(block.programs, agents if block.of_agents else [team], strict=True):  # type: ignore[arg-type]
                program(own)
        return [pool for pool in (agents, [team]) if pool]

    def _everybodys(self, lanes: Sequence[Values], key: str, batch: tuple[int, ...]) -> tuple[Tensor, ...]:
        """Return what every agent has written under its key, in team order."""
        found: dict[int, Tensor] = {}
        for own, places in zip(lanes, self._places, strict=True):
            value = own[key]
            parts = (value,) if len(places) == 1 else value.unbind(_agent_dim(value, batch))
            found |= zip(places, parts, strict=True)
        return tuple(found[place] for place in range(len(found)))


@dataclass
class Needs:
    """What a lane reads from outside, and the networks of all lanes, which are cut alike."""

    reads: dict[str, bool]
    nets: dict[str, nn.Module]


@dataclass(frozen=True)
class Take:
    """A key that a block reads and that others have written before it."""

    key: str
    source: str
    """Under which they have it."""
    from_agents: bool


class Block(nn.Module):
    """Consecutive steps, all of agents or all of the team, that ask for nothing that the block itself has to pass on.

    Args:
        programs: of the lanes.
        of_agents: whether it is the agents'.
        by_agents: single keys that are written before it -> whether by agents.
    """

    def __init__(self, programs: Sequence[Program], of_agents: bool, by_agents: dict[str, bool]) -> None:
        super().__init__()
        self.programs, self.of_agents = nn.ModuleList(programs), of_agents
        self.takes: list[Take] = []
        self.needs: dict[str, bool] = {}
        for key, optional in programs[0].reads.items():
            single, everybodys = keys.single(key), keys.scope(key) == keys.AGENTS
            if single not in by_agents:
                self.needs[key] = optional
            elif by_agents[single] and (everybodys or not of_agents):
                self.takes.append(Take(key, single, from_agents=True))
            elif not by_agents[single] and of_agents:
                source = keys.everybodys(key) if keys.scope(key) == keys.AGENT else key
                self.takes.append(Take(key, source, from_agents=False))


def _in_blocks(steps: Sequence[Step]) -> list[list[Step]]:
    """Cut where agents and team change, and where agents read of everybody what they have just written."""
    found: list[list[Step]] = []
    fresh: set[str] = set()
    for step in steps:
        everybodys = {keys.single(key) for key in step.table.reads.values() if keys.scope(key) == keys.AGENTS}
        if not found or found[-1][0].per_agent != step.per_agent or (step.per_agent and everybodys & fresh):
            found.append([])
            fresh.clear()
        found[-1].append(step)
        fresh.update(step.table.writes.values())
    return found


# ----- from the team's values to those of a lane, and back


def _batch(lanes: Sequence[Values], dims: int) -> tuple[int, ...]:
    """Return the sizes of the rows."""
    first = next(value for lane in lanes for value in lane.values())
    return tuple((first[0] if isinstance(first, tuple) else first).shape[:dims])


def _agent_dim(value: Tensor, batch: tuple[int, ...]) -> int:
    """Return the dimension after the rows: where agents stand in a lane's value. An ensemble's members come first."""
    dims = len(batch)
    return dims if tuple(value.shape[:dims]) == batch else dims + 1


def _of_lane(value: Any, key: str, places: Sequence[int], batch: tuple[int, ...]) -> Any:
    """Return a lane's part of what everybody has, a tuple, or the team's value once for each of its agents (a view)."""
    if keys.scope(key) == keys.AGENTS:
        return value
    if isinstance(value, tuple):
        parts = [value[place] for place in places]
        return parts[0] if len(parts) == 1 else torch.stack(parts, _agent_dim(parts[0], batch))
    if len(places) == 1:
        return value
    at = _agent_dim(value, batch)
    return value.unsqueeze(at).expand(*value.shape[:at], len(places), *value.shape[at:])
