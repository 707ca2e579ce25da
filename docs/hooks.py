"""Pages of the documentation that are made from the code: one for each catalog entry, when ``mkdocs build`` runs.

A page holds the summary, the formula and the sections of the class's docstring, its arguments with types and defaults
from the constructor's signature, and its key table.
"""

import inspect
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, get_args, get_type_hints

from hetrl import arguments, catalog
from hetrl.component import Component, Table
from hetrl.network import Network, Policy

KINDS = {
    "order": "Who is next",
    "estimate": "What it is worth",
    "weight": "How much it counts",
    "loss": "What is pushed",
    "net": "Networks",
    "optim": "How a step is taken",
    "env": "Environments",
    "data": "Collection",
}
_SECTION = re.compile(r"(Args|Raises|Source|Differs):(.*)")
_ENTRY = re.compile(r"(\w+): (.*)")
_OF_THE_RUN = {"env": ("seed", "device")}
"""Arguments that a recipe sets under ``run``."""


def pages() -> dict[str, str]:
    """Return path -> Markdown for every catalog entry that hetrl itself brings, and the index of them."""
    made = {f"components/{name}.md": page(name) for name in catalog.BUILT_IN}
    return {"components/index.md": index(), **made}


def index() -> str:
    """Return the list of all entries by kind."""
    lines = ["# Components", "", "Every part that a recipe can choose. `hetrl list` prints the same list.", ""]
    for kind, title in KINDS.items():
        lines += [f"## {title}: `{kind}/`", "", "| name | |", "|---|---|"]
        lines += [
            f"| [{name}]({name}.md) | {_inline(catalog.summary(name))} |"
            for name in catalog.BUILT_IN
            if name.startswith(f"{kind}/")
        ]
        lines.append("")
    return "\n".join(lines)


def page(name: str) -> str:
    """Return the page of one entry."""
    cls = catalog.resolve(name)
    paragraphs, sections = _parse(inspect.getdoc(cls) or "")
    lines = [f"# {name}", "", *paragraphs]
    table = list(_arguments(cls, sections, _OF_THE_RUN.get(name.split("/")[0], ())))
    if not table and "Args" in sections:
        lines += [_inline(" ".join(sections["Args"])).replace("none. ", "No arguments. ", 1), ""]
    if table:
        lines += ["## Arguments", "", "| name | type and range | default | |", "|---|---|---|---|", *table, ""]
    if issubclass(cls, Component):
        lines += ["## Keys", "", *_keys(cls.table)]
    if issubclass(cls, Network):
        lines += ["## Modes", ""]
        if cls.default_mode:
            lines += [f"`{cls.default_mode}` where a step names none.", ""]
        for mode, bound in cls.modes.items():
            lines += [f"### {mode}", "", _inline(inspect.getdoc(getattr(cls, mode)) or ""), "", *_keys(bound)]
    if issubclass(cls, Policy):
        kinds = " and ".join({"Box": "continuous", "Discrete": "discrete"}[kind.__name__] for kind in cls.serves)
        lines += [f"Serves {kinds} actions. `per: {cls.default_per}` unless the recipe says otherwise.", ""]
    elif issubclass(cls, Network):
        lines += [f"`per: {cls.default_per}` unless the recipe says otherwise.", ""]
    for word, title in (("Raises", "Errors"), ("Source", "Source"), ("Differs", "How it differs from the source")):
        if word in sections:
            lines += [f"## {title}", "", _inline(" ".join(sections[word]).strip()), ""]
    module = cls.__module__.replace(".", "/")
    lines += [f"Code: `{module}.py`.", ""]
    return "\n".join(lines)


