"""What an agent of a VMAS simulator is, physically: agents with equal physiques have the same body."""

from collections.abc import Hashable
from typing import Any

from torch import Tensor

_TRAITS = (
    "mass", "movable", "rotatable", "collide", "max_speed", "v_range", "drag", "linear_friction", "angular_friction",
    "gravity", "u_range", "u_multiplier", "u_noise", "f_range", "max_f", "t_range", "max_t", "silent", "c_noise",
    "_obs_range", "obs_noise",
)  # fmt: skip
_UNSEEN = ("_render", "_alpha")
"""How a part is drawn is no part of what it is."""


def physique(agent: Any) -> Hashable:
    """Return shape, mass, speed, strength, drive and sensors as one value that can be compared.

    Names, colours and whatever a scenario notes on its agents (a goal, say) do not count.
    """
    traits = tuple(_plain(getattr(agent, trait)) for trait in _TRAITS)
    return traits, _part(agent.shape), _part(agent.dynamics), tuple(_part(sensor) for sensor in agent.sensors)


def _part(part: Any) -> Hashable:
    """The kind of a shape, drive or sensor and its numbers. Tensors are left out: they are its state."""
    kept = {name: value for name, value in vars(part).items() if isinstance(value, (bool, int, float, str))}
    numbers = sorted((name, value) for name, value in kept.items() if name not in _UNSEEN)
    rays = getattr(part, "_angles", None)  # where a lidar looks, the same in all environments
    return type(part).__name__, tuple(numbers), None if rays is None else _plain(rays[0])


def _plain(value: Any) -> Hashable:
    if isinstance(value, Tensor):
        value = value.tolist()
    return tuple(map(_plain, value)) if isinstance(value, (list, tuple)) else value
