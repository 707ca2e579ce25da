"""What is checked on a GPU, in the order of its worth. Each check returns figures, or raises."""

import inspect
import os
import platform
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from page import MODES, N_ENVS, RECIPES, SCENARIOS, captured_name, speed_name
from torch import Tensor

import hetrl
from hetrl import graph, rng
from hetrl.engine.store import Store
from hetrl.env.capture import capture
from hetrl.env.capture.runner import as_it_is, in_turns
from hetrl.env.vmas import _OWNERS, Vmas
from hetrl.recipe.shipped import shipped
from hetrl.runs.csv_table import read
from hetrl.runs.run import resume, train
from hetrl.testing.ledger import watched
from hetrl.testing.pretended_device import pretended_device
from hetrl.testing.tape import Tape

ROOT = Path(__file__).resolve().parents[3]
TOLERANCE = 1e-3
"""How far weights may be apart from the CPU's after two updates; a step of the line search may be another one."""
TASKS = {
    "balance": ["task.scenario=balance", "task.n_agents=3"],
    "navigation": ["task={use: env/vmas, scenario: navigation, n_agents: 3, horizon: 100, shared_rew: false}"],
    "mixed_transport": ["task={use: env/vmas, scenario: hetrl/mixed_transport, horizon: 100}"],
    "simple": ["task={use: env/vmas, scenario: simple, horizon: 100}"],
}
OPTIONS = {
    "eager": [],
    "captured": ["task.capture=true", "task.broad_phase=none"],
    "graphs": ["task.capture=true", "task.broad_phase=none", "run.graphs=true"],
}


@dataclass(frozen=True)
class Sizes:
    """How much is checked."""

    recipes: Sequence[str]
    resumed: Sequence[str]
    scenarios: Sequence[str]
    n_envs: Sequence[int]
    trained: Sequence[str]
    steps: int
    """Steps of a clock, and of a proof."""
    horizon: int
    """Steps of each environment in a batch of speed."""
    pretended: bool

    @property
    def simulates_on(self) -> str:
        """Where captured simulators are: on a pretended GPU nothing is traced, and what a tape holds stays there."""
        return "cpu" if self.pretended else "cuda"

    def trains_on(self, mode: str) -> str:
        """Where runs are trained."""
        return "cuda" if mode == "eager" else self.simulates_on


FULL = Sizes(
    recipes=[name for name in shipped() if not name.startswith("task/")], resumed=("happo", "hasac", "haqo"),
    scenarios=SCENARIOS, n_envs=N_ENVS, trained=RECIPES, steps=30, horizon=100, pretended=False,
)  # fmt: skip
DRY = Sizes(
    recipes=("happo", "hasac"), resumed=("happo",), scenarios=("simple",), n_envs=(8,),
    trained=("happo", "hasac"), steps=5, horizon=10, pretended=True,
)  # fmt: skip


def rehearse() -> None:
    """Have tapes for graphs, and simulators that do not ask, as those of a GPU."""
    Vmas.asks = property(lambda self: False, lambda self, asks: None)  # type: ignore[assignment]
    graph.RECORDERS |= dict.fromkeys(("cpu", "cuda"), Tape)
    capture.COMPILERS["cpu"] = lambda traced: in_turns(traced, as_it_is(traced))


