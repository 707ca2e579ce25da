"""Where a battle stands, and what stays the same on its map."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from hetrl.env.combat.maps import BattleMap
from hetrl.env.combat.units import HEALERS, N_BASE_TYPES, TYPE_NUMBERS, Details, Traits, detailed_table, trait_table

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
    reserve: Tensor | None = None
    """``[B, N, 4]`` of detailed rules, see :class:`~hetrl.env.combat.detailed.Reserve`."""

    @property
    def alive(self) -> Tensor:
        """``[B, N]`` bool."""
        return self.health > 0

    def tensors(self) -> tuple[Tensor, ...]:
        """The tensors in their order, with which another is built."""
        return tuple(self.state_dict().values())

    def state_dict(self) -> dict[str, Tensor]:
        """The tensors by name."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: tensor for name, tensor in found.items() if tensor is not None}

    def where(self, chosen: Tensor, other: "Battlefield") -> "Battlefield":
        """Return these battles where ``chosen`` ``[B]``, and the ``other`` ones elsewhere."""
        return Battlefield(*(
            torch.where(chosen.reshape(-1, *[1] * (mine.dim() - 1)), mine, theirs)
            for mine, theirs in zip(self.tensors(), other.tensors(), strict=True)
        ))  # fmt: skip


class Ground:
    """What stays the same in all battles on a map: who is whose opponent, in which order, as tensors on a device.

    Side 0 are the allies, 1 the enemies.

    Args:
        plan: who meets whom.
        device: where the tensors are.
        detailed: whether rules are detailed, see :mod:`~hetrl.env.combat.detailed`; only then somebody heals.
        factors: what allies' numbers are multiplied by, see :mod:`~hetrl.env.combat.knobs`.
    """

    def __init__(
        self, plan: BattleMap, device: torch.device, detailed: bool = False,
        factors: Mapping[str, Sequence[float]] | None = None,
    ) -> None:  # fmt: skip
        self.plan = plan
        self.counts = (len(plan.allies), len(plan.enemies))
        self.n_units = sum(self.counts)
        allies, enemies = self.counts
        self.device = device
        self.detailed = detailed
        self.sides = torch.tensor([0] * allies + [1] * enemies, device=device)
        """``[N]``, of each."""
        healers = [kind in HEALERS for side in plan.sides for kind in side]
        self.healers = torch.tensor(healers, device=device)
        """Who heals, ``[N]`` bool."""
        self.n_kinds = N_BASE_TYPES + any(healers)
        """How many kinds are told apart in what is seen."""
        self.table, self._details = detailed_table(device, self.n_kinds) if detailed else (trait_table(device), {})
        ones = (1.0,) * enemies
        self._factors = {word: torch.tensor((*own, *ones), device=device) for word, own in (factors or {}).items()}
        types = [TYPE_NUMBERS.get(kind, 0) for kind in (*plan.allies, *plan.enemies)]
        self.types = torch.tensor(types, device=device)
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
        meant = self._meant()
        widest = max(map(len, meant))
        filled = [[unit] * N_MOVES + own + [unit] * (widest - len(own)) for unit, own in enumerate(meant)]
        self.targets = torch.tensor(filled, device=device)
        """Whom each action of a unit is for, ``[N, actions]``; the unit itself where it is for nobody."""
        self.n_options = tuple(N_MOVES + max(map(len, meant[side])) for side in self.units)
        """How many actions there are, by side; not all are for everybody."""
        self.last_option = torch.tensor([N_MOVES + len(own) - 1 for own in meant], device=device).to(torch.float32)
        """``[N]``, the highest action of each."""

    def _meant(self) -> list[list[int]]:
        """Whom the actions of each unit are for that are no moves: opponents, or of who heals all of its own side."""
        forward, backward = list(range(self.n_units)), list(range(self.n_units))[::-1]
        allies, enemies = self.counts
        opponents, mates = (forward[allies:], backward[enemies:]), (forward[:allies], backward[:enemies])
        return [
            mates[side] if kind in HEALERS else opponents[side]
            for side, kinds in enumerate(self.plan.sides)
            for kind in kinds
        ]

    @property
    def units(self) -> tuple[slice, slice]:
        """Where the units of each side are."""
        return slice(0, self.counts[0]), slice(self.counts[0], self.n_units)

    def facing(self, each: Tensor, side: int) -> Tensor:
        """Return what ``each`` ``[B, N, *]`` has of a side's opponents, by slot: counted from the side's own end."""
        opponents = each[:, self.units[1 - side]]
        return opponents if side == 0 else opponents.flip(1)

    def trait(self, word: str, types: Tensor) -> Tensor:
        """Return one of the numbers of units of these kinds, ``[B, N]``."""
        found = self.table[word][types]
        return found * self._factors[word] if word in self._factors else found

    def traits(self, types: Tensor) -> Traits:
        """Return the numbers of units of these kinds, ``[B, N]``."""
        found = {word: self.trait(word, types) for word in self.table}
        details = Details(**{word: values[types] for word, values in self._details.items()}) if self.detailed else None
        return Traits(**found, detail=details)


def distances(position: Tensor, to: Tensor) -> Tensor:
    """Return the distances from ``[B, n, 2]`` to ``[B, m, 2]``, ``[B, n, m]``."""
    x, y = (position[..., None, axis] - to[..., None, :, axis] for axis in (0, 1))
    return (x * x + y * y).sqrt()
