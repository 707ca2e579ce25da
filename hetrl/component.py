"""The component: a key table and a ``compute`` on plain tensors, and a TensorDict module at the same time."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from tensordict import TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torch import Tensor

from hetrl import arguments, keys
from hetrl.errors import ComponentError, RecipeError, nearest

Output = Mapping[str, Tensor | tuple[Tensor, ...]]
"""Role -> tensor; a tuple in team order where the role's key is of ``agents.``."""


@dataclass(frozen=True)
class Table:
    """What a function reads, writes and calls: role -> key. Roles that have a default are optional."""

    reads: Mapping[str, str]
    writes: Mapping[str, str]
    calls: Mapping[str, str]
    optional: frozenset[str]
    learned: bool = True
    """Whether a network's parameters take part (a component has none)."""

    @classmethod
    def of(
        cls,
        function: Callable[..., Any],
        reads: Mapping[str, str],
        writes: Mapping[str, str],
        calls: Mapping[str, str] | None = None,
        learned: bool = True,
    ) -> "Table":
        """Return the table of ``function``.

        Raises:
            ComponentError: its parameters are not the roles of ``reads`` and ``calls``, in that order.
        """
        calls = calls or {}
        given = [
            parameter
            for parameter in inspect.signature(function).parameters.values()
            if parameter.name != "self" and (parameter.kind is not parameter.KEYWORD_ONLY or parameter.name in calls)
        ]
        if [parameter.name for parameter in given] != [*reads, *calls]:
            raise ComponentError(
                f"{function.__qualname__} takes {[parameter.name for parameter in given]}, but its table reads "
                f"{[*reads, *calls]}; name the parameters as the roles, in the same order."
            )
        for key in (*reads.values(), *writes.values(), *calls.values()):
            keys.parse(key)
        optional = frozenset(parameter.name for parameter in given if parameter.default is None)
        return cls(reads, writes, calls, optional, learned)

    def renamed(
        self, both: Mapping[str, str], reads: Mapping[str, str], writes: Mapping[str, str], at: str | None
    ) -> "Table":
        """Return the table with some roles bound to other keys, and the rest moved to ``at``.

        A role that is renamed is no longer optional: who names its key wants it read.

        Raises:
            RecipeError: a role is unknown.
        """
        for words, roles in ((both, {**self.reads, **self.writes, **self.calls}), (reads, self.reads),
                             (writes, self.writes)):  # fmt: skip
            for role, key in words.items():
                if role not in roles:
                    raise RecipeError(f"no role '{role}'.{nearest(role, roles)}")
                keys.parse(key)
        moved_reads = {role: keys.shifted(key, at) for role, key in self.reads.items()}
        moved_writes = {role: keys.shifted(key, at) for role, key in self.writes.items()}
        named_reads = {role: key for role, key in {**both, **reads}.items() if role in self.reads}
        named_writes = {role: key for role, key in {**both, **writes}.items() if role in self.writes}
        named_calls = {role: key for role, key in both.items() if role in self.calls}
        return Table(
            {**moved_reads, **named_reads},
            {**moved_writes, **named_writes},
            {**self.calls, **named_calls},
            self.optional - set(named_reads),
            self.learned,
        )


