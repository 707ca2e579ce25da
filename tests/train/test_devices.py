"""From one device to another: fits, checkpoints and Trainers, on a pretended GPU."""

import warnings
from contextlib import nullcontext
from types import SimpleNamespace

import lightning as L
import pytest
import torch
from train import test_gpu

import hetrl
from hetrl.engine.device import chosen
from hetrl.errors import RecipeError, RunError
from hetrl.ranks import ALONE
from hetrl.runs import fit
from hetrl.runs.folder import Folder
from hetrl.runs.run import resume, train
from hetrl.testing.pretended_device import pretended_device, watched
from hetrl.train.checkpoint_file import CheckpointFiles, read

GAME = "task={use: env/tabular_game, n_states: 3, n_actions: [2, 2], n_envs: 4, horizon: 7}"
HAPPO = [GAME, "nets.actor.use=net/categorical_policy", "nets.actor.hidden=[8]", "nets.value.hidden=[8]",
         "data.frames=40", "run.frames=80", "run.eval_every=null"]  # fmt: skip
HASAC = ["task.n_envs=4", "task.horizon=7", "nets.q.hidden=[8]", "nets.actor.hidden=[8]", "data.capacity=100",
         "data.batch=8", "data.warmup=40", "run.frames=48", "run.eval_every=null"]  # fmt: skip
QUIET = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:vmas"),
    pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*"),
]


def on(device):
    return pretended_device() if device == "cuda" else nullcontext()


def moments(optimizer):
    return [own[word].cpu().clone() for own in optimizer.state.values() for word in ("exp_avg", "exp_avg_sq")]


class Kept(L.Callback):
    """Keeps what is there as training begins, and the moments as it ends."""

    def on_train_start(self, trainer, pl_module):
        self.source = trainer.datamodule.source.state_dict()
        self.moments = [moments(each) for each in trainer.optimizers]

    def on_train_end(self, trainer, pl_module):
        self.live = [each._gathered for each in trainer.optimizers]
        self.saved = [each.state_dict()["state"] for each in trainer.optimizers]


def test_a_second_fit_saves_the_moments_that_it_moved():
    """Lightning puts other moments in an optimiser's state when a fit ends on a GPU, and when another begins."""
    with pretended_device():
        module, data = hetrl.load("happo", *HAPPO, "run.device=cuda", "run.frames=160").build()
        kept = Kept()
        trainer = {"max_epochs": 1, "accelerator": "gpu", "devices": 1, **QUIET}
        L.Trainer(limit_train_batches=2, **trainer).fit(module, data)
        assert module.frames == 80 and all(not parameter.is_cuda for parameter in module.parameters())
        L.Trainer(callbacks=[kept], **trainer).fit(module, data)
        assert module.frames == 160
        for live, saved in zip(kept.live, kept.saved, strict=True):
            for index, (first, second) in enumerate(zip(live.first, live.second, strict=True)):
                assert torch.equal(first.cpu(), saved[index]["exp_avg"].cpu())
                assert torch.equal(second.cpu(), saved[index]["exp_avg_sq"].cpu())


def equal(one, other, path=""):
    """Compare two trees of tensors and primitives, wherever the tensors are."""
    if isinstance(one, dict):
        assert list(map(str, one)) == list(map(str, other)), path
        for key in one:
            if key not in ("generator", "sampler", "stream", "spare_stream", "devices"):
                equal(one[key], other[key], f"{path}.{key}")
    elif isinstance(one, list | tuple):
        for number, pair in enumerate(zip(one, other, strict=True)):
            equal(*pair, f"{path}[{number}]")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one.cpu(), other.cpu()), path
    else:
        assert one == other, path


WAYS = [("cpu", "cuda"), ("cuda", "cpu"), ("cuda", "cuda")]


@pytest.mark.parametrize(
    ("name", "words", "frames", "first", "then"),
    [
        *(pytest.param("happo", HAPPO, 120, *way, marks=pytest.mark.slow) for way in WAYS),
        *(pytest.param("hasac", HASAC, 52, *way, marks=[pytest.mark.slow] * (way[0] == way[1])) for way in WAYS),
    ],
)
def test_a_run_goes_on_on_another_device(tmp_path, name, words, frames, first, then):
    """All of it is taken over but the states of generators; nothing is left on the device of before."""
    folder, kept = tmp_path / "run", Kept()
    with on(first), watched() as before:
        train(hetrl.load(name, *words, f"run.device={first}"), folder, quiet=True)
    checkpoint = read(folder / "checkpoints" / "last.ckpt")
    # Not pytest.warns: where the resume raises, it would say that nothing warned, and hide why.
    with on(then), watched() as after, warnings.catch_warnings(record=True) as said:
        warnings.filterwarnings("always", message="the checkpoint is of a run on")
        resume(folder, f"run.frames={frames}", f"run.device={then}", callbacks=[kept], quiet=True)
        equal(checkpoint["Collection"]["source"], kept.source)
        for state, own in zip(checkpoint["optimizer_states"], kept.moments, strict=True):
            equal([part[word] for part in state["state"].values() for word in ("exp_avg", "exp_avg_sq")], own)
    assert not before.mixed and not after.mixed, "\n".join(map(str, {**before.mixed, **after.mixed}))
    told = [str(each.message).partition(":")[0] for each in said]
    assert told == [f"the checkpoint is of a run on {first} and goes on on {then}"] * (first != then)
    assert read(folder / "checkpoints" / "last.ckpt")["hetrl"]["frames"] == frames


