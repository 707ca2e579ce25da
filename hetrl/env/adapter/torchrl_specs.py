"""What a TorchRL environment tells of itself: its agents and their actions, and where in a step stands what.

Read once from the specs, into plain data (:class:`Reading`) that also another process can be sent.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torchrl.data import (
    Binary,
    Bounded,
    Categorical,
    Composite,
    MultiCategorical,
    MultiOneHot,
    OneHot,
    Stacked,
    StackedComposite,
    TensorSpec,
    Unbounded,
)
from torchrl.envs import EnvBase

from hetrl.errors import RecipeError
from hetrl.team import Box, Discrete, Team

Path = tuple[str, ...]
Flags = dict[str, "Column"]
"""``done``, ``terminated`` and ``truncated`` of somebody, as far as they are there."""
_FLAGS = ("done", "terminated", "truncated")
_NO_SIGHT = ("info", "action_mask", "mask", *_FLAGS)


@dataclass(frozen=True)
class Leaf:
    """A tensor of a step or a reset."""

    path: Path
    shape: tuple[int, ...]
    """Without the batch."""
    member: int | None = None
    """Of a group whose agents are unlike, and which TorchRL therefore keeps as a list: whose it is."""
    group: int = 0
    """How many words of the path lead to that list."""
    later: bool = False
    """Whether it is there after a step only."""
    image: bool = False
    """Whether it is of bytes."""


@dataclass(frozen=True)
class Column:
    """What one agent has in a leaf."""

    leaf: int
    column: int | None
    """The agent's place, or none where the leaf is all its own, or everybody's."""
    options: int = 0
    """Where it is a choice among so many, which is shown one-hot."""


@dataclass(frozen=True)
class Act:
    """An action leaf of one agent: how ``A`` entries of an action become what the environment takes."""

    path: Path
    member: int | None
    """The agent's place in its group; none where the leaf is all its own."""
    unlike: int
    """Of a group kept as a list: how many words of the path lead to it; else 0."""
    shape: tuple[int, ...]
    dtype: torch.dtype
    space: Box | Discrete
    one_hot: bool


@dataclass(frozen=True)
class Reading:
    """All of it."""

    name: str
    """Of the environment's class."""
    team: Team
    leaves: tuple[Leaf, ...]
    sight: tuple[tuple[Column, ...], ...]
    """What each agent sees, in the order in which it is joined."""
    rewards: tuple[Column, ...]
    masks: tuple[Column | None, ...]
    here: tuple[Column | None, ...]
    """Who takes part, where a group has a ``mask``."""
    own_ends: tuple[Flags, ...]
    ends: Flags
    state: Column | None
    infos: Mapping[str, tuple[Column, ...]]
    acts: tuple[tuple[Act, ...], ...]


@dataclass(frozen=True)
class _GroupSpec:
    path: Path
    members: tuple[str, ...]
    stacked: bool
    """Whether its tensors have a dimension of agents."""


def title(env: Any) -> str:
    """The class of an environment, without the transforms and wrappers around it."""
    while isinstance(getattr(env, "base_env", None), EnvBase):
        env = env.base_env
    return type(env).__name__


def read(env: EnvBase) -> Reading:
    """Read the specs of an environment.

    Raises:
        RecipeError: they lack something, or have something that cannot be used.
    """
    return _Reader(env).read()


