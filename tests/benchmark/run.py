"""Speed and memory against peers, every ratio measured in one process or in alternation; ``make bench``.

    python tests/benchmark/run.py [collect] [step] [train] [memory] [--quick]

Prints a table for each part and writes all figures to ``bench.json``. ``train`` needs BenchMARL in an environment of
its own, which ``peer/setup.sh`` makes.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
warnings.filterwarnings("ignore")

import torch  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

import hetrl  # noqa: E402

console = Console()
PEER = Path(os.environ.get("HETRL_PEER", HERE / ".venv-benchmarl"))
COLLECT_TARGET = {64: 0.6, 512: 0.7, 4096: 0.7}


def alternate(functions: dict[str, Callable[[], object]], rounds: int, warm: int = 1) -> dict[str, float]:
    """Call the functions in turn and return each one's median seconds, so that both meet the same machine."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for number in range(rounds + warm):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if number >= warm:
                seconds[name].append(time.perf_counter() - start)
    return {name: median(values) for name, values in seconds.items()}


def table(title: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Print rows of figures."""
    grid = Table(*rows[0], title=title, title_justify="left")
    for row in rows:
        grid.add_row(*(f"{value:,.3g}" if isinstance(value, float) else f"{value}" for value in row.values()))
    console.print(grid)
    return rows


# Collection


def collection(scenario: str, n_envs: int, horizon: int = 100) -> Callable[[], object]:
    """Return a collection of whole episodes with a 2 x 128 policy, resets included."""
    recipe = hetrl.load(
        "happo", f"task={{use: env/vmas, scenario: {scenario}}}", f"task.n_envs={n_envs}", f"task.horizon={horizon}",
        f"data.frames={n_envs * horizon}", "nets.actor.hidden=[128, 128]",
    )  # fmt: skip
    return recipe.build()[1].source.collect


def bare_vmas(scenario: str, n_envs: int, n_steps: int = 100) -> Callable[[], object]:
    """Return as many steps of bare VMAS with random actions, without resets."""
    import vmas

    env = vmas.make_env(scenario, num_envs=n_envs, seed=0, continuous_actions=True)

    def run() -> None:
        for _ in range(n_steps):
            env.step(env.get_random_actions())

    return run


def measure_collection(quick: bool) -> list[dict[str, Any]]:
    """Collect against bare stepping."""
    rows = []
    for scenario in ("balance", "navigation", "football"):
        for n_envs in (64, 512) if quick else (64, 512, 4096):
            rounds = 3 if n_envs == 4096 else 5
            pair = {"hetrl": collection(scenario, n_envs), "vmas": bare_vmas(scenario, n_envs)}
            seconds = alternate(pair, rounds)
            rows.append({
                "scenario": scenario, "environments": n_envs, "hetrl frames/s": 100 * n_envs / seconds["hetrl"],
                "bare vmas frames/s": 100 * n_envs / seconds["vmas"], "ratio": seconds["vmas"] / seconds["hetrl"],
                "target": COLLECT_TARGET[n_envs],
            })  # fmt: skip
            console.print(rows[-1])
    return table("collection, whole episodes with resets, against bare vmas stepping without", rows)


# One minibatch step


def minibatch_step(hidden: list[int], compiled: bool, rows: int = 256, n_agents: int = 3) -> Callable[[], None]:
    """Return one MAPPO minibatch step (actor and critic) through the linked program, on a fixed random batch."""
    from tensordict import TensorDict

    from hetrl.recipe.link import link
    from hetrl.recipe.store import Store
    from hetrl.team import Agent, Box, Team
    from hetrl.train.phase import Evaluation, PhaseRunner
    from hetrl.train.rows import Rows

    seen, acted = 18, 2
    box = Box((-1.0,) * acted, (1.0,) * acted)
    team = Team(tuple(Agent(f"a{i}", "agents", i, seen, box, "agents") for i in range(n_agents)), seen * n_agents)
    tree = hetrl.load(
        "mappo", f"nets.actor.hidden={hidden}", f"nets.value.hidden={hidden}", "nets.value.normalize=false",
        "update.actors.steps.entropy_bonus.coef=0.01", "update.critic.steps.huber_value.clip=null",
    ).tree  # fmt: skip
    actors, critic = ({**phase, "prepare": []} for phase in tree["update"][1:])
    recipe = hetrl.load({**tree, "update": [actors, critic]})
    agents = {"observation": torch.randn(rows, n_agents, seen), "action": torch.randn(rows, n_agents, acted),
              "old_log_prob": torch.randn(rows, n_agents) - 2}  # fmt: skip
    shared = {"advantage": torch.randn(rows), "factor": torch.ones(rows), "return": torch.randn(rows),
              "state": torch.randn(rows, seen * n_agents)}  # fmt: skip
    provided = [*(f"agent.{word}" for word in agents), *shared, "next.state"]
    linked = link(recipe, team, provided)
    store = Store(team, TensorDict({"agents": agents, **shared}, batch_size=[rows]))
    runners = [PhaseRunner(phase, linked, compiled) for phase in recipe.update]
    units = [runners[0]._unit(team.agents), runners[1]._unit(())]
    # As the peer's, the minibatch is ready.
    inputs = [
        [Rows.of(program, lane, store).split([rows])[0] for lane, program in unit.lanes["steps"]] for unit in units
    ]
    for net in linked.nets.values():
        net.requires_grad_(True)

    def step() -> None:
        for runner, unit, lanes in zip(runners, units, inputs, strict=True):
            closure = Evaluation(unit, [dict(lane) for lane in lanes], runner._refuse_unused)
            unit.optimizer.step(closure)
            closure.figures()

    return step


def measure_step(quick: bool) -> list[dict[str, Any]]:
    """One minibatch step against stock TorchRL, one thread."""
    from peer.torchrl_step import stock_mappo_step

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rows = []
    for hidden, target in (([64, 64], 2.5), ([256, 256], 1.5)):
        functions = {
            "TorchRL": stock_mappo_step(256, 3, hidden, 18, 2, 0)[0],
            "eager": minibatch_step(hidden, False),
            "compiled": minibatch_step(hidden, True),
        }
        seconds = alternate(functions, 100 if quick else 400, warm=20)
        rows.append({
            "networks": str(hidden), **{f"{name} ms": value * 1e3 for name, value in seconds.items()},
            "eager ratio": seconds["TorchRL"] / seconds["eager"], "target": target,
            "compiled / eager": seconds["eager"] / seconds["compiled"],
        })  # fmt: skip
    torch.set_num_threads(threads)
    return table("one MAPPO minibatch step, 256 rows x 3 agents, one thread, against stock TorchRL", rows)


# Whole runs against BenchMARL


def peer_run(**options: object) -> dict[str, Any]:
    """Run BenchMARL in its own environment and return its figures."""
    words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items() if value is not True]
    words += [f"--{name.replace('_', '-')}" for name, value in options.items() if value is True]
    done = subprocess.run(
        [str(PEER / "bin" / "python"), str(HERE / "peer" / "benchmarl_run.py"), *words],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return json.loads(done.stdout.strip().splitlines()[-1])


def own_run(task: str, epochs: int, iterations: int, compiled: bool) -> list[float]:
    """Train with the peer's settings and return the seconds of each iteration."""
    import lightning as L

    overrides = [] if task == "navigation" else ["task=task/vmas_balance", "task.n_envs=60"]
    recipe = hetrl.load(
        HERE / "recipes" / "mappo_peer.yaml", *overrides, f"run.frames={6000 * iterations}", "run.eval_every=null",
        f"update.actors.epochs={epochs}", f"update.critic.epochs={epochs}", f"run.compile={str(compiled).lower()}",
        "run.device=cpu",
    )  # fmt: skip
    module, data = recipe.build()
    marks = [time.perf_counter()]

    class Clock(L.Callback):
        def on_train_batch_end(self, *_: object) -> None:
            marks.append(time.perf_counter())

    trainer = L.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[Clock()],
    )  # fmt: skip
    trainer.fit(module, data)
    return [after - before for before, after in pairwise(marks)]


