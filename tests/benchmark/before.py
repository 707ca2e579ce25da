"""What another version of hetrl takes for the same work, in turn with this one: steps, resets, advantages, updates.

    git worktree add OLD COMMIT
    python tests/benchmark/before.py OLD [ROUNDS]

Each version is a process of its own, and they take turns, job by job, so that both meet the same machine. Medians of
ROUNDS (7 by default), in milliseconds of the processor on one thread, and their ratio.
"""

import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve()
JOBS = (
    "100 steps, all end together, 64", "100 steps, ends apart, 64", "100 steps, ends apart, 512",
    "advantages, 100 x 64", "update of happo, 64",
)  # fmt: skip


def work(job: str) -> Callable[[], object]:
    """Return a job of happo on balance, with so many environments as its last word says."""
    import torch

    import hetrl
    from hetrl.engine.store import Store

    torch.set_num_threads(1)
    n_envs = int(job.split()[-1])
    words = [f"task.n_envs={n_envs}", f"data.frames={100 * n_envs}", "task.horizon=100", "run.device=cpu"]
    module, data = hetrl.load("happo", *words).build()
    source, generator = data.source, torch.Generator().manual_seed(0)
    env = source._env
    if "apart" in job:
        env._steps = torch.arange(n_envs) % 100
        env._apart = True  # later versions count on the host where all end together
    if "steps" in job:
        return source.collect
    batch = source.rollout()

    def update() -> None:
        store = Store(module.linked.team, batch)
        for phase in module.phases if "update" in job else module.phases[:1]:
            phase.run(store, 0.0, generator, lambda optimizer, closure: optimizer.step(closure))

    return update


def serve() -> None:
    """Do a job for each line that comes, and say what it took."""
    warnings.filterwarnings("ignore")
    known: dict[str, Callable[[], object]] = {}
    for line in sys.stdin:
        job = line.strip()
        if job not in known:
            known[job] = work(job)
            known[job]()
        start = time.process_time()
        known[job]()
        print(time.process_time() - start, flush=True)


def main() -> None:
    """Print a line for each job."""
    old, n_rounds = Path(sys.argv[1]).resolve(), int(sys.argv[2]) if len(sys.argv) > 2 else 7
    each = []
    for root in (old, HERE.parents[2]):
        environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(HERE), "--serve"]
        each.append(
            subprocess.Popen(
                command, cwd=root, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        )
    for job in JOBS:
        taken: tuple[list[float], list[float]] = ([], [])
        for _ in range(n_rounds):
            for version, seconds in zip(each, taken, strict=True):
                assert version.stdin is not None and version.stdout is not None
                version.stdin.write(f"{job}\n")
                version.stdin.flush()
                seconds.append(float(version.stdout.readline()))
        before, now = (1e3 * median(seconds) for seconds in taken)
        print(f"{job}: {before:.3g} before, {now:.3g} now, {before / now:.2f}x", flush=True)
    for version in each:
        assert version.stdin is not None
        version.stdin.close()
        version.wait()


if __name__ == "__main__":
    serve() if "--serve" in sys.argv else main()