class _Reader:
    def __init__(self, env: EnvBase) -> None:
        self.env, self.name = env, title(env)
        n_dims = len(env.batch_size)
        self.seen, self.given = (_of_row(spec, n_dims) for spec in (env.full_observation_spec, env.full_action_spec))
        self.paid, self.over = (_of_row(spec, n_dims) for spec in (env.full_reward_spec, env.full_done_spec))
        self.groups = self._groups()
        self.leaves: dict[Leaf, int] = {}

    def read(self) -> Reading:
        agents = [(group, place) for group in self.groups for place in range(len(group.members))]
        names = [group.members[place] for group, place in agents]
        acts = tuple(tuple(self._acts(*agent)) for agent in agents)
        sight = tuple(tuple(self._sight(*agent)) for agent in agents)
        spaces = [self._space(name, own) for name, own in zip(names, acts, strict=True)]
        dtypes = [self._dtype(parts) for parts in sight]
        team = Team.of(names, [self._shape(parts) for parts in sight], spaces, dtypes=dtypes)
        masks = tuple(self._mask(group, place, space) for (group, place), space in zip(agents, spaces, strict=True))
        here = tuple(self._single(self.seen, group, place, "mask") for group, place in agents)
        alone = self.groups[0].path == ()
        own_ends = tuple({} if alone else self._ends(self.over, *agent) for agent in agents)
        ends = {word: self._part(self.over, (), (word,), None) for word in _FLAGS if _has(self.over, word)}
        if not ends and not all(own_ends):
            raise self._problem(
                "its done_spec has no 'done', for all or for each agent; episodes have to end somewhere."
            )
        rewards = tuple(self._reward(*agent) for agent in agents)
        state = None
        if _has(self.seen, "state") and not any(self._is(part, ("state",)) for own in sight for part in own):
            state = self._part(self.seen, (), ("state",), None)
        infos = self._infos(agents)
        leaves = tuple(self.leaves)  # now that all are known
        return Reading(self.name, team, leaves, sight, rewards, masks, here, own_ends, ends, state, infos, acts)

    def _problem(self, text: str) -> RecipeError:
        return RecipeError(f"task ({self.name}): {text}")

    # ----- who

    def _groups(self) -> list[_GroupSpec]:
        told = getattr(self.env, "group_map", None)
        map_ = None
        if isinstance(told, Mapping) and all(isinstance(names, (list, tuple)) for names in told.values()):
            map_ = {str(group): tuple(map(str, names)) for group, names in told.items()}
        paths = dict.fromkeys(_group_of(_path(key), map_) for key in self.given.keys(True, True))
        if not paths:
            raise self._problem("its action_spec is empty; nobody acts in it.")
        for group in map_ or ():
            if (group,) not in paths:
                known = ", ".join(".".join(path) or "the root" for path in paths)
                raise self._problem(f"its group_map has the group '{group}', and its action_spec has {known}.")
        return [self._group(path, map_) for path in paths]

    def _group(self, path: Path, map_: Mapping[str, tuple[str, ...]] | None) -> _GroupSpec:
        names = (map_ or {}).get(".".join(path))
        count = self._count(path)
        if count is None and names is not None and len(names) > 1:
            count = len(names)
        if names is not None and len(names) != (count or 1):
            raise self._problem(
                f"its group_map has {len(names)} agents in '{'.'.join(path)}', and its specs have {count}."
            )
        if names is None:
            stem = ".".join(path) or "agent"
            names = (stem,) if count is None else tuple(f"{stem}_{place}" for place in range(count))
        for tree in (self.given, self.seen, self.paid):
            for rest, leaf in _leaves(tree, path) if count is not None and path else ():
                whole = rest[0] in ("reward", "info") and len(leaf.shape) < 2  # one number for the whole group
                if not whole and (not len(leaf.shape) or leaf.shape[0] != count):
                    raise self._problem(
                        f"'{'.'.join((*path, *rest))}' is {list(leaf.shape)}, and its group has {count} agents; their "
                        "dimension comes first."
                    )
        return _GroupSpec(path, names, count is not None)

    def _count(self, path: Path) -> int | None:
        """Agents on the agent dimension of a group; None where its tensors have none."""
        if not path:
            return None
        for tree in (self.given, self.seen, self.paid):
            branch = _branch(tree, path)
            if branch is not None and len(branch.shape) == 1:
                return int(branch.shape[0])
        for rest, leaf in _leaves(self.paid, path):
            if rest == ("reward",) and len(leaf.shape) > 1:
                return int(leaf.shape[0])
        return None

    # ----- what stands where

    def _part(self, tree: Composite, path: Path, rest: Path, place: int | None, options: int = 0) -> Column:
        """The part of the agent ``place`` (none: the whole) in a leaf."""
        branch = _branch(tree, path)
        later = tree is self.paid
        if place is not None and isinstance(branch, StackedComposite):
            spec = dict(_items(branch[place]))[rest]
            leaf = Leaf((*path, *rest), tuple(spec.shape), place, len(path), later, spec.dtype == torch.uint8)
            return Column(self.leaves.setdefault(leaf, len(self.leaves)), None, options)
        spec = dict(_items(branch))[rest]
        leaf = Leaf((*path, *rest), tuple(spec.shape), later=later, image=spec.dtype == torch.uint8)
        return Column(self.leaves.setdefault(leaf, len(self.leaves)), place, options)

    def _own(self, tree: Composite, group: _GroupSpec, place: int) -> dict[Path, TensorSpec]:
        """An agent's leaves in a tree of specs, by their paths in the group."""
        branch = _branch(tree, group.path)
        if branch is None:
            return {}
        if isinstance(branch, StackedComposite):
            return dict(_items(branch[place]))
        others = {other.path[0] for other in self.groups if other.path} if not group.path else set()
        return {
            rest: leaf[place] if group.stacked and len(leaf.shape) else leaf
            for rest, leaf in _items(branch)
            if rest[0] not in others
        }

    def _sight(self, group: _GroupSpec, place: int) -> Iterator[Column]:
        own = self._own(self.seen, group, place)
        found = [rest for rest in own if rest[0] == "observation" and rest[-1] != "action_mask"]
        if not found:
            found = [rest for rest, leaf in own.items() if leaf.dtype.is_floating_point and rest[0] not in _NO_SIGHT]
            if not group.path and len(found) > 1:
                found = [rest for rest in found if rest != ("state",)]
        if not found:
            raise self._problem(
                f"'{group.members[place]}' sees nothing: its observation_spec has no 'observation' for it, nor any "
                "real numbers."
            )
        for rest in found:
            if own[rest].dtype is None or not isinstance(own[rest].shape, torch.Size) or own[rest].dtype.is_complex:
                raise self._problem(
                    f"'{group.members[place]}' sees '{'.'.join(rest)}', which is no tensor of real numbers."
                )
            kinds = (MultiCategorical, Binary, OneHot)
            one_hot = isinstance(own[rest], Categorical) and not isinstance(own[rest], kinds)
            options = int(own[rest].space.n) if one_hot and own[rest].dtype != torch.bool else 0
            yield self._part(self.seen, group.path, rest, place if group.stacked else None, options)

    def _reward(self, group: _GroupSpec, place: int) -> Column:
        own = [rest for rest in self._own(self.paid, group, place) if rest[-1] == "reward" or group.path]
        if own:
            whole = dict(_leaves(self.paid, group.path)).get(own[0])
            each = group.stacked and (whole is None or len(whole.shape) > 1 or whole.shape[:1] == (len(group.members),))
            part = self._part(self.paid, group.path, own[0], place if each else None)
        elif _has(self.paid, "reward"):
            part = self._part(self.paid, (), ("reward",), None)
        else:
            raise self._problem(f"its reward_spec has no reward, for all or for '{group.members[place]}'.")
        if self._size(part) != 1:
            leaf = list(self.leaves)[part.leaf]
            raise self._problem(
                f"the reward '{'.'.join(leaf.path)}' is {list(leaf.shape)}, and an agent earns one number."
            )
        return part

    def _ends(self, tree: Composite, group: _GroupSpec, place: int) -> Flags:
        found = {}
        for word in _FLAGS:
            whole = dict(_leaves(tree, group.path)).get((word,))
            if whole is not None:
                each = group.stacked and whole.shape[:1] == (len(group.members),)
                found[word] = self._part(tree, group.path, (word,), place if each else None)
        return found

    def _single(self, tree: Composite, group: _GroupSpec, place: int, word: str) -> Column | None:
        own = self._own(tree, group, place).get((word,))
        if own is None or math.prod(own.shape) != 1:
            return None
        return self._part(tree, group.path, (word,), place if group.stacked else None)

    def _mask(self, group: _GroupSpec, place: int, space: Box | Discrete) -> Column | None:
        own = {rest: leaf for rest, leaf in self._own(self.seen, group, place).items() if rest[-1] == "action_mask"}
        if not own:
            return None
        ((rest, leaf), *_) = own.items()
        options = sum(space.choices) if isinstance(space, Discrete) else None
        if math.prod(leaf.shape) != options:
            raise self._problem(
                f"'{group.members[place]}' has an action_mask of {math.prod(leaf.shape)} entries, and its action is "
                f"{space}; a mask has one entry for each option."
            )
        return self._part(self.seen, group.path, rest, place if group.stacked else None)

    def _infos(self, agents: Sequence[tuple[_GroupSpec, int]]) -> dict[str, tuple[Column, ...]]:
        """Numbers under ``info``: of all, or of each agent, whose mean is told."""
        found: dict[str, list[Column]] = {}
        for rest, leaf in _leaves(self.seen, ("info",)):
            if _number(leaf):
                found.setdefault(".".join(rest), []).append(self._part(self.seen, ("info",), rest, None))
        for group, place in agents:
            for rest, leaf in self._own(self.seen, group, place).items() if group.path else ():
                if rest[0] == "info" and len(rest) > 1 and _number(leaf):
                    whole = dict(_leaves(self.seen, group.path)).get(rest)
                    each = group.stacked and (whole is None or whole.shape[:1] == (len(group.members),))
                    part = self._part(self.seen, group.path, rest, place if each else None)
                    found.setdefault(".".join(rest[1:]), []).append(part)
        return {name: tuple(dict.fromkeys(parts)) for name, parts in found.items()}

    def _size(self, part: Column) -> int:
        """Entries that an agent has of a leaf."""
        shape = list(self.leaves)[part.leaf].shape
        return math.prod(shape if part.column is None else shape[1:]) * max(1, part.options)

    def _shape(self, parts: Sequence[Column]) -> tuple[int, ...]:
        """Of an agent's observation: that of its only leaf, or flat."""
        if len(parts) > 1 or parts[0].options:
            return (sum(self._size(part) for part in parts),)
        shape = list(self.leaves)[parts[0].leaf].shape
        return (shape if parts[0].column is None else shape[1:]) or (1,)

    def _dtype(self, parts: Sequence[Column]) -> torch.dtype:
        images = all(list(self.leaves)[part.leaf].image and not part.options for part in parts)
        return torch.uint8 if images else torch.float32

    def _is(self, part: Column, path: Path) -> bool:
        return list(self.leaves)[part.leaf].path == path

    # ----- actions

    def _acts(self, group: _GroupSpec, place: int) -> Iterator[Act]:
        unlike = len(group.path) if isinstance(_branch(self.given, group.path), StackedComposite) else 0
        for rest, spec in self._own(self.given, group, place).items():
            space = _space(spec)
            if space is None:
                raise self._problem(
                    f"'{group.members[place]}' acts in {_words(spec)}; only Bounded and Unbounded real numbers, "
                    "Categorical, MultiCategorical, OneHot, MultiOneHot and Binary are known."
                )
            one_hot = isinstance(spec, OneHot)
            member = place if group.stacked else None
            yield Act((*group.path, *rest), member, unlike, tuple(spec.shape), spec.dtype, space, one_hot)

    def _space(self, agent: str, acts: Sequence[Act]) -> Box | Discrete:
        """The action space of all leaves, side by side."""
        spaces = [act.space for act in acts]
        boxes = [space for space in spaces if isinstance(space, Box)]
        if not boxes:
            return Discrete(tuple(n for space in spaces if isinstance(space, Discrete) for n in space.choices))
        if len(boxes) < len(spaces):
            raise self._problem(
                f"'{agent}' both chooses and steers ({', '.join('.'.join(act.path) for act in acts)}); only one kind "
                "of action for an agent is known."
            )
        return Box(tuple(x for box in boxes for x in box.low), tuple(x for box in boxes for x in box.high))


