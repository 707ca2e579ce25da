"""How much faster 128 agents are in rounds of 32 than in turn: actors' phase of HAPPO, processor time on one thread.

    python tests/benchmark/rounds.py

Both alternate, and the quicker of two sweeps counts; a first one makes what is made once.
"""

import time

import torch

import hetrl
from hetrl.engine.store import Store

SIZES = (
    ("160", 5, 64), ("320", 10, 64), ("640", 20, 64), ("640", 20, 128),
    ("1600", 32, 64), ("1600", 32, 128), ("3200", 64, 64),
)  # fmt: skip
"""Rows of a batch, which has four minibatches; environments; width of the policies' two layers."""
ROUNDS = "update.actors.order={use: order/blocks, of: agent, size: 32}"
SWEEPS = 2


def ready(rows, n_envs, width, *words):
    """Return the phase and a batch."""
    sizes = [f"task.n_envs={n_envs}", f"data.frames={rows}", f"nets.actor.hidden=[{width}, {width}]"]
    module, data = hetrl.load("happo", "task=task/vmas_crowd", "run.eval_every=null", *sizes, *words).build()
    return module, data.source.rollout()


def sweep(module, batch):
    """Return the seconds of the actors' phase."""
    store, seconds = Store(module.linked.team, batch), 0.0
    generator = torch.Generator().manual_seed(0)
    for runner in module.phases:
        began = time.process_time()
        runner.run(store, 0.0, generator, lambda optimizer, closure: optimizer.step(closure))
        if runner.phase.name == "actors":
            seconds = time.process_time() - began
    return seconds


def main():
    """Measure, and print a row for each size."""
    torch.set_num_threads(1)
    print("| rows | networks | in turn s | rounds of 32 s | ratio |\n|---|---|---|---|---|")
    for rows, n_envs, width in SIZES:
        both = ready(rows, n_envs, width), ready(rows, n_envs, width, ROUNDS)
        seconds = [[sweep(*each) for each in both] for _ in range(1 + SWEEPS)][1:]
        turn, rounds = map(min, zip(*seconds, strict=True))
        print(f"| {rows} | 2 x {width} | {turn:.2f} | {rounds:.2f} | {turn / rounds:.2f} |", flush=True)


if __name__ == "__main__":
    main()
