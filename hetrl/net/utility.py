"""What each of an agent's options is worth, to agents that take the best one."""

from collections.abc import Sequence
from typing import Annotated, ClassVar

import torch
from jaxtyping import Bool, Float, Num
from torch import Tensor

from hetrl.arguments import SCHEDULABLE, Fraction, Widths
from hetrl.encoder import Encoding, behind, in_front
from hetrl.network import Activation, Policy, mlp, mode
from hetrl.ops import categorical
from hetrl.team import Agent, Discrete, Team


class Utility(Policy):
    """u(o, .) of every option; acts with the best one, and explores with any.

    u(o, a) = sum over choices d of u_d(o, a_d)

    The action is the best option of each choice among those that ``action_mask`` allows. Exploration takes, with
    probability ``epsilon``, one of the allowed options uniformly instead, in all choices of the agent at once.

    Args:
        hidden: widths of the hidden layers.
        activation: between them.
        layer_norm: normalise the observation and each hidden layer.
        epsilon: how often exploration does anything [1], 0 to 1; a schedule lets it fall over the run's frames.
        encoder: what stands in front of the network, ``{use: net/...}``; left out, it reads what is seen itself.
    Source: Mnih et al. 2015, Nature 518 (epsilon-greedy); Sunehag et al. 2017, arXiv:1706.05296, and Rashid et al.
        2018, arXiv:1803.11485 (one utility for each agent).
    Differs: the papers' agents make one choice; the utilities of several are added up, as those of several agents are.
    """

    serves: ClassVar[tuple[type, ...]] = (Discrete,)
    default_mode: ClassVar[str | None] = "chosen"
    draws = "uniform"
    epsilon: float | Tensor

    def __init__(
        self,
        agent: Agent,
        team: Team,
        *,
        hidden: Widths = [128, 128],  # noqa: B006 (never written to; the signature is the schema)
        activation: Activation = "relu",
        layer_norm: bool = False,
        epsilon: Annotated[Fraction, SCHEDULABLE] = 0.05,
        encoder: Encoding | None = None,
    ) -> None:
        super().__init__()
        assert isinstance(agent.action, Discrete)  # the checker has compared it with `serves`
        self.choices, self.epsilon = list(agent.action.choices), epsilon
        front, size = in_front(encoder, agent, team)
        sizes = [size, *hidden, sum(self.choices)]
        self.body = behind(front, mlp(sizes, activation, last_gain=1.0, layer_norm=layer_norm))

    @mode(reads={"observation": "agent.observation"}, writes={"utility": "agent.utility"})
    def all(self, observation: Float[Tensor, "*batch seen"]) -> dict[str, Float[Tensor, "*batch options"]]:
        """Return the ``utility`` of every option, those of several choices side by side [reward]."""
        return {"utility": self.body(observation)}

    @mode(
        reads={"observation": "agent.observation", "action": "agent.action"},
        writes={"utility": "agent.chosen_utility"},
    )
    def chosen(
        self, observation: Float[Tensor, "*batch seen"], action: Num[Tensor, "*batch dim"]
    ) -> dict[str, Float[Tensor, "*batch"]]:
        """Return the ``utility`` of one action [reward], given as indices or one-hot."""
        return {"utility": categorical.taken(self.body(observation), action, self.choices)}

    @mode(
        reads={"observation": "agent.observation", "action_mask": "agent.action_mask"},
        writes={"proposal": "agent.proposal"},
        learned=False,
    )
    def act(
        self, observation: Float[Tensor, "*batch seen"], action_mask: Bool[Tensor, "*batch options"] | None = None
    ) -> dict[str, Float[Tensor, "*batch options"]]:
        """Return the best allowed option of each choice as ``proposal``, one-hot and without a gradient."""
        scores = categorical.masked(self.body(observation), action_mask)
        return {"proposal": categorical.one_hot(categorical.argmax(scores, self.choices), self.choices, scores.dtype)}

    def noise(self, shape: Sequence[int], generator: torch.Generator) -> Tensor:
        """Return uniform draws, ``*shape`` by one and the number of options: whether to do anything, and what."""
        return torch.rand(*shape, 1 + sum(self.choices), generator=generator, device=generator.device)

    def draw(self, observation: Tensor, noise: Tensor, action_mask: Tensor | None = None) -> Tensor:
        """Return the best options or, where the first draw is below epsilon, any allowed ones; ``*B`` by choices."""
        whether, points = noise.split([1, noise.shape[-1] - 1], -1)
        anything = categorical.argmax(categorical.masked(points, action_mask), self.choices)
        return torch.where(whether < self.epsilon, anything, self.greedy(observation, action_mask))

    def greedy(self, observation: Tensor, action_mask: Tensor | None = None) -> Tensor:
        """Return the best allowed options, ``*B`` by choices."""
        return categorical.argmax(categorical.masked(self.body(observation), action_mask), self.choices)
