"""Teams in Python simulators, a row each: seeds of episodes, actions that are kept, and exact continuation."""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hetrl.env.adapter.simulator import Simulators, Told
from hetrl.env.adapter.space import Taker
from hetrl.env.team_env import Reward, TeamEnv
from hetrl.env.transition import Masks
from hetrl.errors import RunError
from hetrl.team import STATE, Box, Discrete, Grouped, Team

_NUMPY = {torch.float32: np.float32, torch.uint8: np.uint8}
_Shown = dict[str, dict[str, np.ndarray]]
"""Word of :class:`~hetrl.env.adapter.simulator.Told` -> layout group -> ``[N, n, ...]``, or ``state`` -> ``[N, S]``."""


class Simulated(TeamEnv):
    """``N`` environments that are Python objects, so this has what no other environment here has: a loop over them.

    Every episode begins with ``reset(seed=...)``, the seed drawn from a stream of this environment. So its state needs
    nothing from inside a simulator: the seeds of the episodes under way and the actions taken in them, to be played
    again. Where that does not bring an episode back, ``repeats`` is False: nothing is kept, and whoever loads a state
    begins afresh.

    Args:
        simulators: of all rows.
        team: who they are.
        takers: makes each agent's actions what its simulator takes, in team order.
        strangers: whether agents may leave or join, and choices be masked; and simulators draw from the generators of
            the process.
        repeats: whether an episode repeats itself from its seed and actions.
        n_envs: environments in the batch, ``N``.
        horizon: steps after which an episode is cut.
        reward: see :data:`~hetrl.env.team_env.Reward`.
        seed: of all episodes.
        device: where the tensors live; simulators run on the CPU.
    """

    def __init__(
        self,
        *,
        simulators: Simulators,
        team: Team,
        takers: Sequence[Taker],
        strangers: bool,
        repeats: bool = True,
        n_envs: int,
        horizon: int,
        reward: Reward,
        seed: int,
        device: str,
    ) -> None:
        super().__init__(n_envs=n_envs, horizon=horizon, reward=reward, device=device)
        self.asks = True  # its simulators are on the host, which every step has to ask anyway
        self._simulators, self.team, self._takers = simulators, team, takers
        self._strangers, self.repeats = strangers, repeats
        self._generator = torch.Generator().manual_seed(seed)
        self._members = {
            group: [self.team.agents.index(agent) for agent in members] for group, members in self.team.layout.items()
        }
        # The rest is of the host, wherever the tensors live.
        self._steps = torch.zeros(n_envs, dtype=torch.int64)
        self._episode_seeds = torch.zeros(n_envs, dtype=torch.int64)
        n_kept = horizon if repeats else 0
        self._taken = {
            group: torch.empty(n_kept, n_envs, len(members), members[0].action.size, dtype=_dtype(members[0].action))
            for group, members in self.team.layout.items()
        }
        self._told: list[Told] = []
        self._shown = self._blank()
        self._make_specs()
        self.is_closed = False

    # ----- the fast path: plain tensors

    @property
    def masks(self) -> Masks:
        """Who takes part and who may choose what, see :data:`~hetrl.env.transition.Masks`."""
        return {word: self._here(parts) for word, parts in self._shown.items() if word != "observation" and parts}

    @property
    def agent_terminated(self) -> Grouped:
        """Whose own story ended with the latest step."""
        if not self._strangers:
            return {}
        flags = torch.tensor([each.agent_terminated for each in self._told])
        return {group: flags[:, members].to(self.device) for group, members in self._members.items()}

    @property
    def infos(self) -> dict[str, Tensor]:
        """What the simulators tell of the episodes that have just ended, ``[N]``; NaN where they tell nothing."""
        names = {name for each in self._told for name in each.infos}
        return {
            name: torch.tensor([each.infos.get(name, np.nan) for each in self._told], device=self.device)
            for name in sorted(names)
        }

    def start(self) -> Grouped:
        """Reset every environment. Returns the first observations, group -> ``[N, n, F]``."""
        self._reopen()
        return self._begin(list(range(self.n_envs)), self._blank())

    def seed(self, seed: int) -> None:
        """Start the random streams afresh; the next :meth:`start` is the first of that seed."""
        self._generator.manual_seed(seed)

    def close(self, *, raise_if_closed: bool = True) -> None:
        """Close every simulator. They are made again where they are needed again, and their episodes continued."""
        super().close(raise_if_closed=raise_if_closed)
        self._simulators.close()

    def _reopen(self) -> bool:
        """Make the simulators again that :meth:`close` has closed; return whether they were."""
        closed, self.is_closed = self.is_closed, False
        self._simulators.open()
        return closed

    def _picture(self, row: int) -> np.ndarray:
        return self._simulators.picture(row)

    def _simulate(self, actions: Mapping[str, Tensor]) -> tuple[Grouped, Grouped, Tensor, Tensor]:
        if (self._steps >= self.horizon).any():
            raise RunError(f"{self._kind}: an episode at its horizon was stepped on; reset it first.")
        if self._reopen():
            self._go_on()
        taken = {group: actions[group].detach().to("cpu", kept.dtype) for group, kept in self._taken.items()}
        if self.repeats:
            rows = torch.arange(self.n_envs)
            for group, kept in self._taken.items():
                kept[self._steps, rows] = taken[group]
        self._told = self._simulators.step(self._by_row(taken))
        self._steps = self._steps + 1
        observation = self._gather(range(self.n_envs), self._told, self._blank())
        earned = torch.tensor([each.reward for each in self._told], dtype=torch.float32)
        terminated, cut = torch.tensor([(each.terminated, each.truncated) for each in self._told]).unbind(1)
        truncated = (cut | (self._steps >= self.horizon)) & ~terminated
        reward = {group: earned[:, members].to(self.device) for group, members in self._members.items()}
        return observation, reward, terminated.to(self.device), truncated.to(self.device)

    def _reset_rows(self, rows: Tensor) -> Grouped:
        shown = {word: {group: part.copy() for group, part in parts.items()} for word, parts in self._shown.items()}
        return self._begin(rows.tolist(), shown)

    def _begin(self, rows: Sequence[int], shown: _Shown) -> Grouped:
        """Reset ``rows``, each from the next seed, and write what they see into ``shown``."""
        seeds = torch.randint(2**31, (len(rows),), generator=self._generator)
        told = self._simulators.reset(rows, seeds.tolist())
        self._episode_seeds[rows], self._steps[rows] = seeds, 0
        return self._gather(rows, told, shown)

    # ----- between tensors and simulators

    @property
    def _kind(self) -> str:
        return f"env/{type(self).__module__.rpartition('.')[2]}"

    def _by_row(self, actions: Mapping[str, Tensor]) -> Iterator[tuple[Any, ...]]:
        """For each leading entry of ``actions`` (``[*, n, A]``), the team's actions as a simulator takes them."""
        parts = {group: action.numpy() for group, action in actions.items()}
        columns = (
            taker(parts[agent.group][:, agent.index])
            for agent, taker in zip(self.team.agents, self._takers, strict=True)
        )
        return zip(*columns, strict=True)

    def _blank(self) -> _Shown:
        """Arrays for what all agents see; every entry is yet to be written."""
        layout, n_envs = self.team.layout, self.n_envs
        shown: _Shown = {
            "observation": {
                group: np.empty((n_envs, len(agents), agents[0].observation_size), _NUMPY[agents[0].observation_dtype])
                for group, agents in layout.items()
            }
        }
        if self.team.own_state:
            shown["observation"][STATE] = np.empty((n_envs, self.team.state_size), _NUMPY[self.team.state_dtype])
        if self._strangers:
            shown["active"] = {group: np.empty((n_envs, len(agents)), np.bool_) for group, agents in layout.items()}
            shown["action_mask"] = {
                group: np.empty((n_envs, len(agents), sum(agents[0].action.choices)), np.bool_)
                for group, agents in layout.items()
                if isinstance(agents[0].action, Discrete)
            }
        return shown

    def _gather(self, rows: Iterable[int], told: Sequence[Told], shown: _Shown) -> Grouped:
        """Write what the agents of ``rows`` see and may do into ``shown``, which is what all see from now on."""
        for word, parts in shown.items():
            column = [
                (place, parts[a.group][:, a.index]) for place, a in enumerate(self.team.agents) if a.group in parts
            ]
            for row, each in zip(rows, told, strict=True):
                values = getattr(each, word)
                for place, out in column:
                    out[row] = values[place]
        if self.team.own_state:
            states = shown["observation"][STATE]
            for row, each in zip(rows, told, strict=True):
                states[row] = each.state
        self._shown = shown
        self._observation = self._here(shown["observation"])
        return self._observation

    def _here(self, parts: Mapping[str, np.ndarray]) -> Grouped:
        return {group: torch.from_numpy(part).to(self.device) for group, part in parts.items()}

    # ----- exact continuation

    def state_dict(self, *_: Any, **__: Any) -> dict[str, Any]:
        """Everything that the next steps depend on, as tensors: seeds and actions of the episodes under way."""
        longest = int(self._steps.max()) if self.repeats else 0
        return {
            **({"strangers": True} if self._strangers else {}),
            "generator": self._generator.get_state(),
            "episode_seeds": self._episode_seeds.clone(),
            "steps": self._steps.clone(),
            "actions": {group: kept[:longest].clone() for group, kept in self._taken.items()},
            "observation": {group: value.clone() for group, value in self._observation.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any], *_: Any, **__: Any) -> None:
        """Continue bit for bit from ``state``, by playing its episodes again up to where they were.

        Where ``repeats`` is False, all that continues are the streams; the next thing to do is :meth:`start`.

        Raises:
            RunError: it comes from an environment with other arguments, or the environment, seeded and stepped as
                before, does not arrive where it was.
        """
        self._reopen()
        self._refuse_other(state)
        self._generator.set_state(state["generator"].cpu())
        if self.repeats:
            self._continue(state)
        elif state["observation"]:
            warnings.warn(
                f"task.repeats is false: the {self.n_envs} episodes under way are not continued but begin afresh, so "
                "the run does not continue bit for bit.",
                stacklevel=2,
            )

    def _continue(self, state: Mapping[str, Any]) -> None:
        if len(next(iter(state["actions"].values()))) < int(state["steps"].max()):
            raise RunError(
                "state: saved with task.repeats=false, without the actions to repeat; write it here as well."
            )
        self._episode_seeds, self._steps = (state[key].to("cpu", copy=True) for key in ("episode_seeds", "steps"))
        for group, kept in self._taken.items():
            kept[: len(state["actions"][group])] = state["actions"][group].cpu()
        if state["observation"]:  # else it was saved before the first start
            self._arrive(self._bring_back(state), state["observation"])

    def _go_on(self) -> None:
        """Bring the episodes under way into simulators that were made again.

        Raises:
            RunError: they do not repeat themselves.
        """
        if not self.repeats:
            raise RunError(
                f"{self._kind}: its simulators were closed, and with task.repeats=false their episodes cannot be "
                "brought back; build the recipe again."
            )
        Simulated.load_state_dict(self, Simulated.state_dict(self))

    def _refuse_other(self, state: Mapping[str, Any]) -> None:
        """Refuse a state that was saved with another team, number of environments, or kind of simulator."""
        expected = {group: list(kept.shape[1:]) for group, kept in self._taken.items()}
        found = {group: list(kept.shape[1:]) for group, kept in state["actions"].items()}
        if found != expected or int(state["steps"].max()) > self.horizon:
            raise RunError(f"state: saved with actions [n_envs, agents, size] = {found}, this task has {expected}.")
        if state.get("strangers", False) != self._strangers:
            raise RunError("state: only one of the saved environment and this task comes from a factory.")

    def _bring_back(self, state: Mapping[str, Any]) -> list[Told]:
        """Bring the simulators to where they were when ``state`` was saved, and return what they tell there.

        The episodes under way are played again, unless a subclass knows better.
        """
        steps = self._steps.tolist()
        taken = (
            self._by_row({group: kept[:count, row] for group, kept in self._taken.items()})
            for row, count in enumerate(steps)
        )
        return self._simulators.replay(self._episode_seeds.tolist(), taken)

    def _arrive(self, told: Sequence[Told], arrived: Mapping[str, Tensor]) -> None:
        """See that what is told after coming back is what was seen when the state was saved."""
        for group, value in self._gather(range(self.n_envs), told, self._blank()).items():
            if not torch.equal(value.nan_to_num(), arrived[group].to(self.device).nan_to_num()):
                raise RunError(
                    "state: the environment does not repeat an episode from the same seed and actions, so it cannot be "
                    "continued; reset(seed=...) has to settle all that is random in it, or task.repeats=false says "
                    "that it does not and begins fresh episodes."
                )


def _dtype(space: Box | Discrete) -> torch.dtype:
    return torch.float32 if isinstance(space, Box) else torch.int64
