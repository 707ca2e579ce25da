"""What ``hetrl show`` prints of a quantity: what its key stands for, in which forms, and who writes and reads it."""

import re
from collections.abc import Iterator

from hetrl import catalog, glossary, keys
from hetrl.network import Network
from hetrl.report.part import Described

COLLECTED = "Written by collection"
"""How the glossary's titles begin of what no part writes."""


def bindings() -> Iterator[tuple[str, str, str, bool]]:
    """Yield (part, role, key, whether it is written) of hetrl's own parts: components, nets, optimisers that read."""
    for name in catalog.BUILT_IN:
        cls = catalog.resolve(name)
        for table in cls.modes.values() if issubclass(cls, Network) else [getattr(cls, "table", cls)]:
            yield from ((name, role, key, False) for role, key in getattr(table, "reads", {}).items())
            yield from ((name, role, key, True) for role, key in getattr(table, "writes", {}).items())


def quantities(word: str) -> list[str]:
    """Return the keys that somebody may mean: the one that is called so, or those whose last word is the same.

    >>> quantities("next.agent.observation"), quantities("agent.factor"), quantities("hapo")
    (['agent.observation'], ['factor'], [])
    """
    known = [key for group in glossary.WORDS.values() for key in group]
    if not re.fullmatch(r"\w+(\.\w+)*", word) or {*word.split(".")} == {keys.NEXT}:
        return []
    key = glossary.base(word)
    return [key] if key in known else [each for each in known if each.split(".")[-1] == key.split(".")[-1]]


def describe_quantity(key: str) -> Described:
    """Return what there is to know about a key of the glossary."""
    title, word = next((title, group[key]) for title, group in glossary.WORDS.items() if key in group)
    users = [(part, form, written) for part, _, form, written in bindings() if glossary.base(form) == key]
    written, read = (sorted({part for part, _, writes in users if writes is wanted}) for wanted in (True, False))
    rows = [
        ("shape", word.in_brackets()),
        ("unit", word.unit),
        ("forms", ", ".join([key, *sorted({form for _, form, _ in users} - {key})])),
        ("written by", ", ".join(written) or ("collection" if title.startswith(COLLECTED) else "")),
        ("read by", ", ".join(read)),
    ]
    return Described(key, [glossary.plain(word.meaning)], None, {"quantity": [row for row in rows if row[1]]})