def measure_training(quick: bool) -> list[dict[str, Any]]:
    """Whole MAPPO runs, in alternation, two threads each; medians over iterations but the first."""
    subprocess.run(["bash", str(HERE / "peer" / "setup.sh"), str(PEER)], check=True, stdout=subprocess.DEVNULL)
    torch.set_num_threads(2)
    rows = []
    for task in ("balance", "navigation"):
        for epochs, target, iterations in ((45, 1.35, 3), (4, 1.5, 6)):
            own: list[float] = []
            peer: list[float] = []
            for _ in range(1 if quick else 2):
                result = peer_run(task=task, n_envs=60, epochs=epochs, iterations=iterations, threads=2)
                walls = [0.0, *(each["wall_seconds"] for each in result["iterations"])]
                peer += [after - before for before, after in pairwise(walls[1:])]
                own += own_run(task, epochs, iterations, False)[1:]
            rows.append({
                "task": task, "epochs": epochs, "hetrl frames/s": 6000 / median(own),
                "BenchMARL frames/s": 6000 / median(peer), "ratio": median(peer) / median(own), "target": target,
            })  # fmt: skip
            console.print(rows[-1])
    peer_seconds = peer_run(task="balance", n_envs=4096, steps=100, iterations=1, threads=2, collect_only=True)
    overrides = ["task=task/vmas_balance", "task.n_envs=4096", "data.frames=409600"]
    source = hetrl.load(HERE / "recipes" / "mappo_peer.yaml", *overrides).build()[1].source
    seconds = alternate({"hetrl": source.collect}, 2)["hetrl"]
    theirs = peer_seconds["iterations"][-1]["collection_seconds"]
    rows.append({
        "task": "balance, 4,096 environments, collecting", "epochs": 0, "hetrl frames/s": 409_600 / seconds,
        "BenchMARL frames/s": 409_600 / theirs, "ratio": theirs / seconds, "target": 5.0,
    })  # fmt: skip
    return table("MAPPO against BenchMARL 1.5.2: same networks, minibatches, epochs, frames", rows)


