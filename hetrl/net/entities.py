"""An encoder of entities: others, landmarks, food, of which an observation lists several alike."""

import math
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge
from jaxtyping import Bool, Float
from torch import Tensor, nn

from hetrl.arguments import Count, Widths
from hetrl.encoder import Encoder
from hetrl.errors import RecipeError
from hetrl.network import MLP, Activation, mode
from hetrl.team import Agent, Team


class Entities(Encoder):
    """One's own numbers, and what several entities come to, in whichever order they are listed.

    o = (own, e_1, ..., e_k),   z_j = f(own, e_j),   features = (own, sum over the present j of a_j z_j)
    a = 1 / n  (mean)   or   softmax over the present j of q(own) . k(z_j) / sqrt(d), for each head  (attention)

    An entity all of whose numbers are 0 is absent; where all are, the sum is 0. So a list of any length can be filled
    up with zeros. With one's own number 1 and two entities 2 and 4 of one number each, and z_j = e_j, the features are
    1 and, as a mean, 3; with entities 2 and 0 they are 1 and 2.

    Args:
        own: how many numbers at the beginning of an observation are one's own, 0 or more.
        entity: how many numbers each entity has; the rest of an observation has to be a multiple.
        pool: how entities are put together, ``attention`` or ``mean``.
        heads: of the attention; a divisor of ``size``.
        hidden: widths of the hidden layers of f.
        size: how many numbers f makes of an entity.
        activation: between the layers.

    Raises:
        RecipeError: an observation does not divide into entities, or ``size`` into heads.
    Source: Zaheer et al. 2017, arXiv:1703.06114 (sets); Vaswani et al. 2017, arXiv:1706.03762 (attention); Baker et al.
        2020, arXiv:1909.07528 (entities with masks, of agents).
    Differs: entities do not attend to each other, only one's own numbers to them, so that the cost is linear in k.
    """

    reads_zeros: ClassVar[bool] = True

    def __init__(
        self,
        agent: Agent,
        team: Team,
        *,
        own: Annotated[int, Ge(0)],
        entity: Count,
        pool: Literal["attention", "mean"] = "attention",
        heads: Count = 4,
        hidden: Widths = [64],  # noqa: B006 (never written to; the signature is the schema)
        size: Count = 64,
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        rest = agent.observation_size - own
        if rest < entity or rest % entity:
            raise RecipeError(
                f"agent '{agent.name}' sees {agent.observation_size} numbers; less own = {own} that leaves {rest}, "
                f"which do not divide into entities of entity = {entity}; correct one of the two."
            )
        if pool == "attention" and size % heads:
            raise RecipeError(f"size = {size} does not divide into heads = {heads}; write a divisor of it.")
        self._own, self._entity, self._size = own, entity, size
        self._heads = heads if pool == "attention" else 0
        self.features = own + size
        self.body = MLP([own + entity, *hidden, size], activation, last_gain=1.0)
        if pool == "attention":
            self.query = MLP([own, size], activation, last_gain=1.0) if own else _Constant(size)
            self.key, self.value = (MLP([size, size], activation, last_gain=1.0) for _ in range(2))

    @mode(reads={"observation": "agent.observation"}, writes={"features": "agent.features"})
    def encode(self, observation: Float[Tensor, "*batch seen"]) -> dict[str, Float[Tensor, "*batch found"]]:
        """Return ``features`` [1]."""
        own = observation[..., : self._own]
        each = observation[..., self._own :].unflatten(-1, (-1, self._entity))
        beside = own.unsqueeze(-2).expand(*each.shape[:-1], self._own)
        found = self.body(torch.cat([beside, each], -1))
        present = (each != 0).any(-1)
        pooled = self._attended(own, found, present) if self._heads else _mean(found, present)
        return {"features": torch.cat([own, pooled], -1)}

    def _attended(
        self,
        own: Float[Tensor, "*batch one"],
        found: Float[Tensor, "*batch several size"],
        present: Bool[Tensor, "*batch several"],
    ) -> Float[Tensor, "*batch size"]:
        """Return the sum of the entities' values, weighted for each head by how well they answer its query."""
        query = self.query(own).unflatten(-1, (self._heads, -1))
        key, value = (each(found).unflatten(-1, (self._heads, -1)) for each in (self.key, self.value))
        score = torch.einsum("...hd,...khd->...hk", query, key) / math.sqrt(query.shape[-1])
        here = present.unsqueeze(-2)
        weight = score.masked_fill(~here, torch.finfo(score.dtype).min).softmax(-1) * here
        return torch.einsum("...hk,...khd->...hd", weight, value).flatten(-2)


def _mean(
    found: Float[Tensor, "*batch several size"], present: Bool[Tensor, "*batch several"]
) -> Float[Tensor, "*batch size"]:
    here = present.unsqueeze(-1).to(found.dtype)
    return (found * here).sum(-2) / here.sum(-2).clamp(min=1)


class _Constant(nn.Module):
    """A learned query, for who has no numbers of its own."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.randn(size) / math.sqrt(size))

    def forward(self, own: Tensor) -> Tensor:
        """Return the query, ``*B size``."""
        return self.value.expand(*own.shape[:-1], -1)