def on_device(sizes: Sizes, function: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Return a check that has the pretended GPU, in a rehearsal."""

    def check(*given: Any) -> dict[str, Any]:
        with pretended_device() if sizes.pretended else nullcontext():
            return function(*given)

    return check


def run_all(report: Any, sizes: Sizes) -> None:
    """Run every check. What a pretended GPU cannot do is rehearsed on the CPU: to trace a simulator."""

    def check(name: str, function: Callable[..., dict[str, Any]], *given: Any) -> None:
        report.check(name, on_device(sizes, function), *given)

    def trained(mode: str, name: str, function: Callable[..., dict[str, Any]], *given: Any) -> None:
        (check if sizes.trains_on(mode) == "cuda" else report.check)(name, function, *given, mode, sizes)

    check("machine", machine)
    report.check("tests", gpu_tests, sizes, report)
    for name in sizes.recipes:
        check(f"equal {name}", equal, name)
        check(f"no wait {name}", no_wait, name, sizes)
        check(f"graphs {name}", played, name)
    report.check("trust", trust, sizes)
    with made_once():
        for name in sizes.resumed:
            for mode in ("eager", "graphs"):
                trained(mode, f"resumes {name} {mode}", resumed, name)
    for n_envs in sizes.n_envs:
        for scenario in sizes.scenarios:
            report.check(captured_name(scenario, n_envs), captured, scenario, n_envs, sizes)
    with made_once():
        for n_envs, scenario, name in _in_order(sizes):
            for mode in MODES:
                trained(mode, speed_name(name, scenario, n_envs, mode), speed, name, scenario, n_envs)


def _in_order(sizes: Sizes) -> list[tuple[int, str, str]]:
    """Speeds by their worth: the first scenario at all sizes, then the others from small to large."""
    jobs = [(n, scenario, name) for scenario in sizes.scenarios for n in sizes.n_envs for name in sizes.trained]
    first = sizes.scenarios[0]
    return sorted(jobs, key=lambda job: (job[1] != first, sizes.n_envs.index(job[0]) if job[1] != first else 0))


# ----- is it right


def machine() -> dict[str, Any]:
    """What it is."""
    found = torch.cuda.get_device_properties(0)
    return {
        "GPU": torch.cuda.get_device_name(0), "memory": f"{found.total_memory / 2**30:.0f} GB",
        "torch": torch.__version__, "CUDA": torch.version.cuda, "python": platform.python_version(),
    }  # fmt: skip


def gpu_tests(sizes: Sizes, report: Any) -> dict[str, Any]:
    """The tests that are marked for a GPU; in a rehearsal whether they are found."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider"]
    command += ["--collect-only", "tests/train/test_gpu.py"] if sizes.pretended else []
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=max(report.left, 1),
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    said = (done.stdout.strip().splitlines() or [done.stderr[-200:]])[-1]
    if done.returncode:
        raise RuntimeError(said)
    return {"pytest": said}


def tiny(name: str, device: str, *more: str) -> tuple[Any, Any]:
    """Return module and data of a recipe with small sizes."""
    recipe = hetrl.load(name)
    frames = {
        "data/on_policy": ["task.n_envs=4", "data.frames=80"],
        "data/replay": ["task.n_envs=4", "data.capacity=160", "data.batch=32", "data.warmup=80"],
    }[recipe.data.name]
    horizon = "horizon" in inspect.signature(recipe.task.entry("env").__init__).parameters
    words = [*frames, *(["task.horizon=16"] if horizon else []), f"run.device={device}", "run.eval_every=null"]
    words += [f"update.{phase.name}.epochs={min(phase.epochs, 2)}" for phase in recipe.update if phase.train]
    rng.seed(0)
    return hetrl.load(recipe, *words, *more).build()


def on_policy(recipe: hetrl.Recipe) -> bool:
    """Whether a recipe learns from fresh steps alone."""
    return recipe.data.name == "data/on_policy"


def some_samples(data: Any) -> list[Any]:
    """Return what two updates need."""
    found: list[Any] = []
    while len(found) < 2:
        found += data.source.collect().samples
    return found[:2]


def update(module: Any, sample: Any, generator: torch.Generator) -> dict[str, Tensor]:
    """Run a recipe's phases on a sample."""
    store, logged = Store(module.linked.team, sample), {}
    for phase in module.phases:
        logged |= phase.run(store, 0.0, generator, lambda optimizer, closure: optimizer.step(closure))
    return logged


