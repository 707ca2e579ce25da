"""Replay: the latest steps are kept, and updates draw from them."""

import warnings
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge
from tensordict import TensorDict
from torch import Tensor

from hetrl import rng
from hetrl.allocation import allocating
from hetrl.arguments import Count, Fraction, checked
from hetrl.data.behaviour import Behaviour, BestOf
from hetrl.data.collected import Collected, Source
from hetrl.data.ends import by_group, cut_off, first_end, own_ends
from hetrl.data.environment import Environment, close, repeats
from hetrl.data.figures import Figures
from hetrl.data.intake import Intake, Steps
from hetrl.data.random_actions import RandomActions
from hetrl.data.ring import Ring
from hetrl.errors import RecipeError, RunError
from hetrl.keys import ENDS
from hetrl.network import Network
from hetrl.ops.episodes import finished_sums
from hetrl.ops.n_step import n_step_weights
from hetrl.team import STATE, Discrete, Grouped, Team

_MASKS = ("action_mask", "active")
_BLOCK = 128
"""Steps of one collection that are looked over, and then stored, together."""


def transition_bytes(team: Team, provided: Container[str]) -> int:
    """Return the bytes of a stored step of one environment: what is seen before and after, actions, rewards and flags.

    Args:
        team: its agents.
        provided: keys that a step writes; ``agent.action_mask`` and ``agent.active`` are stored, where they are there.
    """
    flag = torch.bool.itemsize
    found = 2 * flag  # the episode's ends
    for agent in team.agents:
        seen, number = agent.observation_size * agent.observation_dtype.itemsize, torch.float32.itemsize
        if isinstance(agent.action, Discrete):
            number = torch.int64.itemsize
            seen += sum(agent.action.choices) * flag if "agent.action_mask" in provided else 0
        if "agent.active" in provided:
            seen += 2 * flag  # and the agent's own ends, twice as well
        found += 2 * seen + number * agent.action.size + torch.float32.itemsize
    return found + (2 * team.state_size * team.state_dtype.itemsize if team.own_state else 0)


