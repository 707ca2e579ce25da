"""Whether a change left every number as it was: each shipped recipe is trained for a few updates, before and after.

    python tests/benchmark/same_numbers.py record OUT.json [--root CHECKOUT] [--recipes happo hasac+compile ...]
    python tests/benchmark/same_numbers.py compare BEFORE.json AFTER.json
    python tests/benchmark/same_numbers.py against COMMIT                        also: make same ARGS=COMMIT

``record`` trains the recipes of a checkout, on one thread of the CPU, and keeps digests of ``metrics.csv`` and of
everything in the checkpoint but the recipe's text. Names and their order count, and so does every bit of every tensor.
``compare`` says of each recipe whether it is the same or what differs, and exits with 1 where anything does.
``against`` records a commit (in a worktree of its own) and this working tree, and compares them.

A checkout is reached by its command line alone, ``hetrl train NAME``, with words of ``run``, ``task`` and ``data``:
recipes, files and classes may change between the two. Both records have to come from one machine and one set of
packages.
"""

import argparse
import hashlib
import json
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

ROOT = Path(__file__).parent.parent.parent
RUN = ["run.device=cpu", "run.threads=1", "run.seed=1", "run.n_eval_episodes=3"]
ON_POLICY = ["task.n_envs=6", "data.frames=120", "run.frames=360", "run.eval_every=240"]
"""Three collections of 20 steps each: whole chunks of a recurrent net, and minibatches of unequal sizes."""
REPLAY = [
    "task.n_envs=4", "data.capacity=160", "data.batch=32", "data.warmup=80", "run.frames=176", "run.eval_every=100",
]  # fmt: skip
"""20 steps of warm-up, then 24 of one sample or more; the ring, of 40 steps, goes around."""
WITHOUT_HORIZON = ("env/cue_game",)
VARIANTS = {
    "happo+compile": ["run.compile=true"],
    "hasac+compile": ["run.compile=true"],
    "haqo+compile": ["run.compile=true"],
    "happo+capture": ["task.capture=true"],
    "omdpg+two_groups": ["task=task/mixed_transport"],
    "omdpg_discrete+two_groups": ["task=task/mixed_transport", "task.actions=discrete"],
    "recurrent_happo+leavers": ["task.leave=0.1"],
}
"""Recipes once more, with further words: compiled, captured, in several groups, with agents that leave."""
PARTS = ("metrics", "weights", "optimizers", "data", "run", "progress")
"""What is compared, in this order."""

Leaves = dict[str, str]
"""Path of a leaf -> its digest, in order."""


# Digests


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield (path, digest) of every leaf of a tree of tensors and primitives, in order.

    An empty container is a leaf. A digest covers type, and for a tensor its type, its shape and its bytes.

    Raises:
        TypeError: something else is in the tree.
    """
    if isinstance(tree, dict) and tree:
        for key, value in tree.items():
            yield from leaves(value, f"{path}/{key!r}" if path or not isinstance(key, str) else key)
    elif isinstance(tree, list | tuple) and tree:
        for index, value in enumerate(tree):
            yield from leaves(value, f"{path}/{index}")
    else:
        yield path, digest(_encoded(tree, path))


def digest(content: bytes) -> str:
    """Return the SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def _encoded(value: Any, path: str) -> bytes:
    if isinstance(value, torch.Tensor):
        flat = value.detach().cpu().contiguous().reshape(-1)
        about = f"tensor {value.dtype} {list(value.shape)} "
        return about.encode() + flat.view(torch.uint8).numpy().tobytes()
    if isinstance(value, float):
        return b"float " + struct.pack("<d", value)
    if value is None or isinstance(value, bool | int | str | bytes | dict | list | tuple):
        return f"{type(value).__name__} {value!r}".encode()
    raise TypeError(f"{path} is a {type(value).__name__}; say here how its content is read.")


def checkpoint_parts(checkpoint: dict[str, Any]) -> dict[str, Leaves]:
    """Return the leaves of each part of a checkpoint, but for the recipe's text and the versions of packages."""
    run = {word: value for word, value in checkpoint["hetrl"].items() if word != "recipe"}
    named = {"state_dict", "optimizer_states", "hetrl", "loops", "epoch", "global_step", "pytorch-lightning_version"}
    trees = {
        "weights": checkpoint["state_dict"],
        "optimizers": checkpoint["optimizer_states"],
        "data": {word: value for word, value in checkpoint.items() if word not in named},
        "run": run,
        "progress": {
            "epoch": checkpoint["epoch"],
            "global_step": checkpoint["global_step"],
            "loops": _loops(checkpoint),
        },
    }
    return {word: dict(leaves(tree)) for word, tree in trees.items()}


def _loops(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Return Lightning's progress without its state of the loader, in which earlier versions repeated the data."""
    loops = checkpoint["loops"]
    if "combined_loader" not in loops.get("fit_loop", {}).get("state_dict", {}):
        return loops
    inner = {word: value for word, value in loops["fit_loop"]["state_dict"].items() if word != "combined_loader"}
    return loops | {"fit_loop": loops["fit_loop"] | {"state_dict": inner}}


def part_digest(part: Leaves) -> str:
    """Return one digest for a part: of its paths and leaves, in order."""
    return digest(json.dumps(list(part.items())).encode())


# Recording


def words_for(root: Path, name: str) -> list[str]:
    """Return the overrides with which a recipe, or a variant of one, trains for a few updates only."""
    recipe, _, variant = name.partition("+")
    tree: Any = OmegaConf.to_container(OmegaConf.load(root / "recipes" / f"{recipe}.yaml"))
    more = VARIANTS[name] if variant else []
    text = json.dumps(tree["task"]) + " ".join(more)
    horizon = [] if any(env in text for env in WITHOUT_HORIZON) else ["task.horizon=16"]
    sizes = {"data/on_policy": ON_POLICY, "data/replay": REPLAY}[tree["data"]["use"]]
    return [*more, *sizes, *horizon, *RUN]


def shipped(root: Path) -> list[str]:
    """Return the names of what a checkout ships, and of the variants whose recipe is there."""
    recipes = sorted(path.stem for path in (root / "recipes").glob("*.yaml"))
    return [*recipes, *(name for name in VARIANTS if name.partition("+")[0] in recipes)]


def train(root: Path, name: str, folder: Path) -> dict[str, Any]:
    """Train a recipe of a checkout in a folder, and return the digests of what came out (or ``failed``, its error)."""
    recipe = name.partition("+")[0]
    command = [sys.executable, "-m", "hetrl.cli", "train", recipe, *words_for(root, name), "--folder", str(folder)]
    done = subprocess.run(command, env=_environment(root), cwd=folder.parent, capture_output=True, text=True)
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or ["without a word"])[-1]}
    table = (folder / "metrics.csv").read_bytes()
    checkpoint = torch.load(folder / "checkpoints" / "last.ckpt", map_location="cpu", weights_only=True)
    parts = {"metrics": {"metrics.csv": f"{digest(table)} {len(table)} bytes"}, **checkpoint_parts(checkpoint)}
    return {word: {"sha256": part_digest(part), "leaves": part} for word, part in parts.items()}


def _environment(root: Path) -> dict[str, str]:
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TORCHINDUCTOR_COMPILE_THREADS"), "1")
    return os.environ | one_thread | {"PYTHONPATH": str(root), "COLUMNS": "1000", "PYTHONDONTWRITEBYTECODE": "1"}


def record(root: Path, names: list[str], jobs: int = 1, keep: Path | None = None) -> dict[str, Any]:
    """Train recipes of a checkout and return what was recorded, by name; a line for each goes to the screen."""
    root = root.resolve()
    found = subprocess.run(
        [sys.executable, "-c", "import hetrl; print(hetrl.__file__)"],
        env=_environment(root), cwd=tempfile.gettempdir(), capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    if not Path(found).is_relative_to(root):
        sys.exit(f"{root} would not be measured: Python imports {found}.")
    recorded: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(jobs) as pool:
        place = keep.resolve() if keep is not None else Path(temporary)
        place.mkdir(parents=True, exist_ok=True)
        waiting = {name: pool.submit(train, root, name, place / name) for name in names}
        for name, future in waiting.items():
            recorded[name] = future.result()
            print(f"{name:24} {_summary(recorded[name])}", flush=True)
    python, cpu = sys.version.split()[0], torch.backends.cpu.get_cpu_capability()
    return {"machine": {"python": python, "torch": torch.__version__, "cpu": cpu}, "recipes": recorded}


def _summary(recorded: dict[str, Any]) -> str:
    if "failed" in recorded:
        return f"failed: {recorded['failed']}"
    return "  ".join(f"{word} {recorded[word]['sha256'][:8]}" for word in PARTS)


# Comparing


def difference(before: dict[str, Any], after: dict[str, Any]) -> str | None:
    """Return what differs in two records of one recipe: every part that does, and where it first does; or nothing."""
    failed = [f"{when}: {each['failed']}" for when, each in (("before", before), ("after", after)) if "failed" in each]
    if failed:
        return "failed " + "; ".join(failed)
    parts = [word for word in PARTS if before[word]["sha256"] != after[word]["sha256"]]
    if not parts:
        return None
    return "; ".join(f"{word}: {_first(before[word]['leaves'], after[word]['leaves'])}" for word in parts)


def _first(before: Leaves, after: Leaves) -> str:
    """Say where two parts first differ: a name, the order of the names, or the numbers under one."""
    if list(before) != list(after):
        gone, new = [name for name in before if name not in after], [name for name in after if name not in before]
        if not gone and not new:
            one, other = next((one, other) for one, other in zip(before, after, strict=True) if one != other)
            return f"names in another order, first {other} where {one} was"
        changes = [f"{len(names)} {word}, first {names[0]}" for names, word in ((gone, "gone"), (new, "new")) if names]
        return f"names: {' and '.join(changes)}"
    changed = [name for name in before if before[name] != after[name]]
    return f"{len(changed)} of {len(before)} differ, first {changed[0]}"


def compare(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Print a line for each recipe, and return whether all are the same."""
    same = before["machine"] == after["machine"]
    if not same:
        print(f"recorded on unlike machines: {before['machine']} and {after['machine']}.")
    for name in {**before["recipes"], **after["recipes"]}:
        pair = [each["recipes"].get(name) for each in (before, after)]
        if None in pair:
            found: str | None = f"only recorded {'after' if pair[0] is None else 'before'}"
        else:
            found = difference(*pair)
        same &= found is None
        print(f"{name:24} {found or 'same'}")
    return same


def against(commit: str, names: list[str] | None, jobs: int) -> bool:
    """Record a commit and this working tree, and return whether all numbers are the same."""
    with tempfile.TemporaryDirectory() as temporary:
        tree = Path(temporary) / "before"
        subprocess.run(["git", "worktree", "add", "--detach", "--quiet", str(tree), commit], cwd=ROOT, check=True)
        try:
            records = []
            for root in (tree, ROOT):
                print(f"{'this working tree' if root == ROOT else commit}:", flush=True)
                records.append(record(root, names or shipped(root), jobs))
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=ROOT, check=True)
    print("compared:")
    return compare(*records)


def main() -> None:
    """Do as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    recording, comparing, with_commit = (commands.add_parser(word) for word in ("record", "compare", "against"))
    recording.add_argument("out", type=Path)
    recording.add_argument("--root", type=Path, default=ROOT, help="the checkout; by default this one")
    recording.add_argument("--keep", type=Path, help="where the runs stay, to look at; by default they are removed")
    comparing.add_argument("before", type=Path)
    comparing.add_argument("after", type=Path)
    with_commit.add_argument("commit")
    for each in (recording, with_commit):
        each.add_argument("--recipes", nargs="+", help="names, or NAME+VARIANT; by default all of them")
        each.add_argument("--jobs", type=int, default=1, help="runs at once, each with one thread")
    options = parser.parse_args()
    if options.command == "record":
        recorded = record(options.root, options.recipes or shipped(options.root), options.jobs, options.keep)
        options.out.write_text(json.dumps(recorded, indent=1) + "\n")
        sys.exit(any("failed" in each for each in recorded["recipes"].values()))
    if options.command == "compare":
        sys.exit(not compare(*(json.loads(file.read_text()) for file in (options.before, options.after))))
    sys.exit(not against(options.commit, options.recipes, options.jobs))


if __name__ == "__main__":
    main()
