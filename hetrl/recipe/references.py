"""Plain references, ``${task.n_envs}``: what they may be, and how far they may grow."""

import re
from collections.abc import Iterator
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hetrl.errors import RecipeError
from hetrl.recipe.frozen import Tree

_PLAIN = re.compile(r"\$\{([^${}:\s]+)\}")
MOST_LETTERS = 1_000_000
_MOST_STEPS = 20
"""References that may lead from one to the next."""


def resolved(tree: Tree, name: str) -> Tree:
    """Return a tree with its references replaced by what they refer to.

    Anything else between ``${`` and ``}`` would ask OmegaConf to run a resolver, of which some read this machine's
    environment; it is refused wherever it stands, also as a word, inside another one, or put together by references.

    Raises:
        RecipeError: a reference is none, leads nowhere or in a circle, or the tree grows too large.
    """
    _refuse_resolvers(tree)
    _Sizes(tree, name).of(tree, 0)
    try:
        found: Any = OmegaConf.to_container(OmegaConf.create(tree), resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise RecipeError(f"{name}: {str(error).splitlines()[0]}") from None
    _refuse_resolvers(found, again=True)
    return found


def _texts(tree: Any, where: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text of a tree with its place: values, and words."""
    if isinstance(tree, dict):
        for word, value in tree.items():
            place = f"{where}.{word}" if where else str(word)
            if isinstance(word, str):
                yield f"a word of {where or 'the recipe'}", word
            yield from _texts(value, place)
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from _texts(value, f"{where}[{index}]")
    elif isinstance(tree, str):
        yield where, tree


def _refuse_resolvers(tree: Tree, again: bool = False) -> None:
    for where, text in _texts(tree):
        refuse_resolver(text, where, plain=not again and not where.startswith("a word of "))


def refuse_resolver(text: str, where: str, *, plain: bool = True) -> None:
    """Refuse a text that is more than words and plain references.

    Args:
        text: a value, or a word.
        where: its place, for the message.
        plain: whether plain references may stand in it.

    Raises:
        RecipeError: it asks for a resolver.
    """
    if "${" in (_PLAIN.sub("", text) if plain else text):
        shown = text if len(text) < 80 else f"{text[:77]}..."
        raise RecipeError(
            f"{where}: '{shown}' asks for a resolver; only plain references such as ${{run.seed}} are read."
        )


class _Sizes:
    """How many letters every value of a tree comes to, once its references are replaced."""

    def __init__(self, tree: Tree, name: str) -> None:
        self._tree, self._name = tree, name
        self._known: dict[str, int] = {}

    def of(self, value: Any, steps: int) -> int:
        """Return the size of a value; refuse too large ones.

        Args:
            value: a part of the tree.
            steps: references that have led to it.
        """
        if isinstance(value, dict):
            total = sum(len(str(word)) + self.of(each, steps) for word, each in value.items())
        elif isinstance(value, list):
            total = sum(1 + self.of(each, steps) for each in value)
        elif isinstance(value, str):
            total = len(value) + sum(self._referred(path, steps) for path in _PLAIN.findall(value))
        else:
            total = 1
        if total > MOST_LETTERS:
            raise RecipeError(f"{self._name}: its references grow to more than {MOST_LETTERS:,} letters; write fewer.")
        return total

    def _referred(self, path: str, steps: int) -> int:
        if path.startswith("."):
            raise RecipeError(f"{self._name}: '${{{path}}}' is relative; write the whole path, such as ${{run.seed}}.")
        if steps > _MOST_STEPS:
            raise RecipeError(f"{self._name}: '${{{path}}}' is one of too many references in a row, or of a circle.")
        if path not in self._known:
            self._known[path] = self.of(self._at(path), steps + 1)
        return self._known[path]

    def _at(self, path: str) -> Any:
        """Return what a path leads to; None where it leads nowhere, which OmegaConf says better."""
        value: Any = self._tree
        for word in re.split(r"[.\[\]]+", path.strip("]")):
            if isinstance(value, list) and word.isdigit() and int(word) < len(value):
                value = value[int(word)]
            else:
                value = value.get(word) if isinstance(value, dict) else None
        return value
