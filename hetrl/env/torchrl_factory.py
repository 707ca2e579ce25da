"""Calls what makes a TorchRL environment, with the words of the task that it takes."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torchrl.envs import EnvBase

from hetrl.errors import RecipeError

_COUNTS = ("n_envs", "num_envs", "num_workers", "batch_size")
"""Words for the number of environments; the first that is there is filled in."""


def make(factory: Callable[..., Any], n_envs: int, seed: int, device: torch.device) -> EnvBase:
    """Make an environment: ``n_envs`` of them at once where the factory takes their number, else one.

    Raises:
        RecipeError: it makes something else, or another number of them.
    """
    env = factory(**_given(factory, n_envs, seed, device))
    if not isinstance(env, EnvBase):
        raise RecipeError(f"task: the factory makes a {type(env).__name__}, which is no EnvBase of TorchRL.")
    sizes = ([], [n_envs])
    if list(env.batch_size) not in sizes:
        raise RecipeError(
            f"task: {type(env).__name__} has a batch of {list(env.batch_size)} environments, and task.n_envs = {n_envs}; "
            "let it, or its factory, take 'n_envs' and make as many, or make one with an empty batch_size."
        )
    return env


def _given(factory: Callable[..., Any], n_envs: int, seed: int, device: torch.device) -> dict[str, Any]:
    """The words of the task that a factory takes and nobody has given yet."""
    known = _parameters(factory)
    given: dict[str, Any] = {}
    count = next((word for word in _COUNTS if word in known), None)
    if count is not None:
        given[count] = torch.Size([n_envs]) if count == "batch_size" else n_envs
    if "seed" in known:
        given["seed"] = seed
    if "device" in known:
        given["device"] = device
    return given


def _parameters(factory: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """The parameters that may still be given by name."""
    bound: set[str] = set()
    while isinstance(factory, functools.partial):
        bound |= set(factory.keywords)
        first = factory.args
        factory = factory.func
        if first:
            bound |= set(list(_named(factory))[: len(first)])
    return {name: parameter for name, parameter in _named(factory).items() if name not in bound}


def _named(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    # Of a class its constructor is asked: TorchRL's metaclass takes anything.
    is_class = inspect.isclass(function)
    try:
        parameters = inspect.signature(function.__init__ if is_class else function).parameters  # type: ignore[misc]
    except (TypeError, ValueError):  # of something written in C
        return {}
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    named = {name: parameter for name, parameter in parameters.items() if parameter.kind in kinds}
    return dict(list(named.items())[1:]) if is_class else named
