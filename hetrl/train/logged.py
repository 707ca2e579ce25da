"""What a batch logs of its episodes, and how it reaches the host."""

from collections.abc import Mapping

import torch
from torch import Tensor

from hetrl.data.collected import Collected

_OWN, _TOLD = "return/", "info/"
"""How the names begin of agents' own returns, and of what environments tell."""


def of_episodes(collected: Collected) -> dict[str, Tensor]:
    """Return the figures of the episodes that ended, means over them (none where none did)."""
    own = {f"{_OWN}{name}": total / collected.episodes for name, total in collected.agent_returns.items()}
    told = {f"{_TOLD}{name}": total / count for name, (total, count) in collected.infos.items()}
    return {
        "return": collected.returns / collected.episodes,
        "episode_length": collected.lengths / collected.episodes,
        "episodes": collected.episodes.float(),
        **own,
        **told,
    }


def to_host(logged: Mapping[str, Tensor]) -> dict[str, float]:
    """Bring all figures to the CPU in one transfer."""
    values = torch.stack([value.float() for value in logged.values()]).tolist()
    metrics = dict(zip(logged, values, strict=True))
    if metrics["episodes"] == 0:
        del metrics["return"], metrics["episode_length"]
    for name, value in zip(logged, values, strict=True):
        if name.startswith((_OWN, _TOLD)) and value != value:  # agents earned the same, or no end was told of
            del metrics[name]
    return metrics
