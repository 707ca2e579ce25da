"""What every section of a recipe is read with: its words and their types, and one line where they are wrong."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from hetrl import arguments, catalog, keys
from hetrl.errors import RecipeError, nearest
from hetrl.recipe.frozen import FrozenDict, Tree, frozen, refuse

_WHOLE = ("int_type", "int_from_float", "greater_than")


class Section(BaseModel):
    """A mapping of a recipe whose words are its fields. Two are the same only if they are one object."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, arbitrary_types_allowed=True)
    where: str
    """Its place in the recipe, for messages."""

    __delattr__ = __replace__ = refuse

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_"):  # what is no word of the recipe is filled in while it is read
            refuse()
        super().__setattr__(name, value)

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __deepcopy__(self, memo: Any = None) -> Self:
        return self  # it never changes

    @classmethod
    def read(cls, tree: Any, where: str, **given: Any) -> Self:
        """Return the section.

        Args:
            tree: what the recipe says, word by word.
            where: its place in the recipe.
            given: fields that are no words of it, or have been read already.

        Raises:
            RecipeError: a word is unknown or missing, or a value is of the wrong type or out of range.
        """
        tree = mapping(tree, where)
        words = [word for word in cls.model_fields if word != "where" and word not in given]
        known_only(tree, words, where)
        try:
            return cls(where=where, **given, **tree)
        except ValidationError as error:
            raise RecipeError(explained(error, where)) from None


@dataclass(frozen=True, eq=False)
class Use:
    """A catalog entry with its arguments."""

    where: str
    name: str
    arguments: Mapping[str, Any] = field(default_factory=FrozenDict)

    @classmethod
    def parse(cls, tree: Any, where: str) -> "Use":
        """Return what ``{use: kind/name, argument: value, ...}`` says.

        Raises:
            RecipeError: it is no mapping, or names nothing.
        """
        tree = mapping(tree, where)
        return cls(where, used(tree.pop("use", None), where), frozen(tree))

    def entry(self, kind: str | tuple[str, ...]) -> Any:
        """Return the class behind it, its arguments checked.

        Raises:
            RecipeError: there is no such entry of that kind, or an argument does not suit it.
        """
        return entry(self.name, self.arguments, self.where, kind)


def entry(name: str, values: Mapping[str, Any], where: str, kind: str | tuple[str, ...]) -> Any:
    """Return the class behind a catalog name, its arguments checked.

    Raises:
        RecipeError: see :meth:`Use.entry`.
    """
    return checked(catalogued(name, where, kind), name, values, where)


def catalogued(name: str, where: str, kind: str | tuple[str, ...]) -> Any:
    """Return the class behind a catalog name.

    Raises:
        RecipeError: there is none of that kind.
    """
    try:
        return catalog.resolve(name, kind)
    except RecipeError as error:
        raise RecipeError(f"{where}: {error}") from None


def checked(found: Any, name: str, values: Mapping[str, Any], where: str) -> Any:
    """Return a class, its arguments checked.

    Raises:
        RecipeError: one does not suit it.
    """
    try:
        arguments.check(found.__init__, values, name)
    except RecipeError as error:
        raise RecipeError(f"{where}: {error}") from None
    return found


def used(name: Any, where: str) -> str:
    """Return the catalog name behind ``use``.

    Raises:
        RecipeError: it is none.
    """
    if not isinstance(name, str) or not name:
        raise RecipeError(f"{where} needs 'use: kind/name'{'' if name is None else f', not {name!r}'}.")
    return name


def explained(error: ValidationError, where: str) -> str:
    """Return in one line what is wrong with a section, and what it should be."""
    first = error.errors()[0]
    kind, value = first["type"], first["input"]
    place = where + "".join(f"[{word}]" if isinstance(word, int) else f".{word}" for word in first["loc"])
    if kind == "missing":
        return f"{where} needs '{first['loc'][-1]}'."
    if kind == "literal_error":
        choices = re.findall(r"'([^']*)'", first["ctx"]["expected"])
        return f"{place}: '{value}' is not one of {', '.join(choices)}.{close(str(value), choices)}"
    if kind in _WHOLE and repr(first.get("ctx", {}).get("gt", 0)) == "0" and not isinstance(value, str):
        return f"{place} must be a whole number above 0, not {value!r}."
    wanted = {"dict_type": "be a mapping", "list_type": "be a list", "string_type": "be a text"}.get(kind)
    return f"{place} must {wanted or _should(first['msg'])}, not {value!r}."


def _should(message: str) -> str:
    return message.removeprefix("Input should ")


def close(word: str, words: Iterable[str]) -> str:
    """Return the nearest of ``words`` as a message ends; nothing where none is near."""
    found = nearest(word, words)
    return found if "Nearest" in found else ""


def known_only(tree: Mapping[str, Any], words: Sequence[str], where: str) -> None:
    """Refuse words that a section does not have.

    Raises:
        RecipeError: with the nearest that it has.
    """
    for word in tree:
        if word not in words:
            raise RecipeError(f"{where} has no '{word}'.{nearest(str(word), words)}")


def named(name: Any, where: str) -> str:
    """Return a name that may be part of a key.

    Raises:
        RecipeError: it is none.
    """
    if not isinstance(name, str) or "." in name:
        raise RecipeError(f"{where}: {name!r} is no name; write letters, digits and underscores.")
    keys.parse(name)
    return name


def mapping(tree: Any, where: str) -> Tree:
    """Return a mapping as a dict of its own.

    Raises:
        RecipeError: it is none.
    """
    if not isinstance(tree, Mapping):
        raise RecipeError(f"{where} must be a mapping, not {tree!r}.")
    return dict(tree)


def sequence(tree: Any, where: str) -> list[Any]:
    """Return a list.

    Raises:
        RecipeError: it is none.
    """
    if not isinstance(tree, Sequence) or isinstance(tree, str):
        raise RecipeError(f"{where} must be a list, not {tree!r}.")
    return list(tree)
