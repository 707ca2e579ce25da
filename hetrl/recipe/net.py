"""The nets of a recipe: what each is, who shares it, whether it has a slow copy, and which modes can be called."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from pydantic import InstanceOf, SkipValidation

from hetrl.arguments import Count, Share
from hetrl.component import Table
from hetrl.errors import RecipeError, nearest
from hetrl.network import Network
from hetrl.recipe.encoder import encoders, encoding, net_in_front
from hetrl.recipe.frozen import frozen
from hetrl.recipe.section import Section, catalogued, checked, mapping, named, used

Per = Literal["agent", "group", "team"]
TARGET = "target"
"""What stands before a mode that is asked of the slow copy: ``q.target.min``."""


class Target(Section):
    """A slow copy of a net: after every so-many-th phase that trains it, target <- target + tau (net - target)."""

    tau: Share
    every: Count = 1


class Net(Section):
    """A network of the recipe."""

    name: str
    use: str
    per: Per | None = None
    """Who shares it, as the recipe says; left out, the network knows, see :attr:`sharing`."""
    target: InstanceOf[Target] | None = None
    arguments: SkipValidation[Mapping[str, Any]]

    @classmethod
    def parse(cls, tree: Any, name: Any) -> "Net":
        """Return one entry of ``nets``.

        Raises:
            RecipeError: a word is missing or wrong.
        """
        where = f"nets.{named(name, 'nets')}"
        tree = mapping(tree, where)
        words = {word: tree.pop(word) for word in ("per", "target") if tree.get(word) is not None}
        if "target" in words:
            words["target"] = Target.read(words["target"], f"{where}.target")
        given = {"use": used(tree.pop("use", None), where), "arguments": frozen(without(tree, "per", "target"))}
        return cls.read(words, where, name=name, **given)

    @cached_property
    def network(self) -> type[Network]:
        """The class behind it, its arguments checked.

        Raises:
            RecipeError: there is no such net, or an argument does not suit it.
        """
        return checked(catalogued(self.use, self.where, "net"), self.use, self.values, self.where)

    @property
    def steps(self) -> Mapping[str, Table]:
        """How a recipe asks for each of its modes, ``net: actor.log_prob``, and what that reads and writes.

        Raises:
            RecipeError: there is no such net, or an argument does not suit it.
        """
        return {
            f"net: {self.name}" if name == self.network.default_mode else f"net: {self.name}.{name}": table
            for name, table in self.network.modes.items()
        }

    @cached_property
    def values(self) -> Mapping[str, Any]:
        """Its arguments as the constructor takes them: an encoder, ``{use: net/...}``, is looked up.

        Raises:
            RecipeError: there is no such net, or no such encoder, or an argument does not suit that.
        """
        written = {word: value for word, value in self.arguments.items() if word not in self._fronts}
        return {
            word: value if word not in self._encoders or value is None else encoding(value, f"{self.where}.{word}")
            for word, value in written.items()
        }

    @cached_property
    def _encoders(self) -> frozenset[str]:
        """Names of its arguments that take an encoder."""
        return encoders(catalogued(self.use, self.where, "net"))

    @cached_property
    def _fronts(self) -> Mapping[str, str]:
        """Argument that takes an encoder -> the net of the recipe that stands there."""
        named = {word: net_in_front(self.arguments.get(word), f"{self.where}.{word}") for word in self._encoders}
        return {word: name for word, name in named.items() if name is not None}

    @property
    def behind(self) -> str | None:
        """The net of the recipe whose features it reads in place of observations, ``encoder: {net: name}``."""
        return next(iter(self._fronts.values()), None)

    @property
    def sharing(self) -> Per:
        """Who shares it."""
        return self.per or self.network.default_per

    @property
    def trainable(self) -> bool:
        """Whether a phase has to train it."""
        return self.network.trainable(self.arguments)

    @property
    def chunk(self) -> int | None:
        """Steps that it unrolls at once; None where it is not recurrent."""
        return self.network.chunk_of(self.arguments)


def trained_nets(named: Any, where: str, nets: Sequence[str]) -> str | tuple[str, ...]:
    """Return the net, or the nets in the order of ``nets``, that a phase's ``train`` names.

    Raises:
        RecipeError: it is neither a name nor a list of names, or names one twice.
    """
    if isinstance(named, str):
        return named
    if not isinstance(named, Sequence) or not named or not all(isinstance(name, str) for name in named):
        raise RecipeError(f"{where} must be the name of a net, or a list of names, not {named!r}.")
    twice = next((name for name in named if named.count(name) > 1), None)
    if twice is not None:
        raise RecipeError(f"{where} names '{twice}' twice; once is enough.")
    return tuple(sorted(named, key=lambda name: nets.index(name) if name in nets else len(nets)))


def _of_features(key: str) -> str:
    """Return the key that takes an observation's place where another net has made features of it."""
    return "agent.features" if key == "agent.observation" else key


def without(tree: Mapping[str, Any], *words: str) -> dict[str, Any]:
    """Return a mapping without some of its words."""
    return {word: value for word, value in tree.items() if word not in words}


@dataclass(frozen=True)
class Mode:
    """A mode of a net, or of its slow copy."""

    net: str
    name: str
    slow: bool
    table: Table
    function: Callable[..., Any]
    """The method, not yet bound to a network."""

    def __str__(self) -> str:
        return f"{self.net}.{TARGET}.{self.name}" if self.slow else f"{self.net}.{self.name}"

    @classmethod
    def of(cls, called: str, nets: Mapping[str, Net]) -> "Mode":
        """Return what ``net``, ``net.mode`` or ``net.target.mode`` calls.

        Raises:
            RecipeError: there is no such net, no such mode, or no slow copy.
        """
        name, _, asked = called.partition(".")
        if name not in nets:
            raise RecipeError(f"no net '{name}'.{nearest(name, nets)}")
        net = nets[name]
        word, _, rest = asked.partition(".")
        slow = word == TARGET and net.target is not None
        mode = (rest if slow else asked) or net.network.default_mode or ""
        modes = net.network.modes
        if mode in modes:
            # A gradient passes through a slow copy's inputs alone.
            table = replace(modes[mode], learned=False) if slow else modes[mode]
            if net.behind is not None:
                table = replace(table, reads={role: _of_features(key) for role, key in table.reads.items()})
            return cls(name, mode, slow, table, getattr(net.network, mode))
        if mode.split(".")[0] == TARGET:
            raise RecipeError(f"net '{name}' has no slow copy; give it one, nets.{name}.target: {{tau: 0.005}}.")
        problem = f"net '{name}' ({net.use}) has no mode '{mode}'" if mode else f"say which mode of '{name}'"
        raise RecipeError(f"{problem}.{nearest(mode, modes)}")