def _parse(doc: str) -> tuple[list[str], dict[str, list[str]]]:
    """Split a docstring into its paragraphs as Markdown and its sections as lines."""
    free: list[str] = []
    sections: dict[str, list[str]] = {}
    current: list[str] = free
    for line in doc.splitlines():
        found = _SECTION.match(line)
        if found:
            current = sections.setdefault(found[1], [])
            current.append(found[2].strip())
        elif current is not free and line and not line.startswith(" "):
            current = free  # prose again, after a section
            current.append(line)
        else:
            current.append(line.strip() if current is not free else line)
    paragraphs: list[str] = []
    for number, block in enumerate(re.split(r"\n\s*\n", "\n".join(free).strip())):
        is_formula = number == 1 and re.search(r"[=<>^]|\(.*[/*+-].*\)|^-", block) is not None
        paragraphs += [f"```text\n{block}\n```" if is_formula else _inline(block), ""]
    return paragraphs, sections


def _inline(text: str) -> str:
    """Return docstring prose as Markdown."""
    text = re.sub(r":\w+:`~?([^`]*)`", r"`\1`", text)
    text = text.replace("``", "`")
    return re.sub(r"\barXiv[: ](\d{4}\.\d{4,5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", text)


def _arguments(cls: type[Any], sections: Mapping[str, list[str]], hidden: Collection[str]) -> Iterator[str]:
    explained: dict[str, str] = {}
    last = ""
    for line in sections.get("Args", []):
        found = _ENTRY.match(line)
        if found:
            last = found[1]
            explained[last] = found[2]
        elif last and line:
            explained[last] += f" {line}"
    hints = get_type_hints(cls.__init__, include_extras=True)
    for name, parameter in arguments.parameters(cls.__init__).items():
        if name in hidden:
            continue
        default = "needed" if parameter.default is inspect.Parameter.empty else f"`{_plain(parameter.default)}`"
        yield f"| `{name}` | {_type(hints.get(name))} | {default} | {_cell(explained.get(name, ''))} |"
    rest = [p for p in inspect.signature(cls.__init__).parameters.values() if p.kind is p.VAR_KEYWORD]
    for parameter in rest:
        yield f"| anything else | | | {_cell(explained.get(parameter.name, ''))} |"


def _plain(value: Any) -> str:
    """Return a default as a recipe would write it."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return str(value)


def _type(hint: Any) -> str:
    """Return a hint as words: a type, its range, the choices of a literal."""
    if hint is None:
        return ""
    text = inspect.formatannotation(hint)
    choices = re.findall(r"Literal\[(.*?)\]", text)
    if choices:
        return ", ".join(f"`{choice.strip()}`" for choice in choices[0].replace("'", "").split(","))
    bounds = [f"{sign} {number}" for word, sign in (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤"))
              for number in re.findall(rf"\b{word}=(-?[\d.e+]+)", text)]  # fmt: skip
    if "list[" in text:
        of = "numbers" if "float" in text else "whole numbers" if re.search(r"\bint\b", text) else "lists"
        word = "word or " if re.search(r"\bstr\b", text) else ""
        return f"{word}list of {of}{' or null' if type(None) in get_args(hint) else ''}"
    base = "number" if "float" in text else "whole number" if re.search(r"\bint\b", text) else (
        "true or false" if "bool" in text else "word")  # fmt: skip
    if type(None) in get_args(hint):
        bounds.append("or null")
    if arguments.SCHEDULABLE in getattr(hint, "__metadata__", ()):
        bounds.append("or a schedule")
    return " ".join([base, *bounds])


def _keys(table: Table) -> list[str]:
    lines = ["| | role | key |", "|---|---|---|"]
    for role, key in table.reads.items():
        lines.append(f"| reads{', where written' if role in table.optional else ''} | `{role}` | `{key}` |")
    for role, key in table.calls.items():
        lines.append(f"| calls | `{role}` | `{key}` |")
    for role, key in table.writes.items():
        lines.append(f"| writes | `{role}` | `{key}` |")
    return [*lines, ""]


def _cell(text: str) -> str:
    return _inline(text).replace("|", "\\|")


# --------------------------------------------------------------------------- what mkdocs calls


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages."""
    from mkdocs.structure.files import File

    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    return files
