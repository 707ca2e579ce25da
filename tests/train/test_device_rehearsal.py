"""Every shipped recipe on a pretended GPU: no devices are mixed, nothing of ours waits, and the numbers are the CPU's.

What is not pretended, time and memory, is for ``pytest -m gpu``, where there is a GPU.
"""

import inspect
from dataclasses import dataclass, field

import pytest
import torch

import hetrl
from hetrl.engine.store import Store
from hetrl.recipe.shipped import shipped
from hetrl.runs.csv_table import read
from hetrl.runs.run import resume, train
from hetrl.testing.pretended_device import pretended_device, watched

pytestmark = [
    # Warnings of vmas itself, and Lightning's advice for other kinds of training.
    pytest.mark.filterwarnings("ignore::UserWarning:vmas"),
    pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*"),
]
QUICK = ("haa2c", "hasac", "omdpg")
NAMES = [name for name in shipped() if not name.startswith("task/")]
EACH = [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in NAMES]

BUDGET = {
    "a2po": (80, 92, 10881),
    "chain_hasac": (206, 226, 1435),
    "chain_hasac_mujoco": (159, 226, 978),
    "coma": (889, 74, 2322),
    "haa2c": (80, 79, 2149),
    "haa2c_mujoco": (39, 85, 1273),
    "haddpg": (134, 51, 318),
    "happo": (80, 79, 6007),
    "happo_battle": (889, 87, 7275),
    "happo_mpe": (36, 79, 1664),
    "happo_mujoco": (39, 85, 3777),
    "happo_penalty": (80, 133, 9892),
    "haqo": (252, 172, 2125),
    "haqo_clip": (252, 187, 2548),
    "haqo_gaussian": (143, 228, 1120),
    "haqo_mujoco": (224, 172, 1443),
    "haqo_soft": (260, 54, 2317),
    "hasac": (130, 85, 625),
    "hasac_battle": (935, 46, 583),
    "hasac_mujoco": (91, 85, 438),
    "hatd3": (134, 51, 344),
    "hatrpo": (80, 1828, 7291),
    "hatrpo_mujoco": (39, 2291, 5197),
    "ippo": (80, 79, 9289),
    "iql": (920, 38, 115),
    "isac": (138, 85, 622),
    "maddpg": (134, 51, 250),
    "mappo": (71, 79, 3098),
    "mappo_battle": (879, 87, 3531),
    "mappo_mujoco": (28, 85, 2543),
    "masac": (130, 85, 623),
    "matd3": (134, 51, 276),
    "omdpg": (118, 168, 392),
    "omdpg_battle": (914, 186, 715),
    "omdpg_discrete": (109, 152, 512),
    "omdpg_mujoco": (95, 77, 318),
    "qmix": (920, 101, 196),
    "qvpo": (654, 241, 4261),
    "recurrent_happo": (146, 752, 61785),
    "shared_happo": (71, 79, 6247),
    "vdn": (920, 53, 129),
}
"""Recipe -> launches of our own in a step of all environments, in the largest minibatch, and in an update of the sizes
below. What the simulator itself launches, which depends on what is close to what, is not counted."""
SLACK = 10
"""So many more are a failure; so many fewer are as well, so that the table stays true."""

ALLOWED = ("vmas/",)
"""Where the host may wait in a collection, beside the one look at all that was collected (``Intake.look``): VMAS's own
steps and resets ask, and make tensors of numbers."""
ON_THE_HOST = ("hetrl/env/mamujoco.py", "hetrl/env/adapter/", "hetrl/env/team_env.py")
"""The same, of simulators on the host."""
SIMULATED = ("hetrl.env.mamujoco", "hetrl.env.adapter")
LOOK = ("hetrl/data/intake.py", "_finite")


def words(name, device, *more):
    """Return a recipe with small sizes."""
    recipe = hetrl.load(name)
    sizes = {
        "data/on_policy": ["task.n_envs=4", "data.frames=80", "run.frames=240", "run.eval_every=160"],
        "data/replay": ["task.n_envs=4", "data.capacity=160", "data.batch=32", "data.warmup=80", "run.frames=96",
                        "run.eval_every=88"],
    }[recipe.data.name]  # fmt: skip
    cls = recipe.task.entry("env")
    horizon = ["task.horizon=16"] if "horizon" in inspect.signature(cls.__init__).parameters else []
    run = [f"run.device={device}", "run.threads=null", "run.n_eval_episodes=2"]
    return hetrl.load(recipe, *sizes, *horizon, *run, *more)


@dataclass
class Counted:
    """What a recipe did on the pretended device."""

    step: int = 0
    minibatch: int = 0
    update: int = 0
    waits: dict = field(default_factory=dict)
    mixed: set = field(default_factory=set)
    apart: float = 0.0
    """How far the parameters are from those of the CPU."""
    on_the_host: bool = False
    """Whether the simulator is there."""
    rounding: float = 1e-4
    """How far they may be: a tanh is another formula there."""


