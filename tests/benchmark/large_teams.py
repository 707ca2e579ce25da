"""What one update of a large team takes, and how that grows with the team: processor time and memory.

    python tests/benchmark/large_teams.py [NAME ...]

All phases of an update, on a fixed random batch: 256 rows of a replay buffer, or a collection of 1,600 rows, cut into 4
minibatches in 5 epochs. Networks of 2 x 128, one thread. Every phase runs in every update, also where the recipe has
``every: 2``. The times are milliseconds of the processor, after one update that does not count, each setup in a process
of its own; memory is the most that the process of the largest team has held.
"""

import math
import os
import resource
import sys
import time
import warnings
from statistics import linear_regression, median

warnings.filterwarnings("ignore")

import torch  # noqa: E402
from tensordict import TensorDict  # noqa: E402

import hetrl  # noqa: E402
from hetrl.engine.link import link  # noqa: E402
from hetrl.engine.phase import PhaseRunner  # noqa: E402
from hetrl.engine.store import Store  # noqa: E402
from hetrl.team import Agent, Box, Team  # noqa: E402

COUNTS = (3, 16, 64, 128, 256)
BLOCKS = "update.actors.order={use: order/blocks, of: agent, size: 32}"
ATTENTION, EACH = "nets.q.use=net/attention_q", "update.actors.every=1"
SETUPS = {
    "happo": ("happo",),
    "happo, blocks of 32": ("happo", BLOCKS),
    "hasac": ("hasac",),
    "hasac, attention_q": ("hasac", ATTENTION),
    "omdpg": ("omdpg", EACH),
    "omdpg, attention_q": ("omdpg", EACH, ATTENTION),
    "haqo": ("haqo", EACH),
    "haqo, attention_q": ("haqo", EACH, ATTENTION),
}
SEEN, ACTED = 18, 2


def update_of(words, n_agents):
    """Return a function that makes one update."""
    box = Box((-1.0,) * ACTED, (1.0,) * ACTED)
    agents = tuple(Agent(f"agent_{i}", "agents", i, SEEN, box, "agents") for i in range(n_agents))
    team = Team(agents, SEEN * n_agents)
    critic = "value" if words[0] == "happo" else "q"
    recipe = hetrl.load(*words, *(f"nets.{net}.hidden=[128, 128]" for net in ("actor", critic)))
    rows = [50, 32] if critic == "value" else [256]

    def at():
        return {
            "agents": {"observation": torch.randn(*rows, n_agents, SEEN)},
            "state": torch.randn(*rows, SEEN * n_agents),
        }

    never = torch.zeros(*rows, dtype=torch.bool)
    batch = {**at(), "next": at(), "reward": torch.randn(*rows), "terminated": never, "truncated": never}
    if critic == "q":
        batch["discount"] = torch.full(rows, 0.95)
    batch["agents"]["action"] = torch.rand(*rows, n_agents, ACTED) * 2 - 1
    found = TensorDict(batch, rows)
    given = {f"agent.{key[-1]}" if isinstance(key, tuple) else key for key in found.keys(True, True)}
    linked = link(recipe, team, [*given, "next.agent.observation", "next.state"])
    runners = [PhaseRunner(phase, linked) for phase in recipe.update]

    def update():
        store = Store(team, found)
        for runner in runners:
            runner.run(store, 0.0, torch.Generator(), lambda optimizer, closure: optimizer.step(closure))

    return update


def measured(words, n_agents):
    """Return the milliseconds of an update, and the megabytes that the process has held."""
    update = update_of(words, n_agents)
    update()
    spans = []
    for _ in range(max(1, 48 // n_agents)):  # those of small teams vary most
        start = time.process_time()
        update()
        spans.append(1e3 * (time.process_time() - start))
    return median(spans), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def apart(words, n_agents):
    """Measure in another process."""
    receive, send = os.pipe()
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        os.close(send)
        with os.fdopen(receive) as pipe:
            return [float(word) for word in pipe.read().split()]
    code = 1
    try:
        os.write(send, " ".join(map(str, measured(words, n_agents))).encode())
        code = 0
    finally:
        os._exit(code)


def main():
    """Measure, and print a row for each setup."""
    torch.set_num_threads(1)
    print(f"| {' | '.join(['update', *(f'{count} agents' for count in COUNTS), 'slope from 16', 'MB'])} |")
    print("|---" * (len(COUNTS) + 3) + "|")
    for name in sys.argv[1:] or SETUPS:
        spans, held = zip(*(apart(SETUPS[name], count) for count in COUNTS), strict=True)
        slope = linear_regression(
            [math.log(count) for count in COUNTS[1:]], [math.log(span) for span in spans[1:]]
        ).slope
        print(
            f"| {' | '.join([name, *(f'{span:,.0f}' for span in spans), f'{slope:.2f}', f'{held[-1]:,.0f}'])} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