class Replay(Source):
    """A ring of the latest steps, from which every update draws rows, uniformly and with replacement.

    R = sum_{m < k} gamma^m r_m,   discount = gamma^k

    where k counts the steps up to the first of: ``n_step``, the end of the episode (terminated or truncated), the
    newest step stored. ``reward`` is R, ``discount`` is gamma^k, and what is ``next.`` and the flags are those of the
    last of the k steps, so that a target is R + discount (1 - terminated) Q(next). The agents' own rewards are summed
    alike. With gamma 0.5, ``n_step`` 3 and rewards 1, 2, 4, the episode over with the second: R = 2, discount = 0.25.

    A run begins with ``warmup`` frames of random actions, taken in one go and without an update. From then on every
    collection takes ``frames`` steps with the current policies and draws ``updates`` samples, one for each pass over
    the recipe's ``update``: there are ``updates / frames`` passes per frame. Episodes run on across collections.

    Args:
        capacity: transitions kept over all environments, rounded down to whole steps of all of them.
        batch: rows of one sample.
        warmup: frames of random actions (uniform within their bounds, or over the available options) before the first
            update, rounded up to whole steps.
        frames: frames collected between updates, over all environments, a multiple of ``task.n_envs``; left out, one
            step of each.
        updates: samples drawn for each collection.
        n_step: most steps that a reward sums [step].
        gamma: discount of one step [1].
        policy: the net that acts; may be left out where only one can.
        n_candidates: K_b, how many joint actions are drawn where one is taken, the best by ``judge``. This is for
            exploration, and takes the global state: evaluation acts with the policies alone. Where agents see
            different things and should tell each other, they need not, and do not learn to.
        judge: the net and its mode that values them, where there are several.
        save: whether checkpoints hold what is stored, as exact continuation needs. Without, a resumed run first takes
            ``warmup`` frames with the policies that it has by then, without an update.

    Raises:
        RecipeError: ``frames`` is no multiple of the number of environments, or the first sample could not be drawn.
    Source: Mnih et al. 2015, Nature 518 (replay); Sutton and Barto 2018, eq. 7.1 (n-step returns).
    Differs: n-step sums stop at the newest stored step, so that no stored step waits to be drawn; nothing corrects for
        the policy having changed since.
    """

    in_order: ClassVar[bool] = False
    """Whether its samples are steps in the order of time."""

    def __init__(
        self,
        *,
        capacity: Count,
        batch: Count,
        warmup: Annotated[int, Ge(0)],
        frames: Count | None = None,
        updates: Count = 1,
        n_step: Count = 1,
        gamma: Fraction = 0.99,
        policy: str | None = None,
        n_candidates: Count = 1,
        judge: str = "q.min",
        save: bool = True,
    ) -> None:
        self.capacity, self.batch, self.warmup, self.updates = capacity, batch, warmup, updates
        self.n_step, self.gamma, self.policy, self.save = n_step, gamma, policy, save
        self.n_candidates, self.judge = n_candidates, judge
        self._given_frames = frames

    __init__ = checked(__init__, "data/replay")

    @staticmethod
    def check_arguments(arguments: Mapping[str, Any], n_envs: int) -> None:
        """Refuse numbers that do not go together with the number of environments.

        Raises:
            RecipeError: with what to write instead.
        """
        capacity, batch, warmup = (arguments[word] for word in ("capacity", "batch", "warmup"))
        frames, n_step = arguments.get("frames") or n_envs, arguments.get("n_step", 1)
        if frames % n_envs:
            nearest = max(1, round(frames / n_envs)) * n_envs
            raise RecipeError(
                f"data.frames = {frames} must be a multiple of task.n_envs = {n_envs}; nearest: {nearest}."
            )
        n_slots = capacity // n_envs
        if n_slots < n_step + 1:
            raise RecipeError(
                f"data.capacity = {capacity} holds {n_slots} steps of task.n_envs = {n_envs} environments, and "
                f"data.n_step = {n_step} needs {n_step + 1}; write at least {(n_step + 1) * n_envs}."
            )
        if warmup > capacity:
            raise RecipeError(
                f"data.warmup = {warmup} is more than data.capacity = {capacity} keeps; lower one, or raise the other."
            )
        stored = min(n_slots, -(-warmup // n_envs) + frames // n_envs) * n_envs
        if batch > stored:
            raise RecipeError(
                f"data.batch = {batch} is more than the {stored} transitions that are stored at the first update; "
                "lower it, or raise data.warmup (and data.capacity, where that is smaller)."
            )

    @staticmethod
    def amounts(arguments: Mapping[str, Any], n_envs: int, frames: int) -> tuple[int, int, int]:
        """Return how many samples and frames a run of ``frames`` comes to, and the rows of a sample."""
        collected = arguments.get("frames") or n_envs
        warmup = -(-arguments["warmup"] // n_envs) * n_envs
        n_collections = -(-max(frames - warmup, 0) // collected)
        return n_collections * arguments.get("updates", 1), warmup + n_collections * collected, arguments["batch"]

    @staticmethod
    def provides(keys: Iterable[str]) -> list[str]:
        """Return the keys of a sample, given those of the environment."""
        seen = list(keys)
        after = [
            f"next.{key}"
            for key in seen
            if key.split(".")[-1] in ("observation", "state", "action_mask", "active")
        ]  # fmt: skip
        return [*seen, "agent.action", "discount", "terminated", "truncated", "done", *after]

    def attach(
        self, env: Environment, behaviour: Behaviour | BestOf, reward: str, seed: int, critic: Network | None = None
    ) -> None:
        """Bind the replay to its environments and policies.

        Args:
            env: the vectorised environments.
            behaviour: who acts after the warm-up.
            reward: how the team reward is made of the agents', see ``task.reward``; ``per_agent`` makes none.
            seed: of exploration and of the draws.
            critic: a recurrent net of the team; the checker lets none through.
        """
        self._env, self._behaviour, self._reward, self._team = env, behaviour, reward, env.team
        self._intake = Intake(self._team)
        self._watch = getattr(behaviour, "watch", None)
        self._begin()
        self.frames = self._given_frames or self.n_envs
        self.check_arguments(
            {"capacity": self.capacity, "batch": self.batch, "warmup": self.warmup, "frames": self.frames,
             "n_step": self.n_step}, self.n_envs,
        )  # fmt: skip
        self._generator = torch.Generator(self.device).manual_seed(seed)
        self._sampler = torch.Generator(self.device).manual_seed(rng.derive(seed, "replay"))
        self.ring = Ring(self.capacity // self.n_envs, self.n_envs, self.device)
        self._random = self.warmup > 0
        self._random_actions = RandomActions(self._team, self.n_envs, self._generator) if self._random else None
        if not self.save:
            warnings.warn(
                f"data.save is false: checkpoints leave out what is stored. A resumed run first collects data.warmup = "
                f"{self.warmup} frames with the policies that it has by then, and does not continue bit for bit.",
                stacklevel=2,
            )

    def _begin(self) -> None:
        """Begin episodes in all environments."""
        self._observation, self._masks = self._env.start(), self._env.masks
        self._intake.start(self._observation)
        first = next(iter(self._observation.values()))
        self.n_envs, self.device = first.shape[0], first.device
        self._return = torch.zeros(self.n_envs, device=self.device)
        self._length = torch.zeros(self.n_envs, device=self.device)
        self._figures = Figures(self._team, self.n_envs, self.device)

    # ----- collecting

    @property
    def _missing(self) -> int:
        """Steps of the warm-up that are yet to be taken, of all environments at once."""
        return max(-(-self.warmup // self.n_envs) - self.ring.written, 0)

    def n_collections(self, frames: int) -> int:
        """Return how many collections ``frames`` frames take; the first may be a whole warm-up."""
        warmup = self._missing * self.n_envs
        return -(-max(frames - warmup, 0) // self.frames) + (warmup > 0 and frames > 0)

    def collect(self) -> Collected:
        """Take the next steps. The samples are drawn when they are iterated over, once; a warm-up has none.

        Raises:
            DivergenceError: a policy or the environment gave a number that is not finite; see ``data/intake``.
        """
        warmup = self._missing
        n_steps = warmup or self.frames // self.n_envs
        self._behaviour.refresh()
        reward, each, done = self._take(n_steps)
        self._random = False
        returns, self._return = finished_sums(reward, done, self._return)
        lengths, self._length = finished_sums(torch.ones_like(reward), done, self._length)
        samples = () if warmup else self._samples()
        figures = returns.sum(), lengths.sum(), done.sum()
        agent_returns = self._figures.agent_returns(each, done)
        return Collected(n_steps * self.n_envs, *figures, samples, agent_returns, self._figures.told())

    def _take(self, n_steps: int) -> tuple[Tensor, Tensor, Tensor]:
        """Take and store steps.

        Returns:
            What the team earned, ``[n_steps, N]``, each agent, ``[n_steps, N, n]``, and where episodes ended.
        """
        earned, each, ended, ages = [], [], [], self._length
        taken: list[TensorDict] = []
        for step in range(n_steps):
            row, reward, done = self._advance(taken, ages)
            earned.append(reward)
            each.append(self._figures.each({group: row[group, "reward"] for group in self._team.layout}))
            ended.append(done)
            # A step alone is stored at once. Of several copies are kept: an environment may write to what it gave.
            taken.append(row if n_steps == 1 else row.clone())
            last = step == n_steps - 1
            if last or len(taken) == _BLOCK:
                self._store(taken, ages)
                ages = ages if last else _aged(ages, ended[-_BLOCK:])
                taken.clear()
        return torch.stack(earned), torch.stack(each), torch.stack(ended)

    def _store(self, taken: Sequence[TensorDict], ages: Tensor) -> None:
        """Look steps over, and write them to the ring."""
        self._intake.look(self._steps(taken), self._observation, ages)
        if self._watch is not None:
            self._watch(*map(_stacked, self._seen(taken)))
        for row in taken:
            if self.ring.written:
                self.ring.write(row)
            else:
                with allocating(f"data.capacity = {self.capacity}"):
                    self.ring.write(row)

    def _seen(self, taken: Sequence[TensorDict]) -> Iterator[dict[str, list[Tensor]]]:
        """Yield what was acted on in some steps, and who took part, by layout group; the state where it is its own."""
        for word in ("observation", "active"):
            groups = [group for group in self._team.layout if (group, word) in taken[0].keys(include_nested=True)]
            found = {group: [row[group, word] for row in taken] for group in groups}
            if self._team.own_state and word == "observation":
                found[STATE] = [row[STATE] for row in taken]
            yield found

    def _advance(self, taken: Sequence[TensorDict], ages: Tensor) -> tuple[TensorDict, Tensor, Tensor]:
        """Take one step: return its rows ``[N]``, what the team earned ``[N]``, and where the episode ended ``[N]``.

        Args:
            taken: the steps before it that are not looked over yet.
            ages: steps that the episodes had before those.
        """
        observation, masks = self._observation, self._masks
        available = masks.get("action_mask", {})
        action: Grouped = {}
        try:
            if self._random:
                assert self._random_actions is not None
                action = self._random_actions.draw(available)
            else:
                action = self._behaviour.explore(observation, available, self._generator)
            moved = self._env.advance(action)
        except Exception:
            # What made it fail may be a number from steps before: they are looked over together, now and then.
            shown = {word: masks[word] for word in _MASKS if word in masks}
            self._intake.explain(self._steps(taken, observation=observation, action=action, **shown), ages)
            raise
        self._observation, self._masks = moved.observation, moved.masks
        if moved.infos:
            self._figures.tell(moved)
        row = self._row(observation, masks, action, moved)
        earned = self._team.reward(moved.reward, self._reward, masks.get("active"))
        return row, earned, moved.terminated | moved.truncated

    def _steps(self, taken: Sequence[TensorDict], **now: Grouped) -> Steps:
        """Return steps as the intake takes them, with the words of one that was not completed."""
        steps: dict[tuple[str, str], list[Tensor]] = {}
        for word in ("terminated", "truncated"):
            steps["end", word] = [each[word] for each in taken]
        for group in self._team.layout:
            words = (
                "observation",
                "action",
                "reward",
                *(word for word in _MASKS if group in self._masks.get(word, {})),
            )
            for word in words:
                steps[word, group] = [each[group, word] for each in taken]
            steps["next_observation", group] = [each["next", group, "observation"] for each in taken]
        if self._team.own_state:
            steps["observation", STATE] = [each[STATE] for each in taken]
            steps["next_observation", STATE] = [each["next", STATE] for each in taken]
        for word, parts in now.items():
            for group, value in parts.items():
                steps[word, group].append(value)
        return steps

    def write(self, observation: Grouped, masks: Mapping[str, Grouped], action: Grouped, moved: Any) -> None:
        """Store one step of every environment, what each part holds by layout group.

        Args:
            observation: ``[N, n, F]``, what the agents saw.
            masks: what went with it.
            action: ``[N, n, A]``, what they did.
            moved: what came of it, a ``Transition`` (see ``env/transition``).
        """
        self.ring.write(self._row(observation, masks, action, moved))

    def _row(self, observation: Grouped, masks: Mapping[str, Grouped], action: Grouped, moved: Any) -> TensorDict:
        step: dict[str, Any] = {"terminated": moved.terminated, "truncated": moved.truncated, "next": {}}
        own = own_ends(masks, moved)
        for group in self._team.layout:
            step[group] = {"observation": observation[group], "action": action[group], "reward": moved.reward[group]}
            step[group] |= _of(group, masks) | own.get(group, {})
            step["next"][group] = {"observation": moved.next_observation[group], **_of(group, moved.next_masks)}
        if self._team.own_state:
            step[STATE], step["next"][STATE] = observation[STATE], moved.next_observation[STATE]
        return TensorDict(step, batch_size=[self.n_envs])

    # ----- drawing

    def _samples(self) -> Iterator[TensorDict]:
        for _ in range(self.updates):
            yield self.sample()

    def sample(self) -> TensorDict:
        """Draw ``batch`` rows of all that are stored, ``[B]``.

        Raises:
            RunError: fewer are stored.
        """
        if len(self.ring) < self.batch:
            raise RunError(
                f"data.batch = {self.batch} is more than the {len(self.ring)} transitions stored so far; collect first."
            )
        with allocating(f"data.batch = {self.batch}"):
            rows = torch.randint(len(self.ring), (self.batch,), generator=self._sampler, device=self.device)
            return self.gather(rows)

    def gather(self, rows: Tensor) -> TensorDict:
        """Return stored rows (see :class:`~hetrl.data.ring.Ring`) as a batch, ``[B]``, on the environments' device."""
        stored, groups = self.ring.leaves(), self._team.layout
        window, exists = self.ring.window(rows, self.n_step)
        own = by_group(stored, groups, window)
        ended = cut_off(own, stored[("terminated",)][window] | stored[("truncated",)][window])
        weight, discount, last = n_step_weights(ended, exists, self.gamma)
        final = window.gather(0, last.unsqueeze(0)).squeeze(0)
        batch: dict[str, Any] = {word: stored[(word,)].index_select(0, final) for word in ("terminated", "truncated")}
        batch["done"] = batch["terminated"] | batch["truncated"]
        batch["next"] = {}
        for group in groups:
            batch[group] = _taken(stored, (group,), rows)
            batch["next"][group] = _taken(stored, ("next", group), final)
        rewards = {group: stored[group, "reward"][window] for group in groups}
        weight = weight.to(next(iter(rewards.values())).dtype)
        sums = {group: _summed(each, weight) for group, each in rewards.items()}
        earned = self._team.reward(sums, self._reward)
        if self._reward == "of_the_living":  # who takes part differs from step to step
            active = {group: stored[group, "active"][window] for group in groups if (group, "active") in stored}
            earned = (weight * self._team.reward(rewards, self._reward, active)).sum(0)
        if self._reward != "per_agent":
            batch["reward"] = earned
        for group, each in rewards.items():
            batch[group]["reward"] = sums[group]
            if group in own:
                ends, until = first_end(own[group], weight > 0)
                batch[group] |= {"reward": _summed(each * until, weight), **ends}
        batch["discount"] = discount.to(earned.dtype)
        for place, path, chosen in ((batch, (), rows), (batch["next"], ("next",), final)):
            seen = {group: place[group]["observation"] for group in groups}
            if self._team.own_state:
                seen[STATE] = stored[(*path, STATE)].index_select(0, chosen)
            place["state"] = self._team.state(seen)
        return TensorDict(batch, batch_size=rows.shape, device=self.device)

    # ----- exact continuation

    def state_dict(self) -> dict[str, Any]:
        """Everything an exact continuation needs: simulator, observations, noise, running episodes, the ring.

        Raises:
            DivergenceError: a number that is not finite was collected, and refused.
        """
        self._intake.check_saved()
        return {
            "env": self._env.state_dict(),
            "observation": dict(self._observation),
            "masks": {word: dict(parts) for word, parts in self._masks.items()},
            "generator": self._generator.get_state(),
            "sampler": self._sampler.get_state(),
            "return": self._return,
            "length": self._length,
            "figures": self._figures.state_dict(),
            "random": self._random,
            "ring": self.ring.state_dict() if self.save else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where :meth:`state_dict` was taken; without what was stored, the ring is empty again.

        Where the episodes under way do not repeat, fresh ones begin, and those are cut off where they were stored.
        """
        self._env.load_state_dict(state["env"])
        rng.go_on(self._generator, state["generator"])
        rng.go_on(self._sampler, state["sampler"])
        self._random = state["random"]
        self.ring.clear()
        if state["ring"] is not None:
            self.ring.load_state_dict(state["ring"])
        if not repeats(self._env):
            self._begin()
            self.ring.cut()
            return
        self._observation = self._here(state["observation"])
        self._masks = {word: self._here(parts) for word, parts in state["masks"].items()}
        self._return, self._length = state["return"].to(self.device), state["length"].to(self.device)
        self._figures.load_state_dict(state.get("figures"))

    def close(self) -> None:
        """Close the environments."""
        close(self._env)

    def _here(self, parts: Grouped) -> dict[str, Tensor]:
        return {group: value.to(self.device) for group, value in parts.items()}


def _aged(ages: Tensor, ended: Sequence[Tensor]) -> Tensor:
    """Return how many steps the running episodes have, ``[N]``, after steps of which some ended one."""
    for flags in ended:
        ages = (ages + 1).masked_fill(flags, 0)
    return ages


def _stacked(parts: Mapping[str, Sequence[Tensor]]) -> dict[str, Tensor]:
    return {group: torch.stack(list(values)) for group, values in parts.items()}


def _of(group: str, masks: Mapping[str, Grouped]) -> dict[str, Tensor]:
    """Return a layout group's masks by word."""
    return {word: parts[group] for word, parts in masks.items() if group in parts}


def _summed(reward: Tensor, weight: Tensor) -> Tensor:
    """Return rewards ``[steps, B, n]`` summed over the steps, each with its weight ``[steps, B]``."""
    return (weight.unsqueeze(-1) * reward).sum(0)


def _taken(stored: Mapping[tuple[str, ...], Tensor], place: tuple[str, ...], rows: Tensor) -> dict[str, Tensor]:
    """Return some rows of everything that is stored right under a place, but for rewards and ends."""
    summed = ("reward", *ENDS)
    here = {key[-1]: value for key, value in stored.items() if key[:-1] == place and key[-1] not in summed}
    return {word: value.index_select(0, rows) for word, value in here.items()}
