"""Running mean and deviation of what agents observe, by layout group and entry."""

from typing import Any

import torch
from torch import Tensor, nn

from hetrl import ranks
from hetrl.ops.running import Running, entry_moments, merged
from hetrl.ops.scaled import scaled
from hetrl.team import STATE, Agent, Grouped, Team

CLIP = 10.0
"""Furthest that a standardised number may be from 0 [deviation]."""
_EPS = 1e-8
"""Added to a variance: of an entry that never changes it is 0."""
_STATE, _OWN = "the state", "own state"
"""Names beside those of layout groups, which are words."""


class Statistics(nn.Module):
    """Standardises observations, and the state with them.

    x' = clip((x - mean) / sqrt(var + 1e-8), -10, 10)

    mean and var are over all agents of a layout group who take part, all environments and all steps of all collections
    so far. Images are not standardised. A state that is made of observations is made of standardised ones; one of the
    environment's own has statistics of its own.

    What is watched while a collection runs is *taken* when the update on it is over: so collection, the log-probs that
    an update starts from, and those that it ends with read the same numbers, and a ratio is 1 before the first step.

    A copy of a net reads the same statistics as the net: they are never copied.

    Source: Chan et al. 1979 (merging moments); clip and eps as in OpenAI Baselines' VecNormalize.
    """

    def __init__(self, team: Team) -> None:
        super().__init__()
        self._team = team
        self._groups = {
            group: agents[0].observation_size
            for group, agents in team.layout.items() if agents[0].observation_dtype != torch.uint8
        }  # fmt: skip
        self._own_state = team.own_state and team.state_dtype != torch.uint8
        for group, size in self._sizes().items():
            for word, entries in (("count", 1), ("mean", size), ("squares", size)):
                self.register_buffer(f"{group}:{word}", torch.zeros(entries, dtype=torch.float64))
            # What networks read is worked out once for each change.
            self.register_buffer(f"{group}:shift", torch.zeros(size), persistent=False)
            self.register_buffer(f"{group}:scale", torch.ones(size), persistent=False)
        self.register_buffer(f"{_STATE}:shift", torch.zeros(team.state_size), persistent=False)
        self.register_buffer(f"{_STATE}:scale", torch.ones(team.state_size), persistent=False)
        self._watched: dict[str, Running] = {}
        self.register_load_state_dict_post_hook(lambda module, _: module._settle())

    def _sizes(self) -> dict[str, int]:
        return {**self._groups, **({_OWN: self._team.state_size} if self._own_state else {})}

    def __deepcopy__(self, memo: Any) -> "Statistics":
        return self

    # ----- taking in

    @torch.no_grad()
    def watch(self, observation: Grouped, active: Grouped) -> None:
        """Note what was acted on.

        Args:
            observation: layout group -> ``[*B, n, F]``; with the state where that is the environment's own.
            active: layout group -> who took part, ``[*B, n]``; everybody where it has none.
        """
        seen = {group: (observation[group], active.get(group)) for group in self._groups}
        if self._own_state:
            seen[_OWN] = observation[STATE], None
        for name, (value, mask) in seen.items():
            found = entry_moments(value, mask)
            before = self._watched.get(name)
            self._watched[name] = found if before is None else merged(before, found)

    @torch.no_grad()
    def take(self) -> None:
        """Take what was watched into the statistics, by all processes of a run."""
        for name, found in self._watched.items():
            own = self._running(name)
            for each in _of_ranks(found):
                own = merged(own, each)
            for buffer, value in zip(self._running(name), own, strict=True):
                buffer.copy_(value)
        self._watched = {}
        self._settle()

    @torch.no_grad()
    def _settle(self) -> None:
        """Work out what networks read."""
        for name in self._sizes():
            count, mean, squares = self._running(name)
            variance = torch.where(count > 0, squares / count.clamp(min=1) + _EPS, 1.0)
            self.get_buffer(f"{name}:shift").copy_(mean)
            self.get_buffer(f"{name}:scale").copy_(variance.rsqrt())
        for word, blank in (("shift", 0.0), ("scale", 1.0)):
            self.get_buffer(f"{_STATE}:{word}").copy_(self._of_state(word, blank))

    def _running(self, name: str) -> Running:
        count, mean, squares = (self.get_buffer(f"{name}:{word}") for word in ("count", "mean", "squares"))
        return count, mean, squares

    def _of_state(self, word: str, blank: float) -> Tensor:
        """Return the shift or scale of each entry of the state."""
        whole = self.get_buffer(f"{_STATE}:{word}")
        if self._team.own_state:
            return self.get_buffer(f"{_OWN}:{word}") if self._own_state else torch.full_like(whole, blank)
        each = {}
        for group, agents in self._team.layout.items():
            own = self._buffers.get(f"{group}:{word}")
            row = whole.new_full((agents[0].observation_size,), blank) if own is None else own
            each[group] = row.expand(len(agents), -1)
        return self._team.state(each)

    @property
    def begun(self) -> bool:
        """Whether there are any. It waits for the device."""
        return any(bool(self._running(name)[0]) for name in self._sizes())

    @property
    def watched(self) -> bool:
        """Whether anything is noted that was not taken yet."""
        return bool(self._watched)

    # ----- giving out

    def standardized(self, group: str, value: Tensor) -> Tensor:
        """Return observations ``*B F`` of a layout group as networks read them."""
        shift, scale = self._buffers.get(f"{group}:shift"), self._buffers.get(f"{group}:scale")
        if shift is None or scale is None:
            return scaled(value)
        return ((scaled(value) - shift) * scale).clamp(-CLIP, CLIP)

    def standardized_state(self, value: Tensor) -> Tensor:
        """Return states ``*B S`` as networks read them."""
        return self.standardized(_STATE, value)

    def of(self, agent: Agent) -> tuple[Tensor, Tensor, float]:
        """Return mean ``F``, deviation ``F`` and clip of an agent's observation: (x - mean) / deviation, within clip.

        Of an agent who sees an image they are 0, 1 and infinity, once its bytes count from 0 to 1.
        """
        shift, scale = self._buffers.get(f"{agent.group}:shift"), self._buffers.get(f"{agent.group}:scale")
        if shift is None or scale is None:
            return torch.zeros(agent.observation_size), torch.ones(agent.observation_size), float("inf")
        return shift.clone(), scale.reciprocal(), CLIP


def _of_ranks(found: Running) -> list[Running]:
    """Return what each process of a run has watched."""
    if not ranks.several():
        return [found]
    sizes = [part.numel() for part in found]
    return [tuple(row.split(sizes)) for row in ranks.each(torch.cat(found))]
