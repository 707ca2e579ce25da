"""Spaces of gymnasium as a team has them: what an agent sees as a vector, and what it does as a box or choices."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from hetrl.errors import RecipeError
from hetrl.team import Box, Discrete


class Taker:
    """Makes the actions ``[*, A]`` of one agent into what its environment takes.

    Args:
        space: as policies know it.
        take: the function.
    """

    def __init__(self, space: Box | Discrete, take: Callable[[np.ndarray], Iterable[Any]]) -> None:
        self.space, self._take = space, take

    def __call__(self, actions: np.ndarray) -> Iterable[Any]:
        """Return each action as the environment takes it."""
        return self._take(actions)


def taker(agent: str, space: Any) -> Taker:
    """Return the taker of an action space.

    A ``Box`` is clamped to its bounds, of whole numbers rounded to the nearest; ``MultiBinary`` is as many choices of
    two options.

    Raises:
        RecipeError: it is of another kind, or has nothing to choose between.
    """
    from gymnasium import spaces

    if isinstance(space, spaces.Box):
        return _box(space)
    if isinstance(space, spaces.Discrete):
        first = int(space.start)
        return Taker(Discrete((int(space.n),)), lambda actions: (actions[:, 0] + first).tolist())
    if isinstance(space, spaces.MultiDiscrete):
        return _choices(space, space.nvec.ravel().tolist(), np.ravel(getattr(space, "start", 0)))
    if isinstance(space, spaces.MultiBinary):
        return _choices(space, [2] * int(np.prod(space.shape)), np.zeros(1, np.int64))
    raise RecipeError(
        f"task: agent '{agent}' acts in {space}; only Box, Discrete, MultiDiscrete and MultiBinary are known. Wrap the "
        "environment in the factory."
    )


def _box(space: Any) -> Taker:
    low, high, whole = space.low.ravel(), space.high.ravel(), not np.issubdtype(space.dtype, np.floating)

    def clamp(actions: np.ndarray) -> Iterable[Any]:
        if whole:
            within = np.clip(np.rint(actions), low, high).astype(space.dtype)
        else:
            within = np.clip(actions.astype(space.dtype, copy=False), low, high)
        return within.reshape(-1, *space.shape) if space.shape else [np.asarray(each) for each in within[:, 0]]

    return Taker(Box(tuple(low.tolist()), tuple(high.tolist())), clamp)


def _choices(space: Any, options: list[int], first: np.ndarray) -> Taker:
    def take(actions: np.ndarray) -> np.ndarray:
        return (actions + first).astype(space.dtype).reshape(-1, *space.shape)

    return Taker(Discrete(tuple(options)), take)


MASK = "action_mask"
"""Where a ``Dict`` observation, or an agent's infos, say what it may choose."""


@dataclass(frozen=True)
class SpaceReader:
    """What an agent sees of its environment, and how that is made into what is stored."""

    shape: tuple[int, ...]
    """As the environment has it; what is stored is flat."""
    dtype: torch.dtype
    """``torch.uint8`` of images, else ``torch.float32``."""
    read: Callable[[Any], np.ndarray]
    """Makes what the environment shows into a vector; a ``ValueError`` says in what it is not of its space."""

    @property
    def size(self) -> int:
        """How many numbers it is."""
        return math.prod(self.shape)


def reader(agent: str, space: Any) -> SpaceReader:
    """Return the reader of an observation space.

    A ``Box`` keeps its shape; of bytes from 0 to 255 in two dimensions or more it is an image, which stays bytes.
    Anything else is flattened by gymnasium's ``flatten``: a ``Discrete`` observation is one-hot, a ``Dict`` its parts
    side by side. An ``action_mask`` in a ``Dict`` is left out, as it is no observation.

    Raises:
        RecipeError: gymnasium does not flatten it to a vector.
    """
    from gymnasium import spaces

    if isinstance(space, spaces.Dict) and MASK in space.spaces:
        rest = {word: part for word, part in space.spaces.items() if word != MASK}
        if set(rest) == {"observation"}:
            inner = _reader(agent, rest["observation"])
            return replace(inner, read=lambda value: inner.read(value["observation"]))
        return _reader(agent, spaces.Dict(rest))
    return _reader(agent, space)


def _reader(agent: str, space: Any) -> SpaceReader:
    from gymnasium import spaces

    if isinstance(space, spaces.Box):
        image = space.dtype == np.uint8 and len(space.shape) > 1 and space.high.max() == 255
        return SpaceReader(space.shape or (1,), torch.uint8 if image else torch.float32, of_shape(space.shape, image))
    if not isinstance(space, spaces.Space) or not space.is_np_flattenable:
        raise RecipeError(
            f"task: agent '{agent}' observes {space}, which gymnasium does not flatten to a vector; wrap the "
            "environment in the factory."
        )
    size = int(spaces.flatdim(space))
    return SpaceReader((size,), torch.float32, _flat(space, size, isinstance(space, spaces.Dict | spaces.Tuple)))


def of_shape(shape: tuple[int, ...], image: bool = False) -> Callable[[Any], np.ndarray]:
    """Return the function that ravels what has this shape, and of an image consists of bytes."""

    def read(value: Any) -> np.ndarray:
        array = np.asarray(value)
        if array.shape != shape:  # numpy would broadcast
            raise ValueError(f"{list(array.shape)}, but its space says {list(shape)}")
        if image and array.dtype != np.uint8:  # numpy would cut off what is behind the point
            raise ValueError(f"{array.dtype}, but its space says uint8")
        return array.ravel()

    return read


def _flat(space: Any, size: int, nested: bool) -> Callable[[Any], np.ndarray]:
    from gymnasium.spaces import flatten

    def read(value: Any) -> np.ndarray:
        # What holds boxes would also refuse numbers of another type, such as float64, that are as good.
        try:
            found = np.asarray(flatten(space, value)) if nested or space.contains(value) else None
        except (KeyError, TypeError, ValueError, IndexError, AttributeError):
            found = None
        if found is None or found.shape != (size,):
            raise ValueError(f"{_short(value)}, but its space says {space}")
        return found

    return read


def _short(value: Any) -> str:
    text = repr(dict(value) if isinstance(value, Mapping) else value)
    return text if len(text) < 80 else f"{text[:70]}..."
