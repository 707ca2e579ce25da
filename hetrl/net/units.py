"""An encoder of units that a task lists: team-mates, opponents."""

import math
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from jaxtyping import Bool, Float
from torch import Tensor, nn

from hetrl.arguments import Count
from hetrl.encoder import Encoder
from hetrl.errors import RecipeError
from hetrl.network import MLP, Activation, mode
from hetrl.team import Agent, Team


class Units(Encoder):
    """Units that attend to each other and to one's own numbers, wherever the task lists them.

    x_0 = f(own),   x_j = f_list(e_j)  for each unit that is there
    x <- x + W sum_j softmax_j(q(x) . k(x_j) / sqrt(d)) v(x_j),   x <- x + g(x)     for each layer, on normalised x
    features = (own, x_0, sum_j x_j / k, c(x_1), ..., c(x_k))

    The task says where an observation lists units (``Agent.listings``), and a state of its own too; a unit all of whose
    numbers are 0 is not there, and neither seen nor counted: its x_j and c are 0. Each list has its own f, so that
    team-mates and opponents are told apart although they have the same numbers. To exchange two units of a list
    exchanges their c and changes nothing else: with ``each: 0`` nothing at all, which suits a value. Who chooses
    a target by its place in the list has to know who stands there. With 10 numbers of one's own, 7 units, a ``size`` of
    16 and ``each`` 4 the features are 10 + 2 * 16 + 7 * 4 = 70.

    Args:
        size: numbers of x; heads divide it.
        heads: of the attention; a divisor of ``size``.
        layers: how often units attend to each other, 1 or more.
        each: how many numbers the features have of each unit by itself, 0 or more.
        activation: of g.

    Raises:
        RecipeError: the task lists no units, or ``size`` does not divide into ``heads``.
    Source: Vaswani et al. 2017, arXiv:1706.03762, with the norm in front (Xiong et al. 2020, arXiv:2002.04745); Hu et
        al. 2021, arXiv:2101.08001 (a transformer over the units of an observation, in battles).
    Differs: no dropout, no positions; the sum over units counts them, which an average over those who are there does
        not.
    """

    reads_zeros: ClassVar[bool] = True

    def __init__(
        self,
        agent: Agent,
        team: Team,
        *,
        size: Count = 32,
        heads: Count = 4,
        layers: Count = 1,
        each: Annotated[int, Ge(0)] = 8,
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        if not agent.listings:
            raise RecipeError(
                f"agent '{agent.name}' sees {agent.observation_size} numbers, and its task does not say where they "
                "list units; use net/entities, whose words own and entity do."
            )
        if size % heads:
            raise RecipeError(f"size = {size} does not divide into heads = {heads}; write a divisor of it.")
        self._listings = agent.listings
        ends = [0, *(listing.end for listing in agent.listings)]
        starts = [*(listing.start for listing in agent.listings), agent.observation_size]
        self._own = [slice(end, start) for end, start in zip(ends, starts, strict=True) if start > end]
        n_own = sum(part.stop - part.start for part in self._own)
        n_units = sum(listing.count for listing in agent.listings)
        self.features = n_own + 2 * size + n_units * each
        self.own = MLP([n_own, size], activation, last_gain=1.0) if n_own else None
        self.nobody = None if n_own else nn.Parameter(torch.zeros(size))
        self.lists = nn.ModuleList([MLP([of.size, size], activation, last_gain=1.0) for of in agent.listings])
        self.layers = nn.ModuleList([_Layer(size, heads, activation) for _ in range(layers)])
        self.norm = nn.LayerNorm(size)
        self.each = MLP([size, each], activation, last_gain=1.0) if each else None
        for place, listing in enumerate(agent.listings):
            scale = torch.tensor(listing.scale or (1.0,) * listing.size)
            self.register_buffer(f"scale_{place}", scale, persistent=False)

    @mode(reads={"observation": "agent.observation"}, writes={"features": "agent.features"})
    def encode(self, observation: Float[Tensor, "*batch seen"]) -> dict[str, Float[Tensor, "*batch found"]]:
        """Return ``features`` [1]."""
        own = torch.cat([observation[..., part] for part in self._own], -1) if self._own else observation[..., :0]
        first = self.own(own) if self.own is not None else self.nobody.expand(*own.shape[:-1], -1)  # type: ignore[union-attr]
        found, there = [first.unsqueeze(-2)], [torch.ones_like(first[..., :1], dtype=torch.bool)]
        for place, (listing, embed) in enumerate(zip(self._listings, self.lists, strict=True)):
            units = observation[..., listing.start : listing.end].unflatten(-1, (listing.count, listing.size))
            found.append(embed(units * getattr(self, f"scale_{place}")))
            there.append((units != 0).any(-1))
        x, present = torch.cat(found, -2), torch.cat(there, -1)
        for layer in self.layers:
            x = layer(x, present)
        x = self.norm(x) * present.unsqueeze(-1)
        me, units = x[..., 0, :], x[..., 1:, :]
        parts = [own, me, units.mean(-2)]
        if self.each is not None:
            parts.append((self.each(units) * present[..., 1:].unsqueeze(-1)).flatten(-2))
        return {"features": torch.cat(parts, -1)}


class _Layer(nn.Module):
    """Everybody attends to those who are there, and then thinks about it."""

    def __init__(self, size: int, heads: int, activation: Activation) -> None:
        super().__init__()
        self._heads = heads
        self.norms = nn.ModuleList([nn.LayerNorm(size) for _ in range(2)])
        self.asked = MLP([size, 3 * size], activation, last_gain=1.0)
        self.answer = MLP([size, size], activation, last_gain=1.0)
        self.thought = MLP([size, 2 * size, size], activation, last_gain=1.0)

    def forward(
        self, x: Float[Tensor, "*batch several size"], present: Bool[Tensor, "*batch several"]
    ) -> Float[Tensor, "*batch several size"]:
        """Return what everybody makes of the others."""
        asked = self.asked(self.norms[0](x)).unflatten(-1, (3, self._heads, -1)).movedim(-3, 0)
        query, key, value = asked.transpose(-2, -3)  # *batch heads several d
        score = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        # One's own numbers are always there, so there is always somebody to attend to.
        here = present.unsqueeze(-2).unsqueeze(-2)
        weight = score.masked_fill(~here, torch.finfo(score.dtype).min).softmax(-1)
        x = x + self.answer((weight @ value).transpose(-2, -3).flatten(-2))
        return x + self.thought(self.norms[1](x))
