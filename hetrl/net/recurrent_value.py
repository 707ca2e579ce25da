"""A state value that remembers."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from jaxtyping import Bool, Float
from torch import Tensor

from hetrl.arguments import Count, Widths
from hetrl.encoder import Encoding, in_front_of_state
from hetrl.net.recurrent_encoder import CHUNK, RecurrentEncoder
from hetrl.net.state_value import StateValue
from hetrl.network import Activation, Network, mode
from hetrl.team import Agent, Team

_READS = {"state": "state", "memory": "memory", "is_init": "is_init"}


class RecurrentValue(Network):
    """V of all states since the episode began: a GRU and ``net/state_value`` on its hidden state.

    h_t = GRU(MLP(s_t), h_{t-1}),   value = sd * normalized_value(h_t) + mean

    For tasks whose state (the observations side by side) does not tell what the return depends on. Collection carries
    its hidden state too; chunks are as in ``net/recurrent_policy``, and the modes are those of ``net/state_value``.
    With ``at: next`` every row is a step of its own, from the memory stored as ``next.memory``.

    Args:
        hidden: widths of the hidden layers before the GRU.
        activation: after each of them.
        memory: units of the GRU.
        chunk: steps through which gradients go back [step].
        normalize: predict normalised returns, with running statistics.
        encoder: what stands in front of the network, ``{use: net/...}``; left out, it reads what is seen itself.

    Raises:
        RecipeError: the steps of a batch are no multiple of ``chunk``.
    Source: Cho et al. 2014, arXiv:1406.1078 (the GRU); Yu et al. 2022, arXiv:2103.01955 (value normalisation, and a
        recurrent centralised critic).
    Differs: the reset gate as in ``torch.nn.GRU``.
    """

    default_mode: ClassVar[str | None] = "value"
    default_per: ClassVar[Literal["agent", "team"]] = "team"

    def __init__(
        self,
        agent: Agent,
        team: Team,
        *,
        hidden: Widths = [64],  # noqa: B006 (never written to; the signature is the schema)
        activation: Activation = "tanh",
        memory: Count = 64,
        chunk: Count = CHUNK,
        normalize: bool = False,
        encoder: Encoding | None = None,
    ) -> None:
        super().__init__()
        self.memory, self.chunk = memory, chunk
        front, size = in_front_of_state(encoder, team)
        self.encoder = RecurrentEncoder(size, hidden, activation, memory, chunk, front)
        self.head = StateValue(agent, team.knowing(memory), hidden=[], normalize=normalize)

    @classmethod
    def chunk_of(cls, values: Mapping[str, Any]) -> int | None:
        """Return ``chunk``, as it will be with these arguments."""
        return values.get("chunk", CHUNK)

    @mode(reads=_READS, writes={"value": "value"})
    def value(
        self,
        state: Float[Tensor, "time *batch size"],
        memory: Float[Tensor, "time *batch units"],
        is_init: Bool[Tensor, "time *batch"],
    ) -> dict[str, Float[Tensor, "time *batch"]]:
        """Return ``value`` [reward]."""
        return self.head.value(self.encoder(state, memory, is_init))

    @mode(reads=_READS, writes={"normalized_value": "normalized_value"})
    def normalized(
        self,
        state: Float[Tensor, "time *batch size"],
        memory: Float[Tensor, "time *batch units"],
        is_init: Bool[Tensor, "time *batch"],
    ) -> dict[str, Float[Tensor, "time *batch"]]:
        """Return ``normalized_value``, the network's own output [normalised reward]."""
        return self.head.normalized(self.encoder(state, memory, is_init))

    @mode(reads={"return_": "return"}, writes={"normalized_return": "normalized_return"}, learned=False)
    def normalize(self, return_: Float[Tensor, "*batch"]) -> dict[str, Float[Tensor, "*batch"]]:
        """Take the returns into the statistics and return ``normalized_return`` [normalised reward]."""
        return self.head.normalize(return_)

    @mode(reads={"normalized_value": "normalized_value"}, writes={"value": "value"}, learned=False)
    def denormalize(self, normalized_value: Float[Tensor, "*batch"]) -> dict[str, Float[Tensor, "*batch"]]:
        """Return ``value`` [reward] of a normalised value."""
        return self.head.denormalize(normalized_value)

    def remember(
        self, seen: Float[Tensor, "*batch size"], memory: Float[Tensor, "*batch units"]
    ) -> Float[Tensor, "*batch units"]:
        """Return the hidden state after a step."""
        return self.encoder.step(seen, memory)
