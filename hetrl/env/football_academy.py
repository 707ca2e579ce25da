"""The academy of Google Research Football (Kurach et al. 2020, arXiv 1907.11180): real football, in short drills."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch

from hetrl.arguments import Count, Seed, checked
from hetrl.env.academy import sight
from hetrl.env.academy.drills import DRILLS, KEEPERS, Drill
from hetrl.env.academy.match import ACTIONS, Match
from hetrl.env.adapter.simulated import Simulated
from hetrl.env.adapter.simulator import Simulators, Told
from hetrl.env.adapter.space import Taker
from hetrl.env.team_env import Reward
from hetrl.errors import RecipeError, nearest
from hetrl.team import Agent, Discrete, Team

GROUP = "agents"


class FootballAcademy(Simulated):
    """``n_envs`` matches of a drill of Google Research Football, whose left side learns.

    reward = goals + checkpoints,   goals = 1 for one of the left side's, -1 for one of the right side's

    Everyone earns the goals. With ``checkpoints`` each also earns 0.1 for each of ten distances to the goal within
    which its player has had the ball, once in an episode, and all that it lacks of them with a goal: an episode that
    scores is then worth 2 to everyone. Who has the ball at a distance of 0.85 for the first time earns 0.2.

    The keeper of the left side plays by itself, as do the right side and whoever has no agent. An agent chooses one of
    19 actions (:data:`hetrl.env.academy.match.ACTIONS`); directions, sprint and dribble hold until they are released.
    It sees the package's ``simple115v2``: both sides, the ball, who has it, the kind of play, and who one is
    (:func:`hetrl.env.academy.sight.common`). The state is what all see, once, and who everyone is.

    An episode *terminates* as the drill says: with a goal, when the ball is out of play, when the other side gets it.
    The horizon *truncates*. Of an episode that ends it is told whether somebody ``scored`` or ``conceded``.

    Args:
        drill: which, such as ``academy_3_vs_1_with_keeper``; see :meth:`catalogue`.
        n_agents: players of the left side who learn. By default all but the keeper; one more, and he is one of them.
        switching: whether agents have no players of their own: the engine gives an agent whom it likes, the keeper as
            well, and another when the ball comes near somebody. Results of papers are with it, which ask the package
            for as many players as they have agents; and fewer agents than players need it.
        checkpoints: whether the ball's way to the goal is paid for.
        n_envs: environments in the batch, ``N``.
        horizon: steps after which an episode is truncated; by default as long as the drill lasts, 400 for most [step].
        reward: how the team's reward is made of the agents', see :data:`~hetrl.env.team_env.Reward`.
        seed: of all episodes, each of which begins with a seed of its own.
        device: where the tensors live; the engine runs on the CPU.
        workers: processes over which the environments are spread; None for this one. It changes no number.

    Raises:
        RecipeError: there is no such drill, or it has fewer players.
        DependencyError: gfootball is not installed.
    Source: Kurach et al. 2020, Google Research Football, arXiv:1907.11180; gfootball 2.10.2.
    Differs: when time is up an episode is truncated, after 400 steps; the package says after 401 that it is done. An
        agent has a player of its own (see ``switching``), and every episode a seed of its own. What is around the
        engine (ends, observations, rewards) is written anew and held against the package's, number by number, so that
        neither gym nor pygame nor OpenCV is needed.
    """

    pace = 10

    def __init__(
        self,
        *,
        drill: str = "academy_pass_and_shoot_with_keeper",
        n_agents: Count | None = None,
        switching: bool = False,
        checkpoints: bool = True,
        n_envs: Count = 20,
        horizon: Count | None = None,
        reward: Reward = "mean",
        seed: Seed = 0,
        device: str = "cpu",
        workers: Count | None = None,
    ) -> None:
        self.check_arguments({"drill": drill, "n_agents": n_agents, "switching": switching})
        chosen = DRILLS[drill]
        steps, count = horizon or chosen.duration, n_agents or chosen.n_left - KEEPERS
        super().__init__(
            simulators=Simulators(
                partial(Match, drill, count, steps, checkpoints, switching or count == chosen.n_left),
                n_envs,
                workers=workers,
            ),
            team=_team(chosen, count, switching),
            takers=[Taker(Discrete((len(ACTIONS),)), _indices)] * count,
            strangers=False,
            n_envs=n_envs,
            horizon=steps,
            reward=reward,
            seed=seed,
            device=device,
        )
        self.drill = drill

    __init__ = checked(__init__, "env/football_academy")

    @classmethod
    def check_arguments(cls, arguments: Mapping[str, Any]) -> None:
        """Refuse a drill that the package does not have, and more agents than it has players.

        Raises:
            RecipeError: with the nearest name, or how many there are.
        """
        name, count = arguments.get("drill"), arguments.get("n_agents")
        if name is not None and name not in DRILLS:
            raise RecipeError(f"task.drill: the academy has no drill '{name}'.{nearest(str(name), DRILLS)}")
        chosen = DRILLS[name or "academy_pass_and_shoot_with_keeper"]
        if isinstance(count, int) and count > chosen.n_left:
            raise RecipeError(
                f"task.n_agents: {count} of {chosen.n_left} players; write at most {chosen.n_left}, the keeper among "
                "them, or leave it out for all but the keeper."
            )
        if isinstance(count, int) and count < chosen.n_left - KEEPERS and not arguments.get("switching"):
            raise RecipeError(
                f"task.n_agents: {count} of {chosen.n_left - KEEPERS} players before the keeper; leave it out for all "
                "of them, or let the engine hand fewer agents from player to player with switching: true."
            )

    @classmethod
    def catalogue(cls) -> Mapping[str, str]:
        """Return drill -> what it is about, and the sizes of observations and actions."""
        return {
            name: f"{each.about} {_team(each, each.n_left - KEEPERS, False).sizes}" for name, each in DRILLS.items()
        }

    # ----- exact continuation, by the engine's own account of a match

    def state_dict(self, *_: Any, **__: Any) -> dict[str, Any]:
        """Everything that the next steps depend on, as tensors; of each match what the engine writes down.

        Of an environment that was closed the episodes are played again, from their seeds and actions.
        """
        state = super().state_dict()
        if self._observation and not self.is_closed:
            saved = self._simulators.ask(Match.saved)
            state["matches"] = [torch.frombuffer(bytearray(each), dtype=torch.uint8) for each in saved]
        return state

    def _bring_back(self, state: Mapping[str, Any]) -> list[Told]:
        if "matches" not in state:
            return super()._bring_back(state)
        return self._simulators.ask(Match.loaded, [each.cpu().numpy().tobytes() for each in state["matches"]])


def _team(drill: Drill, n_agents: int, switching: bool) -> Team:
    # Players count as in an observation, from the keeper; who has no player of its own is just an agent.
    first = 0 if n_agents == drill.n_left or switching else KEEPERS
    word, action = "agent" if switching else "player", Discrete((len(ACTIONS),))
    agents = tuple(
        Agent(f"{word}_{first + place}", GROUP, place, sight.SIZE, action, GROUP) for place in range(n_agents)
    )
    size = sight.COMMON + n_agents * sight.PLAYERS
    return Team(agents, state_size=size, state_shape=(size,))


def _indices(actions: np.ndarray) -> list[int]:
    return actions[:, 0].tolist()
