"""Scenarios by name, and the arguments that each takes: VMAS's, this package's, those of packages and of a process."""

import ast
import importlib
import importlib.util
import inspect
import textwrap
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache, partial
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from hetrl import offers, signature
from hetrl.arguments import check, parameters
from hetrl.errors import DependencyError, RecipeError, nearest

OWN = "hetrl/"
"""What the names of this package's own scenarios begin with."""
REGISTERED: dict[str, type[Any]] = {}
"""Name -> the class that this process has given it, see :func:`hetrl.register`."""
_BASE = "vmas.simulator.scenario"
_NEEDED = ("make_world", "reset_world_at", "observation", "reward")
"""What :class:`vmas.simulator.scenario.BaseScenario` leaves to a scenario."""
_VMAS_GIVES = ("batch_dim", "device")
"""The first arguments of ``make_world``, given by their place, which are no words of a recipe."""
_VMAS_TAKES = ("num_envs", "max_steps", "continuous_actions", "multidiscrete_actions", "clamp_actions", "dict_spaces",
               "grad_enabled", "terminated_truncated")  # fmt: skip
"""Arguments of VMAS's environment itself, which never reach a scenario."""


# --------------------------------------------------------------------------- names


@cache
def _files() -> dict[str, Path]:
    """Scenario name -> source file, found without importing ``vmas``; ``hetrl/...`` are those of this package."""
    found = importlib.util.find_spec("vmas")
    if found is None or not found.submodule_search_locations:
        raise DependencyError("task: VMAS is not installed; run: pip install vmas")
    folder = Path(next(iter(found.submodule_search_locations))) / "scenarios"
    stock = {file.stem: file for file in sorted(folder.rglob("*.py")) if file.stem != "__init__"}
    own = {
        f"{OWN}{file.stem}": file
        for file in sorted((Path(__file__).parent / "scenario").glob("*.py"))
        if "\nclass Scenario(" in file.read_text(encoding="utf-8")  # the others are shared by several scenarios
    }
    return {**stock, **own}


@cache
def installed() -> dict[str, EntryPoint]:
    """Name -> the entry of an installed package, usable and not imported."""
    claimed = {name.removeprefix("scenario/"): points for name, points in offers.offered().items()
               if name.startswith("scenario/")}  # fmt: skip
    return {name: points[0] for name, points in claimed.items() if not offers.claim(f"scenario/{name}", points)}


def scenarios() -> tuple[str, ...]:
    """Names of all scenarios: VMAS's, this package's as ``hetrl/...``, and others' as ``vendor.name``."""
    return tuple(sorted({*_files(), *installed(), *REGISTERED}))


def shipped(name: str) -> bool:
    """Whether a scenario comes with VMAS or with this package."""
    return name in _files() and name not in REGISTERED


def _refuse_unknown(name: str) -> None:
    if name in _files() or name in REGISTERED or name in installed():
        return
    hint = ""
    if "." in name:
        hint = " It may be in a file of yours, --parts FILE, or in a package that is not installed."
    raise RecipeError(f"task.scenario: no VMAS scenario '{name}'.{nearest(name, scenarios())}{hint}")


def scenario_class(name: str) -> type[Any]:
    """The class of a scenario, importing ``vmas``.

    Raises:
        RecipeError: there is no such scenario, or a package's cannot be one.
    """
    _refuse_unknown(name)
    if name in REGISTERED:
        return REGISTERED[name]
    return _loaded(name)


@cache
def _loaded(name: str) -> type[Any]:
    if name in installed():
        entry, point = f"scenario/{name}", installed()[name]
        found = offers.imported(entry, point)
        problem = misfit(found)
        if problem:
            raise RecipeError(f"{offers.described(entry, point)} {problem}.")
        return found
    if name.startswith(OWN):
        return importlib.import_module(f"hetrl.env.scenario.{name.removeprefix(OWN)}").Scenario
    from vmas.scenarios import load

    return load(f"{name}.py").Scenario


def misfit(found: Any) -> str:
    """Return why something cannot be a scenario, and what to do; ``""`` where it can."""
    if not inspect.isclass(found):
        return f"is a {type(found).__name__}, not a class; give the scenario's class"
    missing = [word for word in _NEEDED if _missing(found, word)]
    if missing:
        return f"has no {missing[0]}(), as every scenario of VMAS has; define it"
    if not any(base.__module__ == _BASE for base in found.__mro__):
        return f"is no scenario of VMAS; derive it from {_BASE}.BaseScenario"
    world: Any = inspect.getattr_static(found, "make_world")
    try:
        inspect.signature(_world(found))
    except (TypeError, ValueError):
        return f"has make_world{inspect.signature(world)}, which has to take {', '.join(_VMAS_GIVES)}"
    words, _ = signature.named(_world(found))
    taken = next((word for word in words if word in _VMAS_TAKES), "")
    return f"has an argument '{taken}' of make_world, which VMAS takes for itself; call it otherwise" if taken else ""


