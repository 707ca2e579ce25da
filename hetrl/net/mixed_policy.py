"""One entry for teams in which some agents choose and others steer."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hetrl.arguments import Positive, Widths
from hetrl.encoder import Encoding
from hetrl.net.categorical_policy import CategoricalPolicy
from hetrl.net.gaussian_head import Std, StdMap
from hetrl.net.gaussian_policy import GaussianPolicy
from hetrl.net.squashed_gaussian_policy import SquashedGaussianPolicy
from hetrl.network import Activation, Policy, mode
from hetrl.team import Agent, Box, Discrete, Team


class MixedPolicy(Policy):
    """A categorical policy where the agent's action is discrete, a Gaussian one where it is continuous.

    Every agent of the team gets the policy that serves its action space, with these arguments; see
    ``net/categorical_policy``, ``net/gaussian_policy`` and ``net/squashed_gaussian_policy``.

    Args:
        hidden: widths of the hidden layers.
        activation: between them.
        layer_norm: normalise the observation and each hidden layer.
        continuous: which policy serves continuous actions, ``gaussian`` or ``squashed_gaussian``.
        std: of the continuous agents, ``state_independent`` or ``state_dependent``.
        std_map: how a raw number becomes their deviation: ``exp``, ``clamped_exp`` (x within
            -20 and 2), ``softplus``, or the bounded ``sigmoid``.
        initial_std: their deviation before training, above 0 (below ``max_std`` for the sigmoid).
        max_std: upper end of the sigmoid, above 0.
        encoder: what stands in front of the network, ``{use: net/...}``; left out, it reads what is seen itself.

    Raises:
        RecipeError: an argument is out of range.
    Source: Williams 1992.
    Differs: nothing.
    """

    serves: ClassVar[tuple[type, ...]] = (Box, Discrete)

    def __init__(
        self,
        agent: Agent,
        team: Team,
        *,
        hidden: Widths = [64, 64],  # noqa: B006 (never written to; the signature is the schema)
        activation: Activation = "tanh",
        layer_norm: bool = False,
        continuous: Literal["gaussian", "squashed_gaussian"] = "gaussian",
        std: Std = "state_independent",
        std_map: StdMap = "exp",
        initial_std: Positive = 1.0,
        max_std: Positive = 0.5,
        encoder: Encoding | None = None,
    ) -> None:
        super().__init__()
        common: dict[str, Any] = {
            "hidden": hidden, "activation": activation, "layer_norm": layer_norm, "encoder": encoder,
        }  # fmt: skip
        if isinstance(agent.action, Discrete):
            self.policy: Policy = CategoricalPolicy(agent, team, **common)
        else:
            cls = GaussianPolicy if continuous == "gaussian" else SquashedGaussianPolicy
            common |= {"std": std, "std_map": std_map, "initial_std": initial_std, "max_std": max_std}
            self.policy = cls(agent, team, **common)
        self._discrete = isinstance(agent.action, Discrete)
        self.draws = self.policy.draws

    def _masked(self, *given: Any, action_mask: Tensor | None) -> tuple[Any, ...]:
        return (*given, action_mask) if self._discrete else given

    @mode(
        reads={
            "observation": "agent.observation",
            "action": "agent.action",
            "action_mask": "agent.action_mask",
        },
        writes={"log_prob": "agent.log_prob", "entropy": "agent.entropy"},
    )
    def log_prob(
        self,
        observation: Float[Tensor, "*batch seen"],
        action: Tensor,
        action_mask: Bool[Tensor, "*batch options"] | None = None,
    ) -> dict[str, Tensor]:
        """Return ``log_prob`` of a given action and the policy's ``entropy`` [nat]."""
        return self.policy.log_prob(*self._masked(observation, action, action_mask=action_mask))  # type: ignore[operator]

    @mode(
        reads={
            "observation": "agent.observation",
            "noise": "agent.noise",
            "action_mask": "agent.action_mask",
        },
        writes={"proposal": "agent.proposal", "proposal_log_prob": "agent.proposal_log_prob"},
    )
    def sample(
        self,
        observation: Float[Tensor, "*batch seen"],
        noise: Float[Tensor, "*batch draws"] | None = None,
        action_mask: Bool[Tensor, "*batch options"] | None = None,
    ) -> dict[str, Tensor]:
        """Return a reparametrised ``proposal`` (one-hot where discrete) and its ``proposal_log_prob`` [nat]."""
        return self.policy.sample(*self._masked(observation, noise, action_mask=action_mask))  # type: ignore[operator]

    @mode(
        reads={"observation": "agent.observation", "action_mask": "agent.action_mask"},
        writes={"distribution": "agent.distribution"},
    )
    def distribution(
        self, observation: Float[Tensor, "*batch seen"], action_mask: Bool[Tensor, "*batch options"] | None = None
    ) -> dict[str, Tensor]:
        """Return the distribution's parameters, what ``kl`` compares with."""
        return self.policy.distribution(*self._masked(observation, action_mask=action_mask))  # type: ignore[operator]

    @mode(
        reads={
            "observation": "agent.observation",
            "old_distribution": "agent.old_distribution",
            "action_mask": "agent.action_mask",
        },
        writes={"kl": "agent.kl"},
    )
    def kl(
        self,
        observation: Float[Tensor, "*batch seen"],
        old_distribution: Float[Tensor, "*batch parameters"],
        action_mask: Bool[Tensor, "*batch options"] | None = None,
    ) -> dict[str, Tensor]:
        """Return ``kl``, KL(old || now) [nat]."""
        given = self._masked(observation, old_distribution, action_mask=action_mask)
        return self.policy.kl(*given)  # type: ignore[operator]

    @mode(
        reads={"observation": "agent.observation", "action_mask": "agent.action_mask"},
        writes={"proposal": "agent.proposal"},
    )
    def act(
        self, observation: Float[Tensor, "*batch seen"], action_mask: Bool[Tensor, "*batch options"] | None = None
    ) -> dict[str, Tensor]:
        """Return the deterministic action as ``proposal``, one-hot for who chooses."""
        return self.policy.act(*self._masked(observation, action_mask=action_mask))  # type: ignore[operator]

    def noise(self, shape: Sequence[int], generator: torch.Generator) -> Tensor:
        """Return the draws of the policy inside."""
        return self.policy.noise(shape, generator)

    def draw(self, observation: Tensor, noise: Tensor, action_mask: Tensor | None = None) -> Tensor:
        """Return a sampled action, ``*B A``."""
        return self.policy.draw(observation, noise, action_mask)

    def greedy(self, observation: Tensor, action_mask: Tensor | None = None) -> Tensor:
        """Return the deterministic action, ``*B A``."""
        return self.policy.greedy(observation, action_mask)
