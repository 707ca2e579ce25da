"""Rows in several processes: the same numbers, errors that are the user's own, nobody left behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from env.stepped import play, same, through_file
from gymnasium import spaces
from pettingzoo import ParallelEnv

from hetrl.env.adapter import workers
from hetrl.env.adapter.parallel import Parallel
from hetrl.env.adapter.workers import Here, Processes
from hetrl.errors import RecipeError, RunError

ROWS = 5


class Pair(ParallelEnv):
    """Two agents; the second leaves after a number of steps that the seed settles. It draws from everywhere."""

    metadata = {"name": "pair"}
    render_mode = "rgb_array"
    possible_agents = ["a", "b"]
    max_cycles = 7

    def observation_space(self, agent):
        return spaces.Box(-9, 9, (3,), np.float32)

    def action_space(self, agent):
        return spaces.Discrete(2)

    def reset(self, seed=None, options=None):
        self.own, self.agents, self.count = np.random.default_rng(seed), ["a", "b"], 0
        self.leaving = int(self.own.integers(1, 6))
        return self.look(), {agent: {} for agent in self.agents}

    def look(self):
        return {agent: np.array([self.own.normal(), np.random.normal(), self.count]) for agent in self.agents}

    def step(self, given):
        self.count += 1
        seen, gone = self.look(), {agent: agent == "b" and self.count == self.leaving for agent in self.agents}
        earned = {agent: given[agent] + float(np.random.rand()) for agent in self.agents}
        infos = {agent: {"count": self.count} for agent in self.agents}
        cut = dict.fromkeys(self.agents, self.count == 7)
        self.agents = [agent for agent in self.agents if not (gone[agent] or cut[agent])]
        return seen, earned, gone, cut, infos

    def render(self):
        return np.full((2, 2, 3), self.count, np.uint8)


@pytest.fixture
def made():
    """Make environments that are closed afterwards."""
    all_of_them = []

    def make(kind=Pair, n_workers=None, **words):
        all_of_them.append(Parallel(factory=kind, n_envs=ROWS, workers=n_workers, **words))
        all_of_them[-1].start()
        return all_of_them[-1]

    yield make
    for env in all_of_them:
        env.close()


def gone(pid):
    """Whether a process has ended, or does within seconds."""
    for _ in range(100):
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.1)
    return False


def pids(env):
    return env._simulators._rows._pids


# ----- the same numbers


def test_any_number_of_processes_gives_the_same_numbers(made):
    """Also where the environment draws from numpy's global generator, and whoever sits in its process."""
    alone = made()
    found = play(alone, 20)
    for n_workers in (1, 2, 3, 9):
        env = made(n_workers=n_workers)
        assert env.team == alone.team and len(pids(env)) == min(n_workers, ROWS)
        assert np.array_equal(found, play(env, 20), equal_nan=True)
        assert (env.frame(3) == alone.frame(3)).all()


@pytest.mark.parametrize(("saved", "loaded"), [(None, 2), (2, None), (2, 3)])
def test_a_run_goes_on_with_another_number_of_processes(made, saved, loaded):
    env, twin = made(n_workers=saved, seed=1), made(n_workers=loaded, seed=2)
    play(env, 9)
    twin.load_state_dict(through_file(env.state_dict()))
    assert same(env._observation, twin._observation)
    assert np.array_equal(play(env, 15, 100), play(twin, 15, 100), equal_nan=True)


def test_a_factory_may_be_anything_there_is(made):
    """A lambda over a class of this function, which pickle cannot send."""

    class Local(Pair):
        max_cycles = 3

    step = 0.5
    assert made(lambda: Local() if step else None, n_workers=2).horizon == 3


def test_the_generators_of_this_process_stay_as_they_were(made):
    before = np.random.get_state()[1].copy()
    for n_workers in (None, 2):
        play(made(n_workers=n_workers), 9)
    assert (np.random.get_state()[1] == before).all()


def test_rows_are_asked_in_any_order():
    with_processes = Processes(lambda row: Counter(row), 5, 2, seed=None)
    for rows in (Here(lambda row: Counter(row), 5, seed=None), with_processes):
        assert rows.call(Counter.add, [3, 0, 4], [10, 20, 30]) == [13, 20, 34]
        assert rows.call(Counter.add, [0, 3], [1, 1]) == [21, 14]
        assert rows.call(Counter.add, [], []) == []
        rows.close()
        rows.close()


class Counter:
    def __init__(self, count):
        self.count = count

    def add(self, number):
        self.count += number
        return self.count

    def close(self):
        pass


# ----- errors


