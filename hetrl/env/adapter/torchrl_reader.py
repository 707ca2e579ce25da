"""Leaves of a step, ``[N, *]``, become what the agents see, earn and may do, and who of them is still there."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from hetrl.env.adapter.torchrl_specs import Column, Flags, Reading
from hetrl.env.adapter.torchrl_world import Written
from hetrl.ops.scaled import scaled
from hetrl.team import Box, Discrete, Grouped


class LeafReader:
    """Reads leaves, and writes actions.

    Args:
        reading: where everything stands.
        device: where the tensors live.
    """

    def __init__(self, reading: Reading, device: torch.device) -> None:
        self._reading, self._device, self.team = reading, device, reading.team
        self._places = {
            group: [self.team.agents.index(agent) for agent in agents] for group, agents in self.team.layout.items()
        }
        self._bounds = {
            group: [torch.tensor(bound, device=device) for bound in (space.low, space.high)]
            for group, agents in self.team.layout.items()
            if isinstance(space := agents[0].action, Box)
        }

        self.leaving = any(reading.own_ends) or any(reading.here)
        """Whether agents may be out of their episode."""
        self.ending = any(reading.own_ends)
        """Whether agents may end before it."""

    def here(self, leaves: Sequence[Tensor]) -> list[Tensor]:
        """Return the leaves on the device."""
        return [leaf.to(self._device) for leaf in leaves]

    def observation(self, leaves: Sequence[Tensor]) -> Grouped:
        """What every agent sees, group -> ``[N, n, F]``."""
        found = {}
        for group, places in self._places.items():
            by_leaf = zip(*(self._reading.sight[place] for place in places), strict=True)
            dtype = self.team.layout[group][0].observation_dtype
            seen = [self._side_by_side(leaves, parts) for parts in by_leaf]
            # Images beside numbers count from 0 to 1.
            found[group] = torch.cat([each if dtype == each.dtype else scaled(each).to(dtype) for each in seen], -1)
        return found

    def reward(self, leaves: Sequence[Tensor]) -> Grouped:
        """What every agent earns, group -> ``[N, n]``."""
        return self._numbers(leaves, self._reading.rewards)

    def action_mask(self, leaves: Sequence[Tensor]) -> Grouped:
        """What every agent may choose, group -> ``[N, n, options]``, of the groups that have masks."""
        found = {}
        for group, places in self._places.items():
            parts = [self._reading.masks[place] for place in places]
            if any(parts):
                options = sum(self.team.layout[group][0].action.choices)  # type: ignore[union-attr]
                each = [self._own(leaves, part, options) for part in parts]
                found[group] = torch.stack(each, 1)
        return found

    def state(self, leaves: Sequence[Tensor]) -> Tensor:
        """The environment's own state, ``[N, S]``."""
        assert self._reading.state is not None
        own = leaves[self._reading.state.leaf]
        return own.reshape(len(own), -1).to(torch.uint8 if own.dtype == torch.uint8 else torch.float32)

    def infos(self, leaves: Sequence[Tensor]) -> dict[str, Tensor]:
        """Name -> ``[N]``, the mean over the agents where each has one."""
        return {
            name: torch.stack([_own(leaves, part).reshape(len(leaves[0])).float() for part in parts], 1).mean(1)
            for name, parts in self._reading.infos.items()
        }

    def ends(self, leaves: Sequence[Tensor]) -> tuple[Tensor, Tensor] | None:
        """Which rows are terminated and which are cut, ``[N]`` each; None where only agents have ends."""
        return _end(leaves, self._reading.ends) if self._reading.ends else None

    def own_ends(self, leaves: Sequence[Tensor]) -> tuple[Tensor, Tensor] | None:
        """Which agents have terminated and which were cut, ``[N, agents]`` each; None where none has an end."""
        if not any(self._reading.own_ends):
            return None
        n_envs = len(leaves[0])
        none = torch.zeros(n_envs, dtype=torch.bool, device=self._device)
        each = [_end(leaves, flags) if flags else (none, none) for flags in self._reading.own_ends]
        terminated, truncated = zip(*each, strict=True)
        return torch.stack(terminated, 1), torch.stack(truncated, 1)

    def present(self, leaves: Sequence[Tensor]) -> Tensor | None:
        """Who takes part by the environment's own ``mask``, ``[N, agents]``; None without."""
        if not any(self._reading.here):
            return None
        everybody = torch.ones(len(leaves[0]), dtype=torch.bool, device=self._device)
        each = [
            everybody if part is None else _own(leaves, part).reshape(len(everybody)).bool()
            for part in self._reading.here
        ]
        return torch.stack(each, 1)

    def grouped(self, each: Tensor) -> Grouped:
        """By group, what is there by agent, ``[N, agents]``."""
        return {group: each[:, places] for group, places in self._places.items()}

    # ----- leaves

    def _side_by_side(self, leaves: Sequence[Tensor], parts: Sequence[Column]) -> Tensor:
        """One part of each agent of a group, ``[N, n, *]``, flat."""
        first, whole = parts[0], leaves[parts[0].leaf]
        in_order = [(first.leaf, place) for place in range(len(parts))]
        if [(part.leaf, part.column) for part in parts] == in_order and len(parts) == whole.shape[1]:
            return _flat(whole, 2, first.options)
        return torch.stack([_flat(_own(leaves, part), 1, part.options) for part in parts], 1)

    def _own(self, leaves: Sequence[Tensor], part: Column | None, options: int) -> Tensor:
        if part is None:
            return torch.ones(len(leaves[0]), options, dtype=torch.bool, device=self._device)
        return _own(leaves, part).flatten(1).bool()

    def _numbers(self, leaves: Sequence[Tensor], parts: Sequence[Column]) -> Grouped:
        each = torch.stack([_own(leaves, part).reshape(len(leaves[0]), -1)[:, 0].float() for part in parts], 1)
        return self.grouped(each)

    # ----- actions

    def written(self, actions: Mapping[str, Tensor]) -> Written:
        """Actions ``[N, n, A]`` by group, clamped to their bounds, as the environment takes them."""
        within = {group: self._within(group, action.detach()) for group, action in actions.items()}
        stacked: dict[tuple[str, ...], list[tuple[int, Tensor]]] = {}
        found: Written = []
        for agent, acts in zip(self.team.agents, self._reading.acts, strict=True):
            own = within[agent.group][:, agent.index].split([act.space.size for act in acts], -1)
            for act, chosen in zip(acts, own, strict=True):
                value = _one_hot(chosen, act.space) if act.one_hot else chosen
                value = value.to(act.dtype).reshape(len(chosen), *act.shape)
                if act.member is None or act.unlike:
                    found.append((act.path, act.member, act.unlike, value))
                else:
                    stacked.setdefault(act.path, []).append((act.member, value))
        for path, values in stacked.items():
            in_order = sorted(values, key=lambda each: each[0])
            found.append((path, None, 0, torch.stack([value for _, value in in_order], 1)))
        return found

    def _within(self, group: str, action: Tensor) -> Tensor:
        return action.clamp(*self._bounds[group]) if group in self._bounds else action


def _own(leaves: Sequence[Tensor], part: Column) -> Tensor:
    """What an agent has in a leaf, ``[N, *]``."""
    leaf = leaves[part.leaf]
    return leaf if part.column is None else leaf[:, part.column]


def _flat(value: Tensor, start: int, options: int) -> Tensor:
    if options:
        value = functional.one_hot(value.long(), options)
    return (value if value.dim() > start else value.unsqueeze(-1)).flatten(start)


def _end(leaves: Sequence[Tensor], flags: Flags) -> tuple[Tensor, Tensor]:
    """Terminated and cut, never both; what is done and says neither is terminated."""
    told = {word: _own(leaves, part).reshape(len(leaves[0]), -1).any(1) for word, part in flags.items()}
    none = torch.zeros_like(next(iter(told.values())))
    terminated, truncated = told.get("terminated", none), told.get("truncated", none)
    over = told.get("done", none) | terminated | truncated
    cut = truncated & ~terminated
    return over & ~cut, cut


def _one_hot(chosen: Tensor, space: Box | Discrete) -> Tensor:
    """Each choice one-hot, side by side."""
    assert isinstance(space, Discrete)
    return torch.cat([functional.one_hot(chosen[:, place].long(), n) for place, n in enumerate(space.choices)], -1)
