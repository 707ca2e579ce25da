"""Real football: what is seen and paid, by hand; a match, on a stand-in; and both on the engine where it is installed.

A test with the fixture ``pitch`` runs twice, on the stand-in of ``pitch.py`` and on the engine itself.
"""

import importlib.util
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from env import pitch as stand_in
from env.stepped import play, same, through_file

import hetrl
from hetrl.env.academy import drills, match, rewards, sight
from hetrl.env.football_academy import FootballAcademy
from hetrl.errors import DependencyError, RecipeError, RunError
from hetrl.runs.csv_table import read
from hetrl.runs.run import resume, train
from hetrl.testing import check_env

INSTALLED = importlib.util.find_spec("gfootball_engine") is not None
ENGINE = pytest.mark.skipif(not INSTALLED, reason="gfootball is not installed; it is built from source")
DRILL = "academy_pass_and_shoot_with_keeper"
IDLE, RIGHT, SHOT, PASS = (match.ACTIONS.index(word) for word in ("idle", "right", "shot", "short_pass"))


def put_in_place(monkeypatch, folder):
    stand_in.lay_out(folder)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setitem(sys.modules, "gfootball_engine", stand_in)
    monkeypatch.delitem(sys.modules, "gfootball", raising=False)
    monkeypatch.setattr(match, "_idle", [])
    monkeypatch.setattr(stand_in.GameEnv, "made", 0)


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """The stand-in in the engine's place."""
    put_in_place(monkeypatch, tmp_path)


@pytest.fixture(params=["stand_in", pytest.param("engine", marks=ENGINE)])
def pitch(request, monkeypatch, tmp_path):
    """The stand-in, then the engine."""
    if request.param == "stand_in":
        put_in_place(monkeypatch, tmp_path)
    return request.param


def told(env, *choices):
    """The same actions for all environments, one for each agent."""
    return {"agents": torch.tensor(choices).reshape(1, -1, 1).expand(env.n_envs, -1, -1)}


# ----- what is seen


def account(**changes):
    """What the engine says of two against one, the ball with the left side's second."""
    player = SimpleNamespace
    found = {
        "left_team": [
            player(position=(-1.0, 0.1), direction=(0.0, 0.01)), player(position=(0.7, -0.3), direction=(0.02, 0.0)),
        ],
        "right_team": [player(position=(0.9, 0.05), direction=(-0.5, 0.25))],
        "ball_position": (0.71, -0.29, 0.11), "ball_direction": (0.01, 0.02, 0.03), "ball_owned_team": 0,
        "ball_owned_player": 1, "game_mode": 5,
    }  # fmt: skip
    return SimpleNamespace(**(found | changes))


def test_what_an_agent_sees_number_by_number():
    expected = np.full(115, -1.0, np.float32)
    expected[:4], expected[22:26] = [-1.0, 0.1, 0.7, -0.3], [0.0, 0.01, 0.02, 0.0]
    expected[44:46], expected[66:68] = [0.9, 0.05], [-0.5, 0.25]
    expected[88:] = 0.0
    expected[88:94] = [0.71, -0.29, 0.11, 0.01, 0.02, 0.03]
    expected[95] = expected[97 + 1] = expected[108 + 5] = 1.0  # the left side's ball, the second player, a throw-in
    seen = sight.common(account())
    found = sight.observations(seen, [1, -1])
    assert seen.shape == (sight.COMMON,) and found.shape == (2, sight.SIZE) and found.dtype == np.float32
    np.testing.assert_array_equal(found[0], expected)
    expected[98] = 0.0  # an agent without a player
    np.testing.assert_array_equal(found[1], expected)


@pytest.mark.parametrize(("owner", "place"), [(-1, 94), (0, 95), (1, 96)])
def test_who_has_the_ball_is_one_of_three(owner, place):
    found = sight.observations(sight.common(account(ball_owned_team=owner)), [0])[0]
    assert found[94:97].nonzero()[0].tolist() == [place - 94]