def phases(module, sample, generator, launches=lambda: 0):
    """Run a recipe's phases on a sample, and return how many launches each optimiser's step took."""
    taken, store = [], Store(module.linked.team, sample)

    def step(optimizer, closure):
        before = launches()
        optimizer.step(closure)
        taken.append(launches() - before)

    for phase in module.phases:
        phase.run(store, 0.5, generator, step)
    return taken


def samples_of(name, n):
    """Return a module on the CPU, and samples that its policies have collected."""
    hetrl.rng.seed(0)
    module, data = words(name, "cpu").build()
    found = []
    while len(found) < n:
        found += data.source.collect().samples
    data.source.close()
    return module, found[:n]


def rehearsed(name):
    """Take two updates on both devices, and another one and a collection under watch."""
    module, samples = samples_of(name, 2)
    saved = {key: value.clone() for key, value in module.state_dict().items() if isinstance(value, torch.Tensor)}
    hetrl.rng.seed(1)
    for sample in samples:
        phases(module, sample, torch.Generator().manual_seed(0))
    counted = Counted()
    with pretended_device():
        with watched() as begun:
            twin, data = words(name, "cuda").build()
            for key, value in twin.state_dict().items():
                if key in saved:
                    assert torch.equal(value.cpu(), saved[key]), key
            hetrl.rng.seed(1)
            here = [sample.to("cuda") for sample in samples]
            for sample in here:
                phases(twin, sample, torch.Generator("cuda").manual_seed(0))
            theirs = {key: value.cpu() for key, value in twin.named_parameters()}
            data.source.collect()  # what is made once is made here
        counted.apart = max((own - theirs[key]).abs().max().item() for key, own in module.named_parameters())
        if any(optimizer.twice for phase in twin.phases for optimizer in phase.optimizers.values()):
            counted.rounding = 1e-3  # which conjugate gradients make more of
        generator = torch.Generator("cuda").manual_seed(0)
        with watched() as update:
            counted.minibatch = max(phases(twin, here[0], generator, lambda: update.launches))
        kinds = [cls.__module__ for cls in type(data.source._env).__mro__]
        counted.on_the_host = any(kind.startswith(SIMULATED) for kind in kinds)
        with watched() as collection:
            collected = data.source.collect()
        counted.step = collection.launches_of("hetrl") * 4 // collected.frames
        counted.update = update.launches
        counted.waits = {"update": update.waits, "collection": collection.waits}
        counted.mixed = {*begun.mixed, *update.mixed, *collection.mixed}
        data.source.close()
    return counted


def test_the_table_names_every_recipe():
    assert sorted(BUDGET) == sorted(NAMES)


@pytest.mark.parametrize("name", EACH)
def test_a_recipe_on_the_device(name):
    counted = rehearsed(name)
    assert not counted.mixed, "\n".join(map(str, counted.mixed))
    assert counted.apart < counted.rounding
    assert not counted.waits["update"], "\n".join(map(str, counted.waits["update"]))
    allowed = (*ALLOWED, *ON_THE_HOST) if counted.on_the_host else ALLOWED
    waits = [wait for wait in counted.waits["collection"] if not wait.places[0].file.startswith(allowed)]
    looks = [wait for wait in waits if wait.places[0][:2] == LOOK]
    assert waits == looks and sum(counted.waits["collection"][wait] for wait in looks) <= 1, "\n".join(map(str, waits))
    found = counted.step, counted.minibatch, counted.update
    line = f'"{name}": {found},'
    assert name in BUDGET, f"a new recipe: write into BUDGET what it takes, {line}"
    near = [abs(one - other) < SLACK for one, other in zip(found, BUDGET[name], strict=True)]
    assert all(near), f"its launches are {found} and no more {BUDGET[name]}; is that meant? Then write {line}"


ASKED_IN_AN_EVALUATION = {("hetrl/data/evaluate.py", "evaluate"), LOOK}
"""Where an evaluation asks: whether an episode still runs, and whether all that was given is finite."""


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_is_trained_evaluated_saved_and_goes_on(name, tmp_path):
    """By Lightning."""
    recipe = words(name, "cuda", "run.checkpoint_every=80")
    with pretended_device(), watched() as ledger:
        folder = train(recipe, tmp_path / "run", quiet=True)
        resume(folder.path, f"run.frames={recipe.run.frames + 80}", quiet=True)
    assert not ledger.mixed, "\n".join(map(str, ledger.mixed))
    rows = read(folder.metrics)
    assert rows[-1]["frames"] == recipe.run.frames + 80
    n_evaluations = sum("eval/return" in row for row in rows)
    asked = sum(count for wait, count in ledger.waits.items() if wait.places[0][:2] in ASKED_IN_AN_EVALUATION)
    # An episode has 16 steps, one block. An evaluation looks at its reset and at that block, and asks before and after
    # it whether one still runs; each collection looks once, and so does each of the two fits at its reset.
    assert n_evaluations >= 2 and asked <= 4 * n_evaluations + len(rows) + 2
