"""A stand-in for gfootball's engine: as much of one as a match asks for, with a simple football of its own.

Whoever of the left side is told to shoot with the ball at its feet scores from x > 0.8, and else puts the ball out. A
short pass goes to the next player. The right side's last player walks towards the ball and takes it when it is there.
"""

import pickle
from enum import IntEnum
from types import SimpleNamespace

import numpy as np

WORDS = (
    "idle left top_left top top_right right bottom_right bottom bottom_left long_pass high_pass short_pass shot "
    "keeper_rush sliding pressure team_pressure switch sprint dribble release_direction release_sprint release_dribble"
)
WAYS = {"left": (-1, 0), "right": (1, 0), "top": (0, -1), "bottom": (0, 1)}
OUT = 2
"""A goal kick."""


class e_BackendAction:
    names = {word: place for place, word in enumerate(WORDS.split())}


class e_Team(IntEnum):
    e_Left = 0
    e_Right = 1


class e_PlayerRole(IntEnum):
    e_PlayerRole_GK = 0
    e_PlayerRole_CB = 1


class GameState(IntEnum):
    game_created = 0
    game_running = 2
    game_done = 3


class FormationEntry(SimpleNamespace):
    def __init__(self, x, y, role, lazy, controllable):
        super().__init__(position=(x, y), role=role, lazy=lazy, controllable=controllable)


class ScenarioConfig(SimpleNamespace):
    @classmethod
    def make(cls):
        return cls(
            ball_position=[0.0, 0.0], left_team=[], right_team=[], left_agents=1, right_agents=0, deterministic=False,
            end_episode_on_score=False, end_episode_on_out_of_play=False, end_episode_on_possession_change=False,
            game_duration=3000, real_time=False, game_engine_random_seed=42, reverse_team_processing=False,
        )  # fmt: skip


class GameEnv:
    made = 0
    """How many there are."""

    def __init__(self):
        GameEnv.made += 1
        self.state, self.waiting_for_game_count, self.config, self.match = GameState.game_created, 0, None, None

    def start_game(self):
        assert self.state == GameState.game_created
        self.state = GameState.game_running

    def reset(self, config, animations):
        assert not animations and self.state == GameState.game_running
        self.config, self.waiting_for_game_count = config, 0
        rng = np.random.default_rng(config.game_engine_random_seed)
        left, right = (np.array([each.position for each in side]) for side in (config.left_team, config.right_team))
        left = left + rng.normal(0, 0.002, left.shape)
        self.match = SimpleNamespace(
            rng=rng, places=[left, -right], ways=[np.zeros_like(left), np.zeros_like(right)], told={}, time=-2, mode=0,
            ball=np.array([*config.ball_position, 0.0]), way=np.zeros(3), goals=[0, 0], owner=(-1, -1), kick=None,
        )  # fmt: skip

    def perform_action(self, action, left_team, player):
        assert left_team and 0 <= player < self.config.left_agents
        self.match.told[player] = WORDS.split()[action]

    def step(self):
        match = self.match
        match.time += 1
        if match.time < 0:
            return
        before, player_of = match.ball.copy(), self._players()
        for agent, word in match.told.items():
            player = player_of[agent]
            if word in WAYS or word == "release_direction":
                match.ways[0][player] = np.multiply(WAYS.get(word, (0, 0)), 0.01)
            if match.owner == (0, player):
                self._kick(word, player)
        match.told = dict.fromkeys(match.told, "idle")
        match.ways[1][-1] = np.sign(match.ball[:2] - match.places[1][-1]) * 0.004
        for places, ways in zip(match.places, match.ways, strict=True):
            places += ways + match.rng.normal(0, 0.0005, places.shape) * (ways != 0)
        if match.owner[0] == 0:
            match.ball[:2] = match.places[0][match.owner[1]]
        near = [np.abs(places - match.ball[:2]).max(-1) for places in match.places]
        if match.mode == 0:
            match.owner = (-1, -1)
            for side in (0, 1):
                if near[side].min() < 0.025:
                    match.owner = (side, int(near[side].argmin()))
        match.way = match.ball - before

    def _kick(self, word, player):
        match = self.match
        if word == "shot":
            if match.places[0][player][0] > 0.8:
                match.goals[0] += 1
            match.mode, match.owner, match.ball = OUT, (-1, -1), np.array([1.01, 0.0, 0.3])
        elif word == "short_pass":
            to = max((player + 1) % len(match.places[0]), 1)
            match.ball[:2], match.owner = match.places[0][to], (0, to)

    def _players(self):
        """Each agent's player; with one to spare the keeper is the first one's, until a step is taken."""
        may = [place for place, each in enumerate(self.config.left_team) if each.controllable]
        spare = len(may) - self.config.left_agents
        return may if not spare else [0, *may[spare + 1 :]] if self.match.time < 0 else may[spare:]

    def get_info(self):
        match = self.match
        sides = [
            [SimpleNamespace(position=place.tolist(), direction=way.tolist()) for place, way in zip(*both, strict=True)]
            for both in zip(match.places, match.ways, strict=True)
        ]
        controllers = [SimpleNamespace(controlled_player=player) for player in self._players()]
        return SimpleNamespace(
            left_team=sides[0], right_team=sides[1], ball_position=match.ball.tolist(), is_in_play=match.time >= -1,
            ball_direction=match.way.tolist(), ball_owned_team=match.owner[0], ball_owned_player=match.owner[1],
            left_goals=match.goals[0], right_goals=match.goals[1], left_controllers=controllers, game_mode=match.mode,
            step=match.time,
        )  # fmt: skip

    def get_state(self, text):
        return pickle.dumps((text, self.match, self.waiting_for_game_count))

    def set_state(self, state):
        assert self.match is not None, "the real engine has to be in a match"
        text, self.match, self.waiting_for_game_count = pickle.loads(state)
        return text.encode()


DRILL = """
from . import *


def build_scenario(builder):
    builder.config().end_episode_on_score = True
    builder.config().end_episode_on_out_of_play = True
    builder.config().end_episode_on_possession_change = True
    builder.SetBallPosition(0.7, -0.28)
    builder.SetTeam(Team.e_Left)
    builder.AddPlayer(-1.0, 0.0, GK)
    builder.AddPlayer(0.7, 0.0, CB)
    builder.AddPlayer(0.7, -0.29, CB)
    builder.SetTeam(Team.e_Right)
    builder.AddPlayer(-1.0, 0.0, GK)
    builder.AddPlayer(-0.95, 0.42, CB)
"""
FILES = {
    "__init__.py": "raise ImportError('gym is not here')",
    "scenarios/__init__.py": "import gfootball_engine\nTeam, GK, CB = gfootball_engine.e_Team, 0, 1\n",
    "scenarios/academy_pass_and_shoot_with_keeper.py": DRILL,
}


def lay_out(folder):
    """Write the package ``gfootball`` into a folder, whose own import fails, as it does without gym."""
    for name, text in FILES.items():
        file = folder / "gfootball" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