def _missing(found: type, word: str) -> bool:
    own = inspect.getattr_static(found, word, None)
    return own is None or getattr(own, "__isabstractmethod__", False)


# --------------------------------------------------------------------------- arguments


def scenario_arguments(name: str) -> frozenset[str] | None:
    """Names of the arguments a scenario takes; None where its source does not tell.

    Those of this package say it in the signature of ``make_world``, all others are read from their source, since VMAS
    hands them over as ``kwargs``.

    Raises:
        RecipeError: there is no such scenario.
    """
    _refuse_unknown(name)
    if name in REGISTERED:
        return _of_class(REGISTERED[name])
    return _of_name(name)


@cache
def _of_name(name: str) -> frozenset[str] | None:
    if name in installed():
        return _of_class(scenario_class(name))
    if name.startswith(OWN):
        return frozenset(parameters(scenario_class(name).make_world))
    tree = ast.parse(_files()[name].read_text(encoding="utf-8"))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Scenario"]
    if not classes or [ast.unparse(base) for base in classes[0].bases] != ["BaseScenario"]:
        return None
    return _of_source(classes)


def world_arguments(name: str, values: Mapping[str, Any], own: Collection[str]) -> dict[str, Any]:
    """Return a recipe's values as a scenario takes them.

    Args:
        name: the scenario.
        values: the task's words that are not those of every task with a scenario.
        own: those of every such task.

    Raises:
        RecipeError: there is no such scenario, or it takes no argument of a name, or none of such a value.
    """
    accepted = scenario_arguments(name)
    if not shipped(name):
        world = _world(scenario_class(name))
        taken = signature.collision(world, own)
        if taken:
            raise RecipeError(
                f"task.scenario: '{name}' takes '{taken}' in make_world, and that is a word of every task; call it "
                "otherwise there."
            )
        return signature.checked(world, values, name, own, also=accepted)
    for word in values:
        if accepted is not None and word not in accepted:
            known = accepted | {*own} - {"seed", "device"}
            raise RecipeError(f"task.{word}: scenario '{name}' has no such argument.{nearest(word, known)}")
    if name.startswith(OWN):
        check(scenario_class(name).make_world, values, "task")
    return dict(values)


def _world(found: type[Any]) -> Callable[..., Any]:
    """Return a scenario's ``make_world`` without what VMAS gives it."""
    return partial(found.make_world, None, *(None for _ in _VMAS_GIVES))


def _of_class(found: type[Any]) -> frozenset[str] | None:
    """Names that a class takes: its signature's, and what its source reads of ``**kwargs``."""
    named, takes_more = signature.named(_world(found))
    if not takes_more:
        return frozenset(named)
    lineage = found.__mro__[: [base.__module__ for base in found.__mro__].index(_BASE)]
    try:
        trees = [ast.parse(textwrap.dedent(inspect.getsource(each))).body[0] for each in lineage]
    except (OSError, TypeError, SyntaxError):  # made in a console: there is no source
        return None
    classes = [each for each in trees if isinstance(each, ast.ClassDef)]
    return _of_source(classes) if len(classes) == len(lineage) else None


def _of_source(classes: Sequence[ast.ClassDef]) -> frozenset[str] | None:
    """Names that a class and those it derives from take, down to VMAS's own; None where they do not tell."""
    methods = [each for node in classes for each in node.body if isinstance(each, ast.FunctionDef)]
    names, found = {each.name for each in methods}, set()
    for method in methods:
        if method.args.kwarg is not None:
            read = _read_keywords(method, method.args.kwarg.arg, names)
            if read is None:
                return None
            found |= read
        if method.name == "make_world":
            found |= {arg.arg for arg in [*method.args.args[1 + len(_VMAS_GIVES) :], *method.args.kwonlyargs]}
    return frozenset(found)


def _read_keywords(method: ast.FunctionDef, kwargs: str, methods: Collection[str]) -> set[str] | None:
    """Constants with which ``method`` reads its ``**kwargs``; None where it uses them in another way."""
    parent = {child: node for node in ast.walk(method) for child in ast.iter_child_nodes(node)}
    found = set()
    for name in ast.walk(method):
        if not (isinstance(name, ast.Name) and name.id == kwargs):
            continue
        user = parent[name]
        outer = parent.get(user)
        if isinstance(user, ast.Attribute) and user.attr in ("pop", "get") and isinstance(outer, ast.Call):
            key: ast.AST | None = outer.args[0] if outer.args else None
        elif isinstance(user, ast.Subscript):
            key = user.slice
        elif isinstance(user, ast.Call) and ast.unparse(user.func).endswith(("check_kwargs_consumed", "len")):
            continue
        elif isinstance(user, ast.keyword) and isinstance(outer, ast.Call):
            target = ast.unparse(outer.func)
            owner, _, called = target.rpartition(".")
            if owner in ("self", "super()") and called in methods:
                continue  # that method is read as well
            return None
        else:
            return None
        if not (isinstance(key, ast.Constant) and isinstance(key.value, str)):
            return None
        found.add(key.value)
    return found
