"""Checkpoints that load but are not what they should be: each is refused in one line, none taken in silence."""

import shutil

import pytest
import torch

import hetrl
from hetrl.errors import RunError
from hetrl.runs.folder import Folder
from hetrl.runs.run import resume, train
from hetrl.train.checkpoint_file import write

TINY = [
    "task={use: env/tabular_game, n_states: 3, n_actions: [2, 2], n_envs: 4, horizon: 7}", "run.frames=80",
    "nets.actor.use=net/categorical_policy", "nets.actor.hidden=[8]", "run.eval_every=null", "run.device=cpu",
]  # fmt: skip
ON_POLICY = ["nets.value.hidden=[8]", "data.frames=40"]
OFF_POLICY = ["task.n_envs=4", "task.horizon=7", "nets.q.hidden=[8]", "nets.actor.hidden=[8]", "data.capacity=100",
              "data.batch=8", "data.warmup=40", "run.frames=48", "run.eval_every=null", "run.device=cpu"]  # fmt: skip
# Lightning's advice for other kinds of training: a short epoch.
pytestmark = pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return the folders of an on-policy and an off-policy run."""
    place = tmp_path_factory.mktemp("runs")
    train(hetrl.load("happo", *TINY, *ON_POLICY), place / "happo", quiet=True)
    train(hetrl.load("hasac", *OFF_POLICY), place / "hasac", quiet=True)
    return place


def first(tree):
    return next(key for key, value in tree.items() if isinstance(value, torch.Tensor) and value.ndim == 2)


def weight(change):
    def mutate(checkpoint):
        weights = checkpoint["state_dict"]
        weights[first(weights)] = change(weights[first(weights)])

    return mutate


def at(*path, value):
    def mutate(checkpoint):
        for key in path[:-1]:
            checkpoint = checkpoint[key]
        if value is gone:
            del checkpoint[path[-1]]
        else:
            checkpoint[path[-1]] = value

    return mutate


gone = object()
MOMENTS = ("optimizer_states", 0, "state")
PROGRESS = ("loops", "fit_loop", "epoch_loop.batch_progress", "total", "processed")
SOURCE = ("Collection", "source")
STEPS = (*SOURCE, "ring", "steps")
ANY = {
    "frames -5": (at("hetrl", "frames", value=-5), "its frames are -5, no number of them"),
    "frames 0": (at("hetrl", "frames", value=0), "its frames are 0"),
    "frames text": (at("hetrl", "frames", value="80"), "its frames are '80'"),
    "frames true": (at("hetrl", "frames", value=True), "its frames are True"),
    "frames gone": (at("hetrl", "frames", value=gone), "its frames are None"),
    "frames others": (at("hetrl", "frames", value=79), "counts 79 frames and 80 collected ones"),
    "iteration -1": (at("hetrl", "iteration", value=-1), "its iteration are -1"),
    "recipe gone": (at("hetrl", "recipe", value=gone), "it has no recipe"),
    "recipe odd": (at("hetrl", "recipe", value="a: [1"), "the checkpoint's recipe"),
    "recipe empty": (at("hetrl", "recipe", value=""), "the checkpoint's recipe: a recipe is a mapping"),
    "recipe tagged": (at("hetrl", "recipe", value="a: !!python/name:os.system"), "a recipe has no tags"),
    "hetrl a list": (at("hetrl", value=[]), "what hetrl saved is no mapping"),
    "generator gone": (at("hetrl", "generator", value=gone), "KeyError, 'generator'"),
    "generator short": (at("hetrl", "generator", value=torch.zeros(3, dtype=torch.uint8)), "RuntimeError"),
    "generator text": (at("hetrl", "generator", value="x"), "AttributeError"),
    "global gone": (at("hetrl", "global", value=gone), "KeyError, 'global'"),
    "global numpy gone": (at("hetrl", "global", "numpy", value=gone), "KeyError, 'numpy'"),
    "weights gone": (at("state_dict", value=gone), "it has no weights"),
    "weights a list": (at("state_dict", value=[1]), "it has no weights"),
    "weight NaN": (weight(lambda old: old * torch.nan), r"the weight linked\..* is NaN"),
    "weight infinite": (weight(lambda old: old / 0), r"the weight linked\..* is (infinite|NaN)"),
    "weight other shape": (weight(lambda old: old[:, :1]), r"the weight linked\.\S* is \[8, 1\] of torch.float32, not"),
    "weight other type": (weight(lambda old: old.double()), r"the weight linked\.\S* is .* of torch.float64, not"),
    "weight text": (weight(lambda old: "x"), r"the weight linked\.\S* is a str"),
    "weight missing": (lambda each: each["state_dict"].pop(first(each["state_dict"])), r"weight \S* is missing"),
    "weight unknown": (at("state_dict", "more", value=torch.zeros(2)), "the weight more is of another network"),
    "optimisers gone": (at("optimizer_states", value=gone), "it has no states of optimisers and should have 3"),
    "optimisers fewer": (at("optimizer_states", 0, value=gone), "it has 2 states of optimisers and should have 3"),
    "optimiser empty": (at(*MOMENTS, value={}), "an optimiser of update.actors has lost its state of 4 parameters"),
    "optimiser no dict": (at("optimizer_states", 0, value=3), "an optimiser of update.actors has no state"),
    "moments of one gone": (at(*MOMENTS, 1, value=gone), "has lost its state of 1 parameters"),
    "moment gone": (at(*MOMENTS, 1, "exp_avg", value=gone), "has no exp_avg"),
    "moment other shape": (at(*MOMENTS, 1, "exp_avg", value=torch.zeros(3)), r"has exp_avg of \[3\] for a param"),
    "moment NaN": (at(*MOMENTS, 1, "exp_avg", value=torch.full([8], torch.nan)), "has exp_avg that is NaN or infinite"),
    "moment text": (at(*MOMENTS, 1, "exp_avg", value="x"), "has no exp_avg"),
    "moments of others": (at(*MOMENTS, 9, value={}), "has a state of other parameters"),
    "groups gone": (at("optimizer_states", 0, "param_groups", value=[]), "has other settings or parameters"),
    "rate NaN": (at("optimizer_states", 0, "param_groups", 0, "lr", value=float("nan")), "learning rate that is"),
    "eps": (at("optimizer_states", 0, "param_groups", 0, "eps", value=0.1), "has other settings or parameters"),
    "Collection gone": (at("Collection", value=gone), r"it has no simulator \(Collection\)"),
    "source gone": (at(*SOURCE, value=gone), r"it has no simulator \(Collection\)"),
    "env gone": (at(*SOURCE, "env", value=gone), r"Collection\.env is missing"),
    "env empty": (at(*SOURCE, "env", value={}), "KeyError"),
    "observation other": (at(*SOURCE, "observation", "agents", value=torch.zeros(4, 2, 9)), r"is \[4, 2, 9\] of"),
    "lengths other": (at(*SOURCE, "length", value=torch.zeros(9)), r"Collection\.length is \[9\] of torch"),
    "batches other": (at("Collection", "n_batches", value=7), "it counts 2 batches and 7 collected ones"),
    "collected other": (at("Collection", "collected", value=40), "it counts 80 frames and 40 collected ones"),
    "loops gone": (at("loops", value=gone), r"it has no progress of Lightning's \(loops\)"),
    "processes text": (at("hetrl", "ranks", value={"number": 0, "count": "two"}), r"its processes \(ranks\) are no"),
    "others' source gone": (
        at("hetrl", "ranks", value={"number": 0, "count": 2, "mark": "80-x"}),
        "ranks/80-x-1.ckpt cannot be read: No such file or directory",
    ),
    "progress other": (at(*PROGRESS, value=1), "it counts 1 batches and 2 collected ones"),
    "progress gone": (at(*PROGRESS, value=gone), "it has no progress of Lightning's"),
    "schedulers gone": (at("lr_schedulers", value=gone), "KeyError"),
}  # fmt: skip
STORED = {
    "ring gone": (at(*SOURCE, "ring", value=gone), r"Collection\.ring is missing"),
    "ring none": (at(*SOURCE, "ring", value=None), r"the replay buffer \(Collection\.ring\) is missing"),
    "steps none": (at(*STEPS, value=None), r"the replay buffer \(Collection\.ring\) is missing"),
    "written -1": (at(*SOURCE, "ring", "written", value=-1), r"the replay buffer \(Collection\.ring\) is missing"),
    "written more": (at(*SOURCE, "ring", "written", value=20), r"terminated is \[12, 4\] and should begin with"),
    "other size": (at(*SOURCE, "ring", "size", value=[99, 4]), r"saved with \[steps, n_envs\] = \[99, 4\]"),
    "flags gone": (at(*STEPS, "terminated", value=gone), "lacks 'terminated'"),
    "next gone": (at(*STEPS, "next", value=gone), "lacks 'next'"),
    "action gone": (at(*STEPS, "agents", "action", value=gone), "lacks 'action'"),
    "reward short": (at(*STEPS, "agents", "reward", value=torch.zeros(3, 4, 3)), r"agents.reward is \[3, 4, 3\] and"),
}  # fmt: skip
CASES = [("happo", *case) for case in ANY.items()] + [("hasac", *case) for case in STORED.items()]


@pytest.mark.parametrize(("name", "case"), [(name, case) for name, _, case in CASES], ids=[each[1] for each in CASES])
def test_it_is_refused_in_one_line(name, case, runs, tmp_path):
    mutate, message = case
    shutil.copytree(runs / name, tmp_path / "run")
    folder = Folder(tmp_path / "run")
    before = [folder.metrics.read_bytes(), folder.recipe.read_bytes()]
    checkpoint = folder.load_checkpoint()
    mutate(checkpoint)
    write(checkpoint, folder.checkpoint)
    with pytest.raises(RunError, match=message) as error:
        resume(folder.path, "run.frames=120", quiet=True)
    assert "\n" not in str(error.value)
    assert [folder.metrics.read_bytes(), folder.recipe.read_bytes()] == before


@pytest.mark.parametrize("name", ["happo", "hasac"])
def test_as_it_is_it_goes_on(name, runs, tmp_path):
    shutil.copytree(runs / name, tmp_path / "run")
    folder = Folder(tmp_path / "run")
    write(folder.load_checkpoint(), folder.checkpoint)
    assert resume(folder.path, "run.frames=120", quiet=True).frames_saved() == 120
