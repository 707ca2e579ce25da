"""Any multi-agent environment of TorchRL (Bou et al. 2023, arXiv 2306.00577), by a factory."""

import math
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from hetrl.arguments import Count, Seed, checked
from hetrl.env.adapter import torchrl_state
from hetrl.env.adapter.torchrl_factory import Factory, world_of
from hetrl.env.adapter.torchrl_reader import LeafReader
from hetrl.env.adapter.torchrl_specs import Reading
from hetrl.env.adapter.torchrl_world import Batch, Copies, Written
from hetrl.env.team_env import Reward, TeamEnv
from hetrl.env.transition import Masks
from hetrl.errors import HetrlWarning, RecipeError, RunError
from hetrl.ops import categorical
from hetrl.rng import Stream
from hetrl.team import STATE, Box, Grouped, Team


class TorchRL(TeamEnv):
    """``n_envs`` rows of a TorchRL environment, with the groups, agents and actions that its specs tell of.

    *Who.* The groups are those of ``group_map``, or else the nested keys of the action specs; an action at the root is
    that of a team of one. *What they see* is the leaf ``observation`` of a group (all that is under it), or else all
    its leaves of real numbers, flat and side by side. *Who may do what* is told by ``action_mask``, *who takes part* by
    ``mask``, or by an end of an agent's own (``done`` in its group). *Rewards* are each agent's, or one at the root
    which every agent earns. *An episode* ends where the root says so, or, where it has no ``done``, when every agent
    has ended; ``horizon`` cuts it. Numbers under ``info`` are told of where episodes end, the mean over agents where
    each has one.

    *Rows.* A factory that takes ``n_envs``, ``num_envs``, ``num_workers`` or ``batch_size`` makes all of them at once,
    and rows are reset by its own ``_reset`` mask. So are those of an environment that is not batch-locked, where it
    resets an empty batch of any size. Otherwise it is called once for each row. ``seed`` and ``device`` are given to a
    factory that takes them.

    Args:
        factory: makes an ``EnvBase``: a class, a function, a ``functools.partial``.
        n_envs: environments in the batch, ``N``.
        horizon: steps after which an episode is cut; by default what a ``StepCounter`` of the environment, or its
            ``max_steps``, says [step].
        reward: see :data:`~hetrl.env.team_env.Reward`.
        seed: of all episodes.
        device: where the tensors live, also those of an environment that takes a ``device``.
        state: ``own`` is the environment's, a leaf ``state`` at the root; ``observations`` are those of all agents side
            by side; left out, its own where it has one.
        repeats: whether an episode repeats itself from its seed and actions; otherwise who resumes begins afresh.
        workers: processes over which the rows are spread, where each is an environment of its own; None for this one.

    Raises:
        RecipeError: the factory makes no such environment, or its specs cannot be used.
    Source: Bou et al. 2023, TorchRL, arXiv 2306.00577, for the interface.
    Differs: actions beyond the bounds are clamped; a step that is both terminated and truncated is terminated.
    """

    def __init__(
        self,
        *,
        factory: Callable[..., Any],
        n_envs: Count = 16,
        horizon: Count | None = None,
        reward: Reward = "mean",
        seed: Seed = 0,
        device: str = "cpu",
        state: Literal["own", "observations"] | None = None,
        repeats: bool = True,
        workers: Count | None = None,
    ) -> None:
        super().__init__(n_envs=n_envs, horizon=horizon or 1, reward=reward, device=device)
        self.asks = True  # its simulators are on the host, which every step has to ask anyway
        # Rows in processes leave a GPU alone: a child cannot use what its parent has begun to.
        place = self.device if workers is None else torch.device("cpu")
        self._factory = Factory(factory, n_envs, place)
        self._world = world_of(self._factory, n_envs, seed, workers)
        try:
            self._begin(horizon, self._world.reading(), state, repeats)
        except BaseException:
            self._world.close()
            raise

    __init__ = checked(__init__, "env/torchrl")

    def _begin(self, horizon: int | None, reading: Reading, state: str | None, repeats: bool) -> None:
        found = horizon or self._world.max_steps()
        if not found:
            raise RecipeError(f"task.horizon: {reading.name} has no max_steps; say after how many steps to cut.")
        self.horizon, self._name, self.team = found, reading.name, _team(reading, state)
        self._reader = LeafReader(reading, self.device)
        self._repeats: bool | None = repeats if isinstance(self._world, Copies) or not repeats else None
        everybody = torch.ones(self.n_envs, len(self.team), dtype=torch.bool, device=self.device)
        self._active, self._acted, self._ended = everybody, everybody, ~everybody
        self._steps = torch.zeros(self.n_envs, dtype=torch.int64)  # of the host, as are the actions
        self._taken: dict[str, Tensor] = {}
        if isinstance(self._world, Copies) and repeats:
            for group, agents in self.team.layout.items():
                dtype = torch.float32 if isinstance(agents[0].action, Box) else torch.int64
                shape = (self.horizon, self.n_envs, len(agents), agents[0].action.size)
                self._taken[group] = torch.empty(shape, dtype=dtype)
        self._leaves: list[Tensor] = []
        self._begun, self.is_closed = False, False
        self._kept: dict[str, Any] | None = None
        self._arrive_everywhere()  # whether it gives what its specs say shows here
        self._make_specs()

    @staticmethod
    def provides(arguments: Mapping[str, Any]) -> list[str]:
        """Return the keys that a step writes, given the task's arguments."""
        alone = TorchRL(**{**arguments, "n_envs": 1, "workers": None})
        try:
            return [*TeamEnv.provides(arguments), *(f"agent.{word}" for word in alone.masks)]
        finally:
            alone.close()

    # ----- the fast path: plain tensors

    @property
    def masks(self) -> Masks:
        """Who takes part and who may choose what, see :data:`~hetrl.env.transition.Masks`."""
        masks: Masks = {}
        if allowed := self._reader.action_mask(self._leaves):
            # Who is not there is not asked, and may do anything.
            active = self._reader.grouped(self._active)
            masks["action_mask"] = {group: mask | ~active[group].unsqueeze(-1) for group, mask in allowed.items()}
        if self._reader.leaving:
            masks["active"] = self._reader.grouped(self._active)
        return masks

    @property
    def agent_terminated(self) -> Grouped:
        """Whose own story ended with the latest step."""
        return self._reader.grouped(self._ended) if self._reader.ending else {}

    @property
    def infos(self) -> dict[str, Tensor]:
        """What is told of the latest step under ``info``, ``[N]``."""
        return self._reader.infos(self._leaves)

    def start(self) -> Grouped:
        """Reset every environment. Returns the first observations, group -> ``[N, n, F]``."""
        self._reopen()
        self._begun = True
        return self._arrive_everywhere()

    def seed(self, seed: int) -> None:
        """Start the random streams afresh; the next :meth:`start` is the first of that seed."""
        self._world.seed(seed)

    def close(self, *, raise_if_closed: bool = True) -> None:
        """Close every environment, and the processes they are in. They are made again where they are needed again."""
        if self.is_closed:
            return
        if isinstance(self._world, Batch) and self._begun and self._repeats is not False:
            with suppress(Exception):  # whether it can be saved is told where it has to go on
                self._kept = torchrl_state.save(self._world)
        super().close(raise_if_closed=raise_if_closed)
        self._world.close()

    def _reopen(self) -> bool:
        """Make the environments again that :meth:`close` has closed; return whether they were."""
        closed, self.is_closed = self.is_closed, False
        if closed:
            self._world.open()
        return closed

    def _go_on(self) -> None:
        """Bring the episodes under way into environments that were made again.

        Raises:
            RunError: they do not repeat themselves.
        """
        if not self.repeats or (isinstance(self._world, Batch) and self._kept is None):
            raise RunError(
                f"task ({self._name}): it was closed, and its episodes under way cannot be brought back; build the "
                "recipe again."
            )
        world = {"world": self._kept} if isinstance(self._world, Batch) else {}
        self._continue({**self._where(), **world})

    def _picture(self, row: int) -> np.ndarray:
        if self._reopen():
            self._go_on()
        found = self._world.picture(row)
        if found is None:
            raise RunError(f"task ({self._name}): it draws nothing; its render() has to give an array [H, W, 3].")
        return found

    def _simulate(self, actions: Mapping[str, Tensor]) -> tuple[Grouped, Grouped, Tensor, Tensor]:
        if (self._steps >= self.horizon).any():
            raise RunError(f"task ({self._name}): an episode at its horizon was stepped on; reset it first.")
        if self._reopen():
            self._go_on()
        for group, kept in self._taken.items():
            kept[self._steps, torch.arange(self.n_envs)] = actions[group].detach().to("cpu", kept.dtype)
        self._leaves = self._reader.here(self._world.step(self._reader.written(actions)))
        self._steps = self._steps + 1
        self._acted = self._active
        terminated, truncated = self._ends()
        truncated = truncated | ((self._steps >= self.horizon).to(self.device) & ~terminated)
        # Where the episode is over, who took part in its last step is who counts.
        over = (terminated | truncated).unsqueeze(-1)
        self._active = torch.where(over, self._acted, self._active)
        self._observation = self._seen()
        return self._observation, self._reader.reward(self._leaves), terminated, truncated

    def _ends(self) -> tuple[Tensor, Tensor]:
        """Which rows are terminated and which cut, after a step; who of the agents is still there."""
        own = self._reader.own_ends(self._leaves)
        present = self._reader.present(self._leaves)
        cut = torch.zeros_like(self._active)
        if own is not None:
            self._ended, cut = own[0] & self._acted, own[1] & self._acted
        left = self._acted & ~(self._ended | cut) if own is not None else self._acted
        self._active = left if present is None else present
        ends = self._reader.ends(self._leaves)
        if ends is not None:
            return ends
        over = ~left.any(-1)
        truncated = over & cut.any(-1)
        return over & ~truncated, truncated

    def _reset_rows(self, rows: Tensor) -> Grouped:
        fresh = torch.zeros(self.n_envs, dtype=torch.bool).index_fill_(0, rows.cpu(), True)
        return self._arrive(self._world.reset(rows.cpu()), fresh)

    def _arrive_everywhere(self) -> Grouped:
        return self._arrive(self._world.start(), torch.ones(self.n_envs, dtype=torch.bool))

    def _arrive(self, leaves: list[Tensor], fresh: Tensor) -> Grouped:
        """Take what resets of the rows ``fresh`` gave."""
        self._leaves = self._reader.here(leaves)
        self._steps = self._steps.masked_fill(fresh, 0)
        here = self._reader.present(self._leaves)
        everybody = torch.ones_like(self._active) if here is None else here
        self._active = torch.where(fresh.to(self.device).unsqueeze(-1), everybody, self._active)
        self._observation = self._seen()
        return self._observation

    def _seen(self) -> Grouped:
        own = {STATE: self._reader.state(self._leaves)} if self.team.own_state else {}
        return {**self._reader.observation(self._leaves), **own}

    # ----- exact continuation

    @property
    def repeats(self) -> bool:
        """Whether it goes on bit for bit where it was saved.

        Rows of their own do, from the seeds and actions of their episodes. One environment for all rows does where it
        can be looked into, which is tried on two others when it is first asked, see ``torchrl_state``.
        """
        if self._repeats is None:
            assert isinstance(self._world, Batch)
            problem = torchrl_state.holds(self._twin, self._draw)
            self._repeats = not problem
            if problem:
                warnings.warn(
                    f"task ({self._name}): where it stands cannot be saved, as a trial showed ({problem}); a run that "
                    "is resumed begins fresh episodes. Let the factory make one environment with an empty batch_size, "
                    "or write task.repeats=false.",
                    HetrlWarning,
                    stacklevel=2,
                )
        return self._repeats

    def _twin(self, seed: int) -> Batch:
        world = self._world
        assert isinstance(world, Batch)
        stream = Stream(seed)
        with stream:
            env = self._factory.make(seed)
        return Batch(env, self.n_envs, stream, seed)

    def _draw(self, leaves: list[Tensor], generator: torch.Generator) -> Written:
        """Random actions that the masks allow."""
        allowed, actions = self._reader.action_mask(self._reader.here(leaves)), {}
        for group, agents in self.team.layout.items():
            space, shape = agents[0].action, (self.n_envs, len(agents))
            if isinstance(space, Box):
                actions[group] = torch.randn(*shape, space.size, generator=generator).to(self.device)
            else:
                points = torch.rand(*shape, sum(space.choices), generator=generator).to(self.device)
                actions[group] = categorical.argmax(categorical.masked(points, allowed.get(group)), space.choices)
        return self._reader.written(actions)

    def state_dict(self, *_: Any, **__: Any) -> dict[str, Any]:
        """Everything that the next steps depend on, as tensors and primitives, where :attr:`repeats`."""
        if self._reopen():
            self._go_on()
        state = {"repeats": self.repeats, "begun": self._begun, **self._where()}
        if isinstance(self._world, Copies):
            return state
        saved = torchrl_state.save(self._world) if self.repeats else {"stream": self._world.stream.state_dict()}
        return {**state, "world": saved}

    def _where(self) -> dict[str, Any]:
        """Where the episodes are; of rows of their own, all of it."""
        state: dict[str, Any] = {
            "observation": {group: value.clone() for group, value in self._observation.items()},
            "steps": self._steps.clone(),
            "active": self._active.clone(),
        }
        if isinstance(self._world, Copies):
            longest = int(self._steps.max())
            taken = {group: kept[:longest].clone() for group, kept in self._taken.items()}
            return {**state, "world": self._world.state(), "actions": taken}
        return state

    def load_state_dict(self, state: Mapping[str, Any], *_: Any, **__: Any) -> None:
        """Continue bit for bit from ``state``; where it does not repeat, the next thing to do is :meth:`start`.

        Raises:
            RunError: it comes from an environment with other arguments, or its episodes, played again, do not arrive
                where they were.
        """
        found, expected = (
            {group: list(value.shape) for group, value in each.items()}
            for each in (state["observation"], self._observation)
        )
        if found != expected:
            raise RunError(f"state: saved with observations {found}, this task has {expected}.")
        self._reopen()
        self._begun = state["begun"]
        if state["repeats"] and self.repeats:
            self._continue(state)
            return
        self._repeats = False
        if isinstance(self._world, Copies):
            self._world.continue_from(state["world"])
        else:
            self._world.stream.load_state_dict(state["world"]["stream"])
        if self._begun:
            warnings.warn(
                f"task ({self._name}): the {self.n_envs} episodes under way are not continued but begin afresh, so the "
                "run does not continue bit for bit.",
                HetrlWarning,
                stacklevel=2,
            )

    def _continue(self, state: Mapping[str, Any]) -> None:
        """Take up the episodes of ``state``."""
        self._steps = state["steps"].to("cpu", copy=True)
        self._active = state["active"].to(self.device, copy=True)
        if isinstance(self._world, Copies):
            self._replay(self._world, state)
        else:
            torchrl_state.load(self._world, state["world"])
            self._leaves = self._reader.here(self._world.leaves())
        self._observation = self._seen()
        for group, value in self._observation.items():
            if not torch.equal(value.nan_to_num(), state["observation"][group].to(self.device).nan_to_num()):
                raise RunError(
                    f"state: {self._name} does not repeat an episode from the same seed and actions, so it cannot be "
                    "continued; set_seed has to settle all that is random in it, or task.repeats=false says that it "
                    "does not and begins fresh episodes."
                )

    def _replay(self, world: Copies, state: Mapping[str, Any]) -> None:
        for group, kept in self._taken.items():
            kept[: len(state["actions"][group])] = state["actions"][group].cpu()
        longest = int(self._steps.max())
        played = [
            self._reader.written({group: kept[step].to(self.device) for group, kept in self._taken.items()})
            for step in range(longest)
        ]
        self._leaves = self._reader.here(world.restore(state["world"], played, self._steps.tolist()))


def _team(reading: Reading, state: str | None) -> Team:
    """The team, with the environment's own state where it is asked for, or there and not refused.

    Raises:
        RecipeError: it is asked for, and there is none.
    """
    if state == "observations" or (state is None and reading.state is None):
        return reading.team
    if reading.state is None:
        raise RecipeError(f"task.state: {reading.name} has no 'state' of its own; write state: observations.")
    leaf = reading.leaves[reading.state.leaf]
    shape = leaf.shape or (1,)
    dtype = torch.uint8 if leaf.image else torch.float32
    return replace(reading.team, state_size=math.prod(shape), state_shape=shape, state_dtype=dtype)
