"""Environments that are not written for hetrl, under a name: PettingZoo's and TorchRL's, as classes or as functions.

What :func:`hetrl.register` is given becomes an entry here. Its words are those of every task, and the arguments of the
class or function besides; what it makes is handed to the adapter of its kind.
"""

import copy
import importlib
import inspect
import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, ClassVar, get_type_hints

import torch

from hetrl import arguments, signature
from hetrl.errors import HetrlError, RecipeError, nearest
from hetrl.rng import Stream

PARALLEL = ("hetrl.env.parallel", "Parallel")
TORCHRL = ("hetrl.env.torchrl", "TorchRL")
"""Module and class of the adapters: of any PettingZoo environment, and of any ``EnvBase`` of TorchRL."""
_STEPPED = ("reset", "step")
_SPACES = ("observation_space", "action_space")
_MADE = "a PettingZoo ParallelEnv or a TorchRL EnvBase"
_KINDS = f"{_MADE}, as a class or as a function that makes one, or a class of hetrl.env.team_env.TeamEnv"
_SETTLED = ("seed", "device")
"""Words that a run settles; who makes an ``EnvBase`` is given those that it takes, else a default stays."""
_COUNTS = ("n_envs", "num_envs", "num_workers", "batch_size")
"""Words for the number of environments; who makes an ``EnvBase`` is given the first that it takes."""


# --------------------------------------------------------------------------- what is it?


def foreign(found: Any) -> bool:
    """Whether something is for an adapter, rather than a class with hetrl's own interface."""
    if not inspect.isclass(found):
        return True
    ours = any(base.__module__.startswith("hetrl.") for base in found.__mro__)
    return not ours and not all(hasattr(found, word) for word in ("provides", "start", "advance"))


def misfit(found: Any) -> str:
    """Return why a foreign thing cannot be an environment, and what to do; ``""`` where it can, as far as one sees."""
    if _derives(type(found), "torchrl.envs", "EnvBase") or _stepped(type(found)):
        return f"is a {type(found).__name__} that is made already; give its class, or a function that makes one"
    if inspect.isclass(found):
        problem = "" if _derives(found, "torchrl.envs", "EnvBase") else _no_parallel(found)
    else:
        usable = callable(found) and getattr(type(found), "__hash__", None) is not None
        problem = "" if usable else f"is a {type(found).__name__}, and no environment; give {_KINDS}"
    return problem or _arguments(found)


def _derives(found: type, module: str, name: str) -> bool:
    """Whether a class derives from one of a library, which is not imported for that."""
    return any(base.__name__ == name and base.__module__.startswith(module) for base in found.__mro__)


def _stepped(found: type) -> bool:
    return all(callable(getattr(found, word, None)) for word in (*_STEPPED, *_SPACES))


def _no_parallel(found: type) -> str:
    """Return what a class lacks of PettingZoo's interface."""
    if _derives(found, "gymnasium", "Env"):
        return f"is an environment of one agent, as gymnasium has them; give {_KINDS}"
    bare = {base for base in found.__mro__ if base.__module__ == "pettingzoo.utils.env"}
    if not bare and not any(hasattr(found, word) for word in (*_STEPPED, *_SPACES)):
        return f"is no environment: {found.__name__} has no reset() and no step(); give {_KINDS}"
    for word in (*_STEPPED, *_SPACES):
        own = getattr(found, word, None)
        if not callable(own):
            return f"has no {word}(), as every environment of PettingZoo has; define it"
        if word in _STEPPED and any(own is vars(base).get(word) for base in bare):
            return f"has no {word}() of its own, as every environment of PettingZoo has; define it"
    return ""


def _arguments(found: Any) -> str:
    """Return which argument could not be said in a task."""
    words = {*_words(_adapters(found)), *signature.OF_EVERY_TASK}
    filled = _filled(found)
    for word, parameter in signature.named(found)[0].items():
        if word in _SETTLED and word not in filled and parameter.default is inspect.Parameter.empty:
            return f"needs '{word}', which a run settles (run.{word}); give it a default"
        if word in words and word not in filled and word not in _SETTLED:
            return f"takes '{word}', and that is a word of every task; call it otherwise, or give a function that does"
    return ""


