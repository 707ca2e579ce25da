"""How many operations a captured step asks a device for, where its recordings are played; see docs/gpu.md."""

from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import hetrl
from hetrl import graph
from hetrl.env.capture import capture
from hetrl.env.capture.runner import as_it_is, in_turns
from hetrl.env.vmas import Vmas
from hetrl.testing.pretended_device import is_launch
from hetrl.testing.tape import Tape

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::UserWarning:vmas")]
N_ENVS, HORIZON = 16, 20
LAUNCHES = 846, 882, 16, 16
"""Of a step as it is, without and with its part of the reset of a spare; and of a captured one."""
ROLLOUT = 9, 29
"""Of a step of a rollout as one recording, and in parts."""


class Launches(TorchDispatchMode):
    """Counts them; a recording that is played is one."""

    def __init__(self):
        super().__init__()
        self.found, self.inside = Counter(), False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if is_launch(func) and not self.inside:
            self.found[func._schema.name] += 1
        return func(*args, **(kwargs or {}))


def counter(monkeypatch):
    """Have recordings that are played, and environments that do not ask, as on a GPU; returns what counts launches."""
    launches = Launches()

    class Once(Tape):
        def play(self):
            launches.found["play"] += 1
            launches.inside = True
            super().play()
            launches.inside = False

    monkeypatch.setitem(graph.RECORDERS, "cpu", Once)
    monkeypatch.setitem(capture.COMPILERS, "cpu", lambda traced: in_turns(traced, as_it_is(traced)))
    monkeypatch.setattr(capture, "_PROOF", 10)
    monkeypatch.setattr(capture, "_REHEARSALS", 5)
    # From when it is built on.
    monkeypatch.setattr(Vmas, "asks", property(lambda self: False, lambda self, value: None), raising=False)
    return launches


def counted(monkeypatch, captured):
    """Launches of each of 40 steps of environments that end at different times."""
    launches = counter(monkeypatch)
    env = Vmas(scenario="balance", n_agents=3, n_envs=N_ENVS, horizon=HORIZON, capture=captured, broad_phase="none")
    env.start()
    env._steps[::3], env._apart = 7, True
    still = {"agents": torch.zeros(N_ENVS, 3, 2)}
    for _ in range(HORIZON):
        env.advance(still)
    assert env.trust() == captured
    each = []
    for _ in range(40):
        launches.found.clear()
        with launches:
            env.advance(still)
        each.append(launches.found.total())
    assert env.held()
    return each


def test_a_captured_step_is_one_launch_and_what_is_around_it(monkeypatch):
    """Every eighth step resets the spare, operation by operation."""
    own, captured = counted(monkeypatch, False), counted(monkeypatch, True)
    assert captured.count(min(captured)) == 35
    found = min(own), sum(own) // 40, min(captured), sum(captured) // 40
    near = [abs(one - other) < 10 for one, other in zip(found, LAUNCHES, strict=True)]
    assert all(near) and min(captured) < 20, f"its launches are {found}; is that meant? Then say so in docs/gpu.md"


def test_a_step_of_a_rollout_is_so_many_launches(monkeypatch):
    """Policies, simulator, resets and storing as one recording, and in parts, with its part of a spare's reset."""
    launches = counter(monkeypatch)
    words = ["task.capture=true", "task.broad_phase=none", "run.graphs=true", "run.device=cpu"]
    _, data = hetrl.load("happo", *words, "task.n_envs=16", "task.horizon=40", "data.frames=640").build()
    env = data.source._env
    env._steps, env._apart = 2 * torch.arange(16), True
    found = []
    for step in (data.source._take, data.source._step):
        data.source._take = step
        for _ in range(3):  # until a whole batch is taken on trust
            data.source.collect()
        launches.found.clear()
        with launches:
            data.source.collect()
        found.append(launches.found.total() // 40)
    assert tuple(found) == ROLLOUT, f"its launches are {found}; is that meant? Then say so in docs/pretended_gpu.md"
