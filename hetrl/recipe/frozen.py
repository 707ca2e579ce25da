"""Trees that can be looked at and not be changed: what is read from a recipe is what is trained, saved and compared."""

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from hetrl.errors import RecipeError

Tree = dict[str, Any]


def frozen(tree: Any) -> Any:
    """Return a copy of nested mappings and lists that refuses every change."""
    if isinstance(tree, Mapping):
        return FrozenDict({word: frozen(value) for word, value in tree.items()})
    if isinstance(tree, Sequence) and not isinstance(tree, (str, bytes)):
        return FrozenList(map(frozen, tree))
    return tree


def thawed(tree: Any) -> Any:
    """Return a copy of nested mappings and lists that is its owner's to change."""
    if isinstance(tree, Mapping):
        return {word: thawed(value) for word, value in tree.items()}
    if isinstance(tree, Sequence) and not isinstance(tree, (str, bytes)):
        return [thawed(value) for value in tree]
    return tree


def refuse(*_: Any, **__: Any) -> NoReturn:
    """Refuse a change.

    Raises:
        RecipeError: always.
    """
    raise RecipeError(
        "a recipe is its tree, and nothing can be changed behind it; make another one: "
        "hetrl.load(recipe, 'task.n_envs=8'); for an environment of your own, give it a name first: "
        "hetrl.register('env/my.world', World)."
    )


class FrozenDict(dict[str, Any]):
    """A mapping that refuses every change."""

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (thawed(self),)


class FrozenList(list[Any]):
    """A list that refuses every change."""

    __setitem__ = __delitem__ = __iadd__ = __imul__ = refuse
    append = clear = extend = insert = pop = remove = reverse = sort = refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (thawed(self),)
