"""PettingZoo's parallel environments (Terry et al. 2021, arXiv 2009.14471): those of mpe2 by name, others by a factory.

Each of them is a Python object that steps one team, so this file has what no other environment here has, a loop over
environments. It runs in this process: two workers on two cores were no faster, as a step of mpe2 takes 0.15 ms.

Every episode begins with ``reset(seed=...)``, the seed drawn from a stream of this environment. So its state needs
nothing from inside a simulator: the seeds of the episodes under way and the actions taken in them, to be played again.
"""

import importlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hetrl.arguments import Count, Seed, checked
from hetrl.env.team_env import Reward, TeamEnv
from hetrl.env.transition import Masks
from hetrl.errors import DependencyError, RecipeError, RunError, nearest
from hetrl.rng import Stream
from hetrl.team import Box, Discrete, Grouped, Team

_TASKS = {
    "collect_treasure_v1": "Collectors bring treasures to the deposit of their colour, which moves as well.",
    "simple_adversary_v3": "Agents stay at a goal that an adversary has to guess.",
    "simple_crypto_v3": "Alice sends Bob a message that Eve overhears without the key.",
    "simple_formation_v1": "Agents form a circle around a landmark.",
    "simple_line_v1": "Agents line up between two landmarks.",
    "simple_push_v3": "An agent goes to its goal, an adversary pushes it away.",
    "simple_reference_v3": "Two agents tell each other where to go.",
    "simple_speaker_listener_v4": "One sees the goal and can only speak, the other moves and can only listen.",
    "simple_spread_v3": "Agents cover all landmarks without colliding.",
    "simple_tag_v3": "Slow pursuers catch a fast agent among obstacles.",
    "simple_v3": "One agent goes to a landmark.",
    "simple_world_comm_v3": "Pursuers with a leader who speaks; agents in search of food, and forests to hide in.",
}
"""The parallel environments of mpe2, and what each is about."""
_OURS = {
    "max_cycles": "write task.horizon instead",
    "render_mode": "leave it out; pictures are drawn without a display",
}
"""Arguments of mpe2 that are set here."""
_KINDS = {bool: "true or false", int: "a whole number", float: "a number"}
"""What an argument of mpe2 is, by the type of its default. A default of None does not tell."""