# ----- what is paid


def test_a_checkpoint_is_paid_once_and_to_who_has_the_ball():
    paid = rewards.Approach(2)
    assert paid.paid(False, [True, False], (0.15, 0.0)) == pytest.approx([0.2, 0.0])  # the docstring's
    assert paid.paid(False, [True, False], (0.15, 0.0)) == [0.0, 0.0]
    assert paid.paid(False, [True, False], (0.0, 0.0)) == [0.0, 0.0]  # back again
    assert paid.paid(False, [False, True], (0.2, 0.0)) == pytest.approx([0.0, 0.3])
    assert paid.paid(False, [False, False], (0.9, 0.0)) == [0.0, 0.0]


def test_a_goal_pays_everyone_what_it_lacks():
    paid = rewards.Approach(3)
    paid.paid(False, [True, False, False], (0.15, 0.0))
    assert paid.paid(True, [False] * 3, (-0.5, 0.0)) == pytest.approx([0.8, 1.0, 1.0])  # wherever the ball is by now
    assert paid.paid(True, [True] * 3, (-0.5, 0.0)) == [0.0] * 3


def test_the_checkpoints_lie_from_099_to_019():
    assert [rewards.reached(distance) for distance in (1.0, 0.99, 0.902, 0.901, 0.2, 0.189)] == [0, 1, 1, 2, 9, 10]


# ----- names


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ({"drill": "pass_and_shoot_with_keeper"},
         f"task.drill: the academy has no drill 'pass_and_shoot_with_keeper'. Nearest: '{DRILL}'."),
        ({"n_agents": 4}, "task.n_agents: 4 of 3 players; write at most 3, the keeper among them, or leave it out for "
                          "all but the keeper."),
        ({"n_agents": 1}, "task.n_agents: 1 of 2 players before the keeper; leave it out for all of them, or let the "
                          "engine hand fewer agents from player to player with switching: true."),
        ({"n_agent": 2}, "env/football_academy has no argument 'n_agent'. Nearest: 'n_agents'."),
        ({"workers": 0}, "env/football_academy: workers = 0: Input should be greater than 0."),
    ],
)  # fmt: skip
def test_what_is_refused_without_the_engine(words, line):
    with pytest.raises(RecipeError) as refused:
        FootballAcademy(**words)
    assert str(refused.value) == line


@pytest.mark.parametrize("task", ["pass_and_shoot", "run_pass_and_shoot", "three_against_one"])
def test_a_shipped_task_checks_without_the_engine(task, monkeypatch):
    monkeypatch.setitem(sys.modules, "gfootball_engine", None)
    recipe = hetrl.load("happo_battle", f"task=task/academy_{task}")
    hetrl.check(recipe)
    assert recipe.task.arguments["drill"] in drills.DRILLS


def test_without_the_engine_a_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "gfootball_engine", None)
    with pytest.raises(DependencyError) as missing:
        FootballAcademy(n_envs=1)
    line = str(missing.value)
    assert line.startswith("env/football_academy needs gfootball (") and "\n" not in line
    assert "pip install --no-build-isolation --no-deps gfootball==" in line and "'Real football'" in line


def test_a_package_without_the_drill_says_so(fake):
    with pytest.raises(DependencyError, match=r"no gfootball here has a drill 'academy_corner'; it is built"):
        FootballAcademy(drill="academy_corner", n_envs=1)


def test_the_packages_own_import_is_not_needed(fake):
    """The stand-in's fails, and nothing of it stays behind."""
    drills.builder(DRILL)
    assert not [name for name in sys.modules if name.startswith(("gfootball.", drills._HERE))]


def test_the_catalogue_names_every_drill():
    found = FootballAcademy.catalogue()
    assert list(found) == list(drills.DRILLS) and found[DRILL].endswith(". 2 agents: 115 -> discrete[19]")


