"""Where a battle stands, and what stays the same on its map."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from hetrl.env.combat.maps import BattleMap
from hetrl.env.combat.units import TYPE_NUMBERS, Traits, trait_table

SIZE = 32.0
"""Of the square map, whose corner is (0, 0)."""
MOVES = ((0.0, 1.0), (1.0, 0.0), (0.0, -1.0), (-1.0, 0.0), (0.0, 0.0))
"""North, east, south, west, stop: what the first actions do. Those behind them attack."""
STOP = 4
_POSTS = ((SIZE / 4, SIZE / 2), (3 * SIZE / 4, SIZE / 2))
N_MOVES = len(MOVES)


@dataclass(frozen=True)
class Battlefield:
    """``B`` battles of ``N`` units, allies first; all that the next step depends on. Who has no health is dead."""

    position: Tensor
    """``[B, N, 2]`` in cells."""
    health: Tensor
    """``[B, N]``."""
    cooldown: Tensor
    """``[B, N]`` s until the next shot; it goes on falling below 0."""
    heading: Tensor
    """``[B, N, 2]``, where each was last told to go, of length 1; 0 where it was told to stand or attack."""
    aim: Tensor
    """``[B, N]``, the action with which each was last told to attack; 0 where it was not."""
    types: Tensor
    """``[B, N]``, see :data:`~hetrl.env.combat.units.UNIT_TYPES`."""
    goal: Tensor
    """``[B, enemies, 2]``, where the scripted enemies go while they see nobody; (0, 0) before their first step."""
    locked: Tensor
    """``[B, enemies]``, the slot at which each scripted enemy last shot; -1 where there is none."""

    @property
    def alive(self) -> Tensor:
        """``[B, N]`` bool."""
        return self.health > 0

    def tensors(self) -> tuple[Tensor, ...]:
        """The tensors in their order, with which another is built."""
        return tuple(getattr(self, field.name) for field in fields(self))

    def where(self, chosen: Tensor, other: "Battlefield") -> "Battlefield":
        """Return these battles where ``chosen`` ``[B]``, and the ``other`` ones elsewhere."""
        return Battlefield(*(
            torch.where(chosen.reshape(-1, *[1] * (mine.dim() - 1)), mine, theirs)
            for mine, theirs in zip(self.tensors(), other.tensors(), strict=True)
        ))  # fmt: skip


class Ground:
    """What stays the same in all battles on a map: who is whose opponent, in which order, as tensors on a device.

    Side 0 are the allies, 1 the enemies.
    """

    def __init__(self, plan: BattleMap, device: torch.device) -> None:
        self.plan = plan
        self.counts = (len(plan.allies), len(plan.enemies))
        self.n_units = sum(self.counts)
        allies, enemies = self.counts
        self.device = device
        self.table = trait_table(device)
        types = [TYPE_NUMBERS.get(kind, 0) for kind in (*plan.allies, *plan.enemies)]
        self.types = torch.tensor(types, device=device)
        self.sides = torch.tensor([0.0] * allies + [1.0] * enemies, device=device)
        self.moves = torch.tensor(MOVES, device=device)
        self.posts = torch.tensor([_POSTS[0]] * allies + [_POSTS[1]] * enemies, device=device)
        """``[N, 2]``, around which each starts."""
        self.corners = torch.tensor([(x, y) for x in (0.0, SIZE) for y in (0.0, SIZE)], device=device)
        forward, backward = list(range(self.n_units)), list(range(self.n_units))[::-1]
        self.slots = tuple(torch.tensor(units, device=device) for units in (forward[allies:], backward[enemies:]))
        """The unit behind each slot ``[opponents]``, by side: a side counts its opponents from its own end."""
        self.others = tuple(
            torch.tensor([[j for j in order if j != i] for i in own], device=device)
            for order, own in ((forward, forward[:allies]), (backward, forward[allies:]))
        )
        """Whom each sees, in this order, ``[n, N - 1]``, by side: its own side first."""
        self.targets = self._targets()
        n_options = torch.tensor([N_MOVES + enemies] * allies + [N_MOVES + allies] * enemies, device=device)
        self.last_option = n_options.to(torch.float32) - 1
        """``[N]``, the highest action of each."""

    def _targets(self) -> Tensor:
        """At whom each action of a unit shoots, ``[N, actions]``; the unit itself where it is no attack of its."""
        widest = N_MOVES + max(self.counts)
        targets = torch.arange(self.n_units).unsqueeze(1).repeat(1, widest)
        for side, own in enumerate(self.units):
            targets[own, N_MOVES : N_MOVES + self.counts[1 - side]] = self.slots[side].cpu()
        return targets.to(self.device)

    @property
    def units(self) -> tuple[slice, slice]:
        """Where the units of each side are."""
        return slice(0, self.counts[0]), slice(self.counts[0], self.n_units)

    def facing(self, each: Tensor, side: int) -> Tensor:
        """Return what ``each`` ``[B, N, *]`` has of a side's opponents, by slot: counted from the side's own end."""
        opponents = each[:, self.units[1 - side]]
        return opponents if side == 0 else opponents.flip(1)

    def traits(self, types: Tensor) -> Traits:
        """Return the numbers of units of these kinds, ``[B, N]``."""
        return Traits(**{word: values[types] for word, values in self.table.items()})


def distances(position: Tensor, to: Tensor) -> Tensor:
    """Return the distances from ``[B, n, 2]`` to ``[B, m, 2]``, ``[B, n, m]``."""
    x, y = (position[..., None, axis] - to[..., None, :, axis] for axis in (0, 1))
    return (x * x + y * y).sqrt()
