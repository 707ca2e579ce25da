"""The network: one set of parameters with named modes, each a key table and a method on plain tensors."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from hetrl import arguments
from hetrl.component import Table
from hetrl.ops.activation import ACTIVATIONS, SLOPES
from hetrl.ops.layers import layers
from hetrl.team import Box

Activation = Literal["relu", "tanh", "silu", "mish", "elu", "gelu"]


def mode(
    *, reads: Mapping[str, str], writes: Mapping[str, str], learned: bool = True
) -> Callable[[Callable[..., Any]], Any]:
    """Mark a method of a network as one of its modes; keyword-only parameters are the mode's arguments.

    Args:
        reads: role -> key; the method's parameters are the roles.
        writes: role -> key.
        learned: False where no parameter takes part, so that a gradient can only pass through the inputs.
    """

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        function.table = Table.of(function, reads, writes, learned=learned)  # type: ignore[attr-defined]
        return function

    return mark


class Network(nn.Module):
    """Base of every entry of ``net/``: a recipe builds it for one agent or for the team, and calls its modes.

    The constructor takes the agent whose sizes it serves and the team, then keyword-only hyperparameters.
    """

    modes: ClassVar[Mapping[str, Table]] = {}
    default_mode: ClassVar[str | None] = None
    default_per: ClassVar[Literal["agent", "team"]] = "agent"
    sized: ClassVar[bool] = True
    """Whether its layers have the sizes of one agent: then agents of other sizes cannot share it."""
    batches: ClassVar[bool] = True
    """Whether several of them, with weights of their own, are faster as one call (``torch.vmap``) than one by one."""
    memory: int = 0
    """Units of the hidden state that a recurrent network carries from step to step; 0 for any other network."""
    chunk: int | None = None
    """How many steps a recurrent network unrolls at once (dimension 0 of its inputs is time); None for any other."""

    @classmethod
    def trainable(cls, arguments: Mapping[str, Any]) -> bool:
        """Whether a net with these arguments has parameters, which a phase then has to train."""
        return True

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        found = inspect.getmembers(cls, lambda member: hasattr(member, "table"))
        cls.modes = {name: function.table for name, function in found}
        if "__init__" in cls.__dict__:
            cls.__init__ = arguments.checked(cls.__init__, cls.__name__)  # type: ignore[method-assign]

    @classmethod
    def chunk_of(cls, values: Mapping[str, Any]) -> int | None:
        """Return what :attr:`chunk` will be of a net with these arguments; a recurrent network overrides this."""
        return None

    def settled(self) -> AbstractContextManager[None]:
        """Return a context in which the parameters stay as they are.

        A phase enters it for every net that it does not train. A net may override it, to keep inside what it has made
        of its parameters, such as a product of theirs; it drops that at the end, as they may have changed by the next
        time. Here nothing is kept.
        """
        return nullcontext()

    def remember(self, seen: Tensor, memory: Tensor) -> Tensor:
        """Return the hidden state after a step, ``*B H``, from what was seen, ``*B F``, and the hidden state before.

        Collection asks this of recurrent networks, and of no other.
        """
        raise NotImplementedError


class Policy(Network):
    """A network that acts: what collection asks of it, whatever its distribution.

    Below, a recurrent policy gets what :meth:`remember` returned in place of the ``observation``.
    """

    serves: ClassVar[tuple[type, ...]] = (Box,)
    """Kinds of action space that it can act in."""
    draws: str | None = None
    """What :meth:`noise` is made of, for those who draw without torch: ``normal``, ``gumbel`` or ``uniform`` (0 to 1);
    None where it does not say."""

    def noise(self, shape: Sequence[int], generator: torch.Generator) -> Tensor:
        """Return the random draws that :meth:`draw` consumes for observations of batch shape ``shape``."""
        raise NotImplementedError

    def draw(self, observation: Tensor, noise: Tensor, action_mask: Tensor | None = None) -> Tensor:
        """Return an action sampled with ``noise``; observation ``*B F``, action ``*B A``.

        ``action_mask`` (``*B options``, bool) is given where the environment restricts a discrete choice.
        """
        raise NotImplementedError

    def greedy(self, observation: Tensor, action_mask: Tensor | None = None) -> Tensor:
        """Return the deterministic action used in evaluation, ``*B A``."""
        raise NotImplementedError


class MLP(nn.ModuleList):
    """Linear layers with an activation between them.

    Orthogonal weights (gain sqrt 2 inside, ``last_gain`` at the end) and zero biases, the usual start of on-policy
    actor-critic methods (Andrychowicz et al. 2021, arXiv:2006.05990).

    Args:
        sizes: widths from the input to the output.
        activation: between the layers.
        last_gain: scale of the last layer's weights.
    """

    def __init__(self, sizes: Sequence[int], activation: Activation, *, last_gain: float) -> None:
        super().__init__(nn.Linear(*pair) for pair in pairwise(sizes))
        self._activation = ACTIVATIONS[activation]
        self._slope = SLOPES.get(self._activation)
        for linear in self.layers:
            nn.init.orthogonal_(linear.weight, last_gain if linear is self.last else math.sqrt(2))
            nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output, ``*B out``, for an input ``*B in``."""
        own: list[Any] = [linear._parameters for linear in self._modules.values() if linear is not None]
        weights, biases = [each["weight"] for each in own], [each["bias"] for each in own]
        return layers(x, weights, biases, self._activation, self._slope)

    @property
    def layers(self) -> list[nn.Linear]:
        """The linear layers, in order."""
        return list(self._modules.values())  # type: ignore[arg-type]

    @property
    def last(self) -> nn.Linear:
        """The layer that gives the output."""
        return self[-1]  # type: ignore[return-value]


class LayerNormMLP(nn.Module):
    """An :class:`MLP` that normalises its input and each hidden layer after the activation (Ba et al. 2016)."""

    def __init__(self, sizes: Sequence[int], activation: Activation, *, last_gain: float) -> None:
        super().__init__()
        self.linears = MLP(sizes, activation, last_gain=last_gain)
        self.norms = nn.ModuleList([nn.LayerNorm(size) for size in sizes[:-1]])
        self._activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        """Return the output, ``*B out``, for an input ``*B in``."""
        for linear, norm in zip(self.linears.layers, self.norms, strict=True):
            x = linear(norm(x if linear is self.linears.layers[0] else self._activation(x)))
        return x

    @property
    def last(self) -> nn.Linear:
        """The layer that gives the output."""
        return self.linears.last


def mlp(
    sizes: Sequence[int], activation: Activation, *, last_gain: float, layer_norm: bool = False
) -> MLP | LayerNormMLP:
    """Return an :class:`MLP`, or one with layer normalisation."""
    return (LayerNormMLP if layer_norm else MLP)(sizes, activation, last_gain=last_gain)