# --------------------------------------------------------------------------- specs


def _path(key: Any) -> Path:
    return (key,) if isinstance(key, str) else tuple(key)


def _group_of(path: Path, map_: Mapping[str, Any] | None) -> Path:
    """The group whose action a path is."""
    if map_ and path[0] in map_:
        return path[:1]
    return path[: path.index("action")] if "action" in path else path[:-1]


def _of_row(spec: Any, n_dims: int) -> Any:
    """The spec of a single row. TorchRL's own way to it fails where agents are kept as a list."""
    if not n_dims or spec is None:
        return spec
    if isinstance(spec, (StackedComposite, Stacked)):
        parts = [_of_row(part, n_dims) for part in spec.unbind(spec.stack_dim)]
        return torch.stack(parts, spec.stack_dim - n_dims)
    if isinstance(spec, Composite):
        return Composite({key: _of_row(spec[key], n_dims) for key in list(spec.keys())}, shape=spec.shape[n_dims:])
    return spec[(0,) * n_dims]


def _has(tree: Composite, word: str) -> bool:
    return word in list(tree.keys())  # a Composite is no container of its keys


def _branch(tree: Composite, path: Path) -> Any:
    """What is at a path of a tree; None where nothing is."""
    for word in path:
        if not isinstance(tree, Composite) or not _has(tree, word):
            return None
        tree = tree[word]
    return tree


