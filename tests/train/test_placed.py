"""Where ``run.device=auto`` trains, with paces and clocks that are given, and a pretended GPU."""

import random

import lightning as L
import numpy as np
import pytest
import torch
from train.test_devices import HAPPO, HASAC

import hetrl
from hetrl.runs.run import resume, train
from hetrl.testing.pretended_device import CUDA, pretended_device, watched
from hetrl.train import placed as module
from hetrl.train.callbacks import DeviceNote
from hetrl.train.placed import Pace, Workload, pace, placed

CPU = torch.device("cpu")
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:vmas"),
    pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*"),
]


def given(monkeypatch, cpu, cuda):
    """Let devices have paces; returns what each was asked."""
    asked = []

    def pace(recipe, device, job, most=float("inf")):
        asked.append((device.type, job, most))
        return {"cpu": cpu, "cuda": cuda}[device.type]

    monkeypatch.setattr(module, "pace", pace)
    return asked


def test_without_a_gpu_nothing_is_measured(monkeypatch):
    asked = given(monkeypatch, None, None)
    found = placed(hetrl.load("happo", *HAPPO))
    assert (found.device, found.why, asked) == (CPU, None, [])


@pytest.mark.parametrize(
    ("cpu", "cuda", "device", "line"),
    [
        (Pace(0.0046, 0.322), Pace(0.0062, 0.41), "cpu",
         "takes the CPU: the run takes 77 s on the GPU and 59 s on the CPU, measured: a step of 64 environments 6.2 ms "
         "and 4.6 ms, an update 410 ms and 320 ms; run.device=cuda takes the GPU anyway."),
        (Pace(0.0046, 0.322), Pace(0.0062, 0.1), "cuda",
         "takes the GPU: the run takes 54 s on the GPU and 59 s on the CPU, measured: a step of 64 environments 6.2 ms "
         "and 4.6 ms, an update 100 ms and 320 ms."),
        (Pace(1.5, 0.01, cut=True), Pace(2.25, 0.1), "cuda",
         "takes the GPU: the run takes 17,000 s on the GPU and over 11,000 s on the CPU, measured: a step of 64 "
         "environments 2.2 s and 1.5 s, an update 100 ms and over 10 ms."),
    ],
)  # fmt: skip
def test_the_quicker_one_is_taken_and_a_line_says_why(monkeypatch, cpu, cuda, device, line):
    """480,000 frames of 64 environments are 7,500 steps, and batches of 6,400 frames 75 updates."""
    asked = given(monkeypatch, cpu, cuda)
    with pretended_device():
        found = placed(hetrl.load("happo", "run.frames=480_000", "data.frames=6400", "task.n_envs=64"))
    assert found.device.type == device and found.why == f"run.device=auto {line}"
    job = Workload(7500, 75, 6400)
    assert asked == [("cuda", job, float("inf")), ("cpu", job, 7500 * cuda.step + 75 * cuda.update)]


@pytest.mark.parametrize(
    ("words", "device", "why"),
    [
        (["run.device=cuda"], "cuda", None),
        (["run.device=cpu"], "cpu", None),
        (["task.capture=true"], "cpu", "a GPU pays from 512 environments"),
        (["task.capture=true", "task.n_envs=512", "data.frames=5120"], "cuda", "512 environments and minibatches"),
    ],
)
def test_what_is_not_measured(monkeypatch, words, device, why):
    """A word decides, or the size where a simulator is to be traced."""
    asked = given(monkeypatch, None, None)
    with pretended_device():
        found = placed(hetrl.load("happo", *words))
    assert (found.device.type, asked) == (device, [])
    assert found.why is None if why is None else why in found.why


def test_several_processes_do_not_measure(monkeypatch):
    """They would have to agree."""
    asked = given(monkeypatch, None, None)
    with pretended_device(), monkeypatch.context() as patched:
        patched.setattr(torch.cuda, "device_count", lambda: 2)
        found = placed(hetrl.load("happo", "run.devices=2", "task.n_envs=512", "data.frames=51200"))
    assert (found.device, asked) == (CUDA, []) and "it pays from 512" in found.why


@pytest.mark.parametrize(("name", "words"), [("happo", HAPPO), ("hasac", HASAC)])
def test_a_pace_is_of_what_the_job_launches(monkeypatch, name, words):
    """By a clock that counts launches. No devices are mixed, and nobody's random numbers are other ones afterwards."""
    recipe = hetrl.load(name, *words)
    job = Workload.of(recipe)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    with pretended_device(), watched() as ledger:
        monkeypatch.setattr(module, "clock", lambda: ledger.launches)
        of_gpu, of_cpu = pace(recipe, CUDA, job), pace(recipe, CPU, job)
    assert not ledger.mixed, "\n".join(map(str, ledger.mixed))
    assert of_cpu == Pace(0, 0)
    assert of_gpu.step > 10 and of_gpu.update > 100 and not of_gpu.cut
    assert torch.equal(before[0], torch.get_rng_state()) and random.getstate() == before[2]
    assert (np.random.get_state()[1] == before[1]).all()


def test_an_update_that_has_lost_is_left(monkeypatch):
    """By a clock whose every look is a second. Steps alone may have lost, or the update with them."""
    recipe, looks = hetrl.load("happo", *HAPPO), iter(range(10**9))
    job = Workload.of(recipe)
    whole = pace(recipe, CPU, job)
    monkeypatch.setattr(module, "clock", lambda: float(next(looks)))
    ends = pace(recipe, CPU, job, most=1e6)
    assert not ends.cut and not whole.cut
    for most in (0.0, job.n_steps * ends.step + 3 * job.n_updates):
        left = pace(recipe, CPU, job, most=most)
        assert left.cut and left.update < ends.update
        assert left.seconds(job) > most


class Kept(L.Callback):
    """Keeps where training is, and why."""

    def on_train_start(self, trainer, pl_module):
        self.device, self.why = pl_module.device.type, pl_module.placed.why


@pytest.mark.filterwarnings("ignore:the checkpoint is of a run on cuda")
def test_a_run_that_goes_on_stays_where_it_began(monkeypatch, tmp_path, capsys):
    quick, slow, kept = Pace(0.001, 0.001), Pace(0.1, 0.1), Kept()
    with pretended_device():
        for device, cpu, cuda in (("cpu", quick, slow), ("cuda", slow, quick)):
            given(monkeypatch, cpu, cuda)
            train(hetrl.load("happo", *HAPPO), tmp_path / device, callbacks=[kept, DeviceNote()], quiet=True)
            assert kept.device == device and kept.why in capsys.readouterr().out
            asked = given(monkeypatch, cuda, cpu)
            resume(tmp_path / device, "run.frames=120", callbacks=[kept], quiet=True)
            other = {"cpu": "cuda", "cuda": "cpu"}[device]
            here = {"cpu": "the CPU", "cuda": "the GPU"}[device]
            assert (kept.device, asked) == (device, [])
            assert kept.why == f"run.device=auto stays on {here}, where the run began; run.device={other} moves it."
    resume(tmp_path / "cuda", "run.frames=160", callbacks=[kept], quiet=True)  # where there is no GPU any more
    assert (kept.device, kept.why) == ("cpu", None)
