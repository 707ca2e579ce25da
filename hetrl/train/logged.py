"""What a batch logs of its episodes, and how it reaches the host."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from hetrl import ranks
from hetrl.data.collected import Collected

_OWN, _TOLD = "return/", "info/"
"""How the names begin of agents' own returns, and of what environments tell."""


class Shared:
    """Sums what the processes of a run have collected. An environment may tell of an end in one of them alone."""

    def __init__(self) -> None:
        self._told: tuple[str, ...] = ()
        """Names of what any environment has told so far."""

    def of(self, collected: Collected) -> Collected:
        """Return a collection with the figures of all processes' episodes; frames and samples stay this one's."""
        if not ranks.several():
            return collected
        if ranks.either(not set(collected.infos) <= set(self._told), collected.returns.device):
            told = {name for names in ranks.everybodys(list(collected.infos)) for name in names}
            self._told = tuple(sorted({*self._told, *told}))
        own, nothing = list(collected.agent_returns), collected.returns.new_zeros(2)
        told_of = [collected.infos.get(name, nothing).to(nothing) for name in self._told]
        parts = [collected.returns, collected.lengths, collected.episodes, *collected.agent_returns.values(), *told_of]
        returns, lengths, episodes, *figures = ranks.totals(parts)
        infos = dict(zip(self._told, figures[len(own) :], strict=True))
        each = dict(zip(own, figures, strict=False))
        return replace(collected, returns=returns, lengths=lengths, episodes=episodes, agent_returns=each, infos=infos)


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