class PettingZoo(TeamEnv):
    """``n_envs`` copies of a particle world of mpe2, or in Python of any parallel PettingZoo environment.

    Agents of equal observation size and action space form a layout group. The state is all observations side by side,
    which is also what mpe2's own ``state()`` gives. *An episode* ends when no agent is left. It is terminated then, or
    truncated where the environment cut one of the last ones; and after ``horizon`` steps it is truncated. *Who leaves
    earlier* is no longer ``agent.active``, sees zeros, earns 0 and is not asked to act; who takes part in the last step
    sees what it led to. ``agent.action_mask`` is there where observations or infos have an ``action_mask``. In mpe2
    nobody leaves early and everyone may do everything, so with ``name`` there are no masks.

    Args:
        name: a world of mpe2, as its module is called (``hetrl list pettingzoo``).
        factory: in its place, makes a parallel environment; it is called once for each of the ``n_envs``.
        n_envs: environments in the batch, ``N``.
        horizon: steps after which an episode is cut; by default the environment's own ``max_cycles`` [step].
        reward: the team's reward, as the mean or the sum over all agents, or none (``per_agent``).
        seed: of all episodes.
        device: where the tensors live; simulators run on the CPU.
        arguments: the world's own, such as ``N`` and ``continuous_actions`` (False, as there, if left out).

    Raises:
        RecipeError: an argument is unknown or has a value that cannot be used, or an agent's space is of another kind.
        DependencyError: mpe2 is not installed.
    Source: Terry et al. 2021, PettingZoo, arXiv 2009.14471; particle worlds by Lowe et al. 2017, arXiv 1706.02275.
    Differs: actions beyond the bounds are clamped without a warning; success on the last step of an episode terminates
        it, where mpe2 truncates; every reset has a seed of its own. The agents of an mpe2 world act all at once, where
        its parallel interface lets them take turns: the same numbers in about half of the time.
    """

    def __init__(
        self,
        *,
        name: str | None = None,
        factory: Callable[[], Any] | None = None,
        n_envs: Count = 64,
        horizon: Count | None = None,
        reward: Reward = "mean",
        seed: Seed = 0,
        device: str = "cpu",
        **arguments: Any,
    ) -> None:
        self.check_arguments({"name": name, "factory": factory, **arguments})
        # A stranger's environment may draw from the generators of the process, which must not notice.
        shield: AbstractContextManager[Any] = nullcontext() if factory is None else Stream(seed)
        with shield:
            if factory is None:
                simulators: list[Any] = _particles(str(name), n_envs, horizon, arguments)
            else:
                simulators = [_Parallel(factory()) for _ in range(n_envs)]
        horizon = horizon or _max_cycles(simulators[0].env)
        super().__init__(n_envs=n_envs, horizon=horizon, reward=reward, device=device)
        self.name, self._simulators, self._shield = name, simulators, shield
        self._generator = torch.Generator().manual_seed(seed)
        env = simulators[0].env
        agents = env.possible_agents
        seen = [_observed(agent, env.observation_space(agent)) for agent in agents]
        self._takers = [_taker(agent, env.action_space(agent)) for agent in agents]
        self.team = Team.of(agents, seen, [taker.space for taker in self._takers])
        self._members = {
            group: [self.team.agents.index(agent) for agent in members] for group, members in self.team.layout.items()
        }
        self._masked = [] if factory is None else self._look_for_masks()
        # The rest is of the host, wherever the tensors live.
        self._steps = torch.zeros(n_envs, dtype=torch.int64)
        self._episode_seeds = torch.zeros(n_envs, dtype=torch.int64)
        self._taken = {
            group: torch.empty(horizon, n_envs, len(members), members[0].action.size, dtype=_dtype(members[0].action))
            for group, members in self.team.layout.items()
        }
        self._shown = self._blank()
        self._make_specs()

    __init__ = checked(__init__, "env/pettingzoo")

    # ----- what the recipe's checker asks, before anything is built

    @classmethod
    def check_arguments(cls, arguments: Mapping[str, Any]) -> None:
        """Refuse a world that mpe2 does not have, and an argument that the world does not take.

        Raises:
            RecipeError: with the nearest name.
            DependencyError: mpe2 is not installed.
        """
        name, factory = arguments.get("name"), arguments.get("factory")
        if (name is None) == (factory is None):
            raise RecipeError("task: name one world of mpe2 (hetrl list pettingzoo) or, in Python, give a factory.")
        own = set(inspect.signature(cls.__init__).parameters) - {"self", "arguments"}
        given = set(arguments) - own
        if name is None:
            if given:
                raise RecipeError(f"task.{min(given)}: a factory is called without arguments; give it yours there.")
            return
        if name not in _TASKS:
            raise RecipeError(f"task.name: mpe2 has no world '{name}'.{nearest(str(name), _TASKS)}")
        parameters = inspect.signature(_world(name)).parameters
        accepted = set(parameters) - set(_OURS)
        for word in sorted(given - accepted):
            if word in _OURS:
                raise RecipeError(f"task.{word}: {_OURS[word]}.")
            known = accepted | own - {"seed", "device", "factory"}
            raise RecipeError(f"task.{word}: '{name}' has no such argument.{nearest(word, known)}")
        for word in sorted(given):
            value, kind = arguments[word], type(parameters[word].default)
            whole = kind is float and type(value) is int
            if kind in _KINDS and type(value) is not kind and not whole:
                raise RecipeError(f"task.{word}: {value!r} is not {_KINDS[kind]}.")

    @staticmethod
    def provides(arguments: Mapping[str, Any]) -> list[str]:
        """Return the keys that a step writes, given the task's arguments."""
        masks: list[str] = []
        if arguments.get("factory") is not None:
            alone = PettingZoo(**{**arguments, "n_envs": 1})
            masks = [f"agent.{word}" for word in alone.masks]
        return [*TeamEnv.provides(arguments), *masks]

    @classmethod
    def catalogue(cls) -> Mapping[str, str]:
        """Return world -> what it is about and who its agents are, with its default arguments."""
        return {name: f"{about} {cls(name=name, n_envs=1).team.sizes}" for name, about in _TASKS.items()}

    # ----- the fast path: plain tensors

    @property
    def masks(self) -> Masks:
        """Who takes part and who may choose what, see :data:`~hetrl.env.transition.Masks`; empty for mpe2."""
        return {word: self._here(parts) for word, parts in self._shown.items() if word != "observation" and parts}

    def start(self) -> Grouped:
        """Reset every environment. Returns the first observations, group -> ``[N, n, F]``."""
        return self._begin(list(range(self.n_envs)), self._blank())

    def seed(self, seed: int) -> None:
        """Start the random stream afresh; the next :meth:`start` is the first of that seed."""
        self._generator.manual_seed(seed)
        if isinstance(self._shield, Stream):
            self._shield.seed(seed)

    def _picture(self, row: int) -> np.ndarray:
        env = self._simulators[row].env
        if getattr(env, "render_mode", None) != "rgb_array":
            raise RunError("env/pettingzoo: the factory's environment draws nothing; give it render_mode='rgb_array'.")
        with self._shield:
            return np.ascontiguousarray(env.render())

    def _simulate(self, actions: Mapping[str, Tensor]) -> tuple[Grouped, Grouped, Tensor, Tensor]:
        if (self._steps >= self.horizon).any():
            raise RunError("env/pettingzoo: an episode at its horizon was stepped on; reset it first.")
        rows = torch.arange(self.n_envs)
        taken = {group: actions[group].detach().to("cpu", kept.dtype) for group, kept in self._taken.items()}
        for group, kept in self._taken.items():
            kept[self._steps, rows] = taken[group]
        with self._shield:
            ends = [each.step(acts) for each, acts in zip(self._simulators, self._by_row(taken), strict=True)]
            earned = torch.tensor([each.rewards() for each in self._simulators], dtype=torch.float32)
            observation = self._gather(range(self.n_envs), self._blank())
        self._steps = self._steps + 1
        terminated, cut = torch.tensor(ends).unbind(1)
        truncated = (cut | (self._steps >= self.horizon)) & ~terminated
        reward = {group: earned[:, members].to(self.device) for group, members in self._members.items()}
        return observation, reward, terminated.to(self.device), truncated.to(self.device)

    def _reset_rows(self, rows: Tensor) -> Grouped:
        shown = {word: {group: part.copy() for group, part in parts.items()} for word, parts in self._shown.items()}
        return self._begin(rows.tolist(), shown)

    def _begin(self, rows: Sequence[int], shown: "_Shown") -> Grouped:
        """Reset ``rows``, each from the next seed, and write what they see into ``shown``."""
        seeds = torch.randint(2**31, (len(rows),), generator=self._generator)
        with self._shield:
            for row, seed in zip(rows, seeds.tolist(), strict=True):
                self._simulators[row].reset(seed)
            self._episode_seeds[rows], self._steps[rows] = seeds, 0
            return self._gather(rows, shown)

    # ----- between tensors and simulators

    def _by_row(self, actions: Mapping[str, Tensor]) -> Iterator[tuple[Any, ...]]:
        """For each leading entry of ``actions`` (``[*, n, A]``), the team's actions as a simulator takes them."""
        parts = {group: action.numpy() for group, action in actions.items()}
        columns = (
            taker(parts[agent.group][:, agent.index])
            for agent, taker in zip(self.team.agents, self._takers, strict=True)
        )
        return zip(*columns, strict=True)

    def _blank(self) -> "_Shown":
        """Arrays for what all agents see; every entry is yet to be written."""
        layout, n_envs = self.team.layout, self.n_envs
        shown: _Shown = {
            "observation": {
                group: np.empty((n_envs, len(agents), agents[0].observation_size), np.float32)
                for group, agents in layout.items()
            }
        }
        if isinstance(self._simulators[0], _Parallel):
            shown["active"] = {group: np.empty((n_envs, len(agents)), np.bool_) for group, agents in layout.items()}
            shown["action_mask"] = {
                group: np.empty((n_envs, len(layout[group]), _options(layout[group][0].action)), np.bool_)
                for group in self._masked
            }
        return shown

    def _gather(self, rows: Iterable[int], shown: "_Shown") -> Grouped:
        """Write what the agents of ``rows`` see and may do into ``shown``, which is what all see from now on."""
        columns = {
            word: [(i, parts[a.group][:, a.index]) for i, a in enumerate(self.team.agents) if a.group in parts]
            for word, parts in shown.items()
        }
        for row in rows:
            told = self._simulators[row].show()
            for word, column in columns.items():
                values = told[word]
                for place, out in column:
                    value = values[place]
                    if isinstance(value, np.ndarray) and value.shape != out.shape[1:]:  # numpy would broadcast
                        raise RunError(
                            f"env/pettingzoo: agent '{self.team.agents[place].name}' has {word} {list(value.shape)}, "
                            f"but its space says {list(out.shape[1:])}; the environment has to keep to it."
                        )
                    out[row] = value
        self._shown, self._observation = shown, self._here(shown["observation"])
        return self._observation

    def _here(self, parts: Mapping[str, np.ndarray]) -> Grouped:
        return {group: torch.from_numpy(part).to(self.device) for group, part in parts.items()}

    def _look_for_masks(self) -> list[str]:
        """The layout groups of agents whose actions are masked, as one first reset shows."""
        with self._shield:
            self._simulators[0].reset(0)
        masks = self._simulators[0].show()["action_mask"]
        masked: dict[str, None] = {}
        for agent, mask in zip(self.team.agents, masks, strict=True):
            if mask is True:
                continue
            if np.shape(mask) != (_options(agent.action),):
                raise RecipeError(
                    f"task: agent '{agent.name}' has an action_mask of shape {list(np.shape(mask))}, but its action is "
                    f"{agent.action}; a mask has one entry for each option of a single choice."
                )
            masked[agent.group] = None
        return list(masked)

    # ----- exact continuation

    def state_dict(self, *_: Any, **__: Any) -> dict[str, Any]:
        """Everything that the next steps depend on, as tensors: seeds and actions of the episodes under way."""
        longest = int(self._steps.max())
        stream = {"stream": self._shield.state_dict()} if isinstance(self._shield, Stream) else {}
        return {
            **stream,
            "generator": self._generator.get_state(),
            "episode_seeds": self._episode_seeds.clone(),
            "steps": self._steps.clone(),
            "actions": {group: kept[:longest].clone() for group, kept in self._taken.items()},
            "observation": {group: value.clone() for group, value in self._observation.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any], *_: Any, **__: Any) -> None:
        """Continue bit for bit from ``state``, by playing its episodes again up to where they were.

        Raises:
            RunError: it comes from an environment with other arguments, or the environment, seeded and stepped as
                before, does not arrive where it was.
        """
        expected = {group: list(kept.shape[1:]) for group, kept in self._taken.items()}
        found = {group: list(kept.shape[1:]) for group, kept in state["actions"].items()}
        if found != expected or len(next(iter(state["actions"].values()))) > self.horizon:
            raise RunError(f"state: saved with actions [n_envs, agents, size] = {found}, this task has {expected}.")
        if ("stream" in state) != isinstance(self._shield, Stream):
            raise RunError("state: only one of the saved environment and this task comes from a factory.")
        self._generator.set_state(state["generator"].cpu())
        self._episode_seeds, self._steps = (state[key].to("cpu", copy=True) for key in ("episode_seeds", "steps"))
        for group, kept in self._taken.items():
            kept[: len(state["actions"][group])] = state["actions"][group].cpu()
        if state["observation"]:  # else it was saved before the first start
            self._replay(state["observation"])
        if isinstance(self._shield, Stream):
            self._shield.load_state_dict(state["stream"])  # last, as the replay has drawn from it

    def _replay(self, arrived: Mapping[str, Tensor]) -> None:
        """Play the episodes under way again, and see that they arrive at the observations that were saved."""
        progress = zip(self._simulators, self._episode_seeds.tolist(), self._steps.tolist(), strict=True)
        with self._shield:
            for row, (simulator, seed, steps) in enumerate(progress):
                simulator.reset(seed)
                for acts in self._by_row({group: kept[:steps, row] for group, kept in self._taken.items()}):
                    simulator.step(acts)
            observation = self._gather(range(self.n_envs), self._blank())
        for group, value in observation.items():
            if not torch.equal(value.nan_to_num(), arrived[group].to(self.device).nan_to_num()):
                raise RunError(
                    "state: the environment does not repeat an episode from the same seed and actions, so it cannot be "
                    "continued; reset(seed=...) has to settle all that is random in it."
                )


