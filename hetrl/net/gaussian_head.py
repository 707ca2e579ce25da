"""The network under a Gaussian policy: from an observation to a mean and a deviation."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from hetrl.errors import RecipeError
from hetrl.network import Activation, mlp
from hetrl.ops import gaussian

Std = Literal["state_independent", "state_dependent"]
StdMap = Literal["exp", "clamped_exp", "softplus", "sigmoid"]


class GaussianHead(nn.Module):
    """mean(o) and log std(o) of a diagonal Gaussian; the deviation is a map of a raw number, see ``inverse_std``."""

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        hidden: list[int],
        activation: Activation,
        std: Std,
        std_map: StdMap,
        initial_std: float,
        max_std: float,
        layer_norm: bool = False,
    ) -> None:
        super().__init__()
        self.dependent = std == "state_dependent"
        self.std_map, self.max_std = std_map, max_std
        outputs = action_size * (2 if self.dependent else 1)
        self.body = mlp([observation_size, *hidden, outputs], activation, last_gain=0.01, layer_norm=layer_norm)
        raw = inverse_std(std_map, initial_std, max_std)
        if self.dependent:
            with torch.no_grad():
                self.body.last.bias[action_size:] = raw
        else:
            self.raw_std = nn.Parameter(torch.full((action_size,), raw))

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean ``*B A`` and log deviation, ``*B A`` or, where it does not depend on the state, just ``A``."""
        out = self.body(observation)
        mean, raw = out.chunk(2, -1) if self.dependent else (out, self.raw_std)
        if self.std_map == "exp":
            return mean, raw
        if self.std_map == "clamped_exp":
            return mean, raw.clamp(-20, 2)
        if self.std_map == "softplus":
            return mean, nn.functional.softplus(raw).log()
        return mean, nn.functional.logsigmoid(raw) + math.log(self.max_std)


def joined(mean: Tensor, log_std: Tensor) -> Tensor:
    """Return mean and log deviation side by side, ``*B 2A``."""
    return torch.cat([mean, log_std.expand_as(mean)], -1)


def inverse_std(std_map: StdMap, std: float, max_std: float) -> float:
    """Return the raw number that becomes ``std``: e^x, log(1 + e^x), or max_std / (1 + e^-x).

    ``clamped_exp`` is e^x with x held between -20 and 2.

    Raises:
        RecipeError: the sigmoid cannot reach ``std``.
    """
    if std_map in ("exp", "clamped_exp"):
        return math.log(std)
    if std_map == "softplus":
        return gaussian.inverse_softplus(std)
    if std >= max_std:
        raise RecipeError(f"initial_std = {std} must be below max_std = {max_std} with std_map: sigmoid.")
    return math.log(std / (max_std - std))
