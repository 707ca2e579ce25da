"""An encoder of images."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

from annotated_types import Len
from jaxtyping import Float
from torch import Tensor, nn

from hetrl.arguments import Count
from hetrl.encoder import Encoder
from hetrl.errors import RecipeError
from hetrl.network import Activation, mode
from hetrl.ops.activation import ACTIVATIONS
from hetrl.team import Agent, Team

Layers = Annotated[list[Count], Len(1, 16)]
"""One number for each convolution."""


class Convolutional(Encoder):
    """Convolutions over an image, and a linear layer over what they find.

    h_l = f(K_l * h_l-1 + b_l),   features = f(W flat(h_L) + b)

    An observation of two dimensions is an image of one channel, one of three has channels last, as gymnasium's and
    PettingZoo's have, or first. Agents of the team who see no image are given what they see, as it is. Convolution l
    takes kernels of ``kernels[l]`` x ``kernels[l]`` pixels and moves by ``strides[l]``; there is no padding, so that an
    image has to have a least size, 36 x 36 with the defaults. With an image of 84 x 84, they leave 20 x 20, 9 x 9 and
    7 x 7 of it.

    Args:
        filters: how many each convolution has.
        kernels: the sides of their kernels [pixel].
        strides: how far they move [pixel].
        size: H, how many features come out.
        activation: f.
        channels: where a pixel's channels stand, ``last`` or ``first``.

    Raises:
        RecipeError: nobody sees an image, or one is too small, or the lists differ in length.
    Source: Mnih et al. 2015, Nature 518 (the sizes); Andrychowicz et al. 2021, arXiv:2006.05990 (orthogonal weights
        with a gain of sqrt 2).
    Differs: nothing is stacked over time.
    """

    batches: ClassVar[bool] = False

    def __init__(
        self,
        agent: Agent,
        team: Team,
        *,
        filters: Layers = [32, 64, 64],  # noqa: B006 (never written to; the signature is the schema)
        kernels: Layers = [8, 4, 3],  # noqa: B006
        strides: Layers = [4, 2, 1],  # noqa: B006
        size: Count = 512,
        activation: Activation = "relu",
        channels: Literal["last", "first"] = "last",
    ) -> None:
        super().__init__()
        if not len(filters) == len(kernels) == len(strides):
            raise RecipeError(
                f"filters, kernels and strides are {len(filters)}, {len(kernels)} and {len(strides)} numbers; give one "
                "of each for every convolution."
            )
        self._activation, self._channels = ACTIVATIONS[activation], channels
        self._shape = agent.observation_shape
        self.features = agent.observation_size
        self.convolutions, self.linear = nn.ModuleList(), None
        if len(self._shape) == 1:
            if all(len(other.observation_shape) == 1 for other in team.agents):
                raise RecipeError(
                    f"agent '{agent.name}' sees {agent.observation_size} numbers in a row, and nobody an image; drop "
                    "the encoder, or use net/entities."
                )
            return
        depth, *image = self._image(agent)
        left = _left(agent, image, kernels, strides)
        for layer, (inputs, outputs) in enumerate(pairwise([depth, *filters])):
            self.convolutions.append(_started(nn.Conv2d(inputs, outputs, kernels[layer], strides[layer])))
        self.features = size
        self.linear = _started(nn.Linear(filters[-1] * math.prod(left), size))

    def _image(self, agent: Agent) -> tuple[int, int, int]:
        """Return channels, height and width of an observation."""
        if len(self._shape) == 2:
            return 1, *self._shape
        if len(self._shape) != 3:
            raise RecipeError(
                f"agent '{agent.name}' sees {agent.sees}, which is no image; let the environment give two or three "
                "dimensions, such as 84x84x3."
            )
        first, middle, last = self._shape
        return (last, first, middle) if self._channels == "last" else (first, middle, last)

    @mode(reads={"observation": "agent.observation"}, writes={"features": "agent.features"})
    def encode(self, observation: Float[Tensor, "*batch seen"]) -> dict[str, Float[Tensor, "*batch found"]]:
        """Return ``features`` [1]."""
        if self.linear is None:
            return {"features": observation}
        x = observation.reshape(-1, *self._shape)
        if len(self._shape) == 2:
            x = x.unsqueeze(1)
        elif self._channels == "last":
            x = x.movedim(-1, 1)
        for convolution in self.convolutions:
            x = self._activation(convolution(x))
        found = self._activation(self.linear(x.flatten(1)))
        return {"features": found.view(*observation.shape[:-1], self.features)}


def _left(agent: Agent, image: Sequence[int], kernels: Sequence[int], strides: Sequence[int]) -> list[int]:
    """Return height and width of what the convolutions leave of an image.

    Raises:
        RecipeError: nothing is left.
    """
    least = 1
    for kernel, stride in zip(reversed(kernels), reversed(strides), strict=True):
        least = (least - 1) * stride + kernel
    if min(image) < least:
        raise RecipeError(
            f"agent '{agent.name}' sees {agent.sees}: an image of {image[0]}x{image[1]} pixels is too small for "
            f"kernels {list(kernels)} with strides {list(strides)}, which take {least}x{least} at least; write smaller "
            "ones, such as filters: [16, 32], kernels: [3, 3], strides: [2, 1], or say where the channels are, "
            "channels: first."
        )
    left = list(image)
    for kernel, stride in zip(kernels, strides, strict=True):
        left = [(side - kernel) // stride + 1 for side in left]
    return left


def _started(layer: nn.Conv2d | nn.Linear) -> nn.Conv2d | nn.Linear:
    """Return a layer with the usual weights of on-policy methods."""
    nn.init.orthogonal_(layer.weight, math.sqrt(2))
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer
