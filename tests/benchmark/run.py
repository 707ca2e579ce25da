"""Speed and memory against peers, every ratio measured in one process or in alternation; ``make bench``.

    python tests/benchmark/run.py [collect] [step] [soft] [marginal] [teams] [train] [scenario] [capture] [memory]
                                  [mujoco] [diffusion] [battle] [--quick]

Prints a table for each part and writes all figures to ``bench.json``. ``train`` needs BenchMARL in an environment of
its own, which ``peer/setup.sh`` makes.
"""

import argparse
import json
import math
import os
import platform
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from threading import Thread
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
warnings.filterwarnings("ignore")

import torch  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

import hetrl  # noqa: E402
from hetrl.engine.store import Store  # noqa: E402

console = Console()
PEER = Path(os.environ.get("HETRL_PEER", HERE / ".venv-benchmarl"))
COLLECT_TARGET = {64: 0.6, 512: 0.7, 4096: 0.7}


def alternate(
    functions: dict[str, Callable[[], object]],
    rounds: int,
    warm: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Call the functions in turn and return each one's median seconds, so that both meet the same machine."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for number in range(rounds + warm):
        for name, function in functions.items():
            start = clock()
            function()
            if number >= warm:
                seconds[name].append(clock() - start)
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
    """Collect against bare stepping, one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
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
    torch.set_num_threads(threads)
    return table("collection, whole episodes with resets, against bare vmas stepping without", rows)


# One minibatch step


def minibatch_step(hidden: list[int], compiled: bool, rows: int = 256, n_agents: int = 3) -> Callable[[], None]:
    """Return one MAPPO minibatch step (actor and critic) through the linked program, on a fixed random batch."""
    from tensordict import TensorDict

    from hetrl.engine.link import link
    from hetrl.engine.objective import Minibatch
    from hetrl.engine.phase import PhaseRunner
    from hetrl.engine.rows import Rows
    from hetrl.engine.store import Store
    from hetrl.team import Agent, Box, Team

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
    turns = [runner._turns.of(agents)[0] for runner, agents in zip(runners, (team.agents, ()), strict=True)]
    # As the peer's, the minibatch is ready.
    inputs = [[Rows.of(reader, lane, store).split([rows])[0] for lane, reader in turn.lanes] for turn in turns]
    for net in linked.nets.values():
        net.requires_grad_(True)

    def refuse(parameter: torch.nn.Parameter) -> None:
        raise AssertionError("no loss reaches a parameter")

    def step() -> None:
        for turn, lanes in zip(turns, inputs, strict=True):
            given = [dict(lane) for lane in lanes]
            closure = Minibatch(turn.objective, turn.derivative, turn.parameters, given, refuse)
            turn.optimizer.step(closure)
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


# One HASAC update


class Update:
    """One whole off-policy update at each call, through the linked program on a fixed random batch."""

    def __init__(
        self, *changes: str, recipe: str = "hasac", n_agents: int = 3, n_bodies: int = 1, compiled: bool = False,
        state_size: int | None = None, rows: int = 1000, hidden: int = 256,
    ) -> None:  # fmt: skip
        from tensordict import TensorDict

        from hetrl.engine.link import link
        from hetrl.engine.phase import PhaseRunner
        from hetrl.team import Agent, Box, Team

        seen, acted = 18, 2
        width = seen * n_agents if state_size is None else state_size
        box = Box((-1.0,) * acted, (1.0,) * acted)
        bodies = [f"body_{i % n_bodies}" for i in range(n_agents)]
        agents = (Agent(f"agent_{i}", "agents", i, seen, box, body) for i, body in enumerate(bodies))
        self.team = Team(tuple(agents), width)

        def at() -> dict[str, Any]:
            return {"agents": {"observation": torch.randn(rows, n_agents, seen)}, "state": torch.randn(rows, width)}

        data = {**at(), "next": at(), "reward": torch.randn(rows), "discount": torch.full((rows,), 0.99**5),
                "terminated": torch.rand(rows) < 0.05}  # fmt: skip
        data["agents"]["action"] = torch.rand(rows, n_agents, acted) * 2 - 1
        self.batch = TensorDict(data, [rows])
        provided = ["agent.observation", "agent.action", "state", "reward", "discount", "terminated",
                    "next.agent.observation", "next.state"]  # fmt: skip
        widths = [f"nets.{net}.hidden=[{hidden}, {hidden}]" for net in ("actor", "q")]
        loaded = hetrl.load(recipe, *widths, *changes)
        self.linked = link(loaded, self.team, provided)
        self.runners = [PhaseRunner(phase, self.linked, compiled) for phase in loaded.update]
        self.store = self._fresh()

    def _fresh(self) -> Any:
        from hetrl.engine.store import Store

        return Store(self.team, self.batch)

    def run(self, runner: Any) -> dict[str, torch.Tensor]:
        """Run one phase."""
        return runner.run(self.store, 0.0, torch.Generator(), lambda optimizer, closure: optimizer.step(closure))

    def sweep(self) -> None:
        """Run the actors' phase alone."""
        self.run(self.runners[1])

    def __call__(self) -> dict[str, torch.Tensor]:
        """Run all phases and return what they log."""
        self.store = self._fresh()
        return {name: value for runner in self.runners for name, value in self.run(runner).items()}


def check_soft_update() -> None:
    """Ours and stock TorchRL: the same losses and parameters after three updates that start alike."""
    from peer.torchrl_sac import give_parameters, parameter_pairs, same_draw, stock_hasac_update

    torch.manual_seed(0)  # where a gradient is nothing but rounding, Adam steps by its sign
    order = [2, 0, 1]
    ours = Update(f"update.actors.order={{use: order/fixed, of: agent, order: {order}}}")
    stock = stock_hasac_update(ours.batch, [256, 256])
    give_parameters(ours.linked, stock)
    for _ in range(3):
        with same_draw(len(order), torch.randn(1000, 2)):
            stock(order)
            logged = ours()
        names = {"critic/td": "critic"} | {f"actors/agent_{i}/soft_policy": f"agent_{i}" for i in order}
        for mine, theirs in names.items():
            torch.testing.assert_close(logged[mine], stock.figures[theirs], rtol=1e-4, atol=1e-5)
    for theirs, mine in parameter_pairs(ours.linked, stock):
        torch.testing.assert_close(theirs, mine, rtol=1e-4, atol=1e-6)


def soft_updates(quick: bool) -> list[dict[str, Any]]:
    """Whole updates, ours and the stock build's: the reference's sizes, and those of the recipe."""
    from peer.torchrl_sac import stock_hasac_update

    rows = []
    for batch, hidden in ((1000, 256), (256, 128)):
        eager = Update(rows=batch, hidden=hidden)
        functions = {
            "TorchRL": stock_hasac_update(eager.batch, [hidden, hidden]),
            "eager": eager,
            "compiled": Update(rows=batch, hidden=hidden, compiled=True),
        }
        seconds = alternate(functions, 20 if quick else 100, warm=10, clock=time.process_time)
        row = {"rows": batch, "networks": f"2 x {hidden}"}
        row |= {f"{name} ms": value * 1e3 for name, value in seconds.items()}
        row |= {"eager ratio": seconds["TorchRL"] / seconds["eager"], "target": 1.5}
        rows.append({**row, "compiled / eager": seconds["eager"] / seconds["compiled"]})
    return table("one HASAC update, 3 agents, one thread, against stock TorchRL", rows)


def ensembles(quick: bool) -> list[dict[str, Any]]:
    """Forward and backward of E critics in one call, and in E calls of plain networks."""
    from torch import nn

    from hetrl.net.joint_q import EnsembleMLP

    x = torch.randn(1000, 60)
    rows = []
    for members in (2, 5, 10):
        together = EnsembleMLP([60, 256, 256, 1], "relu", members)
        apart = [
            nn.Sequential(
                nn.Linear(60, 256), nn.ReLU(True), nn.Linear(256, 256), nn.ReLU(True), nn.Linear(256, 1)
            ) for _ in range(members)
        ]  # fmt: skip

        def one(net: nn.Module = together) -> None:
            torch.autograd.grad(net(x).square().sum(), list(net.parameters()))

        def many(nets: list[nn.Module] = apart) -> None:
            for net in nets:
                torch.autograd.grad(net(x).square().sum(), list(net.parameters()))

        seconds = alternate({"one": one, "many": many}, 20 if quick else 100, warm=5, clock=time.process_time)
        rows.append({"members": members, "one call ms": seconds["one"] * 1e3, "E calls ms": seconds["many"] * 1e3,
                     "ratio": seconds["many"] / seconds["one"]})  # fmt: skip
    return table("an ensemble of critics, forward and backward, against as many networks", rows)


def sweeps(quick: bool) -> list[dict[str, Any]]:
    """The actors' sweep for more and more agents, and the slope of the log-log fit."""
    counts = (2, 4, 8, 16) if quick else (2, 4, 8, 16, 32, 64)
    states = {"state of 18 n": None, "state held at 54": 54}
    rows = []
    for n_agents in counts:
        updates = {name: Update(n_agents=n_agents, state_size=size) for name, size in states.items()}
        for update in updates.values():
            update()
        functions = {name: update.sweep for name, update in updates.items()}
        seconds = alternate(functions, max(3, 60 // n_agents), clock=time.process_time)
        rows.append({"agents": n_agents, **{f"{name} ms": value * 1e3 for name, value in seconds.items()}})
    return table("the sweep of the actors, 1,000 rows (target: a slope of at most 1.1)", [*rows, slopes(rows)])


def slopes(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the slope of the log-log fit of every column to the first one, the number of agents."""
    at = torch.tensor([math.log(row["agents"]) for row in rows])
    found: dict[str, Any] = {"agents": "slope"}
    for name in list(rows[0])[1:]:
        cost = torch.tensor([math.log(row[name]) for row in rows])
        found[name] = (((at - at.mean()) * (cost - cost.mean())).sum() / (at - at.mean()).square().sum()).item()
    return found


def measure_large_teams(quick: bool) -> list[dict[str, Any]]:
    """Whole off-policy updates of large teams, all phases, processor time on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rows = []
    for n_agents in (16, 64) if quick else (16, 64, 128, 256):
        size: dict[str, Any] = {"n_agents": n_agents, "rows": 256, "hidden": 128}
        updates = {
            "HASAC": Update(**size),
            "OMDPG": Update("update.actors.every=1", recipe="omdpg", **size),
        }
        seconds = alternate(updates, 3, clock=time.process_time)
        rows.append({"agents": n_agents, **{f"{name} ms": value * 1e3 for name, value in seconds.items()}})
        console.print(rows[-1])
    torch.set_num_threads(threads)
    return table(
        "one update of a large team, 256 rows, 2 x 128 (target: a slope of at most 1.15)", [*rows, slopes(rows)]
    )


def measure_marginal_q(quick: bool) -> list[dict[str, Any]]:
    """Whole OMDPG updates for more and more agents of two bodies, beside HASAC's, processor time on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    refine = (
        "update.actors.before=[{net: actor.act}, {net: actor.candidates, n: 8}]",
        "update.actors.steps.1.completion=refine",
    )
    rows = []
    for n_agents in (2, 8, 32) if quick else (2, 4, 8, 16, 32, 64, 128):
        size: dict[str, Any] = {"n_agents": n_agents, "n_bodies": 2, "rows": 256, "hidden": 128}
        functions: dict[str, Callable[[], object]] = {
            "HASAC": Update(**size),
            "greedy": Update("update.actors.every=1", recipe="omdpg", **size),
        }
        if n_agents <= 32:
            functions["refine"] = Update("update.actors.every=1", *refine, recipe="omdpg", **size)
        seconds = alternate(functions, max(3, 60 // n_agents), clock=time.process_time)
        row: dict[str, Any] = {"agents": n_agents}
        row |= {f"{name} ms": seconds[name] * 1e3 if name in seconds else "" for name in ("HASAC", "greedy", "refine")}
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        rows.append({**row, "greedy / HASAC": seconds["greedy"] / seconds["HASAC"], "peak MiB so far": peak})
        console.print(rows[-1])
    torch.set_num_threads(threads)
    return table("one update with 2 sharing groups, 256 rows, 2 x 128, E = 5 (HASAC: a policy each, E = 2)", rows)


def measure_soft_update(quick: bool) -> dict[str, list[dict[str, Any]]]:
    """HASAC's update, processor time on one thread: a second program on the machine then counts for less."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    check_soft_update()
    found = {"update": soft_updates(quick), "ensemble": ensembles(quick), "sweep": sweeps(quick)}
    torch.set_num_threads(threads)
    return found


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


# Multi-agent MuJoCo

ROBOTS = (("HalfCheetah", "2x3", 100), ("Hopper", "3x1", 15), ("Walker2d", "6x1", 10), ("Ant", "4x2", 40),
          ("Humanoid", "17x1", 12))  # fmt: skip
"""Robot, parts, and steps from the start in which hardly any episode ends, so that all step the same states."""


class Robots:
    """The same actions from the same starts: our environment, and MuJoCo without anything around it."""

    def __init__(self, robot: str, parts: str, n_envs: int, n_steps: int, threads: int = 1) -> None:
        import mujoco

        from hetrl.env.mamujoco import Mamujoco

        self.env = env = Mamujoco(robot=robot, parts=parts, n_envs=n_envs, threads=threads)
        env.start()
        self.first, physics = env.state_dict(), env.physics
        torch.manual_seed(0)
        self.actions = [
            {group: (2 * torch.rand(n_envs, len(agents), agents[0].action.size) - 1) * env.robot.torque
             for group, agents in env.team.layout.items()}
            for _ in range(n_steps)
        ]  # fmt: skip
        self.controls = []
        for each in self.actions:
            env.advance(each)
            self.controls.append(physics.values[:, physics.columns["ctrl"]].copy())
        self.copies = [mujoco.MjData(physics.model) for _ in range(n_envs)]
        self.mujoco = mujoco

    def restart(self) -> None:
        """Put both where they began."""
        physics = self.env.physics
        self.env.load_state_dict(self.first)
        for data, row in zip(self.copies, self.first["values"].numpy(), strict=True):
            data.qpos[:], data.qvel[:] = (row[physics.columns[name]] for name in ("qpos", "qvel"))
            data.qacc_warmstart[:] = row[physics.columns["qacc_warmstart"]]

    def ours(self) -> None:
        """Step all, with observations, rewards, ends and resets."""
        for each in self.actions:
            self.env.advance(each)

    def bare(self) -> None:
        """Set the controls and step, one environment after the other: no observation, reward or reset."""
        step, model, n_substeps = self.mujoco.mj_step, self.env.physics.model, self.env.robot.n_substeps
        for each in self.controls:
            for data, control in zip(self.copies, each, strict=True):
                data.ctrl[:] = control
                step(model, data, n_substeps)


def stock_wrapper(robot: str, parts: str, n_steps: int) -> Callable[[], object]:
    """Return steps of the library's environment under TorchRL's wrapper, mended so that it runs.

    It reads keys of the info dictionaries that a reset does not give; without any infos it steps.
    """
    import mujoco
    from gymnasium_robotics import mamujoco_v1
    from torchrl.envs import PettingZooWrapper

    mujoco.set_mju_user_warning(lambda text: None)  # else it logs in this folder that the cheetah's file is old

    class Bare(mamujoco_v1.parallel_env):
        def step(self, actions: dict[str, Any]) -> tuple[Any, ...]:
            *rest, _ = super().step(actions)
            return *rest, {agent: {} for agent in self.possible_agents}

        def reset(self, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
            return super().reset(*args, **kwargs)[0], {agent: {} for agent in self.possible_agents}

    env = PettingZooWrapper(Bare(robot, parts), return_state=True)
    return lambda: env.rollout(n_steps, break_when_any_done=False)


def two_threads(robot: str, parts: str, n_steps: int, quick: bool) -> dict[str, float]:
    """What a second thread brings: to us, and at the same time to two bare simulators that know nothing of each other.

    The best of many short rounds, as on a busy machine two free cores are rare; and what it costs in processor time.
    """
    pairs = {n: Robots(robot, parts, 64, n_steps, threads=n) for n in (1, 2)}
    physics, n_substeps = pairs[1].env.physics, 64 * n_steps * pairs[1].env.robot.n_substeps

    def bare(n_threads: int) -> None:
        work = [Thread(target=pairs[1].mujoco.mj_step, args=(physics.model, data, n_substeps // n_threads))
                for data in pairs[1].copies[:n_threads]]  # fmt: skip
        for thread in work:
            thread.start()
        for thread in work:
            thread.join()

    functions = {f"{name} {n}": partial(function, n) for n in (1, 2)
                 for name, function in (("bare", bare), ("ours", lambda n: pairs[n].ours()))}  # fmt: skip
    wall: dict[str, list[float]] = {name: [] for name in functions}
    cores: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(20 if quick else 80):
        for name, function in functions.items():
            pairs[1].restart()
            pairs[2].env.load_state_dict(pairs[1].first)
            starts = time.perf_counter(), time.process_time()
            function()
            wall[name].append(time.perf_counter() - starts[0])
            cores[name].append(time.process_time() - starts[1])
    return {
        "1 thread frames/s": 64 * n_steps / min(wall["ours 1"]),
        "2 threads frames/s": 64 * n_steps / min(wall["ours 2"]),
        "speed-up": min(wall["ours 1"]) / min(wall["ours 2"]),
        "of two bare simulators": min(wall["bare 1"]) / min(wall["bare 2"]),
        "processor time": median(cores["ours 2"]) / median(cores["ours 1"]),
    }


def measure_robots(quick: bool) -> dict[str, list[dict[str, Any]]]:
    """Ours against bare MuJoCo and against the stock wrapper in processor time, and two threads by the clock."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    bare, stock, scaling = [], [], []
    for robot, parts, n_steps in ROBOTS[::3] if quick else ROBOTS:
        for n_envs in (20, 64):
            pair = Robots(robot, parts, n_envs, n_steps)
            frames = n_envs * n_steps

            def fresh(function: Callable[[], None], pair: Robots = pair) -> float:
                pair.restart()
                start = time.process_time()
                function()
                return time.process_time() - start

            rounds = [(fresh(pair.bare), fresh(pair.ours)) for _ in range(5 if quick else 11)]
            seconds = [median(each) for each in zip(*rounds, strict=True)]
            bare.append({
                "task": f"{robot} {parts}", "environments": n_envs, "bare MuJoCo frames/s": frames / seconds[0],
                "hetrl frames/s": frames / seconds[1], "ratio": median(b / o for b, o in rounds), "target": 0.8,
            })  # fmt: skip
    for robot, parts, n_steps in (ROBOTS[0], ROBOTS[3]):
        pair = Robots(robot, parts, 20, n_steps)
        functions = {"TorchRL": stock_wrapper(robot, parts, 100), "hetrl": pair.ours}
        seconds = alternate(functions, 3 if quick else 7, clock=time.process_time)
        each = {"TorchRL": seconds["TorchRL"] / 100, "hetrl": seconds["hetrl"] / (20 * n_steps)}
        stock.append({"task": f"{robot} {parts}", **{f"{name} frames/s": 1 / value for name, value in each.items()},
                      "ratio": each["TorchRL"] / each["hetrl"], "target": 4.0})  # fmt: skip
        scaling.append({"task": f"{robot} {parts}", **two_threads(robot, parts, 1 + n_steps // 20, quick)})
    torch.set_num_threads(before)
    return {
        "bare": table("multi-agent MuJoCo against MuJoCo alone, same actions and starts, processor time", bare),
        "stock": table("multi-agent MuJoCo against TorchRL's wrapper of gymnasium-robotics, processor time", stock),
        "scaling": table("multi-agent MuJoCo, 64 environments over two threads, best wall clock", scaling),
    }


# Own scenarios


ALIKE: dict[str, dict[str, Any]] = {
    "mixed_transport": {"scenario": "transport", "n_agents": 3},
    "scout_and_carry": {"scenario": "transport", "n_agents": 2},
    "gate": {"scenario": "balance"},
    "tether": {"scenario": "reverse_transport", "n_agents": 5},
    "relay": {"scenario": "transport", "n_agents": 2},
}
"""Own scenario -> a built-in one with as many entities (and, for the one with a joint, about as many substeps)."""


def stepping(n_envs: int, n_steps: int = 20, **task: Any) -> Callable[[], object]:
    """Return as many steps with random actions, some environments finishing at every step."""
    from hetrl.env.vmas import Vmas

    env = Vmas(n_envs=n_envs, horizon=100, **task)
    env.start()
    env._steps += torch.arange(n_envs) % 100
    actions = {
        group: torch.rand(n_envs, len(agents), agents[0].action.size) * 2 - 1
        for group, agents in env.team.layout.items()
    }

    def run() -> None:
        for _ in range(n_steps):
            env.advance(actions)

    return run


def measure_scenarios(quick: bool) -> list[dict[str, Any]]:
    """Own scenarios against built-in ones with as many entities, processor time on one thread, and their memory."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    program = (
        "import sys, resource; sys.path.insert(0, sys.argv[2]); from run import stepping\n"
        "stepping(4096, n_steps=5, scenario=sys.argv[1])()\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)\n"
    )
    rows = []
    for name, alike in ALIKE.items():
        row: dict[str, Any] = {"scenario": name, "built-in": alike["scenario"]}
        for n_envs in (64, 4096):
            pair = {"own": stepping(n_envs, scenario=f"hetrl/{name}"), "built-in": stepping(n_envs, **alike)}
            seconds = alternate(pair, 3 if quick else 9, clock=time.process_time)
            row[f"{n_envs}: ms a step"] = seconds["own"] / 20 * 1e3
            row[f"{n_envs}: ratio"] = seconds["own"] / seconds["built-in"]
        done = subprocess.run([sys.executable, "-W", "ignore", "-c", program, f"hetrl/{name}", str(HERE)],
                              check=True, capture_output=True, text=True)  # fmt: skip
        row |= {"target": 1.3, "4096: peak MiB": float(done.stdout.strip().splitlines()[-1])}
        rows.append(row)
        console.print(row)
    torch.set_num_threads(threads)
    return table("own scenarios against built-in ones with as many entities", rows)


# Captured simulators

CAPTURE_TARGET = {64: 8, 512: 4, 4096: 1.5}
CAPTURED = ("balance", "navigation", "transport", "simple_spread", "wheel")


def spent() -> float:
    """Processor seconds of this process and of those it has waited for: compiling calls a C++ compiler."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def simulator_steps(
    scenario: str, n_envs: int, captured: bool, n_steps: int = 20, **task: Any
) -> tuple[Callable[[], object], float]:
    """Return steps with random actions, without resets, and the seconds that making the first took."""
    from hetrl.env.vmas import Vmas

    env = Vmas(scenario=scenario, n_envs=n_envs, horizon=10**9, capture=captured, **task)
    env.start()
    generator = torch.Generator().manual_seed(0)
    pool = [
        {
            group: torch.rand(n_envs, len(agents), agents[0].action.size, generator=generator) * 2 - 1
            for group, agents in env.team.layout.items()
        }
        for _ in range(16)
    ]
    number = 0

    def run() -> None:
        nonlocal number
        for _ in range(n_steps):
            number += 1
            env._simulate(pool[number % len(pool)])

    begin = spent()
    for _ in range(4):  # the first makes what is made lazily, and the compiled step
        env._simulate(pool[0])
    return run, spent() - begin


def captured_training(scenario: str, captured: bool, iterations: int) -> list[float]:
    """Train MAPPO with 64 environments at 4 epochs. Returns the processor seconds of each iteration but the first."""
    import lightning as L

    recipe = hetrl.load(
        "mappo", f"task={{use: env/vmas, scenario: {scenario}, n_envs: 64}}", f"task.capture={str(captured).lower()}",
        "update.actors.epochs=4", "update.critic.epochs=4", f"run.frames={6400 * iterations}", "run.eval_every=null",
        "run.device=cpu",
    )  # fmt: skip
    module, data = recipe.build()
    marks: list[float] = []

    class Clock(L.Callback):
        def on_train_batch_end(self, *_: object) -> None:
            marks.append(time.process_time())

    L.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[Clock()],
    ).fit(module, data)  # fmt: skip
    return [after - before for before, after in pairwise(marks)]


def measure_captured_training(quick: bool) -> list[dict[str, Any]]:
    """Whole runs with and without capture in turn, what happens before the first update left out."""
    rows = []
    for scenario in ("balance", "navigation"):
        each: dict[bool, list[float]] = {False: [], True: []}
        for _ in range(1 if quick else 3):
            for captured, seconds_of in each.items():
                seconds_of += captured_training(scenario, captured, 5)
        seconds = {captured: median(seconds_of) for captured, seconds_of in each.items()}
        rows.append({
            "scenario": scenario, "frames/s": 6400 / seconds[False], "captured frames/s": 6400 / seconds[True],
            "ratio": seconds[False] / seconds[True], "target": 2,
        })  # fmt: skip
        console.print(rows[-1])
    return table("MAPPO training, 64 environments, 4 epochs, one thread, processor time", rows)


def measure_one_graph(quick: bool) -> list[dict[str, Any]]:
    """A policy call and a captured step: as they are, with the policy compiled by itself, and both as one graph."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rows, n_calls = [], 10 if quick else 50
    for recipe, scenario, n_envs in (("mappo", "balance", 64), ("happo", "balance", 64), ("mappo", "navigation", 512)):
        _, data = hetrl.load(
            recipe, f"task={{use: env/vmas, scenario: {scenario}, n_envs: {n_envs}, capture: true}}",
            f"data.frames={n_envs * 10}", "run.device=cpu",
        ).build()  # fmt: skip
        source = data.source
        source.rollout()  # makes the compiled step
        (observation,) = source._observation.values()
        (policies,) = source._behaviour._groups.values()
        runner = source._env._capture._runner
        rest = [example.contiguous() for example in runner.traced.examples[1:]]  # all but the action

        def draw(observation: torch.Tensor, noise: torch.Tensor, policies: Any = policies) -> Any:
            own = (observation, noise)
            drawn = policies._draw(policies._weights, *own) if policies._one is None else policies._one.draw(*own)
            return drawn.contiguous()

        def both(observation: torch.Tensor, noise: torch.Tensor, *rest: torch.Tensor, runner: Any = runner) -> Any:
            return runner.traced.graph(draw(observation, noise), *rest)

        given = (observation, policies._policies[0].noise(observation.shape[:-1], torch.Generator().manual_seed(0)))
        drawn_fast, together = torch.compile(draw, fullgraph=True), torch.compile(both, fullgraph=True)
        ways: dict[str, Callable[[], Any]] = {
            "apart": lambda run=runner.run, given=given, rest=rest: run([draw(*given), *rest]),
            "policy compiled": lambda run=runner.run, draw=drawn_fast, given=given, rest=rest: run(
                [draw(*given), *rest]
            ),
            "one graph": lambda run=together, given=given, rest=rest: run(*given, *rest),
        }
        with torch.no_grad():
            torch.testing.assert_close(list(ways["one graph"]()), list(ways["apart"]()), rtol=1e-4, atol=1e-4)
            repeated = {name: lambda way=way: [way() for _ in range(n_calls)] for name, way in ways.items()}
            seconds = alternate(repeated, 9, 1, time.process_time)
        rows.append({"recipe": recipe, "scenario": scenario, "environments": n_envs}
                    | {f"{way}, ms": each / n_calls * 1e3 for way, each in seconds.items()})  # fmt: skip
        console.print(rows[-1])
    torch.set_num_threads(threads)
    return table("drawing the actions and a captured step, one thread", rows)


def measure_captured(quick: bool) -> dict[str, list[dict[str, Any]]]:
    """Steps, whole runs, and policy and step in one graph."""
    return {
        "steps": measure_capture(quick),
        "training": measure_captured_training(quick),
        "one graph": measure_one_graph(quick),
    }


def measure_capture(quick: bool) -> list[dict[str, Any]]:
    """A captured step against VMAS's own (without infos, which bare VMAS computes as well), processor time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rows = []
    for scenario in CAPTURED:
        for n_envs in (64,) if quick else CAPTURE_TARGET:
            n_steps = 20 if n_envs < 4096 else 5  # in one go: a single step would find the caches full of the other's
            own, _ = simulator_steps(scenario, n_envs, False, n_steps)
            captured, making = simulator_steps(scenario, n_envs, True, n_steps)
            seconds = alternate({"own": own, "captured": captured}, 9, 1, time.process_time)
            rows.append({
                "scenario": scenario, "environments": n_envs, "vmas ms": seconds["own"] / n_steps * 1e3,
                "captured ms": seconds["captured"] / n_steps * 1e3, "ratio": seconds["own"] / seconds["captured"],
                "target": CAPTURE_TARGET[n_envs], "s to make": making,
            })  # fmt: skip
            if n_envs == 64:  # once more, in a process that finds the kernels on disk
                program = (
                    "import sys, warnings; warnings.filterwarnings('ignore'); sys.path.insert(0, sys.argv[2])\n"
                    "from run import simulator_steps; print(simulator_steps(sys.argv[1], 64, True)[1])\n"
                )
                done = subprocess.run([sys.executable, "-c", program, scenario, str(HERE)],
                                      check=True, capture_output=True, text=True)  # fmt: skip
                rows[-1]["s, cached"] = float(done.stdout.split()[-1])
            else:
                rows[-1]["s, cached"] = math.nan
            console.print(rows[-1])
    torch.set_num_threads(threads)
    return table("a captured step against VMAS's own, one thread", rows)


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


# Diffusion


def off_policy(recipe: str, *overrides: str) -> tuple[Callable[[], object], Callable[[], None]]:
    """Return ten collections of a recipe on ``balance`` (160 frames), and two passes over its phases."""
    module, data = hetrl.load(recipe, "data.warmup=800", "run.device=cpu", *overrides).build()
    source, number = data.source, 0
    source.collect()

    def update() -> None:
        nonlocal number
        for _ in range(2):  # a phase may be due every other time
            number += 1
            store = Store(module.linked.team, source.sample())
            for phase in module.phases:
                if number % phase.phase.every == 0:
                    phase.run(store, 0.0, module.generator, lambda optimizer, closure: optimizer.step(closure))

    return lambda: [source.collect() for _ in range(10)], update


def measure_diffusion(quick: bool) -> list[dict[str, Any]]:
    """Chains and HAQO beside HASAC, one thread: 16 environments, batches of 256. Seconds of the processor.

    Wanted of ``chain_hasac``: at most 1.5 of HASAC's update and at least 0.7 of its frames/s.
    """
    torch.set_num_threads(1)
    ways = {"hasac": ("hasac",), "chain_hasac": ("chain_hasac",)}
    for steps in () if quick else (2, 4):
        ways[f"chain_hasac, S = {steps}"] = ("chain_hasac", f"nets.actor.n_steps={steps}")
    ways["haqo_soft"] = ("haqo_soft",)
    ways["haqo_soft, finer"] = ("haqo_soft", "nets.actor.n_steps=100", "nets.actor.n_sample_steps=10",
                               "update.actors.prepare.0.n=16")  # fmt: skip
    for steps in (5,) if quick else (1, 2, 5, 10, 20):
        ways[f"haqo, T = 20, S = {steps}"] = ("haqo", f"nets.actor.n_sample_steps={steps}")
    for steps in () if quick else (1, 2, 5, 10):  # T = S = 20 is among the above
        ways[f"haqo, T = S = {steps}"] = ("haqo", f"nets.actor.n_steps={steps}", f"nets.actor.n_sample_steps={steps}")
    ways["haqo_gaussian"] = ("haqo_gaussian",)
    ways["haqo, S = 5, actors every time"] = ("haqo", "update.actors.every=1")
    if not quick:
        ways["haqo, ancestral, 20 steps"] = ("haqo", "nets.actor.sampler=ancestral", "nets.actor.n_sample_steps=20")
    pairs = {name: off_policy(*way) for name, way in ways.items()}
    rounds = 5 if quick else 15
    collect = alternate({name: pair[0] for name, pair in pairs.items()}, rounds, clock=time.process_time)
    update = alternate({name: pair[1] for name, pair in pairs.items()}, rounds, warm=2, clock=time.process_time)
    rows = [
        {
            "recipe": name,
            "frames/s": 160 / collect[name],
            "of HASAC's": collect["hasac"] / collect[name],
            "updates/s": 2 / update[name],
            "of HASAC's ": update["hasac"] / update[name],
        }
        for name in pairs
    ]
    return table("Diffusion policies; the aim with S = 5 is 0.5 of the frames/s and 0.33 of the updates/s", rows)


# Battles

ORIGINAL = {64: 12_500, 1024: 9_800}
"""Environments -> environment steps a second of jaxmarl 0.2.0's 3s5z, vmapped and jitted, on one core of another
machine of this kind."""


def fighting(n_envs: int, n_steps: int, capture: bool = True) -> tuple[Callable[[], object], float]:
    """Return so many steps of 3s5z with random legal actions, resets included, and the seconds of the first ones."""
    from hetrl.data.random_actions import RandomActions
    from hetrl.env.battle import Battle

    begun = time.process_time()
    env = Battle(map="3s5z", n_envs=n_envs, capture=capture)
    env.start()
    actions = RandomActions(env.team, n_envs, torch.Generator().manual_seed(0))

    def run(count: int = n_steps) -> None:
        for _ in range(count):
            env.advance(actions.draw(env.masks["action_mask"]))

    run(2)
    start = time.process_time() - begun
    env._steps += torch.arange(n_envs) % 100  # so that some are cut at every step
    return run, start


def measure_battles(quick: bool) -> dict[str, list[dict[str, Any]]]:
    """Steps of battles, whole, on one thread, and what 4,096 of them take of memory."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rows = []
    for n_envs, original in ORIGINAL.items():
        n_steps = 1000 * 64 // n_envs
        runs = {capture: fighting(n_envs, n_steps, capture) for capture in (False, True)}
        functions = {str(capture): run for capture, (run, _) in runs.items()}
        seconds = alternate(functions, 3 if quick else 9, clock=time.process_time)
        speed = {capture: n_steps * n_envs / value for capture, value in seconds.items()}
        rows.append({
            "environments": n_envs, "eager steps/s": speed["False"], "steps/s": speed["True"], "jaxmarl": original,
            "ratio": speed["True"] / original, "target": 3, "start s": runs[True][1],
        })  # fmt: skip
    torch.set_num_threads(threads)
    program = (
        "import sys, resource, torch\n"
        f"sys.path.insert(0, {str(HERE)!r})\n"
        "torch.set_num_threads(1)\n"
        "import run, hetrl.env.battle\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "run.fighting(4096, 10)[0]()\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True, capture_output=True, text=True)
    memory = [{"environments": 4096, "MiB more, compiler included": float(done.stdout.strip().splitlines()[-1])}]
    return {
        "speed": table("3s5z against jaxmarl, environment steps, one thread, processor time", rows),
        "memory": table("memory of 3s5z", memory),
    }


PARTS: dict[str, Callable[[bool], Any]] = {
    "collect": measure_collection, "step": measure_step, "soft": measure_soft_update, "marginal": measure_marginal_q,
    "teams": measure_large_teams, "train": measure_training,
    "scenario": measure_scenarios, "capture": measure_captured, "memory": measure_memory, "mujoco": measure_robots,
    "diffusion": measure_diffusion, "battle": measure_battles,
}  # fmt: skip


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
