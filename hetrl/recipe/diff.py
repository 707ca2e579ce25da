"""What two recipes do differently, as steps of the linked program rather than as lines of text."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from inspect import Parameter
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from hetrl import arguments, catalog
from hetrl.recipe.check import check
from hetrl.recipe.net import Net
from hetrl.recipe.order import Order
from hetrl.recipe.plan import Plan
from hetrl.recipe.schema import STAGES, Phase, Recipe
from hetrl.recipe.section import Use
from hetrl.recipe.sheet import Sheet
from hetrl.recipe.step import Step

_ABSENT = "-"
_OF_A_PHASE = ("epochs", "minibatches", "every", "inactive")
"""Words of a phase that stand for themselves."""


@dataclass(frozen=True)
class Difference:
    """One thing that two recipes do differently."""

    section: str
    """``task``, ``nets``, ``data``, ``run``, or a phase's name."""
    what: str
    """Which net, step, argument or word it is about."""
    one: str
    other: str
    """How it is in each; ``-`` where it is not there."""


def differences(one: Recipe, other: Recipe) -> list[Difference]:
    """Return what two recipes that link do differently.

    Arguments count with their defaults, and keys as they are bound in the end: a default that only one of them spells
    out, or ``keys:`` instead of ``reads:``, is no difference, nor are the recipes' names and what they say about
    themselves. Steps are matched by what they use, in their order; of a phase, a net or a step that only one of them
    has, all that it says is said.

    Raises:
        RecipeError: one of them does not link.
    """
    plans = check(one), check(other)
    found = list(_use("task", one.task, other.task))
    if one.groups != other.groups:
        found.append(Difference("task", "groups", _text(one.groups), _text(other.groups)))
    both = ({"normalize_observations": each.normalize_observations} for each in (one, other))
    found += _values("task", "", *both)
    found += _nets(*plans)
    found += _use("data", one.data, other.data)
    found += _phases(*plans)
    ran = one.run.model_dump(), other.run.model_dump()
    return found + list(_values("run", "", *ran))


def recipe_of(name: str) -> str:
    """Return what loads the recipe that ``name`` stands for: the file in a folder of a run or of seeds, or itself."""
    files = (Path(name) / file for file in ("seeds.yaml", "recipe.yaml"))
    return next((str(file) for file in files if file.is_file()), name)


def show_differences(one: Recipe, other: Recipe, names: tuple[str, str]) -> RenderableType:
    """Return the differences of two recipes as a table for the terminal.

    Raises:
        RecipeError: one of them does not link.
    """
    found = differences(one, other)
    if not found:
        return Text(f"{names[0]} and {names[1]} do the same.")
    sheet = Sheet(("", "", *names), heads=2, styles=("bold", "", "red", "green"))
    for before, each in zip([None, *found], found, strict=False):
        new = before is None or before.section != each.section
        if new and before is not None:
            sheet.end_section()
        sheet.add(each.section if new else "", each.what, each.one, each.other)
    apart = {each.section for each in found}
    same = [word for word in ("task", "nets", "data") if word not in apart]
    both = {phase.name for phase in other.update}
    same += [phase.name for phase in one.update if phase.name in both - apart]
    count = f"{len(found)} difference{'s' if len(found) > 1 else ''}."
    return Group(sheet, Text(count + (f" The same: {', '.join(same)}." if same else "")))


def _text(value: object) -> str:
    if value is None:
        return _ABSENT
    if isinstance(value, Mapping):
        return ", ".join(f"{word}={_text(each)}" for word, each in value.items())
    return str(value)