# Memory


def measure_memory(quick: bool) -> list[dict[str, Any]]:
    """Peak memory of the process after 20 iterations and after 200."""
    program = (
        "import sys, resource, hetrl, lightning as L\n"
        "module, data = hetrl.load('happo', 'task.n_envs=32', 'data.frames=640',f'run.frames={640 * int(sys.argv[1])}',"
        "'task.horizon=20', 'run.eval_every=null', 'run.threads=1').build()\n"
        "L.Trainer(max_epochs=1, accelerator='cpu', logger=False, enable_checkpointing=False,"
        " enable_progress_bar=False, enable_model_summary=False).fit(module, data)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)\n"
    )
    rows = []
    for iterations in (20, 60) if quick else (20, 200):
        done = subprocess.run([sys.executable, "-W", "ignore", "-c", program, str(iterations)],
                              check=True, capture_output=True, text=True)  # fmt: skip
        rows.append({"iterations": iterations, "peak MiB": float(done.stdout.strip().splitlines()[-1])})
    return table("memory of a run", rows)


PARTS = {"collect": measure_collection, "step": measure_step, "train": measure_training, "memory": measure_memory}


def main() -> None:
    """Measure the parts that were asked for, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    parser.add_argument("--quick", action="store_true", help="fewer rounds and sizes")
    options = parser.parse_args()
    versions = {"python": platform.python_version(), "torch": torch.__version__, "cores": os.cpu_count()}
    figures: dict[str, Any] = {"machine": versions, "threads": torch.get_num_threads()}
    for part in options.parts or PARTS:
        figures[part] = PARTS[part](options.quick)
    figures["own peak MiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    Path("bench.json").write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