@ENGINE
@pytest.mark.parametrize("name", drills.DRILLS)
def test_a_drill_is_what_the_table_says(name):
    setup = drills.Setup(drills.engine(), n_agents=1, keeper_too=False, horizon=7, seed=5)
    drills.builder(name)(setup)
    assert setup.config().game_duration == drills.DRILLS[name].duration
    found = setup.finished()
    assert (len(found.left_team), found.game_duration) == (drills.DRILLS[name].n_left, 7)
    assert found.game_engine_random_seed == 5 and found.reverse_team_processing
    assert [each.controllable for each in found.left_team] == [False, *[True] * (drills.DRILLS[name].n_left - 1)]
    assert all(each.controllable for each in found.right_team)


@ENGINE
def test_every_drill_of_the_package_is_in_the_table():
    (place,) = importlib.util.find_spec("gfootball").submodule_search_locations
    found = {file.stem for file in (drills.Path(place) / "scenarios").glob("academy_*.py")}
    assert found == set(drills.DRILLS)


# ----- a match


def test_it_keeps_the_contract(pitch):
    check_env("env/football_academy", {"horizon": 5})


def test_it_keeps_the_contract_with_all_players_and_without_checkpoints(pitch):
    check_env("env/football_academy", {"horizon": 5, "n_agents": 3, "checkpoints": False, "reward": "per_agent"})


def test_who_the_agents_are(pitch):
    env = FootballAcademy(n_envs=1)
    assert env.team.names == ("player_1", "player_2") and env.team.state_size == 104 + 2 * 11
    seen = env.start()
    who = seen["agents"][0, :, sight.WHO : sight.WHO + 11]
    assert who.argmax(-1).tolist() == [1, 2] and who.sum(-1).tolist() == [1.0, 1.0]
    state = env.state(seen)[0]
    assert torch.equal(state[:97], seen["agents"][0, 0, :97]) and torch.equal(state[97:104], seen["agents"][0, 0, 108:])
    assert torch.equal(state[104:], who.flatten())
    assert FootballAcademy(n_envs=1, n_agents=3).team.names == ("player_0", "player_1", "player_2")


def shown(env, seen):
    """Each agent's player, as the agents see it."""
    return seen["agents"][:, :, sight.WHO : sight.WHO + 11].argmax(-1).tolist()


@pytest.mark.parametrize("n_agents", [2, 3])
def test_an_agent_keeps_its_player(pitch, n_agents):
    """Over whole episodes, with passes."""
    env = FootballAcademy(n_envs=2, n_agents=n_agents, horizon=30)
    env.start()
    for step in range(60):
        moved = env.advance(told(env, *[(PASS, RIGHT)[step % 2]] * n_agents))
        for seen in (moved.next_observation, moved.observation):
            assert shown(env, seen) == [list(range(3 - n_agents, 3))] * 2


def test_with_switching_the_keeper_is_the_first_ones_and_then_others_are(pitch):
    """What the package gives to whoever asks it for two of three players."""
    env = FootballAcademy(n_envs=1, switching=True)
    assert env.team.names == ("agent_0", "agent_1")
    assert shown(env, env.start()) == [[0, 2]]
    found = []
    for _ in range(30):
        found += shown(env, env.advance(told(env, IDLE, PASS)).next_observation)
    assert [1, 2] in found


def test_time_is_up_and_that_is_no_end(pitch):
    env = FootballAcademy(n_envs=2, horizon=4)
    env.start()
    for step in range(4):
        moved = env.advance(told(env, IDLE, IDLE))
        assert moved.truncated.tolist() == [step == 3] * 2 and not moved.terminated.any()
    assert not torch.equal(moved.next_observation["agents"], moved.observation["agents"])
    assert env._steps.tolist() == [0, 0]