def _values(section: str, what: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[Difference]:
    """Compare two sets of named values."""
    for word in {**one, **other}:
        mine, theirs = one.get(word), other.get(word)
        place = f"{what} {word}".strip()
        if (
            isinstance(mine, Mapping)
            and isinstance(theirs, Mapping)
            and "use" in mine
            and mine["use"] == theirs.get("use")
        ):
            yield from _values(section, place, mine, theirs)
        elif mine != theirs:
            yield Difference(section, place, _text(mine), _text(theirs))


def _with_defaults(function: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    known = arguments.parameters(function).items()
    defaults = {name: each.default for name, each in known if each.default is not Parameter.empty}
    return {name: _whole(value) for name, value in {**defaults, **given}.items()}


def _whole(value: Any) -> Any:
    """Return an entry inside another's arguments, such as an encoder, with its defaults; anything else as it is."""
    if not isinstance(value, Mapping) or "use" not in value:
        return value
    given = {word: each for word, each in value.items() if word != "use"}
    return {"use": value["use"], **_with_defaults(catalog.resolve(value["use"]).__init__, given)}


def _use(section: str, one: Use | Order | None, other: Use | Order | None, what: str = "") -> Iterator[Difference]:
    """Compare two catalog entries: the entry itself, or its arguments."""
    if one is None or other is None or one.name != other.name:
        if one is not other:
            yield Difference(section, what or "use", _entry(one), _entry(other))
        return
    function = catalog.resolve(one.name).__init__
    given = (_with_defaults(function, each.arguments) for each in (one, other))
    yield from _values(section, what, *given)


def _entry(use: Use | Order | Net | None) -> str:
    if use is None:
        return _ABSENT
    name = use.use if isinstance(use, Net) else use.name
    return _with_arguments(name, use.arguments)


def _with_arguments(name: str, given: Mapping[str, Any]) -> str:
    return f"{name}\n  {_text(given)}" if given else name


def _nets(one: Plan, other: Plan) -> Iterator[Difference]:
    mine, theirs = one.recipe.nets, other.recipe.nets
    for name in {**mine, **theirs}:
        if name not in mine or name not in theirs or mine[name].use != theirs[name].use:
            yield Difference("nets", name, _entry(mine.get(name)), _entry(theirs.get(name)))
            if name not in mine or name not in theirs:
                continue
        else:
            function = catalog.resolve(mine[name].use).__init__
            given = (_with_defaults(function, nets[name].arguments) for nets in (mine, theirs))
            yield from _values("nets", name, *given)
        rest = ({"per": plan.per[name], "target": _target(plan.recipe.nets[name])} for plan in (one, other))
        yield from _values("nets", name, *rest)
    if one.policy != other.policy:
        yield Difference("nets", "acting", one.policy, other.policy)


def _target(net: Net) -> dict[str, Any] | None:
    return None if net.target is None else net.target.model_dump(exclude={"where"})


def _phases(one: Plan, other: Plan) -> Iterator[Difference]:
    mine, theirs = one.recipe.update, other.recipe.update
    for left, right in _aligned([phase.name for phase in mine], [phase.name for phase in theirs]):
        if left is not None and right is not None:
            yield from _phase(mine[left], theirs[right])
        elif left is not None:
            yield Difference(mine[left].name, "phase", _outline(mine[left]), _ABSENT)
        elif right is not None:
            yield Difference(theirs[right].name, "phase", _ABSENT, _outline(theirs[right]))


def _aligned(one: Sequence[str], other: Sequence[str]) -> Iterator[tuple[int | None, int | None]]:
    """Yield the places of two lists' entries side by side, equal ones together."""
    for kind, i, j, k, m in SequenceMatcher(None, one, other, autojunk=False).get_opcodes():
        if kind == "equal":
            yield from zip(range(i, j), range(k, m), strict=True)
        else:
            yield from ((place, None) for place in range(i, j))
            yield from ((None, place) for place in range(k, m))


def _outline(phase: Phase) -> str:
    """Return all that a phase says, for the side that alone has it."""
    words = [outset(phase)]
    if phase.order is not None and phase.order.arguments:
        words.append(f"order {_entry(phase.order)}")
    if phase.optim is not None:
        words.append(f"optim {_entry(phase.optim)}")
    words.append(_text({word: getattr(phase, word) for word in _OF_A_PHASE}))
    for stage, steps in phase.stages.items():
        words += [f"{stage}: {_step(step)}" for step in steps]
    return "\n".join(words)


def outset(phase: Phase) -> str:
    """Return in words what a phase trains, who takes a turn, and in which order."""
    if not phase.trained:
        return "no gradient"
    turns = "at once" if phase.order is None else f"{phase.order.of}s by {phase.order.name}"
    return f"train {_listed(phase)}, {turns}"


def _listed(phase: Phase) -> str | None:
    """Return the nets that a phase trains; None where it trains none."""
    return ", ".join(phase.trained) or None


def _phase(mine: Phase, theirs: Phase) -> Iterator[Difference]:
    name = mine.name
    yield from _values(name, "", *({"train": _listed(phase)} for phase in (mine, theirs)))
    yield from _values(name, "", *({word: getattr(phase, word) for word in _OF_A_PHASE} for phase in (mine, theirs)))
    orders = mine.order, theirs.order
    yield from _values(name, "order", *({"of": order and order.of} for order in orders))
    yield from _use(name, *orders, "order")
    yield from _use(name, mine.optim, theirs.optim, "optim")
    for stage in STAGES:
        for left, right in _placed(mine.stages[stage], theirs.stages[stage]):
            if left is None or right is None or _title(left) != _title(right):
                yield Difference(name, stage, _step(left), _step(right))
            else:
                yield from _same_step(name, f"{stage}: {_title(left)}", left, right)


def _same_step(name: str, what: str, left: Step, right: Step) -> Iterator[Difference]:
    """Compare two steps that run the same thing: their arguments and keys."""
    yield from _values(name, what, _arguments(left), _arguments(right))
    for word in ("reads", "writes", "calls"):
        tables = getattr(left.table, word), getattr(right.table, word)
        roles = tables[0].keys() & tables[1].keys()  # what only one has comes of another net, said already
        bound = ({f"{word} {role}": table[role] for role in table if role in roles} for table in tables)
        yield from _values(name, what, *bound)


def _placed(one: Sequence[Step], other: Sequence[Step]) -> Iterator[tuple[Step | None, Step | None]]:
    """Yield the steps of two stages side by side: equal ones, and between those, what took another's place."""
    mine: list[Step] = []
    theirs: list[Step] = []
    for left, right in [*_aligned([*map(_title, one)], [*map(_title, other)]), (None, None)]:
        together = left is not None and right is not None
        if together or left is right:  # equal ones, or the end: first what stood before them
            for i, k in _aligned([*map(_family, mine)], [*map(_family, theirs)]):
                yield None if i is None else mine[i], None if k is None else theirs[k]
            mine, theirs = [], []
        if left is not None and right is not None:
            yield one[left], other[right]
        elif left is not None:
            mine.append(one[left])
        elif right is not None:
            theirs.append(other[right])


def _family(step: Step) -> str:
    """Return what a step may take the place of: another mode of the net, another component of the kind."""
    return f"net {step.mode.net}" if step.mode is not None else str(step.use).split("/")[0]


def _title(step: Step) -> str:
    return ("net " if step.use is None else "") + step.title + (f" at {step.at}" if step.at else "")


def _step(step: Step | None) -> str:
    """Return a step with its arguments and the keys that it names itself."""
    if step is None:
        return _ABSENT
    named = {word: f"{{{_text(keys)}}}" for word in ("keys", "reads", "writes") if (keys := getattr(step, word))}
    return _with_arguments(_title(step), {**step.arguments, **named})


def _arguments(step: Step) -> Mapping[str, Any]:
    if step.component is None:
        return step.arguments
    return _with_defaults(step.component.__init__, step.arguments)