def test_generators_go_on_or_begin_anew():
    own, other = (torch.Generator().manual_seed(seed) for seed in (1, 2))
    hetrl.rng.go_on(other, own.get_state())
    assert torch.equal(torch.rand(3, generator=own), torch.rand(3, generator=other))
    begun = [torch.Generator().manual_seed(seed) for seed in (3, 4)]
    for generator in begun:
        hetrl.rng.go_on(generator, torch.arange(16, dtype=torch.uint8))  # as large as a GPU's
    first, second = (torch.rand(3, generator=generator) for generator in begun)
    assert torch.equal(first, second)


def test_a_trainer_on_another_gpu_is_refused(monkeypatch):
    with pretended_device():
        module, data = hetrl.load("happo", *HAPPO, "run.device=cuda").build()
        monkeypatch.setattr(type(data), "device", torch.device("cuda", 1))
        text = r"^the Trainer runs on cuda:0 but the environments on cuda:1; .*run.device=cuda:0, .*devices=\[1\]"
        with pytest.raises(RunError, match=text):
            L.Trainer(max_epochs=1, accelerator="gpu", devices=1, **QUIET).fit(module, data)


def test_the_trainer_of_a_run_is_where_its_environments_are(tmp_path, monkeypatch):
    module, data = SimpleNamespace(recipe=hetrl.load("happo"), rank=ALONE), SimpleNamespace()
    monkeypatch.setattr(fit.L, "Trainer", lambda **words: words)
    for device, found in (("cpu", ("cpu", 1)), ("cuda:0", ("gpu", [0])), ("cuda:1", ("gpu", [1]))):
        data.device = torch.device(device)
        words = fit._trainer(Folder(tmp_path), module, data, [], [], CheckpointFiles())
        assert (words["accelerator"], words["devices"]) == found


def test_a_run_takes_the_gpu_that_it_names(tmp_path, monkeypatch):
    """The environments are there, and so is the Trainer; a GPU that is not here is refused before a folder is made."""
    with pretended_device():
        with pytest.raises(RecipeError, match=r"^run.device: there is no cuda:1 here, the last is cuda:0.$"):
            train(hetrl.load("happo", *HAPPO, "run.device=cuda:1"), tmp_path / "run", quiet=True)
        assert not (tmp_path / "run").exists()
        with monkeypatch.context() as patched:  # undone before the pretended GPU is, which put its own count there
            patched.setattr(torch.cuda, "device_count", lambda: 2)
            assert chosen(hetrl.load("happo", *HAPPO, "run.device=cuda:1")).device == torch.device("cuda", 1)
    with pytest.raises(RecipeError, match=r"^run.device: there is no CUDA GPU here; use cpu, or auto.$"):
        chosen(hetrl.load("happo", *HAPPO, "run.device=cuda:0"))


PAYS = "from 512 environments, or 2,048 rows, on"


@pytest.mark.parametrize(
    ("words", "device", "line"),
    [
        ([], "cpu", f"takes the CPU: a GPU pays {PAYS}, and here are 64 environments and minibatches of 1,600 rows; "
                    "run.device=cuda takes it anyway."),
        (["task.n_envs=4096", "data.frames=409600"], "cuda",
         f"takes the GPU: 4,096 environments and minibatches of 102,400 rows; it pays {PAYS}."),
        (["data.frames=12800"], "cuda",
         f"takes the GPU: 64 environments and minibatches of 3,200 rows; it pays {PAYS}."),
    ],
)  # fmt: skip
def test_auto_says_which_device_it_takes_and_why(words, device, line):
    recipe = hetrl.load("happo", *words)
    assert chosen(recipe).device == torch.device("cpu") and chosen(recipe).why is None
    with pretended_device():
        found = chosen(recipe)
    assert found.device.type == device and found.why == f"run.device=auto {line}"


def test_comparing_what_is_on_two_devices_mixes_them():
    """CUDA refuses it; that the host waits as well does not hide it."""
    with pretended_device(), watched() as ledger:
        assert torch.equal(torch.zeros(2, device="cuda"), torch.zeros(2))
    assert [told.what for told in ledger.mixed] == ["equal"] == [told.what for told in ledger.waits]


@pytest.mark.slow
def test_what_is_for_a_gpu_holds_on_a_pretended_one():
    with pretended_device():
        with watched() as fit:
            test_gpu.test_trains_on_a_gpu("mappo")
        with watched() as update:
            test_gpu.test_an_update_never_waits_for_the_device()
    assert not fit.mixed and not update.mixed, "\n".join(map(str, {**fit.mixed, **update.mixed}))
