"""Command lines with odd words in them, run in this process."""

import contextlib
import io
import sys
from copy import deepcopy
from pathlib import Path
from random import Random
from unittest.mock import patch

from fuzz.mutations import Tree, mutated_text, override
from fuzz.values import TEXTS, YAML_TEXTS, entry

from hetrl import cli

COMMANDS = ["check", "show", "diff", "cp", "list", "train"]
OPTIONS = ["--folder", "--resume", "--seeds", "--at-once", "--wandb", "--monitor", "--to", "--help", "--no", "-x", "--"]
_TEXTS = [text for text in TEXTS if not text.startswith(("/", ".."))]
"""What may name a file: one of the folder in which the line is run."""
SMALL = [
    "task.n_envs=2", "task.horizon=3", "data.frames=4", "run.frames=4", "run.eval_every=null", "nets.actor.hidden=[4]",
    "nets.value.hidden=[4]", "update.actors.minibatches=1", "update.critic.minibatches=1", "update.actors.epochs=1",
]  # fmt: skip


def line(rng: Random, tree: Tree, names: list[str], text: str) -> list[str]:
    """Return the words of a command line; files that it names have been written into the folder it runs in."""
    command = rng.choice(COMMANDS)
    recipe = rng.choice([rng.choice(names), rng.choice(names), "mine.yaml"])
    Path("mine.yaml").write_text(mutated_text(rng, text), encoding="utf-8", errors="surrogatepass")
    words = {
        "check": lambda: [recipe, *_overrides(rng, tree)],
        "show": lambda: [recipe, *_overrides(rng, tree)],
        "diff": lambda: [recipe, rng.choice(names), *_overrides(rng, tree)],
        "cp": lambda: [recipe, rng.choice(["copy.yaml", "a/b.yaml", "mine.yaml", ".", *_TEXTS])],
        "list": lambda: [rng.choice(["recipe", "loss", "net", "matrix_game", entry(rng), rng.choice(_TEXTS)])],
        "train": lambda: ["happo", *_overrides(rng, tree)],
    }[command]()
    for _ in range(rng.choice([0, 0, 0, 1, 2])):
        odd = rng.choice([rng.choice(OPTIONS), rng.choice(_TEXTS), rng.choice(YAML_TEXTS)])
        kind = rng.randrange(3)
        if kind == 0 and words:
            words[rng.randrange(len(words))] = odd
        elif kind == 1 and words:
            del words[rng.randrange(len(words))]
        else:
            words.insert(rng.randrange(len(words) + 1), odd)
    words += SMALL if command == "train" else []  # last, so that nothing else makes it long
    return [command, *(word.encode("utf-8", "replace").decode() for word in words)]


def _overrides(rng: Random, tree: Tree) -> list[str]:
    return [override(rng, deepcopy(tree)) for _ in range(rng.choice([0, 1, 1, 2]))]


def run(words: list[str]) -> str:
    """Run ``hetrl WORDS`` and return how it ended: ``refused``, ``usage`` or ``done``.

    Raises:
        AssertionError: it ended in another way, or said more than one line of its error.
    """
    said, complained = io.StringIO(), io.StringIO()
    code: object = 0
    with (
        patch.object(sys, "argv", ["hetrl", *words]),
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(complained),
    ):
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code
    error = complained.getvalue()
    if code in (0, None):
        return "done"
    assert code == 2, f"exit code {code}: {error}"
    if error.startswith("Usage:"):
        return "usage"
    lines = [each for each in error.strip().splitlines() if not each.startswith("warning: ")]
    assert len(lines) == 1 and lines[0].startswith("error "), f"not one line: {error[:2000]!r}"
    return "refused"
