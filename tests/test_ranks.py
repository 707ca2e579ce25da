"""Which of a run's processes this is, its share of the recipe, and what is refused before anything starts."""

from types import SimpleNamespace

import lightning as L
import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy

import hetrl
from hetrl import ranks
from hetrl.engine import device
from hetrl.errors import RecipeError, RunError
from hetrl.ranks import ALONE, Rank
from hetrl.recipe.check.shares import Portion
from hetrl.train.processes import environment
from hetrl.train.suited import refuse_processes

CUE = "task={use: env/cue_game, n_envs: 8}"
HAPPO = ["nets.actor.use=net/categorical_policy", "data.frames=64", "run.device=cpu"]


@pytest.mark.parametrize(
    ("told", "number"),
    [
        ({}, 0),
        ({"LOCAL_RANK": "3", "NODE_RANK": "0"}, 3),
        ({"LOCAL_RANK": "1", "NODE_RANK": "1"}, 5),
        ({"NODE_RANK": "1"}, 4),
        ({"RANK": "6", "LOCAL_RANK": "2", "GROUP_RANK": "1"}, 6),
        ({"SLURM_PROCID": "7", "SLURM_NTASKS": "8", "SLURM_NTASKS_PER_NODE": "4"}, 7),
        ({"SLURM_PROCID": "7", "SLURM_NTASKS": "64"}, 0),
    ],
)
def test_a_process_knows_which_it_is(told, number, monkeypatch):
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert Rank.here(4, 2) == Rank(number, 8, number % 4)
    assert Rank.here(1) == ALONE  # whatever a cluster has set aside
    names = {"RANK": "TorchElasticEnvironment", "SLURM_PROCID": "SLURMEnvironment"}
    name = names.get(next(iter(told), ""), "LightningEnvironment")
    expected = "LightningEnvironment" if told.get("SLURM_NTASKS") == "64" else name
    assert type(environment(Rank.here(4, 2))).__name__ == expected


def test_alone_it_gets_back_what_it_gave():
    x = torch.ones(2)
    assert ranks.total(x) is x and ranks.mean(x) is x
    assert ranks.totals([x])[0] is x and ranks.means([x])[0] is x
    assert ranks.each(x).tolist() == [[1.0, 1.0]]
    assert (ranks.count(), ranks.several(), ranks.from_first("a"), ranks.everybodys("a")) == (1, False, "a", ["a"])
    ranks.join()  # there is no group
    assert not ranks.several()


def test_an_exchange_under_a_gradient_is_refused(monkeypatch):
    monkeypatch.setattr(ranks, "_together", True)
    with pytest.raises(RunError, match=r"^run.devices: a mean over all samples is asked for that a gradient would"):
        ranks.total(torch.ones(1, requires_grad=True))
    with ranks.by_itself():
        assert not ranks.several()
    assert ranks.several()


def test_shares_of_what_is_collected():
    words = ("data.capacity=1000", "data.warmup=101", "data.batch=32", "task.n_envs=8")
    share = Portion.of(hetrl.load("hasac", *words), Rank(1, 4))
    assert share.n_envs == 2
    assert {word: share.data[word] for word in ("capacity", "warmup", "batch")} == {
        "capacity": 250,
        "warmup": 26,
        "batch": 8,
    }
    assert Portion.of(hetrl.load("hasac", *words, "data.frames=16"), Rank(1, 4)).data["frames"] == 4
    happo = Portion.of(hetrl.load("happo", "task.n_envs=8", "data.frames=64"), Rank(0, 2))
    assert (happo.n_envs, happo.data["frames"]) == (4, 32)


@pytest.mark.parametrize(
    ("recipe", "words", "text"),
    [
        ("happo", ["task.n_envs=10", "data.frames=100", "run.devices=4"],
         "task.n_envs = 10 must be a multiple of 4, the processes that share it (run.devices); nearest: 8."),
        ("happo", ["task.n_envs=12", "data.frames=24", "run.devices=2", "run.nodes=2", "update.critic.minibatches=7"],
         "update.critic.minibatches = 7 is more than the 6 rows that each of 4 processes has of a batch "
         "(run.devices); write at most 6, or take fewer processes."),
        ("hasac", ["task.n_envs=8", "data.batch=255", "run.devices=2"],
         "data.batch = 255 must be a multiple of 2, the processes that share it (run.devices); nearest: 256."),
        ("happo", ["run.device=cuda:1", "run.devices=2"],
         "run.device = cuda:1 is one GPU, and run.devices = 2 are several; write run.device=cuda: each process takes "
         "one, from the first on."),
    ],
)  # fmt: skip
def test_what_cannot_be_shared_is_refused(recipe, words, text):
    with pytest.raises(RecipeError) as error:
        hetrl.check(hetrl.load(recipe, *words))
    assert str(error.value) == text


def test_a_source_that_does_not_say_what_one_collects_is_refused():
    class Silent:
        pass

    from hetrl.data.collected import shared

    with pytest.raises(RecipeError, match=r"^run.devices: data/my.silent does not say .* @staticmethod share\("):
        shared(Silent, {}, Rank(0, 2), "data/my.silent")


def test_fewer_gpus_than_processes_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    recipe = hetrl.load("happo", "run.device=cuda", "run.devices=4")
    with pytest.raises(RecipeError, match=r"^run.devices = 4 processes need a GPU each, and here are 2; write run.dev"):
        device.resolve_device(recipe)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert device.resolve_device(hetrl.load("happo", "run.device=cuda", "run.devices=2")) == torch.device("cuda:1")


def test_a_trainer_with_other_processes_is_refused():
    two = SimpleNamespace(world_size=2, global_rank=1, strategy=DDPStrategy())
    refuse_processes(two, Rank(1, 2))
    with pytest.raises(
        RunError, match=r"^Trainer\(devices=...\): it has 2 processes, and the recipe was built for 1; "
    ):
        refuse_processes(two, ALONE)
    for strategy, rank in (
        (DDPStrategy(start_method="fork"), Rank(1, 2)),
        (object(), Rank(1, 2)),
        (DDPStrategy(), Rank(0, 2)),
    ):
        trainer = SimpleNamespace(world_size=2, global_rank=1, strategy=strategy)
        with pytest.raises(RunError, match=r"a process does not build the recipe itself; use strategy='ddp', which"):
            refuse_processes(trainer, rank)


def test_environments_are_not_handed_to_spawned_processes():
    module, data = hetrl.build(hetrl.load("happo", CUE, *HAPPO, "run.devices=2", "run.eval_every=null"))
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = L.Trainer(max_epochs=-1, accelerator="cpu", devices=2, strategy="ddp_spawn", **quiet)
    with pytest.raises(
        RunError, match=r"^environments cannot be handed from one process to another, as Trainer\(strat"
    ):
        trainer.fit(module, data)
