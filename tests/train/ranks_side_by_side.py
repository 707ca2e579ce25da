"""Two processes with half of the environments each against one process with both halves side by side.

    python tests/train/ranks_side_by_side.py OUT CASE...

A process that has imported everything forks three: the one, and the two. Each takes the cases one after the other, in
float64, and leaves its networks and figures in OUT; how far they are apart goes to the screen as JSON.

The one process is given the very steps that the two collect, and draws in its updates what they draw: its rows are
theirs one after the other (or, on-policy, side by side), and a minibatch is made of the two of theirs.
"""

import json
import logging
import os
import socket
import sys
import traceback
import warnings
from functools import partial
from itertools import pairwise
from pathlib import Path

import lightning as L
import torch

import hetrl
from hetrl import rng
from hetrl.data.collected import Collected
from hetrl.engine import phase, rows, task
from hetrl.engine.linked import build as build_entry
from hetrl.env.transition import Transition
from hetrl.estimate import standardize
from hetrl.net import value_normalizer
from hetrl.ranks import Rank
from hetrl.recipe.check.shares import Portion
from hetrl.recipe.frozen import frozen
from hetrl.recipe.section import Use
from hetrl.train import build

N_RANKS = 2
CONTINUOUS = "{use: env/cue_game, n_cues: 3, delay: 3, discrete_agents: 0, continuous_agents: 2, n_envs: 8}"
DISCRETE = "{use: env/tabular_game, n_states: 3, n_actions: [2, 3], n_envs: 8, horizon: 4}"
LEAVING = "{use: env/cue_game, n_cues: 3, delay: 3, discrete_agents: 2, continuous_agents: 0, leave: 0.3, n_envs: 8}"
TWICE = [f"update.{phase}.{word}=2" for phase in ("actors", "critic") for word in ("epochs", "minibatches")]
SMALL = ["nets.actor.hidden=[8]", "nets.value.hidden=[8]", "data.frames=40", "run.frames=800", *TWICE]
REPLAYED = ["data.capacity=400", "data.batch=16", "data.warmup=40", "run.frames=200"]
Q = ["nets.actor.hidden=[8]", "nets.q.hidden=[8]"]
CASES = {
    "happo": ["happo", f"task={CONTINUOUS}", *SMALL],
    "mappo": ["mappo", f"task={CONTINUOUS}", *SMALL, "task.normalize_observations=true"],
    "haa2c": ["haa2c", f"task={CONTINUOUS}", *SMALL],
    "happo_penalty": ["happo_penalty", f"task={CONTINUOUS}", *SMALL],
    "hatrpo": ["hatrpo", f"task={CONTINUOUS}", *SMALL[:-4], *TWICE[2:]],
    "recurrent_happo": ["recurrent_happo", "task.n_envs=8", "task.delay=3", "data.frames=64", "run.frames=1280",
                        *(f"nets.{net}.{word}" for net in ("actor", "value") for word in
                          ("hidden=[8]", "memory=8", "chunk=4")), *TWICE],
    "masks": ["happo", f"task={LEAVING}", "nets.actor.use=net/categorical_policy", *SMALL],
    "masks_shared": ["mappo", f"task={LEAVING}", "nets.actor={use: net/categorical_policy, per: team, hidden: [8]}",
                     "update.actors.order={use: order/simultaneous, of: agent}", *SMALL[1:]],
    "semi_greedy": ["a2po", f"task={CONTINUOUS}", *SMALL],
    "graphs": ["happo_penalty", f"task={CONTINUOUS}", *SMALL, "run.graphs=true"],
    "compiled": ["happo_penalty", f"task={CONTINUOUS}", *SMALL, "run.compile=true", "run.frames=120"],
    "hasac": ["hasac", f"task={CONTINUOUS}", *Q, *REPLAYED],
    "haqo": ["haqo", f"task={CONTINUOUS}", *Q, *REPLAYED],
    "omdpg": ["omdpg", f"task={CONTINUOUS}", *Q, *REPLAYED, "data.updates=1"],
    "qmix": ["qmix", f"task={LEAVING}", *REPLAYED, "data.updates=1", "task.normalize_observations=true"],
    "vdn": ["vdn", f"task={LEAVING}", *REPLAYED, "data.updates=1"],
    "blocks": ["happo", f"task={CONTINUOUS}", "task.continuous_agents=3",
               "update.actors.order={use: order/blocks, size: 2, of: agent}", *SMALL],
    "local_moments": ["happo", f"task={CONTINUOUS}", *SMALL],
    "local_statistics": ["happo", f"task={CONTINUOUS}", *SMALL],
    "local_counts": ["happo", f"task={LEAVING}", "nets.actor.use=net/categorical_policy", *SMALL],
}  # fmt: skip
QUIET = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}


