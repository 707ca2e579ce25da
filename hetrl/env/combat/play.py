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
        self._move = Kernel(self._detailed_tick if ground.detailed else self._tick, capture)
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
        field = replace(field, goal=goal, locked=locked)
        late = ticks.LEAST_LATE + (ticks.MOST_LATE - ticks.LEAST_LATE) * drawn[:, None, :n_units]
        told = ticks.Orders(heading, aim, target)
        if ground.detailed:
            after = detailed.step(ground, field, told, late, self.detailed_tick)
        else:
            after = ticks.step(field, told, late, self.tick)
        earned, over = outcome.reward(ground, field, after, ALLIES), outcome.standing(ground, after, ALLIES).over
        return Fought(after, earned, over)

    def look(self, field: Battlefield) -> sight.Sight:
        """Return what the allies see and may do."""
        return sight.look(self._ground, field, ALLIES, self._pairs)

    def tick(self, bodies: ticks.Bodies, told: ticks.Orders, late: Tensor, types: Tensor) -> ticks.Bodies:
        """Take one tick, see :func:`~hetrl.env.combat.ticks.tick`."""
        return ticks.Bodies(*self._move(*bodies, *told, late, types))

    def detailed_tick(
        self, units: detailed.Combatants, told: ticks.Orders, tends: Tensor, late: Tensor, types: Tensor
    ) -> detailed.Combatants:
        """Take one tick, see :func:`~hetrl.env.combat.detailed.tick`."""
        return detailed.Combatants(*self._move(*units, *told, tends, late, types))

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

    def _tick(self, *given: Tensor) -> tuple[Tensor, ...]:
        *parts, late, types = given
        bodies, told = ticks.Bodies(*parts[:3]), ticks.Orders(*parts[3:])
        return ticks.tick(self._ground.traits(types), bodies, told, late)

    def _detailed_tick(self, *given: Tensor) -> tuple[Tensor, ...]:
        *parts, tends, late, types = given
        units, told = detailed.Combatants(*parts[:6]), ticks.Orders(*parts[6:])
        return detailed.tick(self._ground.traits(types), units, told, tends, late)

    def _see(self, marks: Tensor, health: Tensor, types: Tensor) -> tuple[Tensor, ...]:
        return sight.pairs(self._ground, ALLIES, marks, health, types)