def test_a_goal_terminates_and_is_worth_two(fake):
    """The one with the ball runs and shoots: the last thing that is seen is the ball behind the line."""
    env = FootballAcademy(n_envs=1, horizon=60)
    env.start()
    earned, steps = torch.zeros(2), 0
    for choice in [RIGHT] * 14 + [SHOT]:
        moved = env.advance(told(env, IDLE, choice))
        earned, steps = earned + moved.reward["agents"][0], steps + 1
        if moved.terminated:
            break
    assert moved.terminated.tolist() == [True] and not moved.truncated.any() and steps == 15
    torch.testing.assert_close(earned, torch.tensor([2.0, 2.0]))
    assert {name: value.item() for name, value in moved.infos.items()} == {"scored": 1.0, "conceded": 0.0}
    assert moved.next_observation["agents"][0, 0, 88] > 1.0 and moved.observation["agents"][0, 0, 88] < 0.8


def test_the_next_episode_pays_anew(pitch):
    one = match.Match(DRILL, 2, 400, True)
    earned = []
    for seed in (0, 0):
        one.reset(seed)
        earned.append(sum(sum(one.step([IDLE, IDLE]).reward) for _ in range(8)))
    assert earned[0] == earned[1] > 0.5


def test_without_checkpoints_a_goal_is_worth_one(fake):
    env = FootballAcademy(n_envs=1, horizon=60, checkpoints=False)
    env.start()
    earned = sum(env.advance(told(env, IDLE, choice)).reward["agents"][0] for choice in [RIGHT] * 14 + [SHOT])
    assert earned.tolist() == [1.0, 1.0]


def test_a_ball_that_is_out_terminates(fake):
    env = FootballAcademy(n_envs=1, horizon=60)
    env.start()
    env.advance(told(env, IDLE, IDLE))
    moved = env.advance(told(env, IDLE, SHOT))
    assert moved.terminated.all() and moved.infos["scored"].item() == 0.0
    assert moved.next_observation["agents"][0, 0, 108 + stand_in.OUT] == 1.0


def test_a_ball_that_is_lost_terminates(fake):
    env = FootballAcademy(n_envs=1, horizon=200)
    env.start()
    for _ in range(90):  # the defender comes
        moved = env.advance(told(env, IDLE, IDLE))
        if moved.terminated:
            break
    assert moved.terminated.all() and moved.next_observation["agents"][0, 0, 96] == 1.0


def test_a_kick_that_nobody_takes_is_taken_for_them(fake):
    """The package's rule, for drills that go on when the ball is out: after 20 steps a pass, then the taker is sent."""
    one = match.Match(DRILL, 2, 400, True)
    one.reset(0)
    given = []
    one._game.perform_action = lambda action, left, player: given.append((stand_in.WORDS.split()[action], player))
    one._game.config.end_episode_on_out_of_play = one._game.config.end_episode_on_possession_change = False
    one._game.match.mode, one._game.match.owner = stand_in.OUT, (0, 2)
    for _ in range(33):
        one._game.match.ball[:2] = one._game.match.places[0][2]
        one.step([SHOT, SHOT])
    by_step = [given[2 * step : 2 * step + 2] for step in range(33)]
    assert by_step[19] == [("shot", 0), ("shot", 1)] and by_step[20] == [("short_pass", 0), ("short_pass", 1)]
    assert by_step[21] == by_step[29] == [("idle", 0), ("right", 1)] and by_step[30] == [("idle", 0), ("left", 1)]


# ----- beside the package's own environment


@pytest.fixture
def package():
    """What gfootball has around its engine; it needs more packages than the engine does."""
    if not INSTALLED:
        pytest.skip("gfootball is not installed; it is built from source")
    for name in ("absl", "cv2", "gym", "six"):
        pytest.importorskip(name, reason=f"gfootball's own environment needs {name}")
    names = ("config", "football_action_set", "football_env_core", "wrappers")
    return SimpleNamespace(**{name: importlib.import_module(f"gfootball.env.{name}") for name in names})


