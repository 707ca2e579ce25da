"""From the agents' utilities to the value of what they do together, never falling in any of them."""

from itertools import pairwise
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from hetrl.arguments import Widths
from hetrl.encoder import Encoding, in_front_of_state
from hetrl.network import MLP, Network, mode
from hetrl.ops.utilities import present
from hetrl.team import Agent, Team


class Mixer(Network):
    """A network of the utilities whose weights the global state makes, none of them negative.

    q_total = |W_2(s)| elu(|W_1(s)| u + b_1(s)) + b_2(s),   so that d q_total / d u_i >= 0

    Each W and the last b are networks of the state (hypernetworks), the other b a linear map of it. So the joint action
    that is best for the team is everybody's own best one. Utilities of agents that are out count 0.

    With ``hidden: []`` it is linear, q_total = sum_i |w_i(s)| u_i + b(s); with weights of 1 and b = 0 that is the plain
    sum of ``estimate/sum_of_utilities``.

    Args:
        hidden: widths of the mixing layers.
        hyper: widths of the hidden layers of the hypernetworks that make the weights.
        encoder: what stands in front of the hypernetworks, ``{use: net/...}``; left out, they read the state itself.
    Source: Rashid et al. 2018, arXiv:1803.11485, section 4; the hidden layer of the hypernetworks is that of Samvelyan
        et al. 2019, arXiv:1902.04043 (``hypernet_layers: 2``).
    Differs: the papers let the utility of a dead agent's only action take part; here it is 0, so that nothing depends
        on an environment's convention of what the dead may do.
    """

    default_mode: ClassVar[str | None] = "total"
    default_per: ClassVar[Literal["agent", "team"]] = "team"

    def __init__(
        self,
        agent: Agent,
        team: Team,
        *,
        hidden: Widths = [32],  # noqa: B006 (never written to; the signature is the schema)
        hyper: Widths = [64],  # noqa: B006
        encoder: Encoding | None = None,
    ) -> None:
        super().__init__()
        self.encoder, size = in_front_of_state(encoder, team)
        self.sizes = list(pairwise([len(team), *hidden, 1]))
        self.weights = nn.ModuleList(
            MLP([size, *hyper, inputs * outputs], "relu", last_gain=1.0) for inputs, outputs in self.sizes
        )
        self.biases = nn.ModuleList(MLP([size, width], "relu", last_gain=1.0) for width in hidden)
        self.biases.append(MLP([size, *hidden[-1:], 1], "relu", last_gain=1.0))

    @mode(
        reads={"state": "state", "utility": "agents.chosen_utility", "active": "agents.active"},
        writes={"q": "q_total"},
    )
    def total(
        self,
        state: Float[Tensor, "*batch size"],
        utility: tuple[Float[Tensor, "*batch"], ...],
        active: tuple[Bool[Tensor, "*batch"], ...] | None = None,
    ) -> dict[str, Float[Tensor, "*batch"]]:
        """Return ``q`` of the utilities together [reward]."""
        known = state if self.encoder is None else self.encoder(state)
        x = torch.stack(present(utility, active), -1)
        for layer, (sizes, weights, biases) in enumerate(zip(self.sizes, self.weights, self.biases, strict=True)):
            x = x if layer == 0 else functional.elu(x)
            weight = weights(known).abs().unflatten(-1, sizes)
            x = (x.unsqueeze(-1) * weight).sum(-2) + biases(known)
        return {"q": x.squeeze(-1)}
