"""From YAML text to a tree: bounded in size, and nothing in it taken for something else than it looks like."""

import io
import re
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hetrl.errors import RecipeError
from hetrl.recipe.plain import MOST_DEPTH
from hetrl.recipe.references import MOST_LETTERS, refuse_resolver

MOST_NODES = 50_000
"""Words and values of a recipe, what is repeated by an alias counted each time."""
_KNOWN = {f"tag:yaml.org,2002:{word}" for word in ("str", "int", "float", "bool", "null", "map", "seq", "merge")}
_ODD = re.compile(r"[-+]?(0[0-9_]+|[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?)")
"""Numbers that YAML reads in base 8 or 60: 010 is 8 there, and 1:30 is 90."""

_EXPONENT = re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE]\+?[0-9]+")
_EXACT = 2**53
"""Below it a float knows every whole number."""


def parse(text: str, name: str, *, whole: bool) -> Any:
    """Return what YAML text says, references as they are written.

    Args:
        text: of a file, or of an override's value.
        name: what it is called in messages.
        whole: whether it has to be a mapping, as a file has.

    Raises:
        RecipeError: it is no YAML, too large, or holds what a recipe cannot.
    """
    if len(text) > MOST_LETTERS:
        raise RecipeError(f"{name}: more than {MOST_LETTERS:,} letters are too many for a recipe.")
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if whole and not isinstance(node, yaml.MappingNode):
            raise RecipeError(f"{name}: a recipe is a mapping of sections, and this is none.")
        _count(node, name, {}, 0)
        if _write_out(node):
            text = yaml.serialize(node, Dumper=yaml.SafeDumper).removesuffix("...\n")
        # Below a word of its own, since OmegaConf reads mappings.
        read = OmegaConf.load(io.StringIO(text)) if whole else OmegaConf.from_dotlist([f"value={text}"])
        tree: Any = OmegaConf.to_container(read, resolve=False)
        return tree if whole else tree["value"]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise RecipeError(f"{name}{_line(mark) if whole else ''}: {problem}.") from None
    except RecursionError:
        raise RecipeError(f"{name}: it is nested too deep; {MOST_DEPTH} levels are allowed.") from None
    except (OmegaConfBaseException, ValueError, OSError) as error:
        if isinstance(error, RecipeError):
            raise
        raise RecipeError(f"{name}: {str(error).splitlines()[0]}") from None


def _write_out(node: yaml.Node | None) -> bool:
    """Write whole numbers with an exponent, 1e6, as the whole numbers that they are; return whether there were any.

    YAML reads them as floats, and where a float is meant a whole number serves as well.
    """
    found, stack, seen = False, [node], set()
    while stack:
        each = stack.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, yaml.MappingNode):
            stack += [value for _, value in each.value]
        elif isinstance(each, yaml.SequenceNode):
            stack += each.value
        elif each.style is None and _EXPONENT.fullmatch(each.value):
            number = float(each.value)
            if number.is_integer() and abs(number) < _EXACT:
                each.tag, each.value, found = "tag:yaml.org,2002:int", str(int(number)), True
    return found


def _line(mark: Any) -> str:
    return f", line {mark.line + 1}" if mark else ""


def _count(node: yaml.Node | None, name: str, known: dict[int, int], depth: int) -> int:
    """Return how many values a node stands for, aliases written out; refuse what is no recipe's on the way."""
    if node is None:
        return 0
    if id(node) not in known:
        _refuse(node, name, depth)
        children: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                _refuse_key(key, name)
                children += [key, value]
        elif isinstance(node, yaml.SequenceNode):
            children = node.value
        known[id(node)] = 1 + sum(_count(child, name, known, depth + 1) for child in children)
        if known[id(node)] > MOST_NODES:
            raise RecipeError(f"{name}: more than {MOST_NODES:,} words and values are too many for a recipe.")
    return known[id(node)]


def _refuse(node: yaml.Node, name: str, depth: int) -> None:
    place = f"{name}{_line(node.start_mark)}"
    if depth > MOST_DEPTH:
        raise RecipeError(f"{place}: it is nested too deep; {MOST_DEPTH} levels are allowed.")
    if node.tag == "tag:yaml.org,2002:timestamp":
        raise RecipeError(f"{place}: {node.value} is read as a date; put it in quotes.")
    if node.tag not in _KNOWN:
        raise RecipeError(f"{place}: a recipe has no tags, and '{node.tag.rsplit(':', 1)[-1]}' is one; drop it.")
    if isinstance(node, yaml.ScalarNode):
        refuse_resolver(node.value, place)
        if node.style is None and _ODD.fullmatch(node.value):
            base = 60 if ":" in node.value else 8
            raise RecipeError(
                f"{place}: YAML reads {node.value} in base {base}; write a plain number, or put it in quotes."
            )


def _refuse_key(key: yaml.Node, name: str) -> None:
    if not isinstance(key, yaml.ScalarNode) or key.tag not in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"):
        shown = f"the word {key.value}" if isinstance(key, yaml.ScalarNode) else "a word"
        raise RecipeError(f"{name}{_line(key.start_mark)}: {shown} is no text; put it in quotes, or write a name.")