class Theirs:
    """The package's core, with its observations and rewards as its wrappers make them."""

    def __init__(self, package, drill, n_agents, seed):
        values = {"level": drill, "players": [f"agent:left_players={n_agents}"], "game_engine_random_seed": seed}
        self.core = package.football_env_core.FootballEnvCore(package.config.Config(values))
        self.package, self.n_agents = package, n_agents
        self.core.reset()
        self.paid = object.__new__(package.wrappers.CheckpointRewardWrapper)
        self.paid._collected_checkpoints, self.paid._num_checkpoints, self.paid._checkpoint_reward = {}, 10, 0.1
        self.paid.env = SimpleNamespace(unwrapped=SimpleNamespace(observation=self.each))

    def each(self):
        seen = self.core.observation()
        return [{**seen, "active": player} for player in seen["left_agent_controlled_player"]]

    def sees(self):
        return self.package.wrappers.Simple115StateWrapper.convert_observation(self.each(), True)

    def step(self, actions):
        _, reward, done, _ = self.core.step(actions)
        earned = self.paid.reward(np.full(self.n_agents, reward, np.float32))
        return self.sees(), earned, done


def test_the_actions_are_the_packages(package):
    assert [str(action) for action in package.football_action_set.action_set_v1] == list(match.ACTIONS)


@pytest.mark.parametrize(
    ("drill", "n_agents", "steps"),
    [(DRILL, 2, 60), ("academy_run_pass_and_shoot_with_keeper", 2, 60), ("academy_3_vs_1_with_keeper", 3, 60),
     ("academy_3_vs_1_with_keeper", 4, 60), ("academy_corner", 10, 60), ("academy_counterattack_easy", 4, 60)],
)  # fmt: skip
@pytest.mark.parametrize("seed", [0, 7])
def test_a_match_is_the_packages_number_by_number(package, drill, n_agents, steps, seed):
    """Observations, rewards and ends, on the same actions, until the episode is over."""
    ours, theirs = match.Match(drill, n_agents, 400, True, True), Theirs(package, drill, n_agents, seed)
    rng, found = np.random.default_rng(seed), ours.reset(seed)
    np.testing.assert_array_equal(found.observation, theirs.sees())
    for _ in range(steps):
        # Mostly towards the goal, and seldom a kick, so that something happens.
        likely = np.where(
            np.isin(np.arange(19), [RIGHT, 13]), 4.0, np.where(np.isin(np.arange(19), [SHOT, PASS]), 1, 0.2)
        )
        choices = rng.choice(19, n_agents, p=likely / likely.sum()).tolist()
        found, (seen, earned, done) = ours.step(choices), theirs.step(choices)
        np.testing.assert_array_equal(found.observation, seen)
        np.testing.assert_allclose(found.reward, earned, atol=1e-6)
        assert found.terminated == done
        if done:
            break
    ours.close()


# ----- seeds, and going on exactly


def test_a_seed_gives_the_same_episodes_and_each_has_its_own(pitch):
    one, two, other = (FootballAcademy(n_envs=2, horizon=6, seed=seed) for seed in (3, 3, 4))
    for env in (one, two, other):
        env.start()
    first = one._episode_seeds.tolist()
    assert len(set(first)) == 2 and first == two._episode_seeds.tolist() != other._episode_seeds.tolist()
    found = play(one, 14)
    assert torch.equal(found, play(two, 14)) and not torch.equal(found, play(other, 14))
    assert not set(first) & set(one._episode_seeds.tolist())


def test_a_match_goes_on_bit_for_bit_from_the_engines_own_account(pitch, monkeypatch):
    """In the middle of episodes, through a file, into an environment that is in the middle of others; nothing is played
    again.
    """
    env = FootballAcademy(n_envs=2, horizon=40)
    env.start()
    play(env, 9)
    state = through_file(env.state_dict())
    assert len(state["matches"]) == 2 and state["matches"][0].dtype == torch.uint8
    expected = play(env, 30, first=9)
    other = FootballAcademy(n_envs=2, horizon=40, seed=9)
    other.start()
    play(other, 5)
    monkeypatch.setattr(other._simulators, "replay", None)
    other.load_state_dict(state)
    assert torch.equal(play(other, 30, first=9), expected)
    fresh = FootballAcademy(n_envs=2, horizon=40, seed=9)  # whose engines are in no match
    fresh.load_state_dict(state)
    assert torch.equal(play(fresh, 30, first=9), expected)


