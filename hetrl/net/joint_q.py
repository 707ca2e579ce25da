"""The joint action value: an ensemble evaluated in one batched call."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from hetrl.arguments import Count, Widths
from hetrl.encoder import Encoding, in_front_of_state
from hetrl.net.value_normalizer import ValueNormalizer
from hetrl.network import Activation, Network, mode
from hetrl.ops.activation import ACTIVATIONS, SLOPES
from hetrl.ops.joint_action import JointAction, is_repeated, with_each
from hetrl.ops.kept_product import KeptProduct
from hetrl.ops.layers import layers
from hetrl.team import Agent, Discrete, Team

_LARGE = 2**17  # entries of a hidden layer from which leaving rows out saves more than finding them costs


class JointQ(Network):
    """Q(s, a) of the global state and all agents' actions, an ensemble of networks that see the same.

    Q_c(s, a^1, ..., a^n),  c = 1..E

    Actions stand side by side in team order; a discrete one is one-hot (indices are encoded, proposals come encoded).
    Modes: ``q`` (each member's), ``min`` (the least, where actions are judged), ``mean`` (their mean), ``first`` (the
    first member's), all in reward units; ``normalized``, ``normalized_min`` and ``normalize`` are those of the units in
    which the network predicts; without ``normalize: true`` they are the same.

    Args:
        hidden: widths of the hidden layers.
        activation: between them.
        ensemble: E, how many members.
        normalize: predict normalised values, with running statistics of the targets.
        encoder: what stands in front of all members, ``{use: net/...}``; left out, they read the state itself.
    Source: Lowe et al. 2017, arXiv:1706.02275 (the centralised critic); Fujimoto et al. 2018, arXiv:1802.09477 (the
        least of two); Liu et al. 2024, arXiv:2306.10715.
    Differs: the reference code of Liu et al. 2024 has two separate networks; here they are one batched one.
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
        encoder: Encoding | None = None,
    ) -> None:
        super().__init__()
        self.choices = [each.action.choices if isinstance(each.action, Discrete) else None for each in team.agents]
        size = sum(sum(each.action.choices) if isinstance(each.action, Discrete) else each.action.size
                   for each in team.agents)  # fmt: skip
        self.encoder, state_size = in_front_of_state(encoder, team)
        self.body = EnsembleMLP([state_size + size, *hidden, 1], activation, ensemble)
        self.normalizer = ValueNormalizer() if normalize else None
        self._first = KeptProduct()

    @contextmanager
    def settled(self) -> Iterator[None]:
        """Inside, keep from turn to turn what the first layer makes of the input."""
        self._first.keep(True)
        try:
            yield
        finally:
            self._first.keep(False)

    @mode(reads={"state": "state", "action": "agents.action"}, writes={"q": "q"})
    def q(self, state: Float[Tensor, "*batch size"], action: JointAction) -> dict[str, Float[Tensor, "members *batch"]]:
        """Return ``q`` of every member, ``E *B`` [reward]."""
        return {"q": self._denormalize(self._members(self._known(state), action))}

    @mode(reads={"state": "state", "action": "agents.action"}, writes={"q": "min_q"})
    def min(self, state: Float[Tensor, "*batch size"], action: JointAction) -> dict[str, Float[Tensor, "*batch"]]:
        """Return the least ``q`` of the members [reward]."""
        return {"q": self._denormalize(self._members(self._known(state), action).amin(0))}

    @mode(reads={"state": "state", "action": "agents.action"}, writes={"q": "mean_q"})
    def mean(self, state: Float[Tensor, "*batch size"], action: JointAction) -> dict[str, Float[Tensor, "*batch"]]:
        """Return the mean ``q`` of the members [reward]."""
        return {"q": self._denormalize(self._members(self._known(state), action).mean(0))}

    @mode(reads={"state": "state", "action": "agents.action"}, writes={"q": "first_q"})
    def first(self, state: Float[Tensor, "*batch size"], action: JointAction) -> dict[str, Float[Tensor, "*batch"]]:
        """Return ``q`` of the first member [reward]."""
        return {"q": self._denormalize(self._members(self._known(state), action)[0])}

    @mode(reads={"state": "state", "action": "agents.action"}, writes={"q": "normalized_q"})
    def normalized(
        self, state: Float[Tensor, "*batch size"], action: JointAction
    ) -> dict[str, Float[Tensor, "members *batch"]]:
        """Return the members' own outputs, ``E *B`` [normalised reward]."""
        return {"q": self._members(self._known(state), action)}

    @mode(reads={"state": "state", "action": "agents.action"}, writes={"q": "normalized_min_q"})
    def normalized_min(
        self, state: Float[Tensor, "*batch size"], action: JointAction
    ) -> dict[str, Float[Tensor, "*batch"]]:
        """Return the least of the members' own outputs [normalised reward]."""
        return {"q": self._members(self._known(state), action).amin(0)}

    @mode(
        reads={
            "state": "state",
            "action": "agents.proposal",
            "candidates": "agent.candidates",
            "place": "agent.place",
        },
        writes={"q": "agent.candidate_q"},
    )
    def candidates(
        self,
        state: Float[Tensor, "*batch size"],
        action: JointAction,
        candidates: Float[Tensor, "*batch several dim"],
        place: int,
    ) -> dict[str, Float[Tensor, "*batch several"]]:
        """Return the least ``q`` of each candidate of one agent, the others' actions as they are [reward].

        Args:
            state: the global state.
            action: everybody's action; that of the agent in turn does not count.
            candidates: K actions of the agent in turn for each sample; discrete ones are one-hot.
            place: the agent's position in team order.
        """
        return {
            "q": self._denormalize(self._members(*with_each(self._known(state), action, place, candidates)).amin(0))
        }

    @mode(reads={"target": "target"}, writes={"target": "normalized_target"}, learned=False)
    def normalize(self, target: Float[Tensor, "*batch"]) -> dict[str, Float[Tensor, "*batch"]]:
        """Take the targets into the statistics and return them normalised [normalised reward]."""
        if self.normalizer is None:
            return {"target": target}
        self.normalizer.update(target)
        return {"target": self.normalizer.normalize(target)}

    def _denormalize(self, q: Tensor) -> Tensor:
        return self.normalizer.denormalize(q) if self.normalizer else q

    def _known(self, state: Tensor) -> Tensor:
        """Return what the members know of a state: the encoder's features where there is one."""
        return state if self.encoder is None else self.encoder(state)

    def _members(self, known: Tensor, action: JointAction) -> Tensor:
        parts = [known, *(_encoded(each, choices) for each, choices in zip(action, self.choices, strict=True))]
        learning = torch.is_grad_enabled() and self.body.weights[0].requires_grad
        live = [place for place, part in enumerate(parts) if part.requires_grad]
        own = [place for place, part in enumerate(parts) if not is_repeated(part)]
        # In an agent's turn only its own columns of the input have a gradient, or differ from one of its candidates to
        # the next; the others' would be most of the work.
        if not learning and (len(live) == 1 or (not live and len(own) == 1)):
            return self.body.turned(parts, (live or own)[0], self._first).squeeze(-1)
        return self.body(torch.cat(parts, -1)).squeeze(-1)


