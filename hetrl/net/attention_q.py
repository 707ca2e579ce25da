"""The joint action value of a team of any size: agents' entries, pooled by attention."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge
from jaxtyping import Bool, Float
from torch import Tensor, nn

from hetrl.arguments import Count, Widths
from hetrl.encoder import Encoding, in_front
from hetrl.errors import RecipeError
from hetrl.net.joint_q import EnsembleMLP
from hetrl.net.value_normalizer import ValueNormalizer
from hetrl.network import Activation, Network, mode
from hetrl.ops import categorical
from hetrl.ops.joint_action import JointAction
from hetrl.ops.kept_sum import KeptSum, OwnPart
from hetrl.team import Agent, Discrete, Team

_STEEPEST = 4.0  # of a score: who counts most weighs exp(8) times as much as who counts least
_NOBODY = 0.01  # below exp(-4), the least weight of anybody

Active = tuple[Bool[Tensor, "*batch"], ...]
"""Who takes part, in team order."""


class AttentionQ(Network):
    """Q(s, a) of everybody's observation and action, with as many parameters for 3 agents as for 300.

    z_i, c_i = f(o_i, a_i),   w_ih = exp(4 tanh(c_ih / 4)),   w_i0 = 1
    Q = g(y_0, ..., y_H),   y_h = (sum_i w_ih z_i) / (sum_i w_ih)

    over the agents i that take part. Each head h looks at whom it finds important; head 0 is the mean field, where
    everybody counts alike. One f serves all agents of a layout group, so agents that look and act alike can change
    places: whatever tells one from another has to be in what it sees. The sums are all that one agent needs to know of
    the others, so in its turn only its own entry is evaluated.

    With z_i = a_i, ``heads: 0`` and g the identity, actions 1, 2 and 6 are worth 3; with the third agent out, 1.5.

    Reads the same as ``net/joint_q``, and who is active where the task says so. Its state has to be everybody's
    observation side by side. Modes: ``q`` (each member's), ``min`` (the least, where actions are judged), ``first``
    (the first member's), all in reward units; ``normalized``, ``normalized_min`` and ``normalize`` are those of the
    units in which the network predicts; without ``normalize: true`` they are the same. Steps that ask a critic
    themselves (``estimate/best_candidate``, ``estimate/optimal_marginal_q``, and ``data.judge``) do not say who is
    active: there everybody takes part.

    Args:
        hidden: widths of the hidden layers of g.
        activation: of g and f.
        ensemble: E, how many members; each has an f and a g of its own.
        normalize: predict normalised values, with running statistics of the targets.
        entry: widths of the hidden layers of f.
        size: how many numbers z f makes of an agent.
        heads: H, besides the mean field; 0 for the mean field alone.
        encoder: what stands in front of f, ``{use: net/...}``; left out, it reads an observation itself.

    Raises:
        RecipeError: the task's state is another one than everybody's observation side by side.
    Source: Iqbal and Sha 2019, arXiv:1810.02912 (attention over the others' observations and actions); Yang et al.
        2018, arXiv:1802.05438 (the mean field); Bello et al. 2016, arXiv:1611.09940 (scores bounded by tanh).
    Differs: Iqbal and Sha have a value for each agent, whose own entry asks for the others'; here one value is the
        team's, a head asks the same of everybody, and nobody is left out, so that the sums serve every agent in turn.
        Yang et al. average the actions of neighbours; here entries of observation and action, over the whole team.
    """

    default_mode: ClassVar[str | None] = "q"
    default_per: ClassVar[Literal["agent", "team"]] = "team"

    def __init__(
        self,
        agent: Agent,
        team: Team,
        *,
        hidden: Widths = [256, 256],  # noqa: B006 (never written to; the signature is the schema)
        activation: Activation = "relu",
        ensemble: Count = 2,
        normalize: bool = False,
        entry: Widths = [64],  # noqa: B006
        size: Count = 64,
        heads: Annotated[int, Ge(0)] = 3,
        encoder: Encoding | None = None,
    ) -> None:
        super().__init__()
        if team.own_state or team.state_from:
            raise RecipeError(
                "the state of this task is not everybody's observation side by side, which is what it takes apart; use "
                "net/joint_q."
            )
        groups = list(team.layout.values())
        self.entries = nn.ModuleList(
            _Entry(agents[0], team, [*entry, size + heads], activation, ensemble, encoder) for agents in groups
        )
        self.body = EnsembleMLP([(1 + heads) * size, *hidden, 1], activation, ensemble)
        self.normalizer = ValueNormalizer() if normalize else None
        self._heads = heads
        self._seen = [each.observation_size for each in team.agents]
        self._places = [[team.agents.index(each) for each in agents] for agents in groups]
        self._group = {place: group for group, places in enumerate(self._places) for place in places}
        self._kept = KeptSum()

    @contextmanager
    def settled(self) -> Iterator[None]:
        """Inside, keep from turn to turn what the entries come to."""
        self._kept.keep(True)
        try:
            yield
        finally:
            self._kept.keep(False)

    @mode(reads={"state": "state", "action": "agents.action", "active": "agents.active"}, writes={"q": "q"})
    def q(
        self, state: Float[Tensor, "*batch size"], action: JointAction, active: Active | None = None
    ) -> dict[str, Float[Tensor, "members *batch"]]:
        """Return ``q`` of every member, ``E *B`` [reward]."""
        return {"q": self._denormalize(self._members(state, action, active))}

    @mode(reads={"state": "state", "action": "agents.action", "active": "agents.active"}, writes={"q": "min_q"})
    def min(
        self, state: Float[Tensor, "*batch size"], action: JointAction, active: Active | None = None
    ) -> dict[str, Float[Tensor, "*batch"]]:
        """Return the least ``q`` of the members [reward]."""
        return {"q": self._denormalize(self._members(state, action, active).amin(0))}

    @mode(reads={"state": "state", "action": "agents.action", "active": "agents.active"}, writes={"q": "first_q"})
    def first(
        self, state: Float[Tensor, "*batch size"], action: JointAction, active: Active | None = None
    ) -> dict[str, Float[Tensor, "*batch"]]:
        """Return ``q`` of the first member [reward]."""
        return {"q": self._denormalize(self._members(state, action, active)[0])}

    @mode(reads={"state": "state", "action": "agents.action", "active": "agents.active"}, writes={"q": "normalized_q"})
    def normalized(
        self, state: Float[Tensor, "*batch size"], action: JointAction, active: Active | None = None
    ) -> dict[str, Float[Tensor, "members *batch"]]:
        """Return the members' own outputs, ``E *B`` [normalised reward]."""
        return {"q": self._members(state, action, active)}

    @mode(
        reads={"state": "state", "action": "agents.action", "active": "agents.active"},
        writes={"q": "normalized_min_q"},
    )
    def normalized_min(
        self, state: Float[Tensor, "*batch size"], action: JointAction, active: Active | None = None
    ) -> dict[str, Float[Tensor, "*batch"]]:
        """Return the least of the members' own outputs [normalised reward]."""
        return {"q": self._members(state, action, active).amin(0)}

    @mode(
        reads={
            "state": "state",
            "action": "agents.proposal",
            "candidates": "agent.candidates",
            "place": "agent.place",
            "active": "agents.active",
        },
        writes={"q": "agent.candidate_q"},
    )
    def candidates(
        self,
        state: Float[Tensor, "*batch size"],
        action: JointAction,
        candidates: Float[Tensor, "*batch several dim"],
        place: int,
        active: Active | None = None,
    ) -> dict[str, Float[Tensor, "*batch several"]]:
        """Return the least ``q`` of each candidate of one agent, the others' actions as they are [reward].

        The others are summed up once for all candidates.

        Args:
            state: the global state.
            action: everybody's action; that of the agent in turn does not count.
            candidates: K actions of the agent in turn for each sample; discrete ones are one-hot.
            place: the agent's position in team order.
            active: who takes part; everybody, if left out.
        """
        parts = _parts(action, active)
        others = self._others(state, parts, place).unsqueeze(-3)
        seen = state.split(self._seen, -1)[place]
        own = (candidates, *(each.unsqueeze(-1) for each in parts[place][1:]))
        several = seen.unsqueeze(-2).expand(*candidates.shape[:-1], -1)
        return {"q": self._denormalize(self._valued(others + self._share(several, place, own)).amin(0))}

    @mode(reads={"target": "target"}, writes={"target": "normalized_target"}, learned=False)
    def normalize(self, target: Float[Tensor, "*batch"]) -> dict[str, Float[Tensor, "*batch"]]:
        """Take the targets into the statistics and return them normalised [normalised reward]."""
        if self.normalizer is None:
            return {"target": target}
        self.normalizer.update(target)
        return {"target": self.normalizer.normalize(target)}

    def _denormalize(self, q: Tensor) -> Tensor:
        return self.normalizer.denormalize(q) if self.normalizer else q

    def _members(self, state: Tensor, action: JointAction, active: Active | None) -> Tensor:
        """Return every member's value, ``E *B``."""
        parts = _parts(action, active)
        live = [place for place, each in enumerate(action) if each.requires_grad]
        if len(live) != 1 or self._learns or state.requires_grad:
            return self._valued(self._sum(state, parts))
        own = self._share(state.split(self._seen, -1)[live[0]], live[0], parts[live[0]])
        return self._valued(self._others(state, parts, live[0]) + own)

    @property
    def _learns(self) -> bool:
        return self.body.weights[0].requires_grad

    def _valued(self, found: Tensor) -> Tensor:
        """Return the value of sums over the agents ``E *B H+1 size+1``: of what each head has seen, and of weights."""
        pooled = found[..., :-1] / found[..., -1:].clamp(min=_NOBODY)
        return self.body.apart(pooled.flatten(-2)).squeeze(-1)

    def _others(self, state: Tensor, parts: Sequence[OwnPart], place: int) -> Tensor:
        """Return the sums over all agents but one."""
        passes = any(part[0].requires_grad for where, part in enumerate(parts) if where != place)
        if self._learns or state.requires_grad or passes:
            return self._sum(state, parts, but=place)
        seen = state.split(self._seen, -1)
        return self._kept.others(
            state, parts, place, lambda whole: self._sum(state, whole),
            lambda where, part: self._share(seen[where], where, part),
        )  # fmt: skip

    def _sum(self, state: Tensor, parts: Sequence[OwnPart], but: int | None = None) -> Tensor:
        """Return the sums over the agents, group by group."""
        seen, found = state.split(self._seen, -1), []
        for entry, group in zip(self.entries, self._places, strict=True):
            places = [place for place in group if place != but]
            if places:
                given = torch.stack([seen[place] for place in places], -2)
                action, *here = zip(*(parts[place] for place in places), strict=True)
                active = [torch.stack(each, -1) for each in here]
                weight, value = self._weighed(entry(given, torch.stack(action, -2)), *active)
                found.append(weight.transpose(-1, -2) @ value)
        return sum(found, torch.zeros((1, 1, 1), dtype=state.dtype, device=state.device))  # of a team of one

    def _share(self, seen: Tensor, place: int, part: OwnPart) -> Tensor:
        """Return what one agent adds to the sums."""
        weight, value = self._weighed(self.entries[self._group[place]](seen, part[0]), *part[1:])
        return weight.unsqueeze(-1) * value.unsqueeze(-2)

    def _weighed(self, entry: Tensor, here: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return of entries ``E *B size+H`` how much they weigh, ``E *B H+1``, and what is weighed, ``E *B size+1``."""
        value, score = entry.split([entry.shape[-1] - self._heads, self._heads], -1)
        one = torch.ones_like(value[..., :1])
        weight = torch.cat([one, (_STEEPEST * torch.tanh(score / _STEEPEST)).exp()], -1)
        return weight if here is None else weight * here.unsqueeze(-1), torch.cat([value, one], -1)


def _parts(action: JointAction, active: Active | None) -> list[OwnPart]:
    """Return what an agent's entry is made of besides what it sees: its action, and whether it takes part."""
    return [(each,) for each in action] if active is None else list(zip(action, active, strict=True))


class _Entry(nn.Module):
    """f, for the agents of one layout group."""

    def __init__(
        self, agent: Agent, team: Team, sizes: Sequence[int], activation: Activation, members: int,
        encoder: Encoding | None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.encoder, seen = in_front(encoder, agent, team)
        self._choices = agent.action.choices if isinstance(agent.action, Discrete) else None
        acted = sum(self._choices) if self._choices else agent.action.size
        self.body = EnsembleMLP([seen + acted, *sizes], activation, members)

    def forward(self, seen: Tensor, action: Tensor) -> Tensor:
        """Return every member's entry, ``E *B size+H``."""
        if self.encoder is not None:
            seen = self.encoder(seen)
        if self._choices is not None and not action.is_floating_point():
            action = categorical.one_hot(action, self._choices, seen.dtype)
        return self.body(torch.cat([seen, action], -1))
