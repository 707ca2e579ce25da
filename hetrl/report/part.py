"""What ``hetrl show`` prints of a part: what it computes, its arguments and keys, where it is from and who uses it."""

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_type_hints

from rich.console import Console, ConsoleOptions, RenderResult

from hetrl import arguments, catalog, glossary, keys
from hetrl.component import Component, Table
from hetrl.errors import RecipeError, nearest
from hetrl.network import Network, Policy
from hetrl.recipe.sheet import text_line, wrapped
from hetrl.recipe.shipped import shipped, tree
from hetrl.report.docstring import Docstring, default_of, parsed, type_of

_OF_THE_RUN = ("seed", "device")
"""Arguments of an environment that a recipe sets under ``run``."""
_DEEP = 24
"""Labels that are wider stand above what they label."""


@dataclass(frozen=True)
class Described:
    """A part in words for the terminal: its prose, and lists of what belongs to it."""

    name: str
    prose: Sequence[str]
    """The summary and what follows it."""
    formula: int | None
    """Which of them is a formula, and keeps its lines."""
    lists: Mapping[str, Sequence[tuple[str, str]]]
    """Title -> label and text of each entry."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        for number, text in enumerate(self.prose):
            lines = text.splitlines() if number == self.formula else [text]
            words = [f"{self.name}:", *text.split()] if number == 0 else []
            for line in lines:
                broken = wrapped(words or line.split(), width, 0 if number == 0 else 2)
                yield from (text_line(part, "bold" if number == 0 else "") for part in broken)
            yield text_line("")
        for title, rows in self.lists.items():
            yield from (text_line(part, "bold") for part in wrapped(title.split(), width))
            deep = min(max((len(label) for label, _ in rows), default=0), _DEEP, width // 2)
            for label, text in rows:
                first, *rest = wrapped(text.split(), width, deep + 4)
                above = len(label) > deep or not first.startswith(" " * (deep + 4))
                yield text_line(f"  {label}" if above else f"  {label:<{deep}}  {first.lstrip()}".rstrip())
                yield from map(text_line, [first, *rest] if above and text else rest)


def describe(name: str) -> Described:
    """Return what there is to know about a part.

    Args:
        name: ``loss/huber_value``, or ``scenario/balance``.

    Raises:
        RecipeError: there is no such part; with the nearest name.
    """
    if name.startswith("scenario/"):
        return _scenario(name)
    cls = catalog.resolve(name)
    doc = parsed(inspect.getdoc(cls) or "")
    lists = {"arguments": list(_arguments(cls, doc, _OF_THE_RUN if name.startswith("env/") else ()))}
    if issubclass(cls, Component):
        lists["keys"] = list(_keys(cls.table))
    elif issubclass(cls, Network):
        lists.update(_modes(cls))
    elif reads := getattr(cls, "reads", None):
        lists["keys"] = list(_keys(Table(reads, {}, {}, frozenset())))
    lists["more"] = [*_said(doc), *_origin(name, cls)]
    return Described(name, _prose(doc), doc.formula, lists)


def _prose(doc: Docstring) -> list[str]:
    return [text if number == doc.formula else _plain(text) for number, text in enumerate(doc.paragraphs)]


def _arguments(cls: type[Any], doc: Docstring, hidden: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    hints = get_type_hints(cls.__init__, include_extras=True)
    found = {name: each for name, each in arguments.parameters(cls.__init__).items() if name not in hidden}
    for name, parameter in found.items():
        yield name, _argument(type_of(hints.get(name)), parameter, doc.arguments.get(name, ""))
    others = [
        each.name for each in inspect.signature(cls.__init__).parameters.values() if each.kind is each.VAR_KEYWORD
    ]
    yield from (("any other", _plain(doc.arguments.get(each, ""))) for each in others)
    if not found and not others:
        yield "none", _plain(doc.section("Args").removeprefix("none.").strip())


def _argument(words: str, parameter: inspect.Parameter | None, said: str) -> str:
    """Return type and default of an argument, and what it is."""
    default = "" if parameter is None else default_of(parameter)
    known = [words, default if default in ("", "needed") else f"by default {default}"]
    return f"{', '.join(each for each in known if each)}: {_plain(said)}".strip(": ")


def _modes(cls: type[Network]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    for mode, table in cls.modes.items():
        default = ", where a step names none" if mode == cls.default_mode else ""
        said = (inspect.getdoc(getattr(cls, mode)) or "").split("\n\n")[0]
        yield f"mode {mode}{default}: {_plain(said)}", list(_keys(table))
    per = [("per", f"{cls.default_per}, unless the recipe says otherwise")]
    if issubclass(cls, Policy):
        kinds = [{"Box": "continuous", "Discrete": "discrete"}.get(each.__name__, each.__name__) for each in cls.serves]
        per.insert(0, ("actions", " and ".join(kinds)))
    yield "use", per


def _keys(table: Table) -> Iterator[tuple[str, str]]:
    """Yield what a table reads, calls and writes, with the shape, unit and meaning that a key has everywhere."""
    for how, roles in (("reads", table.reads), ("calls", table.calls), ("writes", table.writes)):
        for role, key in roles.items():
            word = None if how == "calls" or keys.is_output(key) else glossary.word_of(key)
            known = [key, "where something writes it" if role in table.optional else ""]
            known += [word.in_brackets(), word.unit] if word else []
            meaning = glossary.plain(word.meaning) if word else ""
            yield f"{how:<6} {role}", f"{', '.join(each for each in known if each)}: {meaning}".strip(": ")


def _said(doc: Docstring) -> Iterator[tuple[str, str]]:
    """Yield what a docstring says of errors and of the paper."""
    for word, label in (("Raises", "errors"), ("Source", "source"), ("Differs", "differs")):
        if doc.section(word):
            yield label, _plain(doc.section(word))


def _origin(name: str, cls: type[Any]) -> Iterator[tuple[str, str]]:
    """Yield who uses a part, and where its code is."""
    users = [recipe for recipe, file in shipped().items() if name in _used(tree(file))]
    yield "used in", ", ".join(users) or "no shipped recipe"
    point = catalog.installed().get(name)
    package = f", of {point.dist.name} {point.dist.version}" if point is not None and point.dist else ""
    yield "code", f"{cls.__module__}.{cls.__qualname__}{package}"


def _used(section: Any) -> set[str]:
    """Return the names that a recipe uses."""
    if isinstance(section, dict):
        found = {str(section["use"])} if "use" in section else set()
        return found.union(*map(_used, section.values()))
    return set().union(*map(_used, section)) if isinstance(section, list) else set()


def _scenario(name: str) -> Described:
    from hetrl.env.scenarios import scenario_arguments, scenario_class, scenarios

    word = name.removeprefix("scenario/")
    if word not in scenarios():
        raise RecipeError(f"no scenario '{word}'.{nearest(word, scenarios())}")
    cls = scenario_class(word)
    doc = parsed((vars(cls).get("__doc__") and inspect.getdoc(cls)) or "A scenario of VMAS.")
    accepted = scenario_arguments(word)
    known: Mapping[str, inspect.Parameter] = inspect.signature(cls.make_world).parameters
    found = [
        (each, _argument(type_of(known[each].annotation) if _typed(known.get(each)) else "", known.get(each),
                         doc.arguments.get(each, "")))
        for each in sorted(accepted or ())
    ]  # fmt: skip
    if accepted is None:
        found = [("its own", "see its source; they are not told apart there")]
    written = f"task: {{use: env/vmas, scenario: {word}}}"
    lists = {
        "arguments": found,
        "more": [*_said(doc), ("recipe", written), ("code", cls.make_world.__code__.co_filename)],
    }
    return Described(name, _prose(doc), doc.formula, lists)


def _typed(parameter: inspect.Parameter | None) -> bool:
    return parameter is not None and parameter.annotation is not parameter.empty


def _plain(text: str) -> str:
    """Return docstring prose without its marks, in one line."""
    text = re.sub(r":\w+:`~?([^`]*)`", r"\1", text)
    return " ".join(text.replace("``", "").split())
