"""Runs BenchMARL's MAPPO on a VMAS task and prints what it took as one line of JSON.

It stands alone: BenchMARL's own interpreter runs it (``setup.sh`` makes one), never ours, so it imports nothing of the
project. Everything that no option names is BenchMARL's default. Only the JSON line goes to stdout; the rest is stderr.

In the JSON, ``frames`` and ``wall_seconds`` of an iteration count from the start of the run (set-up excluded,
evaluation included), the other seconds are the iteration's own, and ``total_seconds`` is the wall time of all of them.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import math
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from benchmarl.algorithms import MappoConfig
from benchmarl.environments import VmasTask
from benchmarl.experiment import Experiment, ExperimentConfig
from benchmarl.models.mlp import MlpConfig

PACKAGES = ("benchmarl", "torchrl", "tensordict", "torch", "vmas")
TASKS = {"balance": VmasTask.BALANCE, "navigation": VmasTask.NAVIGATION}
# The columns of the stored reference curves, so that one reader serves both.
CSV_COLUMNS = (
    "iter",
    "frames",
    "wall_s",
    "collection_time",
    "training_time",
    "collection_episode_reward_mean",
    "eval_episode_reward_mean",
)


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--task", choices=sorted(TASKS), required=True)
    parser.add_argument("--n-envs", type=int, default=60)
    parser.add_argument("--frames-per-batch", type=int, default=6000, help="ignored with --collect-only")
    parser.add_argument("--epochs", type=int, default=45)
    parser.add_argument("--minibatch", type=int, default=400)
    parser.add_argument("--iterations", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lr", type=float, default=5e-5)
    parser.add_argument("--hidden", type=int, nargs="+", default=[256, 256], help="layers of actor and critic")
    parser.add_argument("--evaluate-every", type=int, metavar="FRAMES", help="default: no evaluation")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="also write the curve there")
    parser.add_argument("--collect-only", action="store_true", help="collect with the first policy, do not train")
    parser.add_argument("--steps", type=int, help="with --collect-only: steps per batch (default: the task's horizon)")
    options = parser.parse_args(arguments)
    if options.collect_only and options.evaluate_every:
        parser.error("--evaluate-every makes no sense with --collect-only")
    if options.steps is not None and not options.collect_only:
        parser.error("--steps needs --collect-only; a training run takes --frames-per-batch")
    return options


def build_experiment(options: argparse.Namespace, folder: str) -> Experiment:
    """BenchMARL's experiment for these options; what it writes goes under ``folder``."""
    task = TASKS[options.task].get_from_yaml()
    if options.collect_only:
        frames_per_batch = options.n_envs * (options.steps or task.config["max_steps"])
    else:
        frames_per_batch = options.frames_per_batch

    model = MlpConfig.get_from_yaml()
    model.num_cells = list(options.hidden)
    model.activation_class = torch.nn.Tanh

    config = ExperimentConfig.get_from_yaml()
    config.lr = options.lr
    config.max_n_iters = options.iterations
    config.max_n_frames = None
    config.on_policy_collected_frames_per_batch = frames_per_batch
    config.on_policy_n_envs_per_worker = options.n_envs
    config.on_policy_n_minibatch_iters = options.epochs
    config.on_policy_minibatch_size = options.minibatch
    config.loggers = []
    config.render = False
    config.evaluation = options.evaluate_every is not None
    config.evaluation_interval = options.evaluate_every or 0
    # BenchMARL evaluates only when something records it, and with no loggers the JSON file is that something.
    config.create_json = config.evaluation
    config.save_folder = folder
    return Experiment(
        task=task,
        algorithm_config=MappoConfig.get_from_yaml(),
        model_config=model,
        seed=options.seed,
        config=config,
    )


def train(options: argparse.Namespace, folder: str) -> tuple[list[dict[str, Any]], float]:
    """Trains as ``Experiment.run`` does; the iterations and the seconds of the whole loop."""
    experiment = build_experiment(options, folder)
    scalars: dict[int, dict[str, float]] = {}
    ends: list[float] = []
    start = 0.0

    def record(values: dict[str, float], step: int) -> None:
        scalars.setdefault(step, {}).update(values)
        if "timers/iteration_time" in values:  # the last thing an iteration logs
            ends.append(time.perf_counter() - start)

    # There is no logger to write to, so what BenchMARL would have logged is taken here, timers included.
    experiment.logger.log = record
    start = time.perf_counter()
    experiment.run()
    total = time.perf_counter() - start

    iterations = []
    for index, end in enumerate(ends):
        values = scalars[index]
        iterations.append(
            {
                "frames": int(values["counters/total_frames"]),
                "collection_seconds": values["timers/collection_time"],
                "training_seconds": values["timers/training_time"],
                "evaluation_seconds": values.get("timers/evaluation_time", 0.0),
                "wall_seconds": end,
                "return_mean": values.get("collection/reward/episode_reward_mean"),
                "evaluation_return_mean": values.get("eval/reward/episode_reward_mean"),
            }
        )
    return iterations, total


def collect(options: argparse.Namespace, folder: str) -> tuple[list[dict[str, Any]], float]:
    """Runs BenchMARL's own collector and policy; the batches and the seconds of all of them."""
    experiment = build_experiment(options, folder)
    torch.manual_seed(options.seed)
    batches = []
    frames = 0
    total = 0.0
    # The collector resets what has ended within the step, so resets are part of the time.
    iterator = iter(experiment.collector)
    for index in range(options.iterations):
        start = time.perf_counter()
        batch = next(iterator)
        seconds = time.perf_counter() - start
        frames += batch.numel()
        total += seconds
        # After the clock was stopped: BenchMARL counts this bookkeeping as neither collection nor training.
        return_mean = experiment.logger.log_collection(batch, experiment.task, total_frames=frames, step=index)
        batches.append(
            {
                "frames": frames,
                "collection_seconds": seconds,
                "training_seconds": 0.0,
                "evaluation_seconds": 0.0,
                "wall_seconds": total,
                "return_mean": return_mean,
                "evaluation_return_mean": None,
                "episodes": int(batch.get(("next", "done")).sum()),
            }
        )
    experiment.close()
    return batches, total


def write_csv(path: Path, iterations: list[dict[str, Any]]) -> None:
    """The iterations as a curve, in the columns of the reference's curves."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(CSV_COLUMNS)
        for index, row in enumerate(iterations):
            writer.writerow(
                [
                    index,
                    row["frames"],
                    round(row["wall_seconds"], 2),
                    round(row["collection_seconds"], 3),
                    round(row["training_seconds"], 3),
                    row["return_mean"],
                    row["evaluation_return_mean"],
                ]
            )


@contextlib.contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Sends to stderr whatever is written to stdout, by its descriptor: TorchRL's log handler keeps the stream."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def main() -> None:
    """Runs what the command line asks for and prints the JSON line."""
    options = parse_arguments()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder, stdout_to_stderr():
        iterations, total = (collect if options.collect_only else train)(options, folder)
    for row in iterations:
        if row["return_mean"] is not None and math.isnan(row["return_mean"]):
            row["return_mean"] = None  # no episode ended in this batch, and JSON has no NaN
    if options.csv is not None:
        write_csv(options.csv, iterations)
    print(
        json.dumps(
            {
                "mode": "collect" if options.collect_only else "train",
                "options": {name: value for name, value in vars(options).items() if name != "csv"},
                "frames": iterations[-1]["frames"],
                "total_seconds": total,
                "iterations": iterations,
                "versions": {**{name: version(name) for name in PACKAGES}, "python": platform.python_version()},
            }
        )
    )


if __name__ == "__main__":
    main()
