"""The state value."""

from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from hetrl.arguments import Widths
from hetrl.encoder import Encoding, behind, in_front_of_state
from hetrl.net.value_normalizer import ValueNormalizer
from hetrl.network import Activation, Network, mlp, mode
from hetrl.team import Agent, Team


class StateValue(Network):
    """V(s) of the global state, which may predict in normalised units.

    value = sd * normalized_value(s) + mean,   mean and sd running statistics of the returns

    Modes: ``value`` (reward units, what advantages are made of), ``normalized`` (the network's own output, what its
    loss sees), ``normalize`` (takes the returns into the statistics, then normalises them) and ``denormalize``. Without
    ``normalize: true`` the last two change nothing, and the units are the same.

    Args:
        hidden: widths of the hidden layers.
        activation: between them.
        layer_norm: normalise the state and each hidden layer.
        normalize: predict normalised returns, with running statistics.
        encoder: what stands in front of the network, ``{use: net/...}``; left out, it reads what is seen itself.
    Source: Yu et al. 2022, arXiv:2103.01955; Zhong et al. 2024, JMLR 25, 23-0488, appendix.
    Differs: nothing.
    """

    default_mode: ClassVar[str | None] = "value"
    default_per: ClassVar[Literal["agent", "team"]] = "team"

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
        front, size = in_front_of_state(encoder, team)
        self.body = behind(front, mlp([size, *hidden, 1], activation, last_gain=1.0, layer_norm=layer_norm))
        self.normalizer = ValueNormalizer() if normalize else None

    @mode(reads={"state": "state"}, writes={"value": "value"})
    def value(self, state: Float[Tensor, "*batch size"]) -> dict[str, Float[Tensor, "*batch"]]:
        """Return ``value`` [reward]."""
        normalized = self.body(state).squeeze(-1)
        return {"value": self.normalizer.denormalize(normalized) if self.normalizer else normalized}

    @mode(reads={"state": "state"}, writes={"normalized_value": "normalized_value"})
    def normalized(self, state: Float[Tensor, "*batch size"]) -> dict[str, Float[Tensor, "*batch"]]:
        """Return ``normalized_value``, the network's own output [normalised reward]."""
        return {"normalized_value": self.body(state).squeeze(-1)}

    @mode(reads={"return_": "return"}, writes={"normalized_return": "normalized_return"}, learned=False)
    def normalize(self, return_: Float[Tensor, "*batch"]) -> dict[str, Float[Tensor, "*batch"]]:
        """Take the returns into the statistics and return ``normalized_return`` [normalised reward]."""
        if self.normalizer is None:
            return {"normalized_return": return_}
        self.normalizer.update(return_)
        return {"normalized_return": self.normalizer.normalize(return_)}

    @mode(reads={"normalized_value": "normalized_value"}, writes={"value": "value"}, learned=False)
    def denormalize(self, normalized_value: Float[Tensor, "*batch"]) -> dict[str, Float[Tensor, "*batch"]]:
        """Return ``value`` [reward] of a normalised value."""
        return {"value": self.normalizer.denormalize(normalized_value) if self.normalizer else normalized_value}
