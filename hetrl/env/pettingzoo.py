"""The particle worlds of mpe2, by name: PettingZoo's successor of MPE (Terry et al. 2021, arXiv 2009.14471).

Any other environment of PettingZoo's kind is for :mod:`hetrl.env.adapter`. Both step Python objects in a loop, in this
process: two workers on two cores were no faster here, as a step of mpe2 takes 0.15 ms.
"""

import importlib
import inspect
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from hetrl.arguments import Count, Seed, checked
from hetrl.env.adapter.simulated import Simulated
from hetrl.env.adapter.simulator import Simulators, Told
from hetrl.env.adapter.space import reader, taker
from hetrl.env.team_env import Reward
from hetrl.errors import DependencyError, RecipeError, nearest
from hetrl.team import Team

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


class PettingZoo(Simulated):
    """``n_envs`` copies of a particle world of mpe2.

    Agents of equal observation size and action space form a layout group. The state is all observations side by side,
    which is also what mpe2's own ``state()`` gives. An episode is truncated after ``horizon`` steps, and terminated
    where ``terminate_on_success`` is on and the team succeeds. Nobody leaves early and everyone may do everything.

    Args:
        name: a world of mpe2, as its module is called (``hetrl list pettingzoo``).
        n_envs: environments in the batch, ``N``.
        horizon: steps after which an episode is cut; by default the world's own ``max_cycles`` [step].
        reward: how the team's reward is made of the agents', see :data:`~hetrl.env.team_env.Reward`.
        seed: of all episodes.
        device: where the tensors live; simulators run on the CPU.
        arguments: the world's own, such as ``N`` and ``continuous_actions`` (False, as there, if left out).

    Raises:
        RecipeError: an argument is unknown or has a value that cannot be used.
        DependencyError: mpe2 is not installed.
    Source: Terry et al. 2021, PettingZoo, arXiv 2009.14471; particle worlds by Lowe et al. 2017, arXiv 1706.02275.
    Differs: actions beyond the bounds are clamped without a warning; success on the last step of an episode terminates
        it, where mpe2 truncates; every reset has a seed of its own. The agents of an mpe2 world act all at once, where
        its parallel interface lets them take turns: the same numbers in about half of the time.
    """

    def __init__(
        self,
        *,
        name: str,
        n_envs: Count = 64,
        horizon: Count | None = None,
        reward: Reward = "mean",
        seed: Seed = 0,
        device: str = "cpu",
        **arguments: Any,
    ) -> None:
        self.check_arguments({"name": name, **arguments})
        simulators = Simulators(partial(_Particles, name, horizon, arguments, {}), n_envs)
        env = simulators.all[0].env
        agents = env.possible_agents
        takers = [taker(agent, env.action_space(agent)) for agent in agents]
        sizes = [reader(agent, env.observation_space(agent)).size for agent in agents]
        super().__init__(
            simulators=simulators,
            team=Team.of(agents, sizes, [each.space for each in takers]),
            takers=takers,
            strangers=False,
            n_envs=n_envs,
            horizon=horizon or env.max_cycles,
            reward=reward,
            seed=seed,
            device=device,
        )
        self.name = name

    __init__ = checked(__init__, "env/pettingzoo")

    # ----- what the recipe's checker asks, before anything is built

    @classmethod
    def check_arguments(cls, arguments: Mapping[str, Any]) -> None:
        """Refuse a world that mpe2 does not have, and an argument that the world does not take.

        Raises:
            RecipeError: with the nearest name.
            DependencyError: mpe2 is not installed.
        """
        name = arguments.get("name")
        if name is None:
            raise RecipeError(
                "task: name a world of mpe2 (hetrl list pettingzoo); an environment of your own gets a name with "
                "hetrl.register."
            )
        own = set(inspect.signature(cls.__init__).parameters) - {"self", "arguments"}
        given = set(arguments) - own
        if name not in _TASKS:
            raise RecipeError(f"task.name: mpe2 has no world '{name}'.{nearest(str(name), _TASKS)}")
        parameters = inspect.signature(_world(name)).parameters
        accepted = set(parameters) - set(_OURS)
        for word in sorted(given - accepted):
            if word in _OURS:
                raise RecipeError(f"task.{word}: {_OURS[word]}.")
            known = accepted | own - {"seed", "device"}
            raise RecipeError(f"task.{word}: '{name}' has no such argument.{nearest(word, known)}")
        for word in sorted(given):
            value, kind = arguments[word], type(parameters[word].default)
            whole = kind is float and type(value) is int
            if kind in _KINDS and type(value) is not kind and not whole:
                raise RecipeError(f"task.{word}: {value!r} is not {_KINDS[kind]}.")

    @classmethod
    def catalogue(cls) -> Mapping[str, str]:
        """Return world -> what it is about and who its agents are, with its default arguments."""
        return {name: f"{about} {cls(name=name, n_envs=1).team.sizes}" for name, about in _TASKS.items()}


class _Particles:
    """A world of mpe2, without the turns that its interfaces take: every agent acts, and one call moves them all.

    Args:
        name: of the world.
        horizon: for its ``max_cycles``; its own if None.
        arguments: the world's.
        shared: holds the canvas that all have in common; it is 2 MB, and is wiped before every picture.
        row: not needed.

    Raises:
        RecipeError: it cannot be built with these arguments.
    """

    def __init__(
        self, name: str, horizon: int | None, arguments: Mapping[str, Any], shared: dict[str, Any], row: int = 0
    ) -> None:
        given = dict(arguments) if horizon is None else {**arguments, "max_cycles": horizon}
        try:
            self.env = _world(name)(**given, render_mode="rgb_array")
        except (ArithmeticError, AssertionError, LookupError, TypeError, ValueError) as error:
            raise RecipeError(
                f"task: '{name}' cannot be built with {dict(arguments)}: "
                f"{str(error) or 'an assertion in it failed'}. Change those arguments."
            ) from error
        self.env.screen = shared.setdefault("screen", self.env.screen)

    def reset(self, seed: int) -> Told:
        """Begin an episode."""
        self.env.reset(seed=seed)
        return Told(self._seen())

    def step(self, actions: Sequence[Any]) -> Told:
        """Move; an episode is cut by the horizon only."""
        env = self.env
        env.current_actions = actions
        env._execute_world_step()
        env.steps += 1
        rewards = env.rewards
        paid = [rewards[agent] for agent in env.possible_agents]
        return Told(self._seen(), paid, terminated=bool(env.scenario.is_terminal(env.world)))

    def picture(self) -> np.ndarray:
        """Draw it."""
        return np.ascontiguousarray(self.env.render())

    def close(self) -> None:
        """Do nothing: it holds nothing, and its own ``close`` would end pygame for every other world as well."""

    def _seen(self) -> list[np.ndarray]:
        observe, world = self.env.scenario.observation, self.env.world
        return [observe(agent, world) for agent in world.agents]


def _world(name: str) -> type[Any]:
    """The class of a world of mpe2.

    Raises:
        DependencyError: mpe2 is not installed, or is one without it.
    """
    try:
        return importlib.import_module(f"mpe2.{name}").raw_env
    except ImportError as error:
        raise DependencyError(f'task: {name} needs mpe2 ({error}); run: pip install "hetrl[pettingzoo]"') from error