class Own(Exception):
    """An error of the user's that cannot be sent: it is made of two things and tells one."""

    def __init__(self, one, other):
        super().__init__(f"{one} of {other}")


def failing(error, at=3):
    class Failing(Pair):
        def step(self, given):
            if self.count == at:
                raise error()
            return super().step(given)

    return Failing


@pytest.mark.parametrize("n_workers", [None, 2])
def test_an_error_of_the_environment_is_its_own(made, n_workers):
    env = made(failing(lambda: ZeroDivisionError("mine")), n_workers)
    play(env, 3)
    with pytest.raises(ZeroDivisionError, match="mine") as caught:
        play(env, 1)
    assert any("environment" in note for note in caught.value.__notes__)
    if n_workers:
        assert "raise error()" in str(caught.value.__cause__)  # where it was, in the other process
    env.start()  # they are all there still


def test_an_error_that_cannot_be_sent_is_told_in_a_line(made):
    env = made(failing(lambda: Own(1, 2)), 2)
    play(env, 3)
    with pytest.raises(RunError, match=r"^task: the environment raised Own: 1 of 2$") as caught:
        play(env, 1)
    assert "raise error()" in str(caught.value.__cause__)


def test_an_error_while_they_are_made_ends_them_all():
    def factory():
        raise ZeroDivisionError("no world")

    before = threading.active_count()
    with pytest.raises(ZeroDivisionError, match="no world"):
        Parallel(factory=factory, n_envs=4, workers=2)
    assert threading.active_count() == before


def test_a_killed_process_ends_the_run_in_one_line(made):
    env = made(n_workers=2)
    first, second = pids(env)
    os.kill(second, signal.SIGKILL)
    message = (
        r"^task\.workers: process 2 of 2 \(environments 2 to 4\) has ended by itself; was it killed, or out of memory\?"
        r" The run stops\.$"
    )
    for _ in range(2):
        with pytest.raises(RunError, match=message):
            play(env, 1)
    env.close()
    assert gone(first) and gone(second)


def test_what_cannot_be_sent_is_refused_where_processes_are_not_forked(monkeypatch):
    monkeypatch.setattr(workers, "_METHOD", "spawn")
    lock = threading.Lock()
    with pytest.raises(RecipeError, match=r"^task\.workers: the environment cannot be sent to another process \(.*\);"):
        Processes(lambda row: lock, 2, 2, seed=None)


@pytest.mark.slow
def test_spawned_processes_give_the_same_numbers(made, monkeypatch):
    """As on macOS and Windows; the factory is sent by value."""
    found = play(made(lambda: Pair()), 9)
    monkeypatch.setattr(workers, "_METHOD", "spawn")
    assert np.array_equal(found, play(made(lambda: Pair(), n_workers=2), 9), equal_nan=True)


# ----- ends


def test_closing_closes_every_simulator_and_ends_the_processes(made, tmp_path):
    class Closing(Pair):
        def close(self):
            (tmp_path / f"{os.getpid()}_{id(self)}").touch()

    env = made(Closing, 2)
    own = pids(env)
    env.close()
    files = [file.name.split("_")[0] for file in tmp_path.iterdir()]
    assert {pid: files.count(str(pid)) for pid in own} == dict(zip(own, [2, 3], strict=True))
    assert all(map(gone, own))
    env.close()


def test_a_process_that_does_not_come_to_an_end_is_killed(made, monkeypatch):
    monkeypatch.setattr(workers, "_PATIENCE", 0.3)

    class Hanging(Pair):
        def close(self):
            time.sleep(600)

    env = made(Hanging, 2)
    own = pids(env)
    env.close()
    assert all(map(gone, own))


SCRIPT = """
import sys, time
sys.path.insert(0, {tests!r})
from env.test_workers import Pair
from hetrl.env.adapter.parallel import Parallel
env = Parallel(factory=Pair, n_envs=4, workers=2)
print(*env._simulators._rows._pids, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(("sent", "to_all"), [(signal.SIGKILL, False), (signal.SIGINT, True), (signal.SIGTERM, False)])
def test_nobody_outlives_the_process_that_began(sent, to_all):
    """Killed outright; and Ctrl-C, which a terminal sends to all of them."""
    script = SCRIPT.format(tests=str(Path(__file__).parents[1]))
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", script], start_new_session=True, **pipes) as process:
        own = [int(pid) for pid in process.stdout.readline().split()]
        assert len(own) == 2
        (os.killpg if to_all else os.kill)(process.pid, sent)
        process.wait(20)
        assert all(map(gone, own))
        if to_all:
            assert process.stderr.read().count("Traceback") == 1  # this process's own, and nobody else's