def _filled(found: Any) -> tuple[str, ...]:
    """Return the arguments that the adapter of TorchRL gives to who takes them; none where it is not for that one."""
    if TORCHRL not in _adapters(found):
        return ()
    named = signature.named(found)[0]
    count = next((word for word in _COUNTS if word in named), None)
    return tuple(word for word in named if word in _SETTLED or word == count)


def _adapters(found: Any) -> tuple[tuple[str, str], ...]:
    """Return the adapters that may be for what a thing makes; of a function, one has to see what it returns."""
    if not inspect.isclass(found):
        return PARALLEL, TORCHRL
    return (TORCHRL,) if _derives(found, "torchrl.envs", "EnvBase") else (PARALLEL,)


def _adapter_of(made: Any, name: str) -> tuple[str, str]:
    """Return the adapter for what was made.

    Raises:
        RecipeError: there is none.
    """
    if _derives(type(made), "torchrl.envs", "EnvBase") and not _derives(type(made), "hetrl.env", "TeamEnv"):
        return TORCHRL
    if _stepped(type(made)) or hasattr(made, "possible_agents"):
        return PARALLEL
    raise RecipeError(f"task: '{name}' makes a {type(made).__name__}, and no environment; it has to make {_MADE}.")


# --------------------------------------------------------------------------- the entry


