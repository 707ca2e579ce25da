"""What an agent of a VMAS simulator is, physically: agents with equal physiques have the same body."""

from collections.abc import Hashable
from types import CodeType
from typing import Any

from torch import Tensor

_TRAITS = (
    "mass", "movable", "rotatable", "collide", "max_speed", "v_range", "drag", "linear_friction", "angular_friction",
    "gravity", "u_range", "u_multiplier", "u_noise", "f_range", "max_f", "t_range", "max_t", "silent", "c_noise",
    "_obs_range", "obs_noise",
)  # fmt: skip
_PLAIN = (bool, int, float, str)
_UNSEEN = ("_render", "_alpha")
"""How a part is drawn is no part of what it is."""


def physique(agent: Any) -> Hashable:
    """Return shape, mass, speed, strength, drive and sensors as one value that can be compared.

    Names, colours and whatever a scenario notes on its agents (a goal, say) do not count. A lidar's filter counts as
    far as it can be compared: what the function does, and the plain values that it closes over or has as defaults.
    """
    traits = tuple(_plain(getattr(agent, trait)) for trait in _TRAITS)
    return traits, _part(agent.shape), _part(agent.dynamics), tuple(_part(sensor) for sensor in agent.sensors)


def _part(part: Any) -> Hashable:
    """The kind of a shape, drive or sensor and its numbers. Tensors are left out: they are its state."""
    kept = {name: value for name, value in vars(part).items() if isinstance(value, _PLAIN)}
    numbers = sorted((name, value) for name, value in kept.items() if name not in _UNSEEN)
    rays = getattr(part, "_angles", None)  # where a lidar looks, the same in all environments
    rule = _rule(getattr(part, "_entity_filter", None))
    return type(part).__name__, tuple(numbers), None if rays is None else _plain(rays[0]), rule


def _rule(function: Any) -> Hashable:
    """What a function does, wherever it is written. Objects that it refers to are left out: they may be its agent."""
    code = getattr(function, "__code__", None)
    if code is None:  # none, or an object that is called like a function
        return type(function).__name__
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    values = (*cells, *(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
    return _steps(code), _known(values)


def _known(value: Any) -> Hashable:
    if isinstance(value, (list, tuple)):
        return tuple(map(_known, value))
    return value if isinstance(value, _PLAIN) else None


def _steps(code: CodeType) -> Hashable:
    """Instructions, the names they look up, and constants; a function within is one of its constants."""
    constants = tuple(_steps(value) if isinstance(value, CodeType) else value for value in code.co_consts)
    return code.co_code, code.co_names, constants


def _plain(value: Any) -> Hashable:
    if isinstance(value, Tensor):
        value = value.tolist()
    return tuple(map(_plain, value)) if isinstance(value, (list, tuple)) else value
