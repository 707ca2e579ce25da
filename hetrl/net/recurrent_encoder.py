"""The recurrent part in front of a policy or a value: an MLP, a GRU, and how time is cut into chunks."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from hetrl.encoder import behind
from hetrl.errors import RecipeError
from hetrl.network import MLP, Activation

CHUNK = 16
"""Steps of a chunk where a recipe does not say."""


class RecurrentEncoder(nn.Module):
    """From what is seen at each step and a stored hidden state to the hidden state after each step.

    r, z = sigmoid(W x + U h + b),   n = tanh(W_n x + b_n + r (U_n h + c_n)),   h' = (1 - z) n + z h

    x is the last hidden layer of an MLP (or what is seen itself); its last linear layer is W, so that the products
    with x of all steps are one. Time, dimension 0, is cut into chunks of ``chunk`` steps. A chunk starts from the
    memory stored with its first step, and so does every step that is the first of an episode; no gradient passes
    either. The stored memory is an input like any other: what acting has carried.

    Args:
        size: entries of what is seen.
        hidden: widths of the hidden layers before the GRU.
        activation: after each of them.
        memory: units of the GRU, ``H``.
        chunk: steps of a chunk.
        front: makes of what is seen the ``size`` numbers that the MLP takes; None where it takes what is seen.
    Source: Cho et al. 2014, arXiv:1406.1078 (the GRU); Hausknecht & Stone 2015, arXiv:1507.06527, and Kapturowski et
        al. 2019 (R2D2, ICLR), for chunks that start from a stored state.
    Differs: the reset gate acts after the product with h, as in ``torch.nn.GRU``; no burn-in, since the memories are
        those of the policy that has just acted.
    """

    def __init__(
        self,
        size: int,
        hidden: list[int],
        activation: Activation,
        memory: int,
        chunk: int,
        front: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.chunk = chunk
        self.body = behind(front, MLP([size, *hidden, 3 * memory], activation, last_gain=1.0))
        self.recurrent = nn.Linear(memory, 3 * memory)
        for gate in self.recurrent.weight.chunk(3):
            nn.init.orthogonal_(gate)
        nn.init.zeros_(self.recurrent.bias)

    def forward(
        self,
        seen: Float[Tensor, "time *batch size"],
        memory: Float[Tensor, "time *batch units"],
        is_init: Bool[Tensor, "time *batch"],
    ) -> Float[Tensor, "time *batch units"]:
        """Return the hidden state after each step.

        Args:
            seen: what is seen at each step.
            memory: the stored hidden state before it; looked at where a chunk or an episode begins.
            is_init: whether the step is the first of an episode.

        Raises:
            RecipeError: the steps are no multiple of ``chunk``.
        """
        if len(seen) % self.chunk:
            raise RecipeError(f"{len(seen)} steps are no multiple of chunk = {self.chunk}.")
        stored, begins = self._chunks(memory), self._chunks(is_init.unsqueeze(-1))
        hidden, after = stored[0], []
        for gates, own, begin in zip(self._chunks(self.body(seen)), stored, begins, strict=True):
            hidden = self._step(gates, torch.where(begin, own, hidden))
            after.append(hidden)
        return self._time(torch.stack(after), memory.shape)

    def step(self, seen: Float[Tensor, "*batch size"], memory: Float[Tensor, "*batch units"]) -> Tensor:
        """Return the hidden state after one step, ``*batch units``."""
        return self._step(self.body(seen), memory)

    def _step(self, gates: Tensor, hidden: Tensor) -> Tensor:
        """Return the hidden state after a step, from W x + b and the hidden state before it."""
        both = 2 * hidden.shape[-1]
        product = functional.linear(hidden, self.recurrent.weight, self.recurrent.bias)
        reset, update = (gates[..., :both] + product[..., :both]).sigmoid().chunk(2, -1)
        new = (gates[..., both:] + reset * product[..., both:]).tanh()
        return new + update * (hidden - new)

    def _chunks(self, value: Tensor) -> tuple[Tensor, ...]:
        """Return ``[T, *B, X]`` as ``chunk`` tensors ``[T / chunk * B, X]``: the chunks side by side, step by step."""
        return value.unflatten(0, (-1, self.chunk)).transpose(0, 1).flatten(1, -2).unbind()

    def _time(self, value: Tensor, shape: torch.Size) -> Tensor:
        """Return the chunks one after another again."""
        n_chunks = shape[0] // self.chunk
        rest = math.prod(shape[1:-1])
        return value.view(self.chunk, n_chunks, rest, shape[-1]).transpose(0, 1).reshape(shape)