class Component(TensorDictModuleBase):
    """One ingredient: ``reads`` and ``writes`` say what it uses, ``compute`` is its maths.

    A subclass states ``reads`` and ``writes`` (role -> key; optionally ``calls``, role -> net and mode) and defines
    ``compute(self, <the roles of reads>) -> dict`` with one tensor for each role of ``writes``. A role whose parameter
    defaults to None is optional: it is bound only where something has written its key. Hyperparameters are keyword-only
    and literal; their annotations (types and ranges) are the configuration schema.

    >>> import torch
    >>> from hetrl.loss.clipped_surrogate import ClippedSurrogate
    >>> loss = ClippedSurrogate(clip=0.2).wire(agent="agent_0")
    >>> loss.in_keys[0]
    ('agent_0', 'log_prob')
    """

    reads: ClassVar[Mapping[str, str]] = {}
    writes: ClassVar[Mapping[str, str]] = {}
    calls: ClassVar[Mapping[str, str]] = {}
    follows: ClassVar[Mapping[str, str]] = {}
    """Role -> the role whose owner it takes: where a recipe binds that one to an agent's key, this one is the agent's
    too, unless the recipe names it itself. So ``terminated`` is ``agent.terminated`` beside ``agent.reward``."""
    along_time: ClassVar[bool] = False
    """Whether it needs the first dimension to be time, in order."""
    compares: ClassVar[str | None] = None
    """Role of what the trained net gave before the turn, which a turn of one step would not differ from."""
    table: ClassVar[Table]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "compute" in cls.__dict__:
            cls.table = Table.of(cls.compute, cls.reads, cls.writes, cls.calls)
        if "__init__" in cls.__dict__:
            cls.__init__ = arguments.checked(cls.__init__, cls.__name__)  # type: ignore[method-assign]

    def __init__(self) -> None:
        super().__init__()
        self.wire()

    def wire(
        self,
        *,
        agent: str | None = None,
        agents: Sequence[str] = (),
        renamed: Mapping[str, str] | None = None,
        at: str | None = None,
    ) -> Self:
        """Bind the roles to TensorDict keys, and return the component itself.

        Args:
            agent: the agent that stands for ``agent.`` (unwired, the key keeps the word ``agent``).
            agents: the team's names, in order, for roles bound to ``agents.``.
            renamed: role -> another key.
            at: ``next``, to move every key to the step after.
        """
        table = self.table.renamed(renamed or {}, {}, {}, at)
        self._bound_reads = {role: _tensordict_keys(key, agent, agents) for role, key in table.reads.items()}
        self._bound_writes = {role: _tensordict_keys(key, agent, agents) for role, key in table.writes.items()}
        self._wired = table
        self.in_keys = [key for role, bound in self._bound_reads.items() if role not in table.optional for key in bound]
        self.out_keys = [key for bound in self._bound_writes.values() for key in bound]
        return self

    compute: Callable[..., Output]
    """Returns one tensor for each role of ``writes`` (a tuple in team order where its key is of ``agents.``); no side
    effects but on the component's own buffers."""

    @classmethod
    def required(cls, arguments: Mapping[str, Any]) -> frozenset[str]:
        """Return the optional roles that these arguments make necessary."""
        return frozenset()

    @classmethod
    def check_team(cls, arguments: Mapping[str, Any], team: Any) -> None:
        """Refuse a team that a component with these arguments could not serve, before anything is trained.

        Args:
            arguments: the recipe's.
            team: a :class:`hetrl.team.Team`.

        Raises:
            RecipeError: what is in the way, and what to do.
        """

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Read the wired keys, compute, write; return the same ``tensordict``."""
        if self.calls:
            raise ComponentError(f"{type(self).__name__} calls a network; it runs inside a recipe, not alone.")
        roles: dict[str, Any] = {}
        for role, bound in self._bound_reads.items():
            values = tuple(tensordict.get(key, None) for key in bound)
            missing = [".".join(key) for key, value in zip(bound, values, strict=True) if value is None]
            if missing and role in self._wired.optional:
                continue
            if missing:
                raise ComponentError(f"{type(self).__name__} reads '{missing[0]}', which the tensordict does not have.")
            roles[role] = values if keys.scope(self._wired.reads[role]) == keys.AGENTS else values[0]
        for role, value in self.compute(**roles).items():
            parts = value if isinstance(value, tuple) else (value,)
            for key, part in zip(self._bound_writes[role], parts, strict=True):
                tensordict.set(key, part)
        return tensordict


def _tensordict_keys(key: str, agent: str | None, agents: Sequence[str]) -> list[tuple[str, ...]]:
    if keys.scope(key) == keys.AGENTS and agents:
        return [_named(key, name) for name in agents]
    return [_named(key, agent) if agent and keys.scope(key) == keys.AGENT else keys.parse(key)]


def _named(key: str, agent: str) -> tuple[str, ...]:
    """Return the words of a key with an agent in place of the placeholder; it may be called anything."""
    return tuple(agent if word in (keys.AGENT, keys.AGENTS) else word for word in keys.parse(key))