class OnHost(torch.overrides.TorchFunctionMode):
    """Draws on the CPU whatever is asked for on the device, so that both devices see the same numbers."""

    NAMES = frozenset(
        ["rand", "randn", "randint", "randperm", "rand_like", "randn_like", "exponential_", "normal_", "uniform_"]
    )

    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Take the call of any torch function."""
        kwargs, name = dict(kwargs or {}), getattr(func, "__name__", "")
        if name not in self.NAMES:
            return func(*args, **kwargs)
        kwargs["generator"] = self.generator
        if name.endswith("_"):
            blank = torch.empty(args[0].shape, dtype=args[0].dtype)
            return args[0].copy_(func(blank, *args[1:], **kwargs))
        if name.endswith("_like"):
            make, like = getattr(torch, name.removesuffix("_like")), args[0]
            return make(like.shape, generator=self.generator, dtype=like.dtype).to(like.device)
        device = kwargs.pop("device", None) or "cpu"
        return func(*args, **kwargs).to(device)


def apart(left: Any, right: Any) -> float:
    """Return how far the weights of two modules are apart."""
    theirs = dict(right.named_parameters())
    return max((own.cpu() - theirs[name].cpu()).abs().max().item() for name, own in left.named_parameters())


def equal(name: str) -> dict[str, Any]:
    """Two updates give the weights that a CPU gets from the same samples, with the same draws."""
    module, data = tiny(name, "cpu")
    samples = some_samples(data)
    twin, _ = tiny(name, "cuda")
    twin.load_state_dict(module.state_dict())
    for each, device in ((module, "cpu"), (twin, "cuda")):
        with OnHost():
            for sample in samples:
                update(each, sample.to(device), torch.Generator(device).manual_seed(0))
    worst = apart(module, twin)
    if not worst < TOLERANCE:
        raise RuntimeError(f"weights are {worst:.1e} apart from the CPU's")
    return {"apart": worst}


@contextmanager
def never_waiting(pretended: bool) -> Iterator[None]:
    """Refuse whatever makes the host wait."""
    if pretended:
        with watched() as ledger:
            yield
        if ledger.waits:
            raise RuntimeError(str(next(iter(ledger.waits))))
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def no_wait(name: str, sizes: Sizes) -> dict[str, Any]:
    """The second update waits for nothing: the first makes what is made once."""
    module, data = tiny(name, "cuda")
    first, second = some_samples(data)
    generator = torch.Generator("cuda").manual_seed(0)
    update(module, first, generator)
    with never_waiting(sizes.pretended):
        update(module, second, generator)
    return {}


def played(name: str) -> dict[str, Any]:
    """What is recorded and played gives the weights, and the figures, of what is called; and nothing is refused."""
    module, data = tiny(name, "cuda")
    twin, _ = tiny(name, "cuda", "run.graphs=auto")
    twin.load_state_dict(module.state_dict())
    samples = some_samples(data)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        logged = []
        for each in (module, twin):
            rng.seed(1)
            generator = torch.Generator("cuda").manual_seed(0)
            logged.append([update(each, sample, generator) for sample in samples][-1])
    refused = [str(line.message) for line in said if "run.graphs" in str(line.message)]
    if refused:
        raise RuntimeError(refused[0])
    worst = apart(module, twin)
    if not worst < TOLERANCE:
        raise RuntimeError(f"weights are {worst:.1e} apart from those without graphs")
    return {"apart": worst, "figures": len(logged[1])}


def trust(sizes: Sizes) -> dict[str, Any]:
    """Steps of a captured simulator wait for nothing, resets included, until they are asked about."""
    env = simulator("simple", 16, True, sizes)
    still = actions_of(env)
    for _ in range(3):
        env.advance(still)
    if not env.trust():
        raise RuntimeError("the captured step is asked at each step")
    with never_waiting(sizes.pretended):
        for _ in range(5):
            env.advance(still)
    if not env.held():
        raise RuntimeError("a step went another way")
    return {"steps": 5}


def resumed(name: str, mode: str, sizes: Sizes) -> dict[str, Any]:
    """A run that is stopped half-way and continued logs to the last digit what one logs that is not."""
    recipe = hetrl.load(name)
    words = [*TASKS[sizes.scenarios[0]], "task.n_envs=4", "task.horizon=16", f"run.device={sizes.trains_on(mode)}"]
    words += ["run.eval_every=null", *(f"update.{phase.name}.epochs=1" for phase in recipe.update if phase.train)]
    words += ["data.frames=40"] if on_policy(recipe) else ["data.capacity=160", "data.batch=32", "data.warmup=80"]
    words += OPTIONS[mode]
    half, whole = (40, 80) if on_policy(recipe) else (88, 96)
    ends = []
    for stops in ((whole,), (half, whole)):
        folder = Path(tempfile.mkdtemp()) / "run"
        train(hetrl.load(name, *words, f"run.frames={stops[0]}"), folder, quiet=True)
        for frames in stops[1:]:
            resume(folder, f"run.frames={frames}", quiet=True)
        ends.append([row for row in read(folder / "metrics.csv") if row["frames"] > half])
    if not ends[0] or ends[0] != ends[1]:
        raise RuntimeError(f"it logs {ends[1]} in place of {ends[0]}")
    return {"rows": len(ends[0])}


# ----- is it fast


def simulator(scenario: str, n_envs: int, captured: bool, sizes: Sizes) -> Vmas:
    """Return started environments."""
    task = hetrl.load("happo", *TASKS[scenario], f"task.n_envs={n_envs}").task
    arguments = {**task.arguments, "n_envs": n_envs, "horizon": 10**9, "broad_phase": "none", "capture": captured}
    env = Vmas(**arguments, seed=1, device=sizes.simulates_on)
    env.asks = False
    env.start()
    return env


def actions_of(env: Vmas) -> dict[str, Tensor]:
    """Return that everybody does nothing."""
    return {
        group: torch.zeros(env.n_envs, len(agents), agents[0].action.size, device=env.device)
        for group, agents in env.team.layout.items()
    }


def clock(function: Callable[[], object], n: int) -> float:
    """Return seconds of a call."""
    for _ in range(3):
        function()
    _reach()
    start = time.perf_counter()
    for _ in range(n):
        function()
    _reach()
    return (time.perf_counter() - start) / n


def _reach() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def captured(scenario: str, n_envs: int, sizes: Sizes) -> dict[str, Any]:
    """A captured step is the simulator's, and quicker."""
    env = simulator(scenario, n_envs, False, sizes)
    start = time.perf_counter()
    made = capture.make(env, _OWNERS, capture.COMPILERS[sizes.simulates_on], None, sizes.steps)
    took, still = time.perf_counter() - start, actions_of(env)
    own = clock(lambda: env.step_simulator(env._simulator, still), sizes.steps)
    if (why := made.runner.bind(env._simulator)) is not None:
        raise RuntimeError(f"it does not fit: {why}")
    drawn = made.runner.draw()
    made.runner.trust()
    fast = clock(lambda: made.runner.step(still, drawn), sizes.steps)
    if not made.runner.held():
        raise RuntimeError("a step went another way")
    return {
        "own ms": own * 1e3, "captured ms": fast * 1e3, "steps/s": n_envs / fast, "worst": made.compiled.worst,
        "missed": made.compiled.missed, "made in s": took,
    }  # fmt: skip