def _encoded(action: Tensor, choices: Sequence[int] | None) -> Tensor:
    """Return a discrete action one-hot; what is floating already is."""
    if choices is None or action.is_floating_point():
        return action
    parts = [functional.one_hot(action[..., dim].long(), size) for dim, size in enumerate(choices)]
    return torch.cat(parts, -1).to(torch.get_default_dtype())


def _rows(part: Tensor) -> Tensor:
    return part if part.dim() == 2 else part.reshape(-1, part.shape[-1])


class EnsembleMLP(nn.Module):
    """E networks of linear layers, each with parameters of its own, run as batched products (on CPUs, in turn).

    Every member is drawn by itself, as ``torch.nn.Linear`` draws (uniform within 1 / sqrt(inputs)).

    Args:
        sizes: widths from the input to the output.
        activation: between the layers.
        members: E.
    """

    def __init__(self, sizes: Sequence[int], activation: Activation, members: int) -> None:
        super().__init__()
        self._activation = ACTIVATIONS[activation]
        self._slope = SLOPES.get(self._activation)
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for inputs, outputs in pairwise(sizes):
            bound = 1 / math.sqrt(inputs)
            self.weights.append(nn.Parameter(torch.empty(members, inputs, outputs).uniform_(-bound, bound)))
            self.biases.append(nn.Parameter(torch.empty(members, 1, outputs).uniform_(-bound, bound)))

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs, ``E *B out``, for an input ``*B in``."""
        rows = x.reshape(-1, x.shape[-1])
        out = self._run(rows, [*self.weights], [*self.biases])
        return out.view(len(out), *x.shape[:-1], out.shape[-1])

    def apart(self, x: Tensor) -> Tensor:
        """Return the outputs, ``E *B out``, where every member has an input of its own, ``E *B in``."""
        rows = x.reshape(len(x), -1, x.shape[-1])
        if rows.device.type != "cpu":
            out = self._batched(rows, (*self.weights, *self.biases))
        else:
            members = zip(*(each.unbind() for each in (*self.weights, *self.biases)), strict=True)
            out = torch.stack([self._member(*each, sparse=False) for each in zip(rows, members, strict=True)])
        return out.view(*x.shape[:-1], out.shape[-1])

    def turned(self, parts: Sequence[Tensor], live: int, first: KeptProduct) -> Tensor:
        """Return the outputs for the parts side by side, of which at most one passes a gradient on.

        Where all but that one are repeated, once for each of its entries, their product is made once for all.

        Args:
            parts: of the input, each ``*B size``.
            live: place of the one.
            first: what the first layer makes of the parts.
        """
        own = parts[live]
        once = all(is_repeated(part) for place, part in enumerate(parts) if place != live)
        several = own.shape[-2] if once else 1
        rows = [_rows(part.select(-2, 0) if once else part) for part in parts]
        product, given = first(rows, self.weights[0], self.biases[0], live)
        if once:
            product, given = product.repeat_interleave(several, 1), given.repeat_interleave(several, 0)
        start = sum(part.shape[-1] for part in parts[:live])
        weight = self.weights[0].narrow(1, start, own.shape[-1])
        out = self._run(_rows(own) - given, [weight, *self.weights[1:]], [product, *self.biases[1:]], sparse=True)
        return out.view(len(out), *own.shape[:-1], out.shape[-1])

    def _run(self, rows: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], sparse: bool = False) -> Tensor:
        """Return the outputs, ``E rows out``; ``sparse`` where the members' rows without a gradient are many."""
        if rows.device.type != "cpu":
            return self._batched(rows.expand(len(weights[0]), -1, -1), (*weights, *biases))
        # One after the other: the products take as long, and what a member has written is still in the cache.
        sparse = sparse and rows.shape[0] * weights[0].shape[-1] >= _LARGE and not torch.compiler.is_compiling()
        members = zip(*(each.unbind() for each in (*weights, *biases)), strict=True)
        return torch.stack([self._member(rows, member, sparse) for member in members])

    def _member(self, rows: Tensor, parameters: Sequence[Tensor], sparse: bool) -> Tensor:
        """Return the output of one member, from the weights and then the biases."""
        depth = len(parameters) // 2
        weights = [weight.t() for weight in parameters[:depth]]
        biases = [bias.squeeze(0) if len(bias) == 1 else bias for bias in parameters[depth:]]
        return layers(rows, weights, biases, self._activation, self._slope, sparse)

    def _batched(self, x: Tensor, parameters: Sequence[Tensor]) -> Tensor:
        """Return the outputs of all members with batched products, from the weights and then the biases."""
        depth = len(parameters) // 2
        for layer, (weight, bias) in enumerate(zip(parameters[:depth], parameters[depth:], strict=True)):
            x = torch.baddbmm(bias, x if layer == 0 else self._activation(x), weight)
        return x
