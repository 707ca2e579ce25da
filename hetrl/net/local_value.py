"""The value of what one agent sees."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from hetrl.arguments import Widths
from hetrl.encoder import Encoding, in_front
from hetrl.net.state_value import StateValue
from hetrl.network import Activation, Network, mode
from hetrl.team import Agent, Team


class LocalValue(Network):
    """V^i(o^i) of an agent's own observation, which may predict in normalised units.

    value = sd * normalized_value(o^i) + mean,   mean and sd running statistics of the returns

    The modes are those of ``net/state_value``, under keys of the agent.

    Args:
        hidden: widths of the hidden layers.
        activation: between them.
        layer_norm: normalise the observation and each hidden layer.
        normalize: predict normalised returns, with running statistics.
        encoder: what stands in front of the network, ``{use: net/...}``; left out, it reads what is seen itself.
    Source: de Witt et al. 2020, arXiv:2011.09533; Yu et al. 2022, arXiv:2103.01955 (the normalisation).
    Differs: nothing.
    """

    default_mode: ClassVar[str | None] = "value"

    def __init__(
        self,
        agent: Agent,
        team: Team,
        *,
        hidden: Widths = [64, 64],  # noqa: B006 (never written to; the signature is the schema)
        activation: Activation = "tanh",
        layer_norm: bool = False,
        normalize: bool = False,
        encoder: Encoding | None = None,
    ) -> None:
        super().__init__()
        self.encoder, size = in_front(encoder, agent, team)
        self.head = StateValue(
            agent,
            team.knowing(size),
            hidden=hidden,
            activation=activation,
            layer_norm=layer_norm,
            normalize=normalize,
        )

    @mode(reads={"observation": "agent.observation"}, writes={"value": "agent.value"})
    def value(self, observation: Float[Tensor, "*batch seen"]) -> dict[str, Float[Tensor, "*batch"]]:
        """Return ``value`` [reward]."""
        return self.head.value(self._known(observation))

    @mode(reads={"observation": "agent.observation"}, writes={"normalized_value": "agent.normalized_value"})
    def normalized(self, observation: Float[Tensor, "*batch seen"]) -> dict[str, Float[Tensor, "*batch"]]:
        """Return ``normalized_value``, the network's own output [normalised reward]."""
        return self.head.normalized(self._known(observation))

    @mode(reads={"return_": "agent.return"}, writes={"normalized_return": "agent.normalized_return"}, learned=False)
    def normalize(self, return_: Float[Tensor, "*batch"]) -> dict[str, Float[Tensor, "*batch"]]:
        """Take the returns into the statistics and return ``normalized_return`` [normalised reward]."""
        return self.head.normalize(return_)

    @mode(reads={"normalized_value": "agent.normalized_value"}, writes={"value": "agent.value"}, learned=False)
    def denormalize(self, normalized_value: Float[Tensor, "*batch"]) -> dict[str, Float[Tensor, "*batch"]]:
        """Return ``value`` [reward] of a normalised value."""
        return self.head.denormalize(normalized_value)

    def _known(self, observation: Tensor) -> Tensor:
        """Return what the value knows of an observation: the encoder's features where there is one."""
        return observation if self.encoder is None else self.encoder(observation)
