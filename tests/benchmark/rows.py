"""What rows in processes cost, and what they bring: ``python tests/benchmark/rows.py``.

A simulator of two agents that does nothing, waits 2 ms, or computes for 2 ms of processor time; 16 rows.
"""

import time

import numpy as np
import torch
from gymnasium import spaces
from pettingzoo import ParallelEnv

from hetrl.env.parallel import Parallel

N_ROWS = 16
STEP = 0.002
"""Of waiting or computing [s]."""


def compute():
    """Use 2 ms of processor time, however busy the machine is."""
    end = time.process_time() + STEP
    while time.process_time() < end:
        pass


WORK = {"nothing": lambda: None, "waits": lambda: time.sleep(STEP), "computes": compute}


class Timed(ParallelEnv):
    """Two agents of 20 numbers each, with a step that takes a while."""

    metadata = {"name": "timed"}
    render_mode = None
    possible_agents = ["a", "b"]
    max_cycles = 50

    def __init__(self, work):
        self.work = WORK[work]

    def observation_space(self, agent):
        return spaces.Box(-1, 1, (20,), np.float32)

    def action_space(self, agent):
        return spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, seed=None, options=None):
        self.random, self.agents, self.count = np.random.default_rng(seed), list(self.possible_agents), 0
        return self.look(), {agent: {} for agent in self.agents}

    def look(self):
        return {agent: self.random.random(20, dtype=np.float32) for agent in self.agents}

    def step(self, actions):
        self.work()
        self.count += 1
        seen, none = self.look(), dict.fromkeys(self.agents, False)
        cut = dict.fromkeys(self.agents, self.count >= self.max_cycles)
        self.agents = [] if self.count >= self.max_cycles else self.agents
        return seen, dict.fromkeys(cut, 1.0), none, cut, {agent: {} for agent in cut}


def processor_time(simulator):
    return time.process_time()


def measured(work, workers, steps):
    """Return frames/s, and processor time [ms] a step of this process and of the mean worker."""
    env = Parallel(factory=lambda: Timed(work), n_envs=N_ROWS, workers=workers)
    env.start()
    action = {"agents": torch.zeros(N_ROWS, 2, 2)}
    for _ in range(3):
        env.advance(action)
    theirs, ours, began = env._simulators.ask(processor_time), time.process_time(), time.perf_counter()
    for _ in range(steps):
        env.advance(action)
    took, ours = time.perf_counter() - began, time.process_time() - ours
    theirs = np.mean(np.subtract(env._simulators.ask(processor_time), theirs))
    env.close()
    return N_ROWS * steps / took, 1e3 * ours / steps, 1e3 * theirs / steps if workers else 0.0


if __name__ == "__main__":
    torch.set_num_threads(1)
    for work in WORK:
        for workers in (None, 1, 2, 4):
            tries = [measured(work, workers, 20) for _ in range(5)]
            frames, ours, theirs = max(tries)
            print(f"{work:9} workers {workers or 'null'!s:4}  {frames:6.0f} frames/s  {ours:5.2f} ms  {theirs:5.2f} ms")
