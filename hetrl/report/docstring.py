"""A part's docstring, and the types of its arguments, in words."""

import inspect
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

from hetrl import arguments

_SECTION = re.compile(r"(Args|Raises|Source|Differs):(.*)")
_ENTRY = re.compile(r"(\w+): (.*)")
_BOUNDS = (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤"))


@dataclass(frozen=True)
class Docstring:
    """What a docstring says."""

    paragraphs: Sequence[str]
    """Its prose; the first one is the summary."""
    sections: dict[str, list[str]]
    """``Args``, ``Raises``, ``Source``, ``Differs``: their lines."""

    @property
    def formula(self) -> int | None:
        """Which of the paragraphs is a formula; None where there is none."""
        second = self.paragraphs[1] if len(self.paragraphs) > 1 else ""
        return 1 if re.search(r"[=<>^]|\(.*[/*+-].*\)|^-", second) else None

    @property
    def arguments(self) -> dict[str, str]:
        """What each argument is, with its unit and range."""
        explained: dict[str, str] = {}
        last = ""
        for line in self.sections.get("Args", []):
            found = _ENTRY.match(line)
            if found:
                last = found[1]
                explained[last] = found[2]
            elif last and line:
                explained[last] += f" {line}"
        return explained

    def section(self, word: str) -> str:
        """Return a section as one text; ``""`` where there is none."""
        return " ".join(self.sections.get(word, [])).strip()


def parsed(text: str) -> Docstring:
    """Split a docstring into its paragraphs and its sections."""
    free: list[str] = []
    sections: dict[str, list[str]] = {}
    current: list[str] = free
    for line in text.splitlines():
        found = _SECTION.match(line)
        if found:
            current = sections.setdefault(found[1], [])
            current.append(found[2].strip())
        elif current is not free and line and not line.startswith(" "):
            current = free  # prose again, after a section
            current.append(line)
        else:
            current.append(line.strip() if current is not free else line)
    return Docstring(re.split(r"\n\s*\n", "\n".join(free).strip()), sections)


def default_of(parameter: inspect.Parameter) -> str:
    """Return a default as a recipe would write it; ``needed`` where there is none."""
    value = parameter.default
    if value is inspect.Parameter.empty:
        return "needed"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return str(value)


def type_of(hint: Any) -> str:
    """Return a hint as words: a type, its range, the choices of a literal."""
    if hint is None:
        return ""
    text = inspect.formatannotation(hint)
    choices = re.findall(r"Literal\[(.*?)\]", text)
    if choices:
        return ", ".join(choice.strip() for choice in choices[0].replace("'", "").split(","))
    bounds = [f"{sign} {number}" for word, sign in _BOUNDS for number in re.findall(rf"\b{word}=(-?[\d.e+]+)", text)]
    if "list[" in text:
        of = "numbers" if "float" in text else "whole numbers" if re.search(r"\bint\b", text) else "lists"
        word = "word or " if re.search(r"\bstr\b", text) else ""
        return f"{word}list of {of}{' or null' if type(None) in get_args(hint) else ''}"
    if "float" in text:
        base = "number"
    elif re.search(r"\bint\b", text):
        base = "whole number"
    else:
        base = "true or false" if "bool" in text else "word"
    if type(None) in get_args(hint):
        bounds.append("or null")
    if arguments.SCHEDULABLE in getattr(hint, "__metadata__", ()):
        bounds.append("or a schedule")
    return " ".join([base, *bounds])