def _items(tree: Any) -> Iterator[tuple[Path, TensorSpec]]:
    """The leaves of a tree, by their paths."""
    if isinstance(tree, Composite):
        for key in tree.keys(True, True):
            if tree[key] is not None:
                yield _path(key), tree[key]


def _leaves(tree: Composite, path: Path) -> Iterator[tuple[Path, TensorSpec]]:
    """The leaves at a path of a tree; nothing where agents are kept as a list."""
    branch = _branch(tree, path)
    return iter(()) if isinstance(branch, StackedComposite) else _items(branch)


def _number(leaf: TensorSpec) -> bool:
    real = leaf.dtype is not None and not leaf.dtype.is_complex
    return real and math.prod(leaf.shape[-1:]) == 1


def _space(spec: TensorSpec) -> Box | Discrete | None:
    """The actions of one agent in a leaf; None where they are of no known kind."""
    entries = math.prod(spec.shape)
    real = spec.dtype is not None and spec.dtype.is_floating_point
    if isinstance(spec, (MultiCategorical, MultiOneHot)):
        return Discrete(tuple(int(box.n) for box in spec.space))
    if isinstance(spec, Binary):
        return Discrete((2,) * entries)
    if isinstance(spec, OneHot):
        options = int(spec.shape[-1])
        return Discrete((options,) * (entries // options))
    if isinstance(spec, Categorical):
        return Discrete((int(spec.space.n),) * entries)
    if real and isinstance(spec, (Bounded, Unbounded)):
        low, high = spec.space.low, spec.space.high
        if isinstance(spec, Bounded):
            return Box(tuple(low.flatten().tolist()), tuple(high.flatten().tolist()))
        return Box((-math.inf,) * entries, (math.inf,) * entries)
    return None


def _words(spec: TensorSpec) -> str:
    return f"{type(spec).__name__} of {spec.dtype}, {list(spec.shape)}"
