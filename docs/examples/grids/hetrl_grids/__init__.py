"""The multi-robot warehouse and level-based foraging (Papoudakis et al. 2021, arXiv 2006.07869) as team environments.

Both are environments of Gymnasium whose spaces, actions and rewards are tuples with an entry for each agent. That is
all that has to be translated.
"""

from typing import Any

import gymnasium
from pettingzoo import ParallelEnv


class TupleWorld(ParallelEnv):
    """An environment of Gymnasium with tuples for its agents, as PettingZoo has it.

    Args:
        env: the environment; its observation and action spaces are tuples.
        name: what an agent is called, before its number.
        horizon: steps after which it cuts an episode, which it reports as an end.
    """

    render_mode = None  # both need a display to draw

    def __init__(self, env: Any, name: str, horizon: int) -> None:
        self.env, self.max_cycles = env, horizon
        self.metadata = {"name": name}
        self.possible_agents = [f"{name}_{place}" for place in range(len(env.action_space))]
        self.agents: list[str] = []
        self._steps = 0

    def observation_space(self, agent: str) -> Any:
        """What an agent sees."""
        return self.env.observation_space[self.possible_agents.index(agent)]

    def action_space(self, agent: str) -> Any:
        """What an agent may do."""
        return self.env.action_space[self.possible_agents.index(agent)]

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin an episode."""
        seen, _ = self.env.reset(seed=seed)
        self.agents, self._steps = list(self.possible_agents), 0
        return self._each(seen), self._each([{}] * len(self.agents))

    def step(self, actions: dict[str, Any]) -> tuple[dict[str, Any], ...]:
        """Let all act."""
        acting = self.agents
        seen, earned, ended, cut, _ = self.env.step([int(actions[agent]) for agent in acting])
        self._steps += 1
        cut = cut or (ended and self._steps >= self.max_cycles)
        told = dict.fromkeys(acting, ended and not cut), dict.fromkeys(acting, cut)
        if ended or cut:
            self.agents = []
        return self._each(seen), self._each(earned), *told, {agent: {} for agent in acting}

    def close(self) -> None:
        """Close it."""
        self.env.close()

    def _each(self, values: Any) -> dict[str, Any]:
        return dict(zip(self.possible_agents, values, strict=True))


def warehouse(
    robots: int = 4, size: str = "tiny", difficulty: str = "-easy", steps: int = 500, layout: str = "", wanted: int = 0
) -> TupleWorld:
    """Robots bring the shelves that are asked for to the goal and put them back, in passages where none can turn away.

    Args:
        robots: how many.
        size: ``tiny``, ``small``, ``medium`` or ``large``.
        difficulty: ``-easy``, nothing, or ``-hard``: how many shelves are asked for at once.
        steps: of an episode.
        layout: a map of one's own in place of the size, rows with ``/`` between them: ``x`` is a shelf, ``g`` a goal.
        wanted: how many shelves are asked for at once; by default as the difficulty says.
    """
    import rware  # noqa: F401  (it registers its worlds)

    name = f"rware-{size}-{robots}ag{difficulty}-v2"
    more: dict[str, Any] = {"layout": layout.replace("/", "\n")} if layout else {}
    if wanted:
        more["request_queue_size"] = wanted
    return TupleWorld(gymnasium.make(name, max_steps=steps, **more), "robot", steps)


def foraging(players: int = 2, field: int = 8, food: int = 2, coop: bool = False) -> TupleWorld:
    """Players take food that is worth its level, if the levels of those beside it add up to as much.

    Args:
        players: how many.
        field: cells on a side.
        food: pieces of it.
        coop: whether it always takes all players.
    """
    import lbforaging  # noqa: F401  (it registers its worlds)

    name = f"Foraging-{field}x{field}-{players}p-{food}f{'-coop' if coop else ''}-v3"
    return TupleWorld(gymnasium.make(name), "player", 50)
