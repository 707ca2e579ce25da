"""A recipe's critic as a plain function, and the discount with which it learns."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor

from hetrl import catalog, keys
from hetrl.engine.linked import Linked
from hetrl.errors import RunError
from hetrl.ops.joint_action import JointAction
from hetrl.recipe.schema import Recipe

MemberValues = Callable[[Tensor, JointAction], Tensor]
"""(state ``*B S``, joint action) -> the value by every member of the ensemble, ``E *B`` [reward]."""


@dataclass(frozen=True)
class Critic:
    """What a recipe's critic says of states and joint actions."""

    values: MemberValues
    joint: bool
    """Whether it is a Q of joint actions; a V leaves the action aside, and has one member."""


def critic_of(linked: Linked) -> Critic | None:
    """Return the first net of the whole team that is a critic without a memory; None where there is none."""
    for net in linked.nets.values():
        module: Any = net.of(()) if net.per == "team" else None  # type: ignore[operator]
        if module is None or module.memory:
            continue
        if "q" in module.modes and any(keys.scope(key) == keys.AGENTS for key in module.modes["q"].reads.values()):
            return Critic(partial(_joint_q, module), joint=True)
        if "value" in module.modes:
            return Critic(partial(_state_value, module), joint=False)
    return None


def _joint_q(module: Any, state: Tensor, action: JointAction) -> Tensor:
    return module.q(state, action)["q"]


def _state_value(module: Any, state: Tensor, action: JointAction) -> Tensor:
    return module.value(state)["value"].unsqueeze(0)


def discount(recipe: Recipe) -> float:
    """Return the gamma with which the recipe's critic learns: its data's, or that of a step.

    Raises:
        RunError: none has one.
    """
    sections = [section for phase in recipe.update for section in (phase.before, phase.prepare, phase.steps)]
    steps = [(step.use, step.arguments) for section in sections for step in section if step.use]
    for name, given in [(recipe.data.name, recipe.data.arguments), *steps]:
        own = inspect.signature(catalog.resolve(name).__init__).parameters.get("gamma")
        if own is not None:
            return float(given.get("gamma", own.default))
    raise RunError(
        f"the bound monitor compares the critic with discounted returns, and neither {recipe.data.name} nor a step of "
        "the recipe takes a gamma; train without it."
    )
