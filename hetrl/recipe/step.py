"""One step of a phase: a component, or a net's mode; as the recipe writes it, and what that stands for."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal

from pydantic import PrivateAttr, SkipValidation

from hetrl import arguments, keys
from hetrl.component import Component, Table
from hetrl.errors import RecipeError
from hetrl.network import Network
from hetrl.recipe.frozen import frozen
from hetrl.recipe.net import Mode, Net, without
from hetrl.recipe.section import Section, close, entry, mapping

_KINDS = ("estimate", "weight", "loss")
_WORDS = ("use", "net", "at", "keys", "reads", "writes")


class Step(Section):
    """One step of a phase.

    What its words stand for is looked up when it is first asked for: a recipe can be read, shown and compared where a
    package that it uses is not installed.
    """

    use: str | None = None
    """The component's catalog name."""
    net: str | None = None
    """Or a net with its mode, as it is written: ``actor``, ``actor.log_prob``, ``q.target.min``."""
    at: Literal["next"] | None = None
    keys: dict[str, str] = {}
    reads: dict[str, str] = {}
    writes: dict[str, str] = {}
    arguments: SkipValidation[Mapping[str, Any]]
    _nets: Mapping[str, Net] = PrivateAttr(default_factory=dict)

    @classmethod
    def parse(cls, tree: Any, where: str, nets: Mapping[str, Net]) -> "Step":
        """Return the step that an entry of a phase's section writes.

        Args:
            tree: the entry.
            where: its place in the recipe.
            nets: the recipe's nets.

        Raises:
            RecipeError: a word is missing or wrong.
        """
        tree = mapping(tree, where)
        if ("use" in tree) == ("net" in tree):
            hint = "" if {"use", "net"} & set(tree) else close(str(next(iter(tree), "")), ("use", "net"))
            raise RecipeError(f"{where}: a step is either 'use: kind/name' or 'net: name.mode'.{hint}")
        if tree.get("at") not in (None, "next"):
            raise RecipeError(f"{where}.at: '{tree['at']}' is not known; the only other time is 'next'.")
        word = "use" if "use" in tree else "net"
        if not isinstance(tree[word], str) or not all(tree[word].split(".")):
            example = "use: kind/name" if word == "use" else "net: name.mode"
            raise RecipeError(f"{where}.{word} names nothing: {tree[word]!r}; write '{example}', or drop the step.")
        words = {name: tree[name] for name in _WORDS if name in tree}
        step = cls.read(words, where, arguments=frozen(without(tree, *_WORDS)))
        step._nets = nets
        return step

    def __str__(self) -> str:
        """Its place and name, for messages."""
        return f"{self.where} ({self.title})"

    @property
    def title(self) -> str:
        """What it runs: a catalog name, or net and mode; as it is written where that leads nowhere."""
        if self.use is not None:
            return self.use
        try:
            return str(self.mode)
        except RecipeError:
            return str(self.net)

    # ----- what it stands for

    def look_up(self) -> None:
        """Look up all that it stands for.

        Raises:
            RecipeError: an entry, a net, a mode, a role or an argument is unknown.
        """
        _ = self.table, self.calls

    @cached_property
    def component(self) -> type[Component] | None:
        """The component's class, its arguments checked; None where the step runs a net."""
        with self._placed():
            return None if self.use is None else entry(self.use, self.arguments, self.where, _KINDS)

    @cached_property
    def mode(self) -> Mode | None:
        """The net's mode, its arguments checked; None where the step is a component."""
        if self.net is None:
            return None
        with self._placed():
            mode = Mode.of(self.net, self._nets)
            arguments.check(mode.function, self.arguments, str(mode))
            return mode

    @cached_property
    def table(self) -> Table:
        """What it reads, writes and calls, under the keys that the recipe binds."""
        component, mode = self.component, self.mode
        with self._placed():
            if component is None:
                assert mode is not None
                return self._renamed(mode.table)
            table = self._followed(self._renamed(component.table), component.follows)
            return replace(table, optional=table.optional - component.required(self.arguments))

    @cached_property
    def calls(self) -> Mapping[str, Mode]:
        """The modes that its component calls, by role."""
        found = {}
        for role, called in self.table.calls.items():
            with self._placed(f"calls {role} = "):
                found[role] = Mode.of(called, self._nets)
        return found

    @property
    def modes(self) -> list[Mode]:
        """Every mode that it runs or calls."""
        return [*([] if self.mode is None else [self.mode]), *self.calls.values()]

    def network(self, mode: Mode) -> type[Network]:
        """Return the class of the net behind one of its modes."""
        return self._nets[mode.net].network

    @property
    def of_own_net(self) -> bool:
        """Whether it runs a net that is not the team's."""
        return self.mode is not None and self._nets[self.mode.net].sharing != "team"

    @cached_property
    def per_agent(self) -> bool:
        """Whether it runs for an agent: it touches ``agent.`` keys, or runs a net that is not the team's."""
        touched = [*self.table.reads.values(), *self.table.writes.values()]
        return self.of_own_net or any(keys.scope(key) == keys.AGENT for key in touched)

    @contextmanager
    def _placed(self, what: str = "") -> Iterator[None]:
        """Say where in the recipe it is that an error is about."""
        try:
            yield
        except RecipeError as error:
            text = str(error)
            written = self.use or self.net
            raise RecipeError(
                text if text.startswith(self.where) else f"{self.where} ({written}): {what}{text}"
            ) from None

    def _renamed(self, table: Table) -> Table:
        """Return the table as the step renames it; what is one tensor for each agent stays so."""
        renamed = table.renamed(self.keys, self.reads, self.writes, self.at)
        for old, new in ((table.reads, renamed.reads), (table.writes, renamed.writes)):
            for role, key in new.items():
                if (keys.scope(old[role]) == keys.AGENTS) != (keys.scope(key) == keys.AGENTS):
                    raise RecipeError(_unlike(role, key))
        return renamed

    def _followed(self, table: Table, follows: Mapping[str, str]) -> Table:
        """Return the table with the roles that follow an agent's key made the agent's; see ``Component.follows``."""
        reads = dict(table.reads)
        for role, leader in follows.items():
            if role not in {**self.keys, **self.reads} and keys.scope(reads[leader]) == keys.AGENT:
                reads[role] = keys.of_agent_in_turn(reads[role])
        return replace(table, reads=reads)


def _unlike(role: str, key: str) -> str:
    """Return why a role cannot be bound to a key."""
    if keys.scope(key) == keys.AGENTS:
        return f"'{role}' is one value, and '{key}' is a key of everybody; write one without agents."
    return f"'{role}' is a tuple, one value for each agent, and '{key}' is not; write a key that begins with agents."
