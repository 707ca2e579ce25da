"""Who the agents are: names, layout groups, sizes of what they see and do, and who may share a network.

A *layout group* holds agents with equal observation and action sizes; their tensors are stored stacked
(TorchRL's multi-agent convention, ``td[group, "observation"]`` is ``[*B, n, F]``). A *sharing group* holds agents
that a network declared ``per: group`` serves with one set of parameters.
"""

import math
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate

import torch
from torch import Tensor

from hetrl.errors import RecipeError, nearest
from hetrl.ops.scaled import scaled

SEEN = (torch.float32, torch.uint8)
"""What observations and states may be made of."""
_BESIDE = ("state", "reward", "done", "terminated", "truncated", "next", "episode", "memory", "is_init", "discount",
           "action", "observation", "_reset")  # fmt: skip
"""What lies beside the layout groups in a batch of steps."""
Grouped = Mapping[str, Tensor]
"""Layout group -> something of its agents, stacked: ``[N, n, *]``. Observations of a team whose environment has a state
of its own hold that too, under :data:`STATE`: ``[N, S]``."""
STATE = "state"
"""Where observations hold the state of an environment that has one of its own."""


@dataclass(frozen=True)
class Box:
    """A continuous action space, one ``low`` and ``high`` per dimension (bounds need not be symmetric).

    Raises:
        RecipeError: a low is not below its high, or there are not as many of both.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self) -> None:
        for name in ("low", "high"):  # whole numbers would make tensors of whole numbers
            object.__setattr__(self, name, tuple(map(float, getattr(self, name))))
        if len(self.low) != len(self.high):
            raise RecipeError(f"a continuous action has {len(self.low)} lows and {len(self.high)} highs; give as many.")
        for dim, (low, high) in enumerate(zip(self.low, self.high, strict=True)):
            if not low < high:
                raise RecipeError(f"dimension {dim} of a continuous action goes from {low:g} to {high:g}; its low must "
                                  "be below its high.")  # fmt: skip

    @property
    def size(self) -> int:
        """Entries of an action vector."""
        return len(self.low)

    @property
    def bounded(self) -> bool:
        """Whether every dimension has a finite low and high."""
        return all(map(math.isfinite, (*self.low, *self.high)))

    def __str__(self) -> str:
        return f"continuous[{self.size}]"


@dataclass(frozen=True)
class Discrete:
    """One or several discrete choices, ``choices[d]`` options in dimension ``d``."""

    choices: tuple[int, ...]

    @property
    def size(self) -> int:
        """Entries of an action vector (one index per choice)."""
        return len(self.choices)

    def __str__(self) -> str:
        return "discrete[" + ", ".join(map(str, self.choices)) + "]"


@dataclass(frozen=True)
class Listing:
    """Where a row of numbers lists several alike, one after the other: an observation other units, a state all units.

    One all of whose numbers are 0 is not there.
    """

    name: str
    start: int
    """The first one's first number."""
    count: int
    """How many there is room for."""
    size: int
    """How many numbers each has."""
    scale: tuple[float, ...] = ()
    """What brings each of them to about 1; left out, they are about 1."""

    @property
    def end(self) -> int:
        """The first number behind it."""
        return self.start + self.count * self.size


def _check_listings(who: str, listings: Sequence[Listing], size: int) -> None:
    """Refuse listings that do not lie one behind the other in a row of ``size`` numbers."""
    after = 0
    for each in listings:
        if each.start < after or each.end > size or min(each.count, each.size) < 1:
            raise RecipeError(
                f"{who} lists '{each.name}' from {each.start} to {each.end}: listings are not empty, lie one behind "
                f"the other and within its {size} numbers."
            )
        if each.scale and len(each.scale) != each.size:
            raise RecipeError(
                f"{who} lists '{each.name}' with {each.size} numbers each and {len(each.scale)} scales; give as many."
            )
        after = each.end