class Wide:
    """Environments whose numbers are float64: the networks are."""

    def __init__(self, env):
        self._env = env

    def __getattr__(self, name):
        return getattr(self._env, name)

    def start(self):
        return widened(self._env.start())

    def advance(self, actions):
        moved = self._env.advance(actions)
        words = ("next_observation", "reward", "observation")
        return Transition(**{**vars(moved), **{word: widened(getattr(moved, word)) for word in words}})


def widened(parts):
    return {name: value.double() if value.is_floating_point() else value for name, value in parts.items()}


class SideBySide:
    """The sources of all processes, as one."""

    def __init__(self, sources):
        self.sources, self.device = sources, sources[0].device

    def n_collections(self, frames):
        return self.sources[0].n_collections(frames // N_RANKS)

    def collect(self):
        parts = [source.collect() for source in self.sources]
        dim = int(self.sources[0].in_order)
        samples = (torch.cat(each, dim) for each in zip(*(part.samples for part in parts), strict=True))
        figures = (sum(getattr(part, word) for part in parts) for word in ("returns", "lengths", "episodes"))
        own = {name: sum(part.agent_returns[name] for part in parts) for name in parts[0].agent_returns}
        return Collected(sum(part.frames for part in parts), *figures, samples, own)

    def close(self):
        pass


class Draws:
    """Torch's functions that draw, in updates alone: the rows of each process from a generator of its own."""

    NAMES = ("randn_like", "rand_like", "randn", "rand", "randint")

    def __init__(self, numbers):
        self.generators = [torch.Generator().manual_seed(1000 + number) for number in numbers]
        self.true = {name: getattr(torch, name) for name in self.NAMES}
        self.exponential = torch.Tensor.exponential_

    def __enter__(self):
        for name in self.NAMES:
            setattr(torch, name, lambda *given, _name=name, **words: self.drawn(_name, *given, **words))

        def exponential(x, *given, generator=None):
            if generator is not None:
                return self.exponential(x, *given, generator=generator)
            for part, own in zip(x.chunk(len(self.generators)), self.generators, strict=True):
                self.exponential(part, *given, generator=own)
            return x

        torch.Tensor.exponential_ = exponential

    def __exit__(self, *error):
        for name in self.NAMES:
            setattr(torch, name, self.true[name])
        torch.Tensor.exponential_ = self.exponential

    def drawn(self, name, *given, generator=None, device=None, **words):
        if generator is not None:
            return self.true[name](*given, generator=generator, **words)
        if name.endswith("_like"):
            name, shape, words = name.removesuffix("_like"), given[0].shape, {"dtype": given[0].dtype, **words}
            before = ()
        elif name == "randint":
            before, shape = given[:-1], given[-1]
        else:
            before, shape = (), given[0] if isinstance(given[0], tuple | list | torch.Size) else given
        part = (shape[0] // len(self.generators), *shape[1:])
        return torch.cat([self.true[name](*before, part, generator=own, **words) for own in self.generators])


def shards(generators, rows_of, words, _):
    """Yield minibatches as ``hetrl.engine.rows.minibatches`` does, each of the rows that two processes would take."""
    count, n_envs = rows_of[0].count // N_RANKS, 8 // N_RANKS
    place = torch.arange(count)
    # Time first, and the environments of the processes side by side.
    theirs = [place // n_envs * 8 + number * n_envs + place % n_envs for number in range(N_RANKS)]
    cuts = [count * part // words.minibatches for part in range(words.minibatches + 1)]
    for _ in range(words.epochs):
        if words.minibatches > 1:
            theirs = [own[torch.randperm(count, generator=each)] for own, each in zip(theirs, generators, strict=True)]
        for start, end in pairwise(cuts):
            taken = [each.ordered(torch.cat([own[start:end] for own in theirs])) for each in rows_of]
            yield [each.split([N_RANKS * (end - start)])[0] for each in taken]


def local(case):
    """Leave out what goes from process to process, in one place."""
    if case == "local_moments":
        standardize.moments = lambda x, active, gather: (x.mean(), x.std(correction=0))
    elif case == "local_statistics":
        value_normalizer.ranks = type("Alone", (), {"means": staticmethod(list), "count": staticmethod(lambda: 1)})
    elif case == "local_counts":
        rows.counted = lambda rows, lanes, sizes, device: lanes


def built(words):
    recipe = hetrl.load(*words, "run.device=cpu", "run.eval_every=null")
    module, data = recipe.build()
    return recipe, module.double(), data


def one(case):
    recipe, module, data = built(CASES[case])
    behaviour, sources = data.source._behaviour, []
    for number in range(N_RANKS):
        rank = Rank(number, N_RANKS)
        share = Portion.of(recipe, rank)
        env = build.make_env(recipe, torch.device("cpu"), rng.derive(0, "env", *rank.words), n_envs=share.n_envs)
        source = build_entry(Use(recipe.data.where, recipe.data.name, frozen(share.data)), "data")
        source.attach(env, behaviour, "mean", rng.derive(0, "exploration", *rank.words), module.linked.critic)
        sources.append(source)
    data.source = SideBySide(sources)
    seeds = [rng.derive(0, "minibatches", *Rank(number, N_RANKS).words) for number in range(N_RANKS)]
    if data.source.sources[0].in_order:
        phase.minibatches = partial(shards, [torch.Generator().manual_seed(seed) for seed in seeds])
    else:
        phase.minibatches = rows.minibatches
    return module, data


def fit(module, data, numbers, devices):
    draws, step = Draws(numbers), module.training_step

    def training_step(batch, batch_idx):
        with draws:
            return step(batch, batch_idx)

    module.training_step = training_step
    log = []
    module._log = lambda metrics: log.append(dict(metrics))
    strategy = "ddp" if devices > 1 else "auto"
    trainer = L.Trainer(max_epochs=-1, accelerator="cpu", devices=devices, strategy=strategy, **QUIET)
    start = {name: value.clone() for name, value in module.named_parameters()}
    trainer.fit(module, data)
    moved = max(float((value - start[name]).detach().abs().max()) for name, value in module.named_parameters())
    states = {name: value for name, value in module.state_dict().items() if torch.is_tensor(value)}
    return {"weights": states, "log": log, "moved": moved, "updates": module.iteration}


def member(number, port, out, cases):
    """Take the cases as one of the processes; as the one, where there is no number."""
    torch.set_default_dtype(torch.float64)
    true = build.make_env
    build.make_env = task.make_env = lambda *given, **words: Wide(true(*given, **words))
    if number is not None:
        os.environ |= {"LOCAL_RANK": str(number), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    kept = standardize.moments, value_normalizer.ranks, rows.counted
    for case in cases:
        if number is None:
            module, data = one(case)
            found = fit(module, data, range(N_RANKS), 1)
        else:
            local(case)
            _, module, data = built([*CASES[case], f"run.devices={N_RANKS}"])
            found = fit(module, data, [number], N_RANKS)
            standardize.moments, value_normalizer.ranks, rows.counted = kept
        torch.save(found, out / f"{case}.{number}")


def forked(*given):
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        member(*given)
        code = 0
    except BaseException:
        traceback.print_exc()
    sys.stderr.flush()
    os._exit(code)


def apart(one, other):
    """Return how far two sets of numbers are apart, at most."""
    return max(float((one[name].double() - other[name].double()).abs().max()) for name in one if one[name].numel())


def figures_apart(one, other):
    """Return by how much figures differ at most, as a part of what they are around."""
    pairs = zip(one, other, strict=True)
    return max(abs(row[name] - like[name]) / (1e-3 + abs(row[name])) for row, like in pairs for name in row)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    out, cases = Path(sys.argv[1]), sys.argv[2:] or list(CASES)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pids = [forked(number, port, out, cases) for number in (None, *range(N_RANKS))]
    codes = [os.waitpid(pid, 0)[1] for pid in pids]
    if any(codes):
        sys.exit(1)
    report = {}
    for case in cases:
        alone, first, second = (torch.load(out / f"{case}.{name}") for name in (None, 0, 1))
        report[case] = {
            "apart": apart(alone["weights"], first["weights"]),
            "unlike": apart(first["weights"], second["weights"]),
            "figures": figures_apart(alone["log"], first["log"]),
            "moved": first["moved"],
            "updates": first["updates"],
        }
    print(json.dumps(report))
