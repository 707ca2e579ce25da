"""What the documentation takes from the code when ``mkdocs build`` runs.

Each catalog entry has a page: the summary, the formula and the sections of the class's docstring, its arguments with
types and defaults from the constructor's signature, its key table, the recipes that use it, the pages that speak of it,
and its source. The tables of keys come from the glossary and from everybody's key tables. And where a page names an
entry, it links to it.
"""

import functools
import inspect
import posixpath
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, get_type_hints

from omegaconf import OmegaConf

from hetrl import arguments, catalog, glossary, keys
from hetrl.component import Component, Table
from hetrl.network import Network, Policy
from hetrl.recipe.shipped import shipped
from hetrl.report.docstring import Docstring, default_of, parsed, type_of
from hetrl.report.quantity import bindings

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
_NAME = re.compile(r"\b(" + "|".join(catalog.BUILT_IN) + r")\b(?!\.)")
DOCS = Path(__file__).parent
KEYS_MARK = "<!-- the tables are put here -->"
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
    doc = parsed(inspect.getdoc(cls) or "")
    lines = [f"# {name}", "", *_markdown(doc)]
    table = list(_arguments(cls, doc.arguments, _OF_THE_RUN.get(name.split("/")[0], ())))
    lines += ["## Arguments", ""]
    if table:
        lines += ["| name | type and range | default | |", "|---|---|---|---|", *table, ""]
    else:
        said = _inline(doc.section("Args"))
        lines += ["None." if said in ("", "none.") else said.replace("none. ", "None. ", 1), ""]
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
        if word in doc.sections:
            text = _inline(doc.section(word))
            lines += [f"## {title}", "", f"{text[:1].upper()}{text[1:]}", ""]
    lines += _uses(name)
    module = cls.__module__.replace(".", "/")
    lines += ["## Code", "", f"`{module}.py`", "", f'??? quote "class {cls.__name__}"', "", "    ```python"]
    lines += [f"    {line}".rstrip() for line in inspect.getsource(cls).splitlines()]
    return "\n".join([*lines, "    ```", ""])


def _uses(name: str) -> list[str]:
    """Return who uses an entry: recipes and task sections, and the pages that name it."""
    recipes = [f"`{recipe}`" for recipe, names in _used_by_recipes().items() if name in names]
    up = "../" * (name.count("/") + 1)
    pages = [f"[{_title(page)}]({up}{page})" for page, names in _named_on_pages().items() if name in names]
    found = [f"Recipes: {', '.join(recipes)}."] if recipes else []
    found += [f"Pages: {', '.join(pages)}."] if pages else []
    return ["## Where it is used", "", "\n\n".join(found) or "In no shipped recipe.", ""]


@functools.cache
def _used_by_recipes() -> dict[str, set[str]]:
    def names(tree: Any) -> Iterator[str]:
        if isinstance(tree, dict):
            yield from ([tree["use"]] if "use" in tree else [])
            tree = list(tree.values())
        for part in tree if isinstance(tree, list) else []:
            yield from names(part)

    trees = {name: OmegaConf.to_container(OmegaConf.load(path), resolve=False) for name, path in shipped().items()}
    return {name: set(names(tree)) for name, tree in trees.items()}


@functools.cache
def _named_on_pages() -> dict[str, set[str]]:
    texts = {str(path.relative_to(DOCS)): path.read_text() for path in sorted(DOCS.rglob("*.md"))}
    return {page: set(_NAME.findall(text)) for page, text in texts.items()}


def _title(page: str) -> str:
    found = re.search(r"^# (.*)$", (DOCS / page).read_text(), re.MULTILINE)
    return found[1] if found else page


def _markdown(found: Docstring) -> list[str]:
    """Return the paragraphs of a docstring as Markdown."""
    paragraphs: list[str] = []
    for number, block in enumerate(found.paragraphs):
        paragraphs += [f"```text\n{block}\n```" if number == found.formula else _inline(block), ""]
    return paragraphs


def _inline(text: str) -> str:
    """Return docstring prose as Markdown."""
    text = re.sub(r":\w+:`~?([^`]*)`", r"`\1`", text)
    text = text.replace("``", "`")
    return re.sub(r"\barXiv[: ](\d{4}\.\d{4,5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", text)


def _arguments(cls: type[Any], explained: Mapping[str, str], hidden: Collection[str]) -> Iterator[str]:
    hints = get_type_hints(cls.__init__, include_extras=True)
    for name, parameter in arguments.parameters(cls.__init__).items():
        if name in hidden:
            continue
        default = default_of(parameter)
        default = default if default == "needed" else f"`{default}`"
        yield f"| `{name}` | {_type(hints.get(name))} | {default} | {_cell(explained.get(name, ''))} |"
    rest = [p for p in inspect.signature(cls.__init__).parameters.values() if p.kind is p.VAR_KEYWORD]
    for parameter in rest:
        yield f"| anything else | | | {_cell(explained.get(parameter.name, ''))} |"


