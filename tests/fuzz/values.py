"""Odd values, words and texts: what somebody might write by mistake, and what somebody might write on purpose."""

import datetime
import decimal
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch

from hetrl import catalog

SECRET = "HETRL_FUZZ_SECRET"
"""A variable of the environment that no recipe may read."""
EVIL = "evil_module_of_a_fuzzer"
"""A module that no recipe may import."""

# No network is a million wide: it could be had, and to draw it takes longer than a case may.
NUMBERS = [
    0, 1, 2, 3, -1, -7, 5, 64, 1000, 10**5, 2**31, 2**31 - 1, 2**63, 2**63 - 1, 10**30, -(10**30), 0.0, -0.0, 0.5, 1.0,
    1.5, -2.5, 1e5, 1e-6, 1e-320, 1e30, 1e300, float("inf"), float("-inf"), float("nan"), True, False,
]  # fmt: skip
TEXTS = [
    "", " ", "null", "nan", "yes", "1e6", "5e-4", "one", "a b", "a.b", ".", "..", "a..b", ".a", "a.", "a/b",
    "/", "-",
    "x" * 1000, "x" * 100_000, "ä", "日本語", "😀", "\n", "a\nb", "\t", "\r", "\x00", "\x1b[31mred", "\u202e",
    "%s", "{}",
    "{}", "{0.__class__}", "'", '"', "\\", "#", "agent", "agents", "next", "team", "loss", "log", "phase",
    "target", "update",
    "items", "keys", "forward", "__init__", "__class__", "self", "None", "agents.", "agent.agent",
    "next.next.x", "loss.agent.x", "agent.observation", "value", "advantage", "q.min", "q.target.min",
    "actor.log_prob", "order/fixed",
    f"{EVIL}:Thing", f"{EVIL}.Thing", f"env/{EVIL}", f"!!python/name:{EVIL}.x", f"__import__('{EVIL}')",
    f"${{oc.env:{SECRET}}}", "${run.seed}", "${nothing}", "${", "${about}", "../../etc/passwd",
    "/etc/passwd", "task/gate",
]  # fmt: skip
OBJECTS = [
    object(), {1, 2}, b"bytes", (1, 2), np.float64(1.5), np.int64(3), np.array([1.0, 2.0]), torch.tensor(2.0),
    torch.zeros(3), decimal.Decimal("1.5"), Path("a"), datetime.date(2020, 1, 1), len, type, 1 + 2j, range(3),
]  # fmt: skip
YAML_TEXTS = [
    "null", "", "~", "nan", ".nan", ".inf", "-.inf", "1e400", "1e5", "5e-4", "010", "1:30", "0x10", "0b11",
    "1_000",
    "true", "yes", "off", "[]", "{}", "[1, 2]", "[[[[1]]]]", "{a: 1}", "{a: {b: {c: 1}}}", "[null]",
    "[true, x]", "{1: 2}",
    "{null: 1}", "{[a]: 1}", "2020-01-01", "!!int zz", f"!!python/object/apply:{EVIL}.x [1]",
    f"!!python/name:{EVIL}.x",
    "!mine 3", "!!binary aGk=", "!!set {a}", "&a [*a]", "*a", "&a 1", "|", ">", "|\n  a\n  b", "'",
    '"', "a: b", "- a",
    "[", "{", "]", "@", "`", "%", "\t", "? a", "${run.seed}", "${oc.env:" + SECRET + "}", "${oc.${about}:x}",
    "${", "$",
    "{linear: [1, 0]}", "{linear: [nan, 0]}", "{linear: [1, 2, 3]}", "{linear: 3}", "{line: [1, 0]}",
    "{linear: [0, 0]}",
    "[" * 60 + "]" * 60, "x" * 5000, "ä", "😀", "10000000000000000000000000000000", "-1", "0", "1", "0.5",
    "3", "100000",
    "order/fixed", "{use: order/fixed}", "{use: loss/td}", "{net: value}", "{use: optim/adam, lr: 0}",
    "task/gate",
]  # fmt: skip
WORDS = [
    "use", "net", "at", "keys", "reads", "writes", "phase", "train", "order", "of", "per", "epochs",
    "minibatches", "every",
    "inactive", "optim", "before", "prepare", "steps", "after", "target", "tau", "hidden", "activation",
    "memory", "chunk",
    "normalize", "lr", "max_grad_norm", "clip", "coef", "delta", "gamma", "lmbda", "n", "keep", "n_envs",
    "horizon",
    "n_agents", "scenario", "reward", "groups", "seed", "device", "capture", "actions", "frames", "capacity",
    "batch",
    "warmup", "updates", "n_step", "policy", "n_candidates", "judge", "save", "compile", "threads",
    "eval_every",
    "n_eval_episodes", "checkpoint_every", "where", "name", "arguments", "init", "linear", "ensemble",
    "hetrl", "about",
    "task", "nets", "data", "update", "run",
]  # fmt: skip
"""Words of recipes, and some that only the code knows."""


def odd(rng: Random, deep: int = 0) -> Any:
    """Return an odd value: a number, a text, a list or mapping of such, or an object that YAML cannot write."""
    kind = rng.random()
    if kind < 0.4:
        return rng.choice(NUMBERS)
    if kind < 0.75:
        return rng.choice(TEXTS)
    if kind < 0.8:
        return None
    if kind < 0.85:
        return rng.choice(OBJECTS)
    if deep > 3:
        return rng.choice([[], {}])
    if kind < 0.93:
        return [odd(rng, deep + 1) for _ in range(rng.randrange(4))]
    return {odd_word(rng): odd(rng, deep + 1) for _ in range(rng.randrange(4))}


def odd_word(rng: Random) -> Any:
    """Return what may stand where a word does: often a word, now and then nothing that could be one."""
    kind = rng.random()
    if kind < 0.6:
        return rng.choice(WORDS)
    return rng.choice(TEXTS) if kind < 0.9 else rng.choice([0, 1, None, True, 1.5, float("nan"), (1, 2), b"b"])


def entry(rng: Random) -> str:
    """Return the name of any entry of the catalog."""
    return rng.choice(sorted(catalog.BUILT_IN))
