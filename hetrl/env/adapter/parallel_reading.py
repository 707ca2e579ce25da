"""What is found out about a PettingZoo environment, through whatever wrappers it has."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from hetrl.errors import RecipeError
from hetrl.team import unique_words

_NEEDED = ("possible_agents", "observation_space", "action_space", "reset", "step")
_INSIDE = ("env", "aec_env", "par_env", "unwrapped")
"""Where wrappers keep what they wrap."""


def parallel(env: Any) -> Any:
    """Return an environment as a parallel one; one of turns by PettingZoo's own ``aec_to_parallel``.

    Raises:
        RecipeError: it is neither, or cannot be converted.
    """
    if hasattr(env, "agent_iter") and hasattr(env, "last"):
        env = _converted(env)
    missing = [word for word in _NEEDED if not hasattr(env, word)]
    if missing:
        raise RecipeError(
            f"task: {name(env)} is no parallel PettingZoo environment (it has no {missing[0]}); give a ParallelEnv, "
            "or an AECEnv."
        )
    if not list(env.possible_agents):
        raise RecipeError(f"task: {name(env)} has no possible_agents; name everyone who may ever take part.")
    return env


def _converted(env: Any) -> Any:
    from pettingzoo.utils.conversions import aec_to_parallel

    try:
        return aec_to_parallel(env)
    except AssertionError:
        raise RecipeError(
            f"task: {name(env)} is a PettingZoo environment of turns whose metadata do not say is_parallelizable, so "
            "aec_to_parallel refuses it; convert it in the factory, such as with turn_based_aec_to_parallel."
        ) from None


def name(env: Any) -> str:
    """Return what to call an environment in a message: the class inside all wrappers."""
    return type(list(layers(env))[-1]).__name__


def layers(env: Any) -> Iterator[Any]:
    """Yield an environment and what it wraps, from outside to inside."""
    seen: list[Any] = []
    while env is not None and not any(env is other for other in seen):
        seen.append(env)
        yield env
        inside = (getattr(env, word, None) for word in _INSIDE)
        env = next((each for each in inside if each is not None and not any(each is other for other in seen)), None)


def max_cycles(env: Any) -> int:
    """Return the number of steps after which an environment cuts its episodes.

    Raises:
        RecipeError: it does not tell.
    """
    for layer in layers(env):
        found = getattr(layer, "max_cycles", None)
        if isinstance(found, int | np.integer) and not isinstance(found, bool) and found > 0:
            return int(found)
    raise RecipeError(
        f"task.horizon: {name(env)} has no max_cycles; write after how many steps an episode is cut, such as "
        "horizon: 100."
    )


def has_state(env: Any) -> bool:
    """Whether an environment, or a wrapper around it, defines ``state()``; PettingZoo's own raises or forwards it."""
    if not callable(getattr(env, "state", None)):
        return False
    classes = (cls for layer in layers(env) for cls in type(layer).__mro__)
    return any("state" in vars(cls) for cls in classes if not cls.__module__.startswith("pettingzoo.utils"))


def info_numbers(infos: Mapping[Any, Any]) -> dict[str, float]:
    """Return the numbers in an environment's infos, by names of letters, digits and underscores.

    What several agents tell under one name is the mean of theirs; NaN tells nothing. What is no single number, such as
    an array or a text, is left out.

    >>> info_numbers({"a": {"won": True, "left": 2}, "b": {"won": False, "path": "x"}})
    {'won': 0.5, 'left': 2.0}
    """
    found: dict[str, list[float]] = {}
    for who, info in infos.items():
        for word, value in info.items() if isinstance(info, Mapping) else ((who, info),):
            if isinstance(value, int | float | np.generic) or getattr(value, "ndim", None) == 0:
                number = np.asarray(value)
                if number.dtype.kind in "biuf" and not np.isnan(number):
                    found.setdefault(str(word), []).append(float(number))
    return {word: sum(each) / len(each) for word, each in zip(unique_words(list(found)), found.values(), strict=True)}
