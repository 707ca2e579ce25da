"""On-policy collection: fresh steps of the current policies, used once."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import torch
from tensordict import TensorDict
from torch import Tensor

from hetrl import rng
from hetrl.allocation import allocating, refuse_above_all
from hetrl.arguments import Count, checked
from hetrl.data.behaviour import Behaviour, forgotten
from hetrl.data.collected import Collected, Source
from hetrl.data.ends import lives, own_ends
from hetrl.data.environment import Environment, close, repeats, trusted
from hetrl.data.figures import Figures
from hetrl.data.intake import Intake
from hetrl.data.played_step import Put, RolloutStep, kept, played_step
from hetrl.errors import RecipeError
from hetrl.graph import copy_all
from hetrl.keys import ENDS
from hetrl.network import Network
from hetrl.ops.episodes import finished_sums
from hetrl.ops.scaled import scaled
from hetrl.ranks import Rank
from hetrl.team import Grouped

_Present = tuple[Grouped, Mapping[str, Grouped], dict[str, Tensor]]
"""Observations, masks and memories."""


class OnPolicy(Source):
    """Batches of ``frames`` environment steps, time first, taken with the current policies.

    A frame is one step of one environment (of the whole team). Episodes run on across batches.

    Args:
        frames: steps per batch, over all environments; a multiple of ``task.n_envs``.
        policy: the net that acts; may be left out where only one can.

    Raises:
        RecipeError: ``frames`` is no multiple of the number of environments.
    """

    in_order: ClassVar[bool] = True
    """Whether its samples are steps in the order of time."""

    def __init__(self, *, frames: Count, policy: str | None = None) -> None:
        self.frames, self.policy = frames, policy

    __init__ = checked(__init__, "data/on_policy")

    @staticmethod
    def check_arguments(arguments: Mapping[str, Any], n_envs: int) -> None:
        """Refuse a number of frames that the environments cannot share evenly.

        Raises:
            RecipeError: with the nearest number.
        """
        frames = arguments.get("frames", n_envs)
        if frames % n_envs:
            nearest = max(1, round(frames / n_envs)) * n_envs
            raise RecipeError(
                f"data.frames = {frames} must be a multiple of task.n_envs = {n_envs}; nearest: {nearest}."
            )

    @staticmethod
    def amounts(arguments: Mapping[str, Any], n_envs: int, frames: int) -> tuple[int, int, int]:
        """Return how many samples and frames a run of ``frames`` comes to, and the rows of a sample."""
        batch = arguments.get("frames", n_envs)
        n_batches = -(-frames // batch)
        return n_batches, n_batches * batch, batch

    @staticmethod
    def share(arguments: Mapping[str, Any], rank: Rank) -> dict[str, Any]:
        """Return the arguments of one of several processes, each with its part of the environments.

        Raises:
            RecipeError: they cannot be shared evenly.
        """
        return {**arguments, "frames": rank.part(arguments["frames"], "data.frames")}

    @classmethod
    def check_chunk(cls, arguments: Mapping[str, Any], n_envs: int, net: str, chunk: int) -> None:
        """Refuse steps that do not divide into the chunks in which a recurrent net is unrolled.

        Raises:
            RecipeError: with a number that does.
        """
        n_steps = arguments.get("frames", n_envs) // n_envs
        if n_steps % chunk:
            nearest = max(1, round(n_steps / chunk)) * chunk * n_envs
            raise RecipeError(
                f"nets.{net}: chunk = {chunk} does not divide the {n_steps} steps of a batch in each environment "
                f"(data.frames / task.n_envs); nearest: data.frames = {nearest}."
            )

    @staticmethod
    def provides(keys: Iterable[str]) -> list[str]:
        """Return the keys of a batch, given those of the environment and of the memories that nets ask for."""
        seen = list(keys)
        words = ("observation", "state", "action_mask")
        after = [f"next.{key}" for key in seen if key.split(".")[-1] in words or key == "memory"]
        recurrent = ["is_init", "next.is_init"] if any(key.split(".")[-1] == "memory" for key in seen) else []
        return [*seen, "agent.action", "terminated", "truncated", "done", *after, *recurrent]

    def attach(
        self, env: Environment, behaviour: Behaviour, reward: str, seed: int, critic: Network | None = None
    ) -> None:
        """Bind the collection to its environments and policies.

        Args:
            env: the vectorised environments.
            behaviour: who acts.
            reward: how the team reward is made of the agents', see ``task.reward``; ``per_agent`` makes none.
            seed: of the exploration noise.
            critic: the team's recurrent net, whose memory is carried along as well.
        """
        self._env, self._behaviour, self._reward, self._critic = env, behaviour, reward, critic
        self._intake = Intake(env.team)
        self._watch = getattr(behaviour, "watch", None)
        self._begin()
        self.check_arguments({"frames": self.frames}, self.n_envs)
        self._generator = torch.Generator(self.device).manual_seed(seed)
        self._take: RolloutStep = played_step(self._step, env, behaviour, self._generator)

    def _begin(self) -> None:
        """Begin episodes in all environments."""
        self._observation, self._masks = self._env.start(), self._env.masks
        self._intake.start(self._observation)
        first = next(iter(self._observation.values()))
        self.n_envs, self.device = first.shape[0], first.device
        self._return = torch.zeros(self.n_envs, device=self.device)
        self._length = torch.zeros(self.n_envs, device=self.device)
        self._figures = Figures(self._env.team, self.n_envs, self.device)
        self._memory = self._behaviour.blank(self._observation)
        n_units = 0 if self._critic is None else self._critic.memory
        self._critic_memory = scaled(first[:0]).new_zeros((self.n_envs, n_units))
        self._is_init = torch.ones(self.n_envs, dtype=torch.bool, device=self.device)
        self._begun: dict[str, Tensor] = {}

    def collect(self) -> Collected:
        """Take the next steps and return them as the one sample to update on."""
        batch = self.rollout()
        each = self._figures.each({group: batch[group, "reward"] for group in self._env.team.layout})
        agent_returns = self._figures.agent_returns(each, batch["done"])
        return replace(Collected.of(batch), agent_returns=agent_returns, infos=self._figures.told())

    def n_collections(self, frames: int) -> int:
        """Return how many batches ``frames`` frames take."""
        return -(-frames // self.frames)

    def rollout(self) -> TensorDict:
        """Return the next batch, ``[T, N]``, on the environments' device.

        Raises:
            DivergenceError: a policy or the environment gave a number that is not finite; see ``data/intake``.
        """
        self._behaviour.refresh()
        rows, (observation, masks, memory) = self._on_trust() if trusted(self._env) else self._asking()
        self._intake.look(rows.values, observation, self._length)
        if self._watch is not None:
            self._watch(_of(rows.values, "observation"), _of(rows.values, "active"))
        self._observation, self._masks, self._memory = dict(observation), dict(masks), memory
        return self._assemble(rows.values)

    def _asking(self) -> tuple["_Buffers", "_Present"]:
        """Take the steps of a batch: its rows, and where it ends."""
        rows = self._buffers()
        try:
            return rows, self._steps(rows)
        except Exception:
            # What made it fail may be a number from steps before: they are looked at together, at the end.
            self._intake.explain(rows.so_far(), self._length)
            raise

    def _on_trust(self) -> tuple["_Buffers", "_Present"]:
        """The same with environments that do not ask, step by step, whether a step went the way that they took for it.

        They are asked once at the end; where one did not, everything is put back, and taken again with questions.
        """
        before, noise = self._env.state_dict(), self._generator.get_state()
        rows, then = self._buffers(), None
        with suppress(Exception):  # raised again below, where it is not for having gone the wrong way
            then = self._steps(rows)
        if self._env.held() and then is not None:  # type: ignore[attr-defined]
            return rows, then
        self._env.load_state_dict(before)
        self._generator.set_state(noise)
        self._figures.told()
        return self._asking()

    def _buffers(self) -> "_Buffers":
        return _Buffers(f"data.frames = {self.frames}", self.frames // self.n_envs)

    def _steps(self, rows: "_Buffers") -> "_Present":
        """Take steps into rows. Returns the observations, masks and memories after the last."""
        present: _Present = self._observation, self._masks, dict(self._memory)
        for step in range(rows.n_steps):
            present = self._take(present, partial(rows.put, step))
        return kept(present)

    def _step(self, present: "_Present", put: Put) -> "_Present":
        """Take a step, and hand out what is stored of it."""
        observation, masks, memory = present
        put({"observation": observation, **masks, "memory": memory})
        memory = self._behaviour.remember(observation, memory)
        known = {**observation, **memory}
        action = self._behaviour.explore(known, masks.get("action_mask", {}), self._generator)
        put({"action": action})
        moved = self._env.advance(action)
        ends, flags = own_ends(masks, moved), {"terminated": moved.terminated, "truncated": moved.truncated}
        put({"reward": moved.reward, "next_observation": moved.next_observation, "end": flags})
        put({"next_action_mask": moved.next_masks.get("action_mask", {})})
        put({word: {group: each[word] for group, each in ends.items()} for word in ENDS})
        if moved.infos:
            self._figures.tell(moved)
        if memory:
            begun = lives(ends, masks, moved)
            put({"begun": begun})
            memory = forgotten(memory, moved.terminated, moved.truncated, begun)
        return moved.observation, moved.masks, memory

    def _assemble(self, rows: Mapping[tuple[str, str], Tensor]) -> TensorDict:
        """Name the stacked rows, and add the state, the team reward and what episodes have earned."""
        team = self._env.team
        groups = team.layout
        terminated, truncated = rows["end", "terminated"], rows["end", "truncated"]
        done = terminated | truncated
        active = {group: rows["active", group] for group in groups if ("active", group) in rows}
        earned = team.reward({group: rows["reward", group] for group in groups}, self._reward, active)
        returns, self._return = finished_sums(earned, done, self._return)
        lengths, self._length = finished_sums(torch.ones_like(earned), done, self._length)
        batch: dict[str, Any] = {
            "terminated": terminated, "truncated": truncated, "done": done,
            "state": team.state(_of(rows, "observation")), "next": {"state": team.state(_of(rows, "next_observation"))},
            "episode": {"return": returns, "length": lengths},
        }  # fmt: skip
        if self._reward != "per_agent":
            batch["reward"] = earned
        for group in groups:
            words = ("observation", "memory", "action", "reward", *ENDS, *self._masks)
            after = ("observation", "action_mask")
            batch[group] = {word: rows[word, group] for word in words if (word, group) in rows}
            batch["next"][group] = {
                word: rows[f"next_{word}", group] for word in after if (f"next_{word}", group) in rows
            }
        if self._memory or self._critic is not None:
            batch["is_init"] = torch.cat([self._is_init.unsqueeze(0), done[:-1]])
            batch["next"]["is_init"] = torch.ones_like(done)  # what a step led to stands alone, with its own memory
            for group, begun in ((name, value) for (word, name), value in rows.items() if word == "begun"):
                first = self._begun.get(group, torch.zeros_like(begun[0])).unsqueeze(0)
                batch[group]["is_init"] = torch.cat([first, begun[:-1]]) | batch["is_init"].unsqueeze(-1)
                self._begun[group] = begun[-1].clone()
        if self._critic is not None:
            batch["memory"], batch["next"]["memory"] = self._follow(self._critic, batch["state"], batch["is_init"])
        self._is_init = done[-1].clone()
        return TensorDict(batch, batch_size=done.shape, device=self.device)

    @torch.no_grad()
    def _follow(self, critic: Network, state: Tensor, is_init: Tensor) -> tuple[Tensor, Tensor]:
        """Return the critic's memory before and after each step, and carry it on to the next batch."""
        memory, before, after = self._critic_memory, [], []
        for seen, begins in zip(state, is_init.unsqueeze(-1), strict=True):
            before.append(memory.masked_fill(begins, 0.0))
            memory = critic.remember(seen, before[-1])
            after.append(memory)
        self._critic_memory = memory
        return torch.stack(before), torch.stack(after)

    def state_dict(self) -> dict[str, Any]:
        """Everything an exact continuation needs: simulator, observations, noise, running episodes, memories.

        Raises:
            DivergenceError: a number that is not finite was collected, and refused.
        """
        self._intake.check_saved()
        return {
            "env": self._env.state_dict(),
            "observation": dict(self._observation),
            "masks": {word: dict(parts) for word, parts in self._masks.items()},
            "generator": self._generator.get_state(),
            "return": self._return,
            "length": self._length,
            "figures": self._figures.state_dict(),
            "memory": dict(self._memory),
            "critic_memory": self._critic_memory,
            "is_init": self._is_init,
            "begun": dict(self._begun),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where :meth:`state_dict` was taken; with fresh episodes, where those under way do not repeat."""
        self._env.load_state_dict(state["env"])
        rng.go_on(self._generator, state["generator"])
        if not repeats(self._env):
            self._begin()
            return
        self._observation = self._here(state["observation"])
        self._masks = {word: self._here(parts) for word, parts in state["masks"].items()}
        self._return, self._length = state["return"].to(self.device), state["length"].to(self.device)
        self._figures.load_state_dict(state.get("figures"))
        self._memory, self._is_init = self._here(state["memory"]), state["is_init"].to(self.device)
        self._critic_memory = state["critic_memory"].to(self.device)
        self._begun = self._here(state.get("begun", {}))

    def close(self) -> None:
        """Close the environments."""
        close(self._env)

    def _here(self, parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {group: value.to(self.device) for group, value in parts.items()}


def _of(rows: Mapping[tuple[str, str], Tensor], word: str) -> dict[str, Tensor]:
    """Return what is stored under a word, by layout group."""
    return {group: value for (each, group), value in rows.items() if each == word}


class _Buffers:
    """Rows written step by step, allocated at the first one."""

    def __init__(self, what: str, n_steps: int) -> None:
        self._what, self.n_steps = what, n_steps
        self.values: dict[tuple[str, str], Tensor] = {}
        self._n_written: dict[str, int] = {}

    def put(self, step: int, words: Mapping[str, Mapping[str, Tensor]]) -> None:
        given = {(word, name): value for word, parts in words.items() for name, value in parts.items()}
        if step == 0:
            self._allocate(given)
        copy_all([self.values[key][step] for key in given], list(given.values()))
        self._n_written |= dict.fromkeys(words, step + 1)

    def so_far(self) -> dict[tuple[str, str], Tensor]:
        """Return what is written; of some words it may be a step more than of others."""
        return {key: values[: self._n_written[key[0]]] for key, values in self.values.items()}

    def _allocate(self, given: Mapping[tuple[str, str], Tensor]) -> None:
        for key, value in given.items():
            with allocating(self._what):
                self.values[key] = value.new_empty((self.n_steps, *value.shape))
            refuse_above_all(self._what, sum(each.nbytes for each in self.values.values()), value.device)
