"""One match of a drill, as a simulator: what its players do, see and are paid, and when it is over."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from hetrl.env.academy.drills import Setup, builder, engine
from hetrl.env.academy.rewards import Approach
from hetrl.env.academy.sight import common, identities, observations
from hetrl.env.adapter.simulator import Told

ACTIONS = (
    "idle", "left", "top_left", "top", "top_right", "right", "bottom_right", "bottom", "bottom_left", "long_pass",
    "high_pass", "short_pass", "shot", "sprint", "release_direction", "release_sprint", "sliding", "dribble",
    "release_dribble",
)  # fmt: skip
"""What a player may be told, in the order of the package's default. Directions, sprint and dribble stay until they are
released; left is where the own goal is."""
_NORMAL = 0
"""The kind of play in which the ball just rolls; others wait for somebody to take a kick."""
_PATIENCE, _MORE_PATIENCE = 20, 30
"""Steps after which a kick that nobody takes is passed on, and after which its taker is sent the other way."""

_idle: list[Any] = []
"""Engines that no match uses. One takes long to make and never gives back its memory, so they are used again."""


class Match:
    """One match of a drill, and after it the next.

    The rules around the engine are those of the package's ``FootballEnvCore``: an episode is over with a goal, when the
    ball is out of play, or when the other side has the ball, as the drill says; and a kick that nobody takes for 20
    steps is taken for them. The step's end is not here.

    Args:
        drill: its name.
        n_agents: players of the left side who are told what to do.
        horizon: steps.
        checkpoints: whether the ball's way to the goal is paid for.
        keeper_too: whether the left keeper may be one of those who are told.
        row: not needed.

    Raises:
        DependencyError: gfootball is not installed.
    """

    def __init__(
        self, drill: str, n_agents: int, horizon: int, checkpoints: bool, keeper_too: bool = False, row: int = 0
    ) -> None:
        self._module, self._build = engine(), builder(drill)
        self._n_agents, self._horizon = n_agents, horizon
        self._checkpoints, self._keeper_too = checkpoints, keeper_too
        actions = self._module.e_BackendAction.names
        self._actions = [actions[name] for name in ACTIONS]
        self._game: Any = None
        self._idle = _idle
        self._info: Any = None
        self._who: list[int] = []
        self._lead, self._mode, self._owner = 0, -1, -1
        self._paid = Approach(n_agents)

    # ----- the interface of a simulator

    def reset(self, seed: int) -> Told:
        """Begin a match."""
        game = self._begun()
        setup = Setup(
            self._module, n_agents=self._n_agents, keeper_too=self._keeper_too, horizon=self._horizon, seed=seed
        )
        self._build(setup)
        game.state = self._module.GameState.game_running
        game.reset(setup.finished(), False)
        self._lead, self._mode, self._owner = 0, -1, -1
        self._paid = Approach(self._n_agents)
        while not self._look().is_in_play:
            game.step()
        return self._told()

    def step(self, actions: Sequence[int]) -> Told:
        """Tell the players what to do, and play on until they can be told again."""
        game = self._game
        for player, action in enumerate(actions):
            game.perform_action(self._told_to(player, action), True, player)
        game.step()
        while not self._look().is_in_play:
            game.step()
        info = self._info
        goals = info.left_goals, info.right_goals
        over = self._is_over(goals)
        earned = goals[0] - goals[1] - self._lead
        self._lead += earned
        rewards = [float(earned)] * self._n_agents
        if self._checkpoints:
            ball = info.ball_position[0], info.ball_position[1]
            extra = self._paid.paid(earned == 1, [self._holds(player) for player in range(self._n_agents)], ball)
            rewards = [goal + more for goal, more in zip(rewards, extra, strict=True)]
        game.waiting_for_game_count = 0 if int(info.game_mode) == _NORMAL else game.waiting_for_game_count + 1
        told = {"scored": float(goals[0] > 0), "conceded": float(goals[1] > 0)}
        return self._told(rewards, over, told)

    def picture(self) -> np.ndarray:
        """Draw it from above, ``[H, W, 3]`` uint8."""
        from hetrl.env.academy.picture import paint

        return paint(self._info, self._who)

    def close(self) -> None:
        """Leave the engine to the next match."""
        if self._game is not None:
            self._idle.append(self._game)
            self._game = None

    # ----- exact continuation

    def saved(self) -> bytes:
        """Return all that the match depends on, as the engine writes it, with what is known here beside it."""
        ours = {"lead": self._lead, "mode": self._mode, "owner": self._owner, "taken": self._paid.taken}
        return bytes(self._game.get_state(json.dumps(ours)))

    def loaded(self, saved: bytes) -> Told:
        """Go on from what was saved, and return what is seen there."""
        if self._game is None:
            self.reset(0)  # it has to be in a match of this drill
        ours = json.loads(self._game.set_state(saved))
        self._lead, self._mode, self._owner = ours["lead"], ours["mode"], ours["owner"]
        self._paid.taken = ours["taken"]
        self._look()
        return self._told()

    # ----- in between

    def _begun(self) -> Any:
        """Return the engine, made or taken over where there is none yet."""
        if self._game is None:
            self._game = self._idle.pop() if self._idle else self._module.GameEnv()
        if self._game.state == self._module.GameState.game_created:
            self._game.start_game()
        return self._game

    def _look(self) -> Any:
        self._info = self._game.get_info()
        controllers = self._info.left_controllers
        self._who = [controllers[player].controlled_player for player in range(self._n_agents)]
        return self._info

    def _told(self, rewards: Sequence[float] = (), over: bool = False, infos: dict[str, float] = {}) -> Told:  # noqa: B006 (never written to)
        seen = common(self._info)
        state = np.concatenate([seen, identities(self._who).ravel()])
        return Told(list(observations(seen, self._who)), rewards, terminated=over, state=state, infos=infos)

    def _is_over(self, goals: tuple[int, int]) -> bool:
        """Whether the match has come to an end of its own; remembers what that depends on."""
        info, rules = self._info, self._game.config
        mode, owner = int(info.game_mode), info.ball_owned_team
        over = rules.end_episode_on_score and max(goals) > 0
        over = over or (rules.end_episode_on_out_of_play and mode != _NORMAL and self._mode == _NORMAL)
        lost = rules.end_episode_on_possession_change and -1 not in (owner, self._owner) and owner != self._owner
        self._mode, self._owner = mode, self._owner if owner == -1 else owner
        return bool(over or lost)

    def _holds(self, player: int) -> bool:
        """Whether the ball is with the player of an agent."""
        return self._info.ball_owned_team == 0 and self._info.ball_owned_player == self._who[player]

    def _told_to(self, player: int, action: int) -> Any:
        """What an agent chose, or what is done for it where a kick has been waited for."""
        waited = self._game.waiting_for_game_count
        if waited < _PATIENCE:
            return self._actions[action]
        if waited == _PATIENCE:
            return self._actions[ACTIONS.index("short_pass")]
        if not self._holds(player):
            return self._actions[ACTIONS.index("idle")]
        return self._actions[ACTIONS.index("right" if waited < _MORE_PATIENCE else "left")]