def _type(hint: Any) -> str:
    """Return a hint as words; the choices of a literal as code."""
    words = type_of(hint)
    if "Literal[" not in inspect.formatannotation(hint):
        return words
    return ", ".join(f"`{word}`" for word in words.split(", "))


def _keys(table: Table) -> list[str]:
    lines = ["| | role | key |", "|---|---|---|"]
    for role, key in table.reads.items():
        lines.append(f"| reads{', where written' if role in table.optional else ''} | `{role}` | `{key}` |")
    for role, key in table.calls.items():
        lines.append(f"| calls | `{role}` | `{key}` |")
    for role, key in table.writes.items():
        lines.append(f"| writes | `{role}` | `{key}` |")
    return [*lines, ""]


# --------------------------------------------------------------------------- the glossary


def glossary_tables() -> str:
    """Return the tables of all keys: their words, the forms in use, and who writes them."""
    writers: dict[str, set[str]] = defaultdict(set)
    forms: dict[str, set[str]] = defaultdict(set)
    outputs: dict[str, dict[str, str]] = defaultdict(dict)
    for name, role, key, written in bindings():
        if keys.is_output(key):
            outputs[key][name] = role
            continue
        forms[glossary.base(key)].add(key)
        if written:
            writers[glossary.base(key)].add(name)
    lines = []
    for title, words in glossary.WORDS.items():
        by = " written by |" if any(writers[key] for key in words) else ""
        lines += [
            f"## {title}",
            "",
            f"| key | shape | unit | meaning |{by}",
            f"|---|---|---|---|{'---|' if by else ''}",
        ]
        for key, word in words.items():
            named = ", ".join(f"`{form}`" for form in [key, *sorted(forms[key] - {key})])
            shape = f"`{word.shape}`" if word.shape else ""
            row = f"| {named} | {shape} | {word.unit} | {word.meaning} |"
            lines.append(f"{row} {_linked(writers[key])} |" if by else row)
        lines.append("")
    lines += ["## Losses and figures", "", "One number per sample each. What it is stands on the component's page.", ""]
    lines += ["| key | unit | written by |", "|---|---|---|"]
    for key, by in sorted(outputs.items()):
        units = dict.fromkeys(unit for name, role in by.items() if (unit := _unit(name, role)))
        lines.append(f"| `{key}` | {' or '.join(units)} | {_linked(by)} |")
    return "\n".join([*lines, ""])


def _unit(name: str, role: str) -> str:
    """Return the unit that a component's ``compute`` states for what it returns."""
    text = inspect.getdoc(catalog.resolve(name).compute) or ""
    found = re.search(rf"``{role}``[^\[]*?\[([^\]]+)\]", text.replace("\n", " "))
    return found[1].replace("^2", "²") if found else ""


def _linked(names: Collection[str]) -> str:
    return ", ".join(f"[{name}](components/{name}.md)" for name in sorted(names))


def _cell(text: str) -> str:
    return _inline(text).replace("|", "\\|")


# --------------------------------------------------------------------------- what mkdocs calls


def on_config(config: Any) -> Any:
    """Put the pages of the components into the navigation, by kind."""
    by_kind: dict[str, list[Any]] = {title: [] for title in KINDS.values()}
    for name in catalog.BUILT_IN:
        kind, word = name.split("/")
        by_kind[KINDS[kind]].append({word: f"components/{name}.md"})
    for entry in config.nav:
        if entry.get("Components") == "components/index.md":
            entry["Components"] = ["components/index.md", *({title: pages} for title, pages in by_kind.items())]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages."""
    from mkdocs.structure.files import File

    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Fill in the tables of keys, and link every entry that is named in code to its page."""
    if page.file.src_uri == "keys.md":
        markdown = markdown.replace(KEYS_MARK, glossary_tables())
    parts = re.split(r"(^ *```.*?^ *```[^\n]*$)", markdown, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if part.lstrip().startswith("```") else _with_links(part, page.file.src_uri) for part in parts)


def _with_links(text: str, own: str) -> str:
    def link(found: re.Match[str]) -> str:
        names = set(_NAME.findall(found[1]))
        page = f"components/{names.pop()}.md" if len(names) == 1 else own
        return found[0] if page == own else f"[{found[0]}]({posixpath.relpath(page, posixpath.dirname(own) or '.')})"

    return re.sub(r"(?<!\[)`([^`\n]+)`(?!\])", link, text)


def on_page_content(html: str, page: Any, config: Any, files: Any) -> str:
    """Put drawings into the page itself, where they have its colours, light or dark; drop what only Sphinx reads."""

    def inlined(found: re.Match[str]) -> str:
        return f'<div class="drawing">{(DOCS / "img" / found[1]).read_text()}</div>'

    html = re.sub(r":\w+:(<code>)~?", r"\1", html)  # Sphinx's roles, in docstrings
    return re.sub(r'<p><img [^>]*src="(?:[./]*)img/([a-z_]+\.svg)"[^>]*></p>', inlined, html)
