"""Where a TorchRL environment that steps all rows at once stands, as tensors and primitives, so far as can be seen.

``EnvBase`` has no state to ask for. What can be looked into is what the environment and what it holds are made of in
Python: tensors, arrays, numbers, texts, lists and generators of random numbers. What lies elsewhere (in a library
written in C, in another process, in a class) cannot, and nothing tells beforehand. So :func:`holds` tries it.
"""

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from tensordict import LazyStackedTensorDict, TensorDict, TensorDictBase
from torch import Tensor
from torchrl.data import TensorSpec
from torchrl.data.tensor_specs import Box as SpecBox
from torchrl.envs import EnvBase
from torchrl.envs.utils import _StepMDP

from hetrl import rng
from hetrl.env.adapter.torchrl_world import Batch, Written
from hetrl.env.simulator_state import KeyPath, get, put, restore, slots_of, snapshot, walk

Choose = Callable[[list[Tensor], torch.Generator], Written]
"""Draws actions, given leaves."""
_CLOSED = (TensorSpec, SpecBox, _StepMDP)
"""TorchRL's own, which does not change while an environment runs."""
_STEPS = 6
"""Before and after the trial's snapshot."""


def save(batch: Batch) -> dict[str, Any]:
    """Return where an environment stands: what it holds, its generators, and what goes from step to step."""
    env = batch.env
    for _, node in walk(env, closed=_CLOSED):
        if isinstance(node, EnvBase):
            node.empty_cache()  # it is made again when it is asked for
    return {
        "simulator": snapshot(env, closed=_CLOSED),
        "others": [[list(path), _encoded(value)] for path, value in _others(env)],
        "carried": _taken_apart(batch.single.carried),
        "n_steps": batch.single.n_steps,
        "stream": batch.stream.state_dict(),
    }


def load(batch: Batch, state: dict[str, Any]) -> None:
    """Put back what :func:`save` returned, into an environment made with the same arguments.

    Raises:
        RunError: it is another environment.
    """
    if not len(batch.single.carried.keys()):
        batch.start()  # some of what it holds is made by a first reset
    restore(batch.env, state["simulator"], batch.env.device)
    for path, value in state["others"]:
        old = get(batch.env, tuple(path))
        put(batch.env, tuple(path), _decoded(value, old))
    batch.single.carried = _put_together(state["carried"], batch.env.device)
    batch.single.n_steps = state["n_steps"]
    batch.stream.load_state_dict(state["stream"])


def holds(make: Callable[[int], Batch], draw: Choose) -> str:
    """Try whether an environment goes on alike where it was saved; returns what it does not do, ``""`` where it does.

    One is stepped and reset in part, saved, and loaded into a second one, which was seeded otherwise and has gone
    another way. Both then take the same steps.

    Args:
        make: makes one from a seed; both are closed afterwards.
        draw: draws actions, given leaves.
    """
    made: list[Batch] = []
    try:
        for seed in (0, 1):
            made.append(make(seed))
            made[-1].start()
        one, other = made
        _walk(one, draw, _STEPS, 0)
        _walk(other, draw, 2, 1)
        load(other, save(one))
        # One after the other: what both hold together, in their class, say, would not show otherwise.
        found = [_walk(each, draw, _STEPS, 2) for each in made]
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        for each in made:
            each.close()
    same = all(_equal(left, right) for left, right in zip(*found, strict=True))
    return "" if same else "two of them went different ways from there"


def _walk(batch: Batch, draw: Choose, steps: int, seed: int) -> list[Tensor]:
    """Everything seen in some random steps, with resets of some rows between them."""
    generator, rows = torch.Generator().manual_seed(seed), torch.arange(batch.n_envs)
    seen = []
    for place in range(steps):
        leaves = batch.step(draw(batch.leaves(), generator))
        seen += [leaf.clone() for leaf in leaves]
        over = batch.over()
        asked = rows[over | (rows % 3 == place % 3)]
        if len(asked):
            seen += [leaf.clone() for leaf in batch.reset(asked)]
    return seen


def _equal(left: Tensor, right: Tensor) -> bool:
    return left.shape == right.shape and torch.equal(left.nan_to_num(), right.nan_to_num())


# --------------------------------------------------------------------------- what goes from step to step


def _taken_apart(value: Any) -> Any:
    """A TensorDict as dictionaries and lists; what is no tensor in it is left out."""
    if isinstance(value, LazyStackedTensorDict):
        return {"list": [_taken_apart(each) for each in value.tensordicts], "dim": value.stack_dim}
    if isinstance(value, TensorDictBase):
        kept = {key: each for key, each in value.items() if isinstance(each, (Tensor, TensorDictBase))}
        return {"parts": {key: _taken_apart(each) for key, each in kept.items()}, "batch": list(value.batch_size)}
    return value.clone()


def _put_together(saved: Any, device: torch.device | None) -> Any:
    if isinstance(saved, Tensor):
        return saved.to(device or "cpu", copy=True)
    if "list" in saved:
        return LazyStackedTensorDict(*(_put_together(each, device) for each in saved["list"]), stack_dim=saved["dim"])
    parts = {key: _put_together(each, device) for key, each in saved["parts"].items()}
    return TensorDict(parts, batch_size=saved["batch"], device=device)


# --------------------------------------------------------------------------- what is no tensor, number or text


def _others(env: object) -> Iterator[tuple[KeyPath, Any]]:
    """Arrays and generators that an environment holds, each under its first path."""
    seen: set[int] = set()
    for path, node in walk(env, closed=_CLOSED):
        for key, value in slots_of(node):
            if isinstance(value, _KINDS) and id(value) not in seen:
                seen.add(id(value))
                yield (*path, key), value


_KINDS = (np.ndarray, np.generic, torch.Generator, np.random.Generator, np.random.RandomState, random.Random)


def _encoded(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, torch.Generator):
        return value.get_state()
    if isinstance(value, np.random.Generator):
        return _plain(value.bit_generator.state)
    if isinstance(value, np.random.RandomState):
        return _plain(value.get_state(legacy=False))
    return _plain(value.getstate())


def _decoded(saved: Any, old: Any) -> Any:
    """The array or number that was saved, or the generator that is there, in the state that was saved."""
    if isinstance(old, np.ndarray):
        return saved.numpy().copy()
    if isinstance(old, np.generic):
        return type(old)(saved)
    if isinstance(old, torch.Generator):
        rng.go_on(old, saved)
    elif isinstance(old, np.random.Generator):
        old.bit_generator.state = _arrays(saved)
    elif isinstance(old, np.random.RandomState):
        old.set_state(_arrays(saved))
    elif isinstance(old, random.Random):
        old.setstate(_tuples(saved))
    return old


def _plain(value: Any) -> Any:
    """Arrays as tensors; whole numbers too large for one stay Python's, as text."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(each) for each in value]
    if isinstance(value, np.ndarray):
        return {"array": torch.from_numpy(value.astype(np.int64)), "dtype": str(value.dtype)}
    if isinstance(value, np.generic):
        return value.item()
    return {"whole": str(value)} if isinstance(value, int) and value.bit_length() > 63 else value


def _arrays(value: Any) -> Any:
    if isinstance(value, dict):
        if "array" in value:
            return value["array"].numpy().astype(value["dtype"])
        return int(value["whole"]) if "whole" in value else {key: _arrays(each) for key, each in value.items()}
    return value


def _tuples(value: Any) -> Any:
    return tuple(_tuples(each) for each in value) if isinstance(value, list) else value
