"""The broad phase while a step is traced: which pairs of bodies the simulator looks at."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from hetrl.env.capture.tracing import Listener


@contextmanager
def contacts(world: Any, listener: Listener) -> Iterator[None]:
    """Within, ``world`` looks at all pairs that may ever touch, and what it would not have looked at does nothing.

    The world's class is another one for that time; the class itself is not changed.
    """
    own = type(world)
    masks: dict[tuple[int, int], Tensor] = {}
    joined: list[bool] = []

    def look(self: Any, a: Any, b: Any) -> bool:
        if not (a.collides(b) and b.collides(a)):  # a filter may be a tensor, and is a question like any other
            return False
        listener.looking, listener.contact = True, None
        try:
            answer = own.collides(self, a, b)
        finally:
            listener.looking = False
        if answer and listener.contact is not None:
            masks[id(a), id(b)] = masks[id(b), id(a)] = listener.contact
            frame = sys._getframe(1)
            if frame.f_code is not own._apply_vectorized_enviornment_force.__code__:
                listener.enter(frame, listener.contact)
        return answer

    def push(self: Any, a: Any, f_a: Any, t_a: Any, b: Any, f_b: Any, t_b: Any) -> None:
        mask = None if joined else masks.get((id(a), id(b)))
        if mask is not None:
            f_a, t_a, f_b, t_b = (
                torch.where(mask, part, 0.0) if isinstance(part, Tensor) else part for part in (f_a, t_a, f_b, t_b)
            )
        own.update_env_forces(self, a, f_a, t_a, b, f_b, t_b)

    def join(self: Any, joints: Any) -> None:
        joined.append(True)
        try:
            own._vectorized_joint_constraints(self, joints)
        finally:
            joined.clear()

    methods: dict[str, Callable[..., Any]] = {
        "collides": look, "update_env_forces": push, "_vectorized_joint_constraints": join,
    }  # fmt: skip
    world.__class__ = type(own.__name__, (own,), methods)
    try:
        yield
    finally:
        world.__class__ = own
