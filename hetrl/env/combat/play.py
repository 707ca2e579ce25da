"""The parts of the game put together, for one map and one script."""

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from hetrl.env.capture import When
from hetrl.env.combat import deployment, detailed, outcome, script, sight, ticks
from hetrl.env.combat.battlefield import Battlefield, Ground
from hetrl.env.combat.kernel import Kernel

ALLIES, ENEMIES = 0, 1


class Fought(NamedTuple):
    """What came of a step."""

    field: Battlefield
    earned: Tensor
    """``[B]``, by the allies [reward]."""
    over: Tensor
    """``[B]`` bool."""


class Play:
    """Battles on a map, as functions of tensors; what looks at pairs of units is compiled where that is wanted.

    Args:
        ground: the map.
        enemy: whom the enemies shoot at first.
        capture: whether parts are compiled, see :class:`~hetrl.env.combat.kernel.Kernel`.
    """

    def __init__(self, ground: Ground, enemy: script.Enemy, capture: When) -> None:
        self._ground, self._enemy = ground, enemy
        self._begin = Kernel(self._deploy, capture)
        self._tell = Kernel(self._command, capture)
        self._once = Kernel((detailed if ground.detailed else ticks).ticker(ground), capture)
        self._pairs = Kernel(self._see, capture)

    @property
    def n_begin(self) -> int:
        """Numbers within 0 and 1 that a start is made of."""
        return deployment.n_drawn(self._ground)

    @property
    def n_fight(self) -> int:
        """Numbers within 0 and 1 that go into a step: when each unit is ready again, and two for each enemy."""
        return self._ground.n_units + 2 * self._ground.counts[ENEMIES]

    def begin(self, drawn: Tensor) -> Battlefield:
        """Return new battles made of ``drawn`` ``[B, n_begin]``."""
        return Battlefield(*self._begin(drawn))

    def fight(self, field: Battlefield, action: Tensor, drawn: Tensor) -> Fought:
        """Take a step.

        Args:
            field: before.
            action: of the allies, ``[B, n]``.
            drawn: ``[B, n_fight]``.
        """
        ground, n_units = self._ground, self._ground.n_units
        heading, aim, target, goal, locked = self._tell(*field.tensors(), action, drawn[:, n_units:])
        late = ticks.LEAST_LATE + (ticks.MOST_LATE - ticks.LEAST_LATE) * drawn[:, None, :n_units]
        told = ticks.Orders(heading, aim, target)
        after = replace(field, goal=goal, locked=locked)
        if ground.detailed:
            after = detailed.run(ground, after, told, late, self._once)
        else:
            after = ticks.run(after, told, late, self._once)
        earned, over = outcome.reward(ground, field, after, ALLIES), outcome.standing(ground, after, ALLIES).over
        return Fought(after, earned, over)

    def look(self, field: Battlefield) -> sight.Sight:
        """Return what the allies see and may do."""
        return sight.look(self._ground, field, ALLIES, self._pairs)

    # ----- what may be compiled: tensors in, tensors out

    def _deploy(self, drawn: Tensor) -> tuple[Tensor, ...]:
        return deployment.deploy(self._ground, drawn).tensors()

    def _command(self, *given: Tensor) -> tuple[Tensor, ...]:
        ground, field, (action, drawn) = self._ground, Battlefield(*given[:-2]), given[-2:]
        seen = script.view(ground, field, ENEMIES)
        chance = script.chances(seen, drawn.unflatten(-1, (ground.counts[ENEMIES], 2)))
        told = script.command(seen, field.goal, field.locked, chance, self._enemy)
        if ground.detailed:
            told = script.tend(ground, field, ENEMIES, told)
        return (*ticks.orders(ground, torch.cat([action, told.action], -1)), told.goal, told.locked)

    def _see(self, marks: Tensor, health: Tensor, types: Tensor) -> tuple[Tensor, ...]:
        return sight.pairs(self._ground, ALLIES, marks, health, types)
