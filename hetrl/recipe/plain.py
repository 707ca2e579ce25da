"""What a recipe may hold at all: words, texts, numbers, lists and mappings, as YAML can say them."""

from collections.abc import Mapping, Sequence
from typing import Any

from hetrl.errors import RecipeError

MOST_DEPTH = 50
_MOST_NUMBER = 2**63
"""Whole numbers stay below it on both sides, since tensors hold no others."""


def plain(value: Any, where: str = "", depth: int = 0) -> Any:
    """Return a copy of what a recipe says, made of Python's own dicts, lists, texts and numbers.

    Args:
        value: a recipe's tree, or a part of it.
        where: its place in the recipe, for messages; "" is the whole of it.
        depth: levels above it.

    Raises:
        RecipeError: it is nested too deep, or holds what no recipe can say.
    """
    if depth > MOST_DEPTH:
        raise RecipeError(f"{where.split('[')[0]}: it is nested too deep; {MOST_DEPTH} levels are allowed.")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text("".join(value), where)
    if isinstance(value, int):
        return _whole(int(value), where)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Mapping):
        place = f"{where}." if where else ""
        return {_word(word, where): plain(each, f"{place}{word}", depth + 1) for word, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray, memoryview, range)):
        return [plain(each, f"{where}[{index}]", depth + 1) for index, each in enumerate(value)]
    named = "; a class or a function gets a name first: hetrl.register('env/my.world', World)"
    raise RecipeError(
        f"{where}: {_kind(value)} is nothing that a recipe can say; write a number, a text, a list or a mapping"
        f"{named if callable(value) else ''}."
    )


def _kind(value: Any) -> str:
    """Return what a value is, in words: its own text may be anything."""
    return f"a Python {type(value).__name__}"


def _word(word: Any, where: str) -> str:
    if not isinstance(word, str):
        raise RecipeError(f"{where or 'recipe'}: the word {word!r} is no text; put it in quotes, or write a name.")
    return _text("".join(word), where)


def _text(text: str, where: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise RecipeError(f"{where}: {text!r} holds half a letter (a lone surrogate), which no file can.") from None
    return text


def _whole(number: int, where: str) -> int:
    if abs(number) >= _MOST_NUMBER:
        raise RecipeError(f"{where} is a number of {number.bit_length()} bits; write one below 2**63.")
    return number
