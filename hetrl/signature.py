"""Arguments of what is not hetrl's own, a simulator's class or a function, as words of a recipe.

Their names are looked up in the signature, and their values held against its annotations, as far as there are any.
"""

import copy
import inspect
import json
import traceback
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from hetrl.errors import RecipeError, nearest

OF_EVERY_TASK = ("use", "groups", "normalize_observations")
"""Words of a task that never reach an environment; each environment has more of its own."""
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def function_of(thing: Any) -> Callable[..., Any]:
    """Return the function whose arguments make a thing: a class's constructor, whatever its metaclass takes."""
    if isinstance(thing, partial):
        return partial(function_of(thing.func), *thing.args, **thing.keywords)
    if not inspect.isclass(thing):
        return thing if inspect.isroutine(thing) else partial(type(thing).__call__, thing)
    init: Any = thing.__init__
    if init is not object.__init__:
        return partial(init, None)
    new: Any = thing.__new__
    return _nothing if new is object.__new__ else partial(new, None)


def _nothing() -> None:
    """Take no argument, as a class without a constructor."""


def named(thing: Any, left_out: Collection[str] = ()) -> tuple[dict[str, inspect.Parameter], bool]:
    """Return the arguments that can be given by name, and whether any other is taken too (``**kwargs``).

    Args:
        thing: a class or a function.
        left_out: names that are not a recipe's to give.
    """
    try:
        parameters = list(inspect.signature(function_of(thing)).parameters.values())
    except (TypeError, ValueError):  # something built in
        return {}, True
    found = {each.name: each for each in parameters if each.kind in _NAMED and each.name not in left_out}
    return found, any(each.kind is each.VAR_KEYWORD for each in parameters)


def collision(thing: Any, words: Iterable[str]) -> str:
    """Return the first of a thing's arguments that is a word of every task already; ``""`` where there is none."""
    arguments, _ = named(thing)
    return next((word for word in arguments if word in {*words, *OF_EVERY_TASK}), "")


def checked(
    thing: Any,
    values: Mapping[str, Any],
    name: str,
    own: Iterable[str],
    *,
    left_out: Collection[str] = (),
    also: Collection[str] | None = None,
) -> dict[str, Any]:
    """Return a recipe's values as a thing takes them: a list as the tuple that it annotates, say. They are copies.

    Args:
        thing: a class or a function.
        values: the task's words that are not those of every task.
        name: what messages call the thing.
        own: the words of every task, as nearest names.
        left_out: see :func:`named`.
        also: names that its ``**kwargs`` take; None where that is not known, and any is let through.

    Raises:
        RecipeError: a name is unknown or missing, or a value is not of its type.
    """
    parameters, takes_more = named(thing, left_out)
    hints, result = _hints(thing), {}
    for word, value in values.items():
        if word in parameters:
            result[word] = _typed(hints.get(word), value, word, parameters[word].default)
        elif takes_more and (also is None or word in also):
            result[word] = copy.deepcopy(value)
        else:
            known = {*parameters, *(also or ()), *own, *OF_EVERY_TASK}
            raise RecipeError(f"task.{word}: '{name}' has no such argument.{nearest(word, known)}")
    for word, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and word not in values:
            raise RecipeError(f"task.{word} is missing: '{name}' needs it; write task.{word}=...")
    return result


def _hints(thing: Any) -> dict[str, Any]:
    function: Any = function_of(thing)
    while isinstance(function, partial):
        function = function.func
    try:
        return get_type_hints(inspect.unwrap(function), include_extras=True)
    except Exception:  # names that are there for a type checker only
        return {}


def _typed(hint: Any, value: Any, word: str, default: Any) -> Any:
    """Return a value as its annotation has it: as JSON may: a list for a tuple, and no text for a number."""
    adapter = None if hint is None or (value is None and default is None) else _adapter(hint)
    if adapter is None:
        return copy.deepcopy(value)
    try:
        return adapter.validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        place = "".join(f"[{step}]" for step in first["loc"] if isinstance(step, int))
        raise RecipeError(f"task.{word}{place} = {first['input']!r}: {first['msg']}.") from None


def _adapter(hint: Any) -> TypeAdapter[Any] | None:
    """Return what checks values of an annotation; None for one that cannot be checked."""
    for config in (ConfigDict(arbitrary_types_allowed=True), None):
        try:
            return TypeAdapter(hint, config=config)
        except Exception:
            continue
    return None


def said(error: BaseException, besides: str = "") -> str:
    """Return in a line what an error of other people's code says, and where in that code it was raised.

    Args:
        error: it.
        besides: a file of ours whose lines are no place of theirs.
    """
    text = (str(error).strip().splitlines() or ["no message"])[0]
    frames = [each for each in traceback.extract_tb(error.__traceback__) if each.filename != besides]
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {text}{place}"
