"""What a class has to have to be an entry of a kind, as far as the class itself tells.

The rest, what it computes, is for ``hetrl.testing``. What is asked here is what the checker and the engine rely on
before anything runs, so that a wrong part is one line and never a traceback.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, get_args, get_origin, get_type_hints

from hetrl import keys
from hetrl.component import Component
from hetrl.data.collected import Source
from hetrl.data.environment import Environment
from hetrl.network import Network, Policy
from hetrl.optim import Optim

INTERFACES: dict[str, type] = {"optim": Optim, "data": Source, "env": Environment}
"""Kinds whose entries are any class that has what this one has; the other kinds are subclasses of hetrl's own."""
_COMPONENTS = ("order", "estimate", "weight", "loss")
_MARKS = {keys.LOSS: "loss", "round": "order"}
"""First words of keys that entries of one kind write, all of them, and those of no other."""
_FILLED_IN = ("n_envs", "seed", "device")
"""Arguments of an environment that a run fills in."""


def misfit(found: Any, kind: str) -> str:
    """Return why something cannot be an entry of a kind, and what to do; ``""`` where it can."""
    if not inspect.isclass(found):
        return f"is a {type(found).__name__}, not a class"
    if kind in INTERFACES:
        problem = _lacking(found, INTERFACES[kind], kind)
    else:
        problem = _net(found) if kind == "net" else _component(found, kind)
    return problem or _constructor(found, kind)


# ----- subclasses of hetrl's own


def _component(found: type, kind: str) -> str:
    if not issubclass(found, Component):
        return f"is no Component, as every {kind}/... is"
    mark = next((word for key in found.writes.values() if (word := key.split(".")[0]) in _MARKS), "")
    if mark and _MARKS[mark] != kind:
        return f"writes '{mark}', which makes it {_MARKS[mark]}/..., not {kind}/..."
    if not mark and kind in _MARKS.values():
        return f"writes no '{next(word for word, of in _MARKS.items() if of == kind)}', as every {kind}/... does"
    if not hasattr(found, "table"):
        return "has no compute; define it, with the roles of reads as its parameters"
    return _order(found) if kind == "order" else ""


def _order(found: type[Component]) -> str:
    if found.reads.get("members") != "members":
        return "does not read 'members', as every order/... does; add {'members': 'members'} to its reads"
    if list(found.writes) != ["round"]:
        return f"writes {list(found.writes)}, and an order writes 'round' alone"
    for key in found.reads.values():
        if keys.scope(key) == keys.AGENT:
            return f"reads '{key}', and nobody's turn has come when an order is drawn; read '{keys.everybodys(key)}'"
    return ""


def _net(found: type) -> str:
    if not issubclass(found, Network):
        return "is no Network, as every net/... is"
    if not found.modes:
        return "has no mode; mark a method with hetrl.network.mode"
    if found.default_mode is not None and found.default_mode not in found.modes:
        return f"has no mode '{found.default_mode}', its default_mode; it has {', '.join(sorted(found.modes))}"
    if issubclass(found, Policy):
        for name in ("noise", "draw", "greedy"):
            if getattr(found, name) is getattr(Policy, name):
                return f"is a Policy without {name}(); define it, collection asks for it"
    if found.chunk_of.__func__ is not Network.chunk_of.__func__ and found.remember is Network.remember:  # type: ignore[attr-defined]
        return "is recurrent (it has chunk_of) and has no remember(); define it, collection carries its memory"
    return ""


# ----- any class that has what an interface has


def _lacking(found: type, interface: type, kind: str) -> str:
    """Return what a class lacks of an interface."""
    how = f"as every {kind}/... has; derive it from {interface.__module__}.{interface.__name__}"
    for name, hint in get_type_hints(interface).items():
        wanted, value = _class_wide(hint), inspect.getattr_static(found, name, None)
        if not _known(found, name):
            derived = interface in found.__mro__
            return f"has no attribute '{name}', {_set_it(name, kind, wanted) if derived else f'{how}, or add it'}"
        if wanted is not None and not isinstance(value, wanted):
            return f"has {name} = {value!r} where a {wanted.__name__.lower()} is meant"
    for name, method in _methods(interface):
        own = inspect.getattr_static(found, name, None)
        if own is None or getattr(own, "__isabstractmethod__", False):
            return f"has no method '{name}', {how} and define it"
        problem = _method(found, name, own, method)
        if problem:
            return problem
    return ""