@contextmanager
def made_once() -> Iterator[None]:
    """Make the captured step of a simulator once for all who train in it: that takes longer than their runs."""
    own, known = capture.make, {}

    def make(env: Any, *given: Any) -> Any:
        key = env.scenario, env.n_envs, env.broad_phase
        made = known.get(key)
        if made is None or made.runner.bind(env._simulator) is not None:
            made = known[key] = own(env, *given)
        return made

    capture.make = make
    try:
        yield
    finally:
        capture.make = own


def speed(name: str, scenario: str, n_envs: int, mode: str, sizes: Sizes) -> dict[str, Any]:
    """Frames a second of a run, without its first part; and the most memory that it took."""
    words = [*TASKS[scenario], f"task.n_envs={n_envs}", *OPTIONS[mode], f"run.device={sizes.trains_on(mode)}"]
    words += ["run.eval_every=null"]
    if on_policy(hetrl.load(name)):
        frames = n_envs * sizes.horizon
        words += [f"data.frames={frames}", f"run.frames={4 * frames}"]
    else:
        warmup, batch = 8 * n_envs, min(4096, 4 * n_envs)
        words += [f"data.capacity={64 * n_envs}", f"data.warmup={warmup}", f"data.batch={batch}"]
        words += [f"run.frames={warmup + 2 * sizes.steps * n_envs}"]
    if not sizes.pretended:
        torch.cuda.reset_peak_memory_stats()
    folder = train(hetrl.load(name, *words), Path(tempfile.mkdtemp()) / "run", quiet=True)
    rows = read(folder.timings)
    late = rows[len(rows) // 2 :]
    taken = late[-1]["frames"] - rows[len(rows) // 2 - 1]["frames"]
    seconds = sum(row["wall"] for row in late)
    memory = 0.0 if sizes.pretended else torch.cuda.max_memory_allocated() / 1e9
    return {"frames/s": taken / seconds, "GB": memory, **_parts(late, seconds)}


def _parts(rows: Sequence[Mapping[str, float]], seconds: float) -> dict[str, float]:
    """Return the share of each part of a run."""
    names = {word for row in rows for word in row} - {"frames", "wall"}
    return {name: sum(row.get(name, 0.0) for row in rows) / seconds for name in sorted(names)}
