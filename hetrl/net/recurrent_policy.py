"""A policy that remembers: a GRU in front of the head that serves the agent's action space."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hetrl.arguments import Count, Positive, Widths
from hetrl.encoder import Encoding, in_front
from hetrl.net.gaussian_head import Std, StdMap
from hetrl.net.mixed_policy import MixedPolicy
from hetrl.net.recurrent_encoder import CHUNK, RecurrentEncoder
from hetrl.network import Activation, Policy, mode
from hetrl.team import Agent, Box, Discrete, Team

_TIME = {"memory": "agent.memory", "is_init": "agent.is_init"}


class RecurrentPolicy(Policy):
    """A GRU over what the agent has seen, and a policy head on its hidden state.

    h_t = GRU(MLP(o_t), h_{t-1}),   pi(a | o_1..o_t) = head(h_t)

    The head is linear, of ``net/mixed_policy``: categorical where the agent's actions are discrete, else Gaussian or
    squashed Gaussian. Collection carries the hidden state from step to step, zero at the beginning of an episode, and
    stores it beside the observation; training unrolls chunks of ``chunk`` steps, each from the memory stored with its
    first step. Minibatches are then cut from chunks, not from single rows, so ``data.frames`` / ``task.n_envs`` has to
    be a multiple of ``chunk``. Between the gradient steps of one batch the stored memories are those of the policy
    that acted.

    Args:
        hidden: widths of the hidden layers before the GRU.
        activation: after each of them.
        memory: units of the GRU.
        chunk: steps through which gradients go back [step].
        continuous: which policy serves continuous actions, ``gaussian`` or ``squashed_gaussian``.
        std: of the continuous agents, ``state_independent`` or ``state_dependent``.
        std_map: how a raw number becomes their deviation: ``exp``, ``clamped_exp`` (x within
            -20 and 2), ``softplus``, or the bounded ``sigmoid``.
        initial_std: their deviation before training, above 0 (below ``max_std`` for the sigmoid).
        max_std: upper end of the sigmoid, above 0.
        encoder: what stands in front of the network, ``{use: net/...}``; left out, it reads what is seen itself.

    Raises:
        RecipeError: an argument is out of range, or the steps of a batch are no multiple of ``chunk``.
    Source: Cho et al. 2014, arXiv:1406.1078 (the GRU); Hausknecht & Stone 2015, arXiv:1507.06527, and Kapturowski et
        al. 2019 (R2D2, ICLR), for training on chunks from a stored state.
    Differs: on-policy, so the stored states are fresh and there is no burn-in; the reset gate as in ``torch.nn.GRU``.
    """

    serves: ClassVar[tuple[type, ...]] = (Box, Discrete)

    def __init__(
        self,
        agent: Agent,
        team: Team,
        *,
        hidden: Widths = [64],  # noqa: B006 (never written to; the signature is the schema)
        activation: Activation = "tanh",
        memory: Count = 64,
        chunk: Count = CHUNK,
        continuous: Literal["gaussian", "squashed_gaussian"] = "gaussian",
        std: Std = "state_independent",
        std_map: StdMap = "exp",
        initial_std: Positive = 1.0,
        max_std: Positive = 0.5,
        encoder: Encoding | None = None,
    ) -> None:
        super().__init__()
        self.memory, self.chunk = memory, chunk
        front, size = in_front(encoder, agent, team)
        self.encoder = RecurrentEncoder(size, hidden, activation, memory, chunk, front)
        self.head = MixedPolicy(
            agent.seeing(memory),
            team,
            hidden=[],
            activation=activation,
            continuous=continuous,
            std=std,
            std_map=std_map,
            initial_std=initial_std,
            max_std=max_std,
        )
        self.draws = self.head.draws

    @classmethod
    def chunk_of(cls, values: Mapping[str, Any]) -> int | None:
        """Return ``chunk``, as it will be with these arguments."""
        return values.get("chunk", CHUNK)

    @mode(
        reads={
            "observation": "agent.observation",
            "action": "agent.action",
            **_TIME,
            "action_mask": "agent.action_mask",
        },
        writes={"log_prob": "agent.log_prob", "entropy": "agent.entropy"},
    )
    def log_prob(
        self,
        observation: Float[Tensor, "time *batch seen"],
        action: Tensor,
        memory: Float[Tensor, "time *batch units"],
        is_init: Bool[Tensor, "time *batch"],
        action_mask: Bool[Tensor, "time *batch options"] | None = None,
    ) -> dict[str, Tensor]:
        """Return ``log_prob`` of a given action and the policy's ``entropy`` [nat]."""
        return self.head.log_prob(self.encoder(observation, memory, is_init), action, action_mask)

    @mode(
        reads={"observation": "agent.observation", **_TIME, "action_mask": "agent.action_mask"},
        writes={"distribution": "agent.distribution"},
    )
    def distribution(
        self,
        observation: Float[Tensor, "time *batch seen"],
        memory: Float[Tensor, "time *batch units"],
        is_init: Bool[Tensor, "time *batch"],
        action_mask: Bool[Tensor, "time *batch options"] | None = None,
    ) -> dict[str, Tensor]:
        """Return the distribution's parameters, what ``kl`` compares with."""
        return self.head.distribution(self.encoder(observation, memory, is_init), action_mask)

    @mode(
        reads={
            "observation": "agent.observation",
            "old_distribution": "agent.old_distribution",
            **_TIME,
            "action_mask": "agent.action_mask",
        },
        writes={"kl": "agent.kl"},
    )
    def kl(
        self,
        observation: Float[Tensor, "time *batch seen"],
        old_distribution: Float[Tensor, "time *batch parameters"],
        memory: Float[Tensor, "time *batch units"],
        is_init: Bool[Tensor, "time *batch"],
        action_mask: Bool[Tensor, "time *batch options"] | None = None,
    ) -> dict[str, Tensor]:
        """Return ``kl``, KL(old || now) [nat]."""
        return self.head.kl(self.encoder(observation, memory, is_init), old_distribution, action_mask)

    @mode(
        reads={"observation": "agent.observation", **_TIME, "action_mask": "agent.action_mask"},
        writes={"proposal": "agent.proposal"},
    )
    def act(
        self,
        observation: Float[Tensor, "time *batch seen"],
        memory: Float[Tensor, "time *batch units"],
        is_init: Bool[Tensor, "time *batch"],
        action_mask: Bool[Tensor, "time *batch options"] | None = None,
    ) -> dict[str, Tensor]:
        """Return the deterministic action as ``proposal``."""
        return self.head.act(self.encoder(observation, memory, is_init), action_mask)

    def remember(
        self, seen: Float[Tensor, "*batch seen"], memory: Float[Tensor, "*batch units"]
    ) -> Float[Tensor, "*batch units"]:
        """Return the hidden state after a step; :meth:`draw` and :meth:`greedy` take it for the observation."""
        return self.encoder.step(seen, memory)

    def noise(self, shape: Sequence[int], generator: torch.Generator) -> Tensor:
        """Return the draws of the head."""
        return self.head.noise(shape, generator)

    def draw(self, observation: Tensor, noise: Tensor, action_mask: Tensor | None = None) -> Tensor:
        """Return a sampled action, ``*B A``, from what :meth:`remember` returned."""
        return self.head.draw(observation, noise, action_mask)

    def greedy(self, observation: Tensor, action_mask: Tensor | None = None) -> Tensor:
        """Return the deterministic action, ``*B A``, from what :meth:`remember` returned."""
        return self.head.greedy(observation, action_mask)