def _set_it(name: str, kind: str, class_wide: type | None) -> str:
    """Return what to do about an attribute that the interface itself only declares."""
    place = "on the class" if class_wide else "in attach()" if kind == "data" else "in __init__"
    return f"as every {kind}/... has; set {name if class_wide else f'self.{name}'} {place}"


def _known(found: type, name: str) -> bool:
    """Whether a class has an attribute, declares it, or mentions it in one of its functions (such as ``__init__``)."""
    for cls in found.__mro__:
        if name in vars(cls):
            return True
        if getattr(cls, "_is_protocol", False):
            continue
        functions = (inspect.unwrap(value) for value in vars(cls).values() if inspect.isfunction(value))
        if name in inspect.get_annotations(cls) or any(name in each.__code__.co_names for each in functions):
            return True
    return False


def _class_wide(hint: Any) -> type | None:
    """Return the type of what stands on the class itself; None for what an instance has."""
    if get_origin(hint) is not ClassVar:
        return None
    (inner,) = get_args(hint)
    return get_origin(inner) or inner


def _methods(interface: type) -> Iterator[tuple[str, Any]]:
    for name, value in vars(interface).items():
        if not name.startswith("_") and (inspect.isfunction(value) or isinstance(value, staticmethod | classmethod)):
            yield name, value


def _method(found: type, name: str, own: Any, wanted: Any) -> str:
    """Return what is wrong with a method: whom it is asked of, or what it takes."""
    of_class = isinstance(wanted, staticmethod | classmethod)
    if of_class and not isinstance(own, staticmethod | classmethod):
        return f"has a method '{name}' of its instances, and the class itself is asked; make it a @staticmethod"
    function: Callable[..., Any] = getattr(found, name)
    if not callable(function):
        return f"has '{name}', which is no method"
    words = list(inspect.signature(getattr(wanted, "__func__", wanted)).parameters)
    words = words if isinstance(wanted, staticmethod) else words[1:]
    given = [None] * (len(words) + (not of_class and not isinstance(own, staticmethod | classmethod)))
    try:
        inspect.signature(function).bind(*given)
    except TypeError:
        return f"has {name}{inspect.signature(function)}, which has to take {', '.join(words) or 'nothing'}"
    except ValueError:  # no signature to be had, of something built in
        pass
    return ""


# ----- the constructor


def _constructor(found: type, kind: str) -> str:
    """Return why a constructor cannot be the schema of a recipe's arguments."""
    init: Any = found.__init__  # type: ignore[misc]
    parameters = [] if init is object.__init__ else list(inspect.signature(init).parameters.values())[1:]
    placed = [
        each.name for each in parameters if each.kind is not each.KEYWORD_ONLY and each.kind is not each.VAR_KEYWORD
    ]
    if kind == "net" and len(placed) != 2:
        return (
            f"has a constructor that takes {', '.join(placed) or 'nothing'} by position; write "
            "def __init__(self, agent, team, *, ...), its hyperparameters keyword-only"
        )
    if kind != "net" and placed:
        return f"takes '{placed[0]}' by position; make its hyperparameters keyword-only, def __init__(self, *, ...)"
    named = {each.name: each for each in parameters if each.kind is each.KEYWORD_ONLY}
    return _annotations(init, named) or (_filled_in(named) if kind == "env" else "")


def _annotations(init: Any, named: Mapping[str, inspect.Parameter]) -> str:
    if not named:
        return ""
    try:
        hints = get_type_hints(init, include_extras=True)
    except Exception as error:
        return f"has annotations in its constructor that do not resolve: {type(error).__name__}: {error}"
    bare = next((name for name in named if name not in hints), None)
    return "" if bare is None else f"has an argument '{bare}' without a type; annotate it, a recipe's value is checked"


def _filled_in(named: Mapping[str, inspect.Parameter]) -> str:
    for word in _FILLED_IN:
        if word not in named:
            return f"has no argument '{word}', which a run fills in; add it to the constructor, keyword-only"
    if named["n_envs"].default is inspect.Parameter.empty:
        return "has no default for 'n_envs'; give it one, so that a recipe can leave it out"
    return ""