_Shown = dict[str, dict[str, np.ndarray]]
"""Word -> layout group -> ``[N, n, ...]``: ``observation`` and, from a factory, ``active`` and ``action_mask``."""


# --------------------------------------------------------------------------- one environment


class _Particles:
    """A world of mpe2, without the turns that its interfaces take: every agent acts, and one call moves them all."""

    def __init__(self, env: Any) -> None:
        self.env = env

    def reset(self, seed: int) -> None:
        self.env.reset(seed=seed)

    def step(self, actions: Sequence[Any]) -> tuple[bool, bool]:
        """Move, and return whether the episode is terminated and whether it is cut (by the horizon only)."""
        env = self.env
        env.current_actions = actions
        env._execute_world_step()
        env.steps += 1
        return bool(env.scenario.is_terminal(env.world)), False

    def rewards(self) -> list[float]:
        """What each agent earned in the last step, in the order of ``possible_agents``."""
        rewards = self.env.rewards
        return [rewards[agent] for agent in self.env.possible_agents]

    def show(self) -> dict[str, Sequence[Any]]:
        """What each agent sees, by :data:`_Shown`'s words."""
        observe, world = self.env.scenario.observation, self.env.world
        return {"observation": [observe(agent, world) for agent in world.agents]}


class _Parallel:
    """Any environment with PettingZoo's parallel interface."""

    def __init__(self, env: Any) -> None:
        name = type(env).__name__
        needed = ("possible_agents", "observation_space", "action_space", "reset", "step")
        missing = [word for word in needed if not hasattr(env, word)]
        if missing or hasattr(env, "agent_iter"):
            why = f" (it has no {missing[0]})" if missing else ""
            raise RecipeError(
                f"task.factory: {name} is no parallel PettingZoo environment{why}; make it with parallel_env, "
                "or convert it with pettingzoo.utils.conversions.aec_to_parallel."
            )
        if not env.possible_agents:
            raise RecipeError(f"task.factory: {name} has no possible_agents; name everyone who may ever take part.")
        self.env = env
        self._observations: Mapping[str, Any] = {}
        self._rewards: Mapping[str, float] = {}
        self._infos: Mapping[str, Any] = {}
        self._present: set[str] = set()
        self._acted: set[str] = set()

    def reset(self, seed: int) -> None:
        self._observations, self._infos = self.env.reset(seed=seed)
        self._rewards, self._acted, self._present = {}, set(), set(getattr(self.env, "agents", ()))
        if not self._present:
            raise RecipeError(f"task.factory: {type(self.env).__name__} has nobody in 'agents' after a reset.")

    def step(self, actions: Sequence[Any]) -> tuple[bool, bool]:
        """Let those who are there act; return whether the episode is terminated and whether it is cut."""
        given = {a: action for a, action in zip(self.env.possible_agents, actions, strict=True) if a in self._present}
        self._acted = set(given)
        self._observations, self._rewards, terminated, truncated, self._infos = self.env.step(given)
        left = {a for a in self.env.agents if not (terminated.get(a, False) or truncated.get(a, False))}
        if left:
            self._present = left
            return False, False
        cut = any(truncated.get(agent, False) for agent in given)
        return not cut, cut

    def rewards(self) -> list[float]:
        """What each agent earned in the last step, in the order of ``possible_agents``: 0 for who did not act."""
        earned, acted = self._rewards, self._acted
        return [float(earned.get(agent, 0.0)) if agent in acted else 0.0 for agent in self.env.possible_agents]

    def show(self) -> dict[str, Sequence[Any]]:
        """What each agent sees and may do and whether it is there, by :data:`_Shown`'s words."""
        agents, here = self.env.possible_agents, self._present
        seen = [self._observations.get(agent) if agent in here else None for agent in agents]
        masks = [
            value.get("action_mask") if isinstance(value, Mapping) else self._infos.get(agent, {}).get("action_mask")
            for agent, value in zip(agents, seen, strict=True)
        ]
        return {
            "observation": [_flat(value) for value in seen],
            "active": [agent in here for agent in agents],
            "action_mask": [True if mask is None else np.asarray(mask, np.bool_) for mask in masks],
        }


