"""The action value of one agent alone."""

from dataclasses import replace
from typing import ClassVar

from jaxtyping import Float, Num
from torch import Tensor

from hetrl.arguments import Count, Widths
from hetrl.encoder import Encoding, in_front
from hetrl.net.joint_q import JointQ
from hetrl.network import Activation, Network, mode
from hetrl.team import Agent, Team


class LocalQ(Network):
    """Q^i(o^i, a^i) of an agent's own observation and action, an ensemble of networks that see the same.

    Q_c(o^i, a^i),  c = 1..E

    It is ``net/joint_q`` of a team of one, whose state is what the agent sees: the others are part of the world. A
    discrete action is one-hot (indices are encoded, proposals come encoded). Modes: ``q`` (each member's), ``min`` (the
    least) and ``candidates`` (the least of several actions).

    Args:
        hidden: widths of the hidden layers.
        activation: between them.
        ensemble: E, how many members.
        encoder: what stands in front of all members, ``{use: net/...}``; left out, they read what is seen itself.
    Source: Tan 1993 (independent learners); Fujimoto et al. 2018, arXiv:1802.09477 (the least of two).
    Differs: nothing.
    """

    default_mode: ClassVar[str | None] = "q"

    def __init__(
        self,
        agent: Agent,
        team: Team,
        *,
        hidden: Widths = [256, 256],  # noqa: B006 (never written to; the signature is the schema)
        activation: Activation = "relu",
        ensemble: Count = 2,
        encoder: Encoding | None = None,
    ) -> None:
        super().__init__()
        self.encoder, size = in_front(encoder, agent, team)
        alone = replace(team.knowing(size), agents=(agent,))
        self.joint = JointQ(agent, alone, hidden=hidden, activation=activation, ensemble=ensemble)

    @mode(reads={"observation": "agent.observation", "action": "agent.action"}, writes={"q": "agent.q"})
    def q(
        self, observation: Float[Tensor, "*batch seen"], action: Num[Tensor, "*batch dim"]
    ) -> dict[str, Float[Tensor, "members *batch"]]:
        """Return ``q`` of every member, ``E *B`` [reward]."""
        return self.joint.q(self._known(observation), (action,))

    @mode(reads={"observation": "agent.observation", "action": "agent.action"}, writes={"q": "agent.min_q"})
    def min(
        self, observation: Float[Tensor, "*batch seen"], action: Num[Tensor, "*batch dim"]
    ) -> dict[str, Float[Tensor, "*batch"]]:
        """Return the least ``q`` of the members [reward]."""
        return self.joint.min(self._known(observation), (action,))

    @mode(
        reads={"observation": "agent.observation", "candidates": "agent.candidates"},
        writes={"q": "agent.candidate_q"},
    )
    def candidates(
        self, observation: Float[Tensor, "*batch seen"], candidates: Float[Tensor, "*batch several dim"]
    ) -> dict[str, Float[Tensor, "*batch several"]]:
        """Return the least ``q`` of each candidate, discrete ones one-hot [reward]."""
        return self.joint.candidates(self._known(observation), (candidates[..., 0, :],), candidates, 0)

    def _known(self, observation: Tensor) -> Tensor:
        """Return what the members know of an observation: the encoder's features where there is one."""
        return observation if self.encoder is None else self.encoder(observation)