@dataclass(frozen=True)
class Agent:
    """One agent of a team."""

    name: str
    group: str
    """Layout group."""
    index: int
    """Position on the agent dimension of its layout group."""
    observation_size: int
    action: Box | Discrete
    body: str
    """Sharing group."""
    observation_shape: tuple[int, ...] = ()
    """How the environment has an observation, such as ``(84, 84, 3)``. Tensors hold it flat, ``[N, n, F]``, in the
    order of its entries. Left out, and where it has one dimension, it is ``(observation_size,)``."""
    observation_dtype: torch.dtype = torch.float32
    """``torch.float32``, or ``torch.uint8`` for images: stored as 0 to 255, and 0 to 1 where a network reads them."""
    listings: tuple[Listing, ...] = ()
    """Where the observation lists others; what lies in no listing is the agent's own."""

    def __post_init__(self) -> None:
        _check_listings(f"agent '{self.name}'", self.listings, self.observation_size)
        shape = tuple(map(int, self.observation_shape))
        object.__setattr__(self, "observation_shape", shape if len(shape) > 1 else (self.observation_size,))
        if math.prod(self.observation_shape) != self.observation_size:
            raise RecipeError(
                f"agent '{self.name}' has an observation of shape {list(shape)}, which is {math.prod(shape)} numbers, "
                f"and observation_size = {self.observation_size}; give both the same, or see Agent.seeing."
            )
        if self.observation_dtype not in SEEN:
            raise RecipeError(
                f"agent '{self.name}' has observations of {self.observation_dtype}; make them torch.float32, or "
                "torch.uint8 where they are images of 0 to 255."
            )

    @property
    def sees(self) -> str:
        """Its observation in words: how many numbers, or the shape and type of an image."""
        kind = f" {self.observation_dtype}".replace("torch.", "") if self.observation_dtype != torch.float32 else ""
        return "x".join(map(str, self.observation_shape)) + kind

    def seeing(self, size: int) -> "Agent":
        """Return the agent with ``size`` plain numbers to see, such as what an encoder makes of its observation."""
        plain = {"observation_shape": (size,), "observation_dtype": torch.float32, "listings": ()}
        return replace(self, observation_size=size, **plain)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Team:
    """The agents in team order, and the size of the global state."""

    agents: tuple[Agent, ...]
    state_size: int
    state_from: tuple[tuple[int, int], ...] = ()
    """Where each entry of the state is seen: place of an agent in the team, and entry of its observation. Left out,
    the state is all observations side by side."""
    state_shape: tuple[int, ...] = ()
    """How the state lies, where it is the environment's own and not made of observations; ``()`` where it is."""
    state_dtype: torch.dtype = None  # type: ignore[assignment]  # filled in
    """``torch.float32`` or, where it is images alone, ``torch.uint8``; left out, as the observations have it."""
    state_listings: tuple[Listing, ...] = ()
    """Where a state of the environment's own lists units."""

    def __post_init__(self) -> None:
        _check_listings("the state", self.state_listings, self.state_size if self.state_shape else 0)
        if self.state_dtype is None:
            object.__setattr__(self, "state_dtype", self._seen_dtype)
        if self.state_shape and math.prod(self.state_shape) != self.state_size:
            raise RecipeError(
                f"the state's shape {list(self.state_shape)} is {math.prod(self.state_shape)} numbers, and state_size "
                f"= {self.state_size}; give both the same."
            )

    def knowing(self, size: int) -> "Team":
        """Return the team with a state of ``size`` plain numbers, such as what an encoder makes of it."""
        plain = {"state_from": (), "state_shape": (), "state_dtype": torch.float32, "state_listings": ()}
        return replace(self, state_size=size, **plain)  # type: ignore[arg-type]

    @property
    def own_state(self) -> bool:
        """Whether the state is the environment's own, which then comes with the observations (see :data:`Grouped`)."""
        return bool(self.state_shape)

    @property
    def _seen_dtype(self) -> torch.dtype:
        """Of a state that is made of observations: images alone stay images."""
        if self.state_shape:
            return torch.float32
        places = {place for place, _ in self.state_from} or range(len(self.agents))
        found = {self.agents[place].observation_dtype for place in places}
        return torch.uint8 if found == {torch.uint8} else torch.float32

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        sizes: Sequence[int | tuple[int, ...]],
        spaces: Sequence[Box | Discrete],
        physiques: Sequence[Hashable] | None = None,
        dtypes: Sequence[torch.dtype] | None = None,
    ) -> "Team":
        """Return the team of these agents; those of equal observations and action space form a layout group.

        Where all are alike the group is ``agents``; otherwise it has its members' common stem (``agent`` of ``agent_0``
        and ``agent_1``), or the first one's name where another group has that stem too. Those of a layout group who
        have equal physiques as well form a sharing group. The state is all observations side by side.

        Args:
            names: of the agents, in team order; what is no letter, digit or underscore in them becomes one.
            sizes: entries of each one's observation, or its shape.
            spaces: each one's actions.
            physiques: each one's mass, strength and whatever else tells bodies apart; all alike by default.
            dtypes: of each one's observation, see :class:`Agent`; ``torch.float32`` by default.
        """
        words = unique_words(names)
        shapes = [(size,) if isinstance(size, int) else tuple(size) for size in sizes]
        layouts = list(zip(shapes, dtypes or [torch.float32] * len(words), spaces, strict=True))
        groups = _titles(words, layouts)
        bodies = _titles(words, list(zip(layouts, physiques or [None] * len(words), strict=True)))
        agents = (
            Agent(word, group, groups[:place].count(group), math.prod(shape), space, body, shape, dtype)
            for place, (word, group, (shape, dtype, space), body) in enumerate(
                zip(words, groups, layouts, bodies, strict=True)
            )
        )
        return cls(tuple(agents), state_size=sum(map(math.prod, shapes)))

    def __len__(self) -> int:
        return len(self.agents)

    def __getitem__(self, name: str) -> Agent:
        for agent in self.agents:
            if agent.name == name:
                return agent
        raise KeyError(f"no agent '{name}'.{nearest(name, self.names)}")

    @property
    def names(self) -> tuple[str, ...]:
        """Agents' names in team order."""
        return tuple(agent.name for agent in self.agents)

    @property
    def sizes(self) -> str:
        """In words: how many agents of each layout group see how many numbers and do what."""
        each = [(len(agents), name, agents[0]) for name, agents in self.layout.items()]
        return "; ".join(f"{count} {name}: {agent.sees} -> {agent.action}" for count, name, agent in each)

    @cached_property
    def layout(self) -> dict[str, tuple[Agent, ...]]:
        """Layout groups: name -> its agents by index."""
        return self._by("group", key=lambda agent: agent.index)

    @cached_property
    def bodies(self) -> dict[str, tuple[Agent, ...]]:
        """Sharing groups: name -> its agents in team order."""
        return self._by("body", key=lambda agent: self.agents.index(agent))

    def members(self, of: str) -> list[tuple[Agent, ...]]:
        """Return whom an order puts in order: each agent, or with ``of`` ``group`` each sharing group."""
        return list(self.bodies.values()) if of == "group" else [(agent,) for agent in self.agents]

    def state(self, observation: Mapping[str, Tensor]) -> Tensor:
        """Return the global state: all agents' observations side by side, in team order, or what ``state_from`` says;
        of an environment with a state of its own, that.

        Args:
            observation: layout group -> ``[*B, n, F]``; images among others count from 0 to 1 there. And :data:`STATE`
                -> ``[*B, S]``, where it is the environment's own.

        Returns:
            ``[*B, S]``; a view where one layout group holds the team in its order, or one agent sees it in a row.
        """
        if self.own_state:
            return observation[STATE]
        first = self.agents[0].group
        if self.state_dtype != torch.uint8:
            observation = {group: scaled(seen) for group, seen in observation.items()}
        if self._span is not None:
            agent, columns = self._span
            return observation[agent.group][..., agent.index, columns]
        if self.state_from:
            watching, entries = self._watching
            seen = torch.cat([observation[agent.group].select(-2, agent.index) for agent in watching], -1)
            if seen.device not in entries:  # a copy from the host, once
                entries[seen.device] = entries[torch.device("cpu")].to(seen.device)
            return seen.index_select(-1, entries[seen.device])
        if self.layout[first] == self.agents:
            return observation[first].flatten(-2)
        return torch.cat([observation[agent.group].select(-2, agent.index) for agent in self.agents], -1)

    @cached_property
    def _span(self) -> tuple[Agent, slice] | None:
        """Who sees the state of ``state_from`` as neighbouring columns, and which; None where nobody does."""
        if not self.state_from:
            return None
        place, start = self.state_from[0]
        if self.state_from != tuple((place, start + i) for i in range(len(self.state_from))):
            return None
        return self.agents[place], slice(start, start + len(self.state_from))

    @cached_property
    def _watching(self) -> tuple[tuple[Agent, ...], dict[torch.device, Tensor]]:
        """The agents whose observations make the state, and device -> its entries in theirs side by side."""
        places = sorted({place for place, _ in self.state_from})
        agents = [self.agents[place] for place in places]
        starts = dict(zip(places, accumulate((agent.observation_size for agent in agents), initial=0), strict=False))
        entries = torch.tensor([starts[place] + entry for place, entry in self.state_from], device="cpu")
        return tuple(agents), {entries.device: entries}

    def reward(self, reward: Mapping[str, Tensor], kind: str, active: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return what the team earns, ``[*B]`` [reward].

        Of agents who earn 1 and 3, of whom the second is no longer there, that is 2 as ``mean``, 4 as ``sum`` and 1
        ``of_the_living``.

        Args:
            reward: layout group -> each agent's own, ``[*B, n]``.
            kind: ``sum`` adds them up; ``of_the_living`` is the mean over those who took part, 0 where nobody did;
                otherwise the mean over all is taken.
            active: layout group -> who took part, ``[*B, n]``; everybody in a group that is left out.
        """
        each = torch.cat([reward[group] for group in self.layout], -1)
        if kind == "sum":
            return each.sum(-1)
        if kind != "of_the_living" or not active:
            return each.mean(-1)
        there = [active.get(group, torch.ones_like(reward[group], dtype=torch.bool)) for group in self.layout]
        living = torch.cat(there, -1)
        return (each * living).sum(-1) / living.sum(-1).clamp(min=1)

    def _by(self, field: str, key: Callable[[Agent], int]) -> dict[str, tuple[Agent, ...]]:
        groups: dict[str, list[Agent]] = {}
        for agent in self.agents:
            groups.setdefault(getattr(agent, field), []).append(agent)
        return {name: tuple(sorted(members, key=key)) for name, members in groups.items()}

    def shared(self, groups: Mapping[str, Sequence[str]]) -> "Team":
        """Return the team with its sharing groups replaced by ``groups`` (name -> agents' names).

        Raises:
            RecipeError: an agent is unknown, missing, in two groups, or grouped with one of another size; a group is
                called like an agent that is not in it.
        """
        body: dict[str, str] = {}
        for group, names in groups.items():
            if group in self.names and group not in names:
                raise RecipeError(
                    f"task.groups.{group}: '{group}' is an agent, and what is logged of both would be one; choose "
                    "another name."
                )
            if not names:
                raise RecipeError(f"task.groups.{group}: the group is empty; name its agents or drop it.")
            for name in names:
                if name not in self.names:
                    raise RecipeError(f"task.groups.{group}: no agent '{name}'.{nearest(name, self.names)}")
                if name in body:
                    raise RecipeError(f"task.groups: agent '{name}' is in both '{body[name]}' and '{group}'; keep one.")
                body[name] = group
            sizes = {(self[name].sees, self[name].action) for name in names}
            if len(sizes) > 1:
                raise RecipeError(
                    f"task.groups.{group}: its agents differ in observation size or action space, {sizes}; "
                    "only agents of equal sizes can share a network."
                )
        missing = [name for name in self.names if name not in body]
        if missing:
            raise RecipeError(f"task.groups: agents {missing} are in no group; name every agent once.")
        return replace(self, agents=tuple(replace(agent, body=body[agent.name]) for agent in self.agents))


def unique_words(names: Sequence[str]) -> list[str]:
    """Return ``names`` with letters, digits and underscores only, still unique.

    >>> unique_words(["a 1", "a_1"])
    ['a_1', 'a_1_2']
    """
    words: list[str] = []
    for name in names:
        word = base = re.sub(r"\W", "_", name, flags=re.ASCII) or "_"
        count = 1
        while word in words:
            count += 1
            word = f"{base}_{count}"
        words.append(word)
    return words


def _titles(words: Sequence[str], kinds: Sequence[Hashable]) -> list[str]:
    """The name of each one's group; the members of a group are of equal kind."""
    alike: dict[Hashable, list[str]] = {}
    for word, kind in zip(words, kinds, strict=True):
        alike.setdefault(kind, []).append(word)
    titles = dict(zip(alike, _group_names(list(alike.values())), strict=True))
    return [titles[kind] for kind in kinds]


def _group_names(groups: Sequence[Sequence[str]]) -> list[str]:
    """Names of the groups with these members."""
    if len(groups) == 1:
        return ["agents"]
    stems = [{re.sub(r"_\d+$", "", name) for name in names} for names in groups]
    chosen = []
    for i, (names, own) in enumerate(zip(groups, stems, strict=True)):
        others = set().union(*(stem for j, stem in enumerate(stems) if j != i))
        chosen.append(next(iter(own)) if len(own) == 1 and not own & others else names[0])
    return unique_words([f"{title}_group" if title in _BESIDE else title for title in chosen])