def _flat(value: Any) -> Any:
    """An observation as a vector; 0 where there is none."""
    if value is None:
        return 0.0
    return np.ravel(value["observation"] if isinstance(value, Mapping) else value)


def _world(name: str) -> type[Any]:
    """The class of a world of mpe2.

    Raises:
        DependencyError: mpe2 is not installed, or is one without it.
    """
    try:
        return importlib.import_module(f"mpe2.{name}").raw_env
    except ImportError as error:
        raise DependencyError(f'task: {name} needs mpe2 ({error}); run: pip install "hetrl[pettingzoo]"') from error


def _particles(name: str, count: int, horizon: int | None, arguments: Mapping[str, Any]) -> list[_Particles]:
    """``count`` worlds of mpe2.

    Raises:
        RecipeError: they cannot be built with these arguments.
    """
    world = _world(name)
    given = dict(arguments) if horizon is None else {**arguments, "max_cycles": horizon}
    built: list[_Particles] = []
    for _ in range(count):
        try:
            env = world(**given, render_mode="rgb_array")
        except (ArithmeticError, AssertionError, LookupError, TypeError, ValueError) as error:
            raise RecipeError(
                f"task: '{name}' cannot be built with {dict(arguments)}: "
                f"{str(error) or 'an assertion in it failed'}. Change those arguments."
            ) from error
        if built:
            env.screen = built[0].env.screen  # the canvas is 2 MB, and is wiped before every picture
        built.append(_Particles(env))
    return built