def test_checkpoints_that_were_had_are_kept(pitch):
    one, two = (match.Match(DRILL, 2, 400, True) for _ in range(2))
    one.reset(0)
    assert sum(sum(one.step([IDLE, IDLE]).reward) for _ in range(8)) > 0.5
    two.loaded(one.saved())
    assert two._paid.taken == one._paid.taken and max(one._paid.taken) > 5
    assert two.step([IDLE, IDLE]).reward == one.step([IDLE, IDLE]).reward == [0.0, 0.0]


def test_who_was_closed_goes_on(pitch):
    env, twin = (FootballAcademy(n_envs=2, horizon=30) for _ in range(2))
    for each in (env, twin):
        each.start()
        play(each, 7)
    env.close()
    saved = env.state_dict()
    assert "matches" not in saved
    assert torch.equal(play(env, 9, first=7), play(twin, 9, first=7))
    other = FootballAcademy(n_envs=2, horizon=30)
    other.load_state_dict(saved)
    assert torch.equal(play(other, 9, first=7), play(other_of(twin, saved), 9, first=7))


def other_of(twin, saved):
    """The twin, brought back to where the state was saved."""
    twin.load_state_dict(saved)
    return twin


def test_a_state_of_another_match_is_refused(fake):
    env = FootballAcademy(n_envs=2)
    env.start()
    state = env.state_dict()
    state["observation"] = {group: value + 1 for group, value in state["observation"].items()}
    with pytest.raises(RunError, match="does not repeat an episode"):
        env.load_state_dict(state)


def test_engines_are_used_again(fake):
    """One is never freed, and takes long to make."""
    for _ in range(3):
        env = FootballAcademy(n_envs=2)
        env.start()
        env.close()
    assert stand_in.GameEnv.made == 2


def test_processes_change_no_number(pitch):
    with_two, alone = FootballAcademy(n_envs=3, horizon=8, workers=2), FootballAcademy(n_envs=3, horizon=8)
    try:
        assert same(with_two.start(), alone.start())
        assert torch.equal(play(with_two, 12), play(alone, 12))
        state = through_file(with_two.state_dict())
        alone.load_state_dict(state)
        assert torch.equal(play(with_two, 6, first=12), play(alone, 6, first=12))
    finally:
        with_two.close()


def test_a_picture(pitch):
    env = FootballAcademy(n_envs=1)
    env.start()
    before = env.frame()
    assert before.dtype == np.uint8 and before.shape[2] == 3 and before.shape[1] == 512 and not before.shape[0] % 16
    for _ in range(8):
        env.advance(told(env, RIGHT, RIGHT))
    assert (env.frame() != before).any()


def test_a_recipe_trains_and_goes_on_bit_for_bit(pitch, tmp_path):
    words = ["task=task/academy_pass_and_shoot", "task.n_envs=2", "data.frames=40", "nets.actor.hidden=[8]",
             "nets.value.hidden=[8]", "update.actors.epochs=1", "update.critic.epochs=1", "run.eval_every=40",
             "run.n_eval_episodes=2", "run.checkpoint_every=40", "task.horizon=15", "run.device=cpu"]  # fmt: skip
    whole = train(hetrl.load("happo_battle", *words, "run.frames=80"), tmp_path / "whole", quiet=True)
    half = train(hetrl.load("happo_battle", *words, "run.frames=40"), tmp_path / "half", quiet=True)
    resume(half.path, "run.frames=80", quiet=True)
    one, other = (table(folder.metrics) for folder in (whole, half))
    assert len(one) == len(other) and one == other
    assert "scored" in " ".join(one[-1])


def table(file):
    """The metrics of a run without what the clock says."""
    clock = ("time", "fps", "seconds")
    return [
        {name: value for name, value in row.items() if not any(word in name for word in clock)} for row in read(file)
    ]
