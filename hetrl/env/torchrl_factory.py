"""Calls what makes a TorchRL environment, with the words of the task that it takes, and makes rows of what it makes."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torchrl.envs import EnvBase

from hetrl.env.torchrl_specs import read, title
from hetrl.env.torchrl_world import Batch, Copies, Copy, Single, close
from hetrl.env.workers import rows_of
from hetrl.errors import RecipeError
from hetrl.rng import Stream, derive

_COUNTS = ("n_envs", "num_envs", "num_workers", "batch_size")
"""Words for the number of environments; the first that is there is filled in."""


class Factory:
    """Makes environments, ``n_envs`` at once where the user's factory takes their number, else one.

    Args:
        factory: the user's.
        n_envs: environments in the batch.
        device: given to a factory that takes one.
    """

    def __init__(self, factory: Callable[..., Any], n_envs: int, device: torch.device | None) -> None:
        self._factory, self._n_envs, self._device = factory, n_envs, device

    def make(self, seed: int) -> EnvBase:
        """Make an environment.

        Raises:
            RecipeError: it is none, or has another number of rows.
        """
        env = self._factory(**_given(self._factory, self._n_envs, seed, self._device))
        if not isinstance(env, EnvBase):
            raise RecipeError(f"task: the factory makes a {type(env).__name__}, which is no EnvBase of TorchRL.")
        if list(env.batch_size) not in ([], [self._n_envs]):
            found = list(env.batch_size)
            close(env)
            raise RecipeError(
                f"task ({title(env)}): it has a batch of {found} environments, and task.n_envs = {self._n_envs}; let "
                "it, or its factory, take 'n_envs' and make as many, or make one with an empty batch_size."
            )
        return env


def world_of(factory: Factory, n_envs: int, seed: int, workers: int | None) -> Batch | Copies:
    """Make the rows: one environment that steps them at once, or copies of one.

    Raises:
        RecipeError: it cannot be used, or steps all rows at once and is asked to be spread.
    """
    stream = Stream(seed)
    with stream:
        first = factory.make(seed)
    try:
        batched = list(first.batch_size) == [n_envs]
        if batched and workers is not None:
            raise RecipeError(f"task.workers: {title(first)} steps all its rows at once; leave workers out.")
        if batched or (workers is None and not first.batch_locked and _takes_any_batch(first, n_envs, stream)):
            return Batch(first, n_envs, stream, seed, factory.make)
        read(first)  # what is wrong with it is told here, and not by a process
    except BaseException:
        close(first)
        raise
    close(first)
    opened = functools.partial(rows_of, _Row(factory, seed), n_envs, workers, seed)
    return Copies(opened, n_envs, derive(seed, "episodes"))


class _Row:
    """Makes the copy of a row."""

    def __init__(self, factory: Factory, seed: int) -> None:
        self._factory, self._seed = factory, seed

    def __call__(self, row: int) -> Copy:
        return Copy(self._factory.make(derive(self._seed, "copy", str(row))))


def _takes_any_batch(env: EnvBase, n_envs: int, stream: Stream) -> bool:
    """Whether an environment that is not batch-locked resets and steps an empty batch of that size."""
    try:
        trial = Single(env, read(env), (n_envs,))
        with stream:
            trial.reset()
            actions = env.full_action_spec.rand((n_envs,))
            trial.step([(_path(key), None, 0, actions.get(key)) for key in actions.keys(True, True)])
    except RecipeError:
        raise
    except Exception:  # whatever it says to a batch: it is then stepped without one
        return False
    return True


def _path(key: Any) -> tuple[str, ...]:
    return (key,) if isinstance(key, str) else tuple(key)


def _given(factory: Callable[..., Any], n_envs: int, seed: int, device: torch.device | None) -> dict[str, Any]:
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
        parameters = inspect.signature(function.__init__ if is_class else function).parameters
    except (TypeError, ValueError):  # of something written in C
        return {}
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    named = {name: parameter for name, parameter in parameters.items() if parameter.kind in kinds}
    return dict(list(named.items())[1:]) if is_class else named
