"""What must hold on a GPU; run with ``pytest -m gpu`` where there is one, rehearsed on a pretended one elsewhere."""

import subprocess
import sys

import lightning as L
import pytest
import torch

import hetrl
from hetrl.engine.store import Store
from hetrl.runs.folder import Folder

pytestmark = [
    pytest.mark.gpu,
    # Warnings of vmas itself, and Lightning's advice for other kinds of training.
    pytest.mark.filterwarnings("ignore::UserWarning:vmas"),
    pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*"),
]

TINY = ["task.n_envs=16", "task.horizon=10", "data.frames=160", "run.frames=320", "run.device=cuda"]


@pytest.mark.parametrize("name", ["happo", "mappo"])
def test_trains_on_a_gpu(name):
    module, data = hetrl.load(name, *TINY, "run.eval_every=160").build()
    before = [parameter.cpu().clone() for parameter in module.parameters()]
    assert data.device.type == "cuda" and all(parameter.is_cuda for parameter in module.parameters())
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    L.Trainer(max_epochs=1, accelerator="gpu", devices=1, **quiet).fit(module, data)
    assert module.frames == 320
    after = list(module.parameters())  # on the CPU: Lightning takes a module back when a fit is over
    assert all(parameter.isfinite().all() for parameter in after)
    assert any(not torch.equal(old, new.cpu()) for old, new in zip(before, after, strict=True))


def test_an_update_never_waits_for_the_device():
    module, data = hetrl.load("happo", *TINY).build()
    batch = data.source.rollout()
    generator = torch.Generator("cuda").manual_seed(0)
    for sync_mode in ("default", "error"):  # the first pass makes what is made once
        store = Store(module.linked.team, batch)
        torch.cuda.set_sync_debug_mode(sync_mode)
        try:
            for phase in module.phases:
                phase.run(store, 0.0, generator, lambda optimizer, closure: optimizer.step(closure))
        finally:
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="two processes need a GPU each")
def test_two_gpus_train_as_one_run(tmp_path):
    """Processes, group and backend (nccl) are Lightning's; whatever they log is the same, and resuming goes on."""
    words = [*TINY, "run.eval_every=160", "--devices", "2", "--folder", str(tmp_path / "run")]
    for more in (["happo", *words], ["--resume", str(tmp_path / "run"), "run.frames=640"]):
        ran = subprocess.run([sys.executable, "-m", "hetrl", "train", *more], capture_output=True, text=True)
        assert ran.returncode == 0, ran.stdout + ran.stderr
    assert Folder(tmp_path / "run").frames_saved() == Folder(tmp_path / "run").frames_logged() == 640