def _max_cycles(env: Any) -> int:
    """The number of steps after which an environment cuts its episodes.

    Raises:
        RecipeError: it does not tell.
    """
    found = getattr(getattr(env, "unwrapped", env), "max_cycles", None)
    if isinstance(found, bool) or not isinstance(found, int) or found < 1:
        raise RecipeError("task.horizon: the factory's environment has no max_cycles; say after how many steps to cut.")
    return found


# --------------------------------------------------------------------------- spaces


class _Taker:
    """Makes the actions ``[*, A]`` of one agent into what its environment takes."""

    def __init__(self, space: Box | Discrete, take: Callable[[np.ndarray], Iterable[Any]]) -> None:
        self.space, self._take = space, take

    def __call__(self, actions: np.ndarray) -> Iterable[Any]:
        return self._take(actions)


def _taker(agent: str, space: Any) -> _Taker:
    from gymnasium import spaces

    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
        low, high = space.low.ravel(), space.high.ravel()

        def clamp(actions: np.ndarray) -> np.ndarray:
            within = np.clip(actions.astype(space.dtype, copy=False), low, high)
            return within.reshape(-1, *space.shape)

        return _Taker(Box(tuple(low.tolist()), tuple(high.tolist())), clamp)
    if isinstance(space, spaces.Discrete):
        first = int(space.start)
        return _Taker(Discrete((int(space.n),)), lambda actions: (actions[:, 0] + first).tolist())
    if isinstance(space, spaces.MultiDiscrete) and space.nvec.ndim == 1:
        first = getattr(space, "start", 0)
        return _Taker(Discrete(tuple(space.nvec.tolist())), lambda actions: (actions + first).astype(space.dtype))
    raise RecipeError(
        f"task: agent '{agent}' acts in {space}; only Box of floats, Discrete and MultiDiscrete are known. Wrap the "
        "environment in the factory."
    )


def _observed(agent: str, space: Any) -> int:
    """Entries of an agent's observation."""
    from gymnasium import spaces

    if isinstance(space, spaces.Dict) and set(space.spaces) == {"observation", "action_mask"}:
        space = space["observation"]
    if not isinstance(space, spaces.Box):
        raise RecipeError(
            f"task: agent '{agent}' observes {space}; only Box is known, alone or as 'observation' beside an "
            "'action_mask'. Flatten it in the factory."
        )
    return int(np.prod(space.shape))


def _options(space: Box | Discrete) -> int:
    """Options of a single choice; 0 for any other action, which cannot be masked."""
    return space.choices[0] if isinstance(space, Discrete) and space.size == 1 else 0


def _dtype(space: Box | Discrete) -> torch.dtype:
    return torch.float32 if isinstance(space, Box) else torch.int64