class OwnEnvironment:
    """An environment that is not hetrl's own, as an entry of ``env/``: making one gives an adapter of what it made."""

    name: ClassVar[str]
    made_by: ClassVar[tuple[Any, ...]]
    """The user's class or function, in a tuple so that Python makes no method of it."""
    adapters: ClassVar[tuple[tuple[str, str], ...]]
    _found: ClassVar[dict[str, tuple[str, str]]]
    """Arguments, as text -> the adapter for what was made with them."""

    def __new__(cls, **words: Any) -> Any:
        """Return an adapter with so many environments of the user's."""
        adapter, given = cls._adapted(words)
        return adapter(**given)

    @classmethod
    def check_arguments(cls, arguments: Mapping[str, Any]) -> None:
        """Refuse arguments that the user's class or function does not take.

        Raises:
            RecipeError: with the nearest name, or what a value has to be.
        """
        cls._checked(arguments)

    @classmethod
    def provides(cls, arguments: Mapping[str, Any]) -> list[str]:
        """Return the keys that a step writes: an environment is made and looked at.

        Raises:
            RecipeError: none can be made with these arguments.
        """
        adapter, given = cls._adapted({**arguments, "n_envs": 1})
        return adapter.provides(given)

    @classmethod
    def _checked(cls, words: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the words of every task among ``words``, and the rest as the user's class or function takes it."""
        own = _words(cls.adapters)
        theirs = {word: value for word, value in words.items() if word not in own}
        left_out = {*_SETTLED, *_filled(cls.made_by[0])}
        checked = signature.checked(cls.made_by[0], theirs, cls.name, set(own) - left_out, left_out=left_out)
        return {word: value for word, value in words.items() if word in own}, checked

    @classmethod
    def _adapted(cls, words: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Return the adapter of what is made with ``words``, and what to make it with."""
        ours, theirs = cls._checked({"n_envs": _words(cls.adapters)["n_envs"].default, **words})
        making = Making(cls.name, cls.made_by[0], theirs)
        place = cls._place(making, ours.get("seed", 0))
        adapter = _loaded(place)
        own = arguments.parameters(adapter.__init__)
        for word in ours:
            if word not in own:
                raise RecipeError(f"task.{word}: '{cls.name}' has no such word.{nearest(word, own)}")
        return adapter, {**ours, "factory": making}

    @classmethod
    def _place(cls, making: "Making", seed: int) -> tuple[str, str]:
        """Return the adapter's place; where a function makes the environment, one is made to be looked at."""
        if inspect.isclass(cls.made_by[0]):
            return cls.adapters[0]
        known = json.dumps(making.arguments, default=repr, sort_keys=True)
        if known not in cls._found:
            with Stream(seed):  # it may draw from the generators of the process, which must not notice
                made = making(**making.once(seed))
                cls._found[known] = _adapter_of(made, cls.name)
                if callable(getattr(made, "close", None)):
                    made.close()
            if cls._found[known] == PARALLEL:
                cls._refuse_needed(making)
        return cls._found[known]

    @classmethod
    def _refuse_needed(cls, making: "Making") -> None:
        """Refuse a function that makes one environment and needs what only those of TorchRL are given."""
        arguments = signature.named(cls.made_by[0])[0]
        for word in making.__signature__.parameters:
            if arguments[word].default is inspect.Parameter.empty:
                raise RecipeError(f"task: '{cls.name}' needs '{word}', which no recipe says; give it a default.")


class Making:
    """Makes an environment of the user's, every time with its own copy of the arguments.

    Its signature are those of the user's arguments that an adapter may still give.

    Args:
        name: of the entry, for messages.
        made_by: the class or function.
        arguments: what it is called with.
    """

    def __init__(self, name: str, made_by: Any, arguments: Mapping[str, Any]) -> None:
        self.name, self.made_by, self.arguments = name, made_by, dict(arguments)
        more = [inspect.Parameter(word, inspect.Parameter.KEYWORD_ONLY) for word in _filled(made_by)]
        self.__signature__ = inspect.Signature(more)

    def once(self, seed: int) -> dict[str, Any]:
        """Return what has to be given besides to make one environment."""
        one = {
            "n_envs": 1,
            "num_envs": 1,
            "num_workers": 1,
            "batch_size": torch.Size([1]),
            "seed": seed,
            "device": "cpu",
        }
        return {word: one[word] for word in self.__signature__.parameters}

    def __call__(self, **more: Any) -> Any:
        """Return a new environment.

        Raises:
            RecipeError: the user's class or function raised something.
        """
        try:
            return self.made_by(**copy.deepcopy(self.arguments), **more)
        except (HetrlError, MemoryError):
            raise
        except Exception as error:
            raise RecipeError(
                f"task: '{self.name}' cannot be made with {self.arguments}: {signature.said(error, __file__)}. Change "
                "those arguments, or the environment."
            ) from error


@cache
def entry(name: str, made_by: Any) -> type[Any]:
    """Return the class that stands for a user's class or function under ``env/NAME``.

    Args:
        name: without ``env/``.
        made_by: what :func:`misfit` lets through.
    """
    called = getattr(made_by, "__name__", type(made_by).__name__)
    adapters = _adapters(made_by)
    words: dict[str, Any] = {
        "__doc__": getattr(made_by, "__doc__", None) or f"{called} of {getattr(made_by, '__module__', 'a program')}.",
        "__module__": getattr(made_by, "__module__", None) or __name__,
        "__init__": _schema(adapters),
        "name": name,
        "made_by": (made_by,),
        "adapters": adapters,
        "_found": {},
    }
    return type(called, (OwnEnvironment,), words)


# --------------------------------------------------------------------------- the words of every task


def _loaded(place: tuple[str, str]) -> Any:
    return getattr(importlib.import_module(place[0]), place[1])


@cache
def _words(places: tuple[tuple[str, str], ...]) -> Mapping[str, inspect.Parameter]:
    """Return the words of every task of some adapters, with their types."""
    found: dict[str, inspect.Parameter] = {}
    for init in (_loaded(place).__init__ for place in places):
        hints = get_type_hints(init, include_extras=True)
        for word, parameter in arguments.parameters(init).items():
            found.setdefault(word, parameter.replace(annotation=hints[word]))
    return {word: found[word] for word in found if word not in ("factory", "name")}


@cache
def _schema(places: tuple[tuple[str, str], ...]) -> Callable[..., None]:
    """Return a constructor that says which words a task may have; it is never called, see ``__new__``."""

    def __init__(self: Any, **arguments: Any) -> None: ...

    words = _words(places)
    both = [
        inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY),
        *words.values(),
        inspect.Parameter("arguments", inspect.Parameter.VAR_KEYWORD),
    ]
    __init__.__signature__ = inspect.Signature(both)  # type: ignore[attr-defined]
    __init__.__annotations__ = {word: parameter.annotation for word, parameter in words.items()}
    return __init__
