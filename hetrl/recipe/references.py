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
    _Sizes(tree, name).of(tree)
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
        self._known: dict[str, tuple[int, int]] = {}
        self._open: list[str] = []

    def of(self, value: Any) -> tuple[int, int]:
        """Return the letters of a value, and how many references lead from one to the next in it; refuse too many."""
        parts: list[tuple[int, int]] = []
        letters = 1
        if isinstance(value, dict):
            letters += sum(len(str(word)) for word in value)
            parts = [self.of(each) for each in value.values()]
        elif isinstance(value, list):
            parts = [self.of(each) for each in value]
        elif isinstance(value, str):
            letters += len(value)
            parts = [self._referred(path) for path in _PLAIN.findall(value)]
        letters += sum(own for own, _ in parts)
        if letters > MOST_LETTERS:
            raise RecipeError(f"{self._name}: its references grow to more than {MOST_LETTERS:,} letters; write fewer.")
        return letters, max((row for _, row in parts), default=0)

    def _referred(self, path: str) -> tuple[int, int]:
        if path.startswith("."):
            raise RecipeError(f"{self._name}: '${{{path}}}' is relative; write the whole path, such as ${{run.seed}}.")
        if path not in self._known:
            if path in self._open or len(self._open) > _MOST_STEPS:
                raise RecipeError(
                    f"{self._name}: '${{{path}}}' is one of too many references in a row, or of a circle."
                )
            self._open.append(path)
            letters, row = self.of(self._at(path))
            self._open.pop()
            if row >= _MOST_STEPS:
                raise RecipeError(
                    f"{self._name}: '${{{path}}}' is one of too many references in a row, or of a circle."
                )
            self._known[path] = letters, row + 1
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
