"""Whether a checkpoint fits what it is to be loaded into: everything is there, of the right size, and finite."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hetrl import rng
from hetrl.errors import RunError
from hetrl.ranks import ALONE
from hetrl.team import STATE
from hetrl.train.checkpoint_file import way_on
from hetrl.train.collection import Collection
from hetrl.train.learner import Learner
from hetrl.train.rank_files import is_dealt

_EXTRA = "_extra_state"
"""How the name of an entry ends that a module keeps beside its tensors."""
_APART = ("env", "ring")
"""Parts of a source's state whose shapes change while it runs."""
_DRAWING = ("generator", "sampler")
"""States of random generators, which do not go from one kind of device to another."""


def refuse_malformed(checkpoint: Mapping[str, Any], path: Path) -> None:
    """Refuse what is wrong with a checkpoint whatever it is loaded into.

    Raises:
        RunError: figures or weights are missing or of the wrong type, or a weight is NaN.
    """
    _refuse(path, _malformed(checkpoint))


def refuse_unfit(checkpoint: Mapping[str, Any], module: Learner, data: Collection, path: Path) -> None:
    """Refuse a checkpoint that a run could not go on from exactly.

    Args:
        checkpoint: of a run of the same recipe.
        module: as it is built.
        data: as it is built.
        path: where the checkpoint lies, for the message.

    Raises:
        RunError: saying the first thing that does not fit.
    """
    refuse_malformed(checkpoint, path)
    _refuse(path, other_weights(module.state_dict(), checkpoint["state_dict"]))
    _refuse(path, _not_finite(module, checkpoint["state_dict"]))
    _refuse(path, _other_optimizers(module, checkpoint))
    _refuse(path, _other_progress(checkpoint))
    if not is_dealt(checkpoint):
        _refuse(path, _other_source(data, checkpoint))


def _refuse(path: Path, problems: Iterator[str]) -> None:
    for problem in problems:
        raise RunError(f"{path} is no checkpoint to go on from: {problem}.{way_on(path)}")


def _is_count(value: Any, least: int = 0) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _malformed(checkpoint: Mapping[str, Any]) -> Iterator[str]:
    state, weights = checkpoint["hetrl"], checkpoint.get("state_dict")
    if not isinstance(state, dict):
        yield "what hetrl saved is no mapping"
        return
    if not isinstance(state.get("recipe"), str):
        yield "it has no recipe"
    for word, least in (("frames", 1), ("iteration", 0)):
        if not _is_count(state.get(word), least):
            yield f"its {word} are {state.get(word)!r}, no number of them"
    ranks = state.get("ranks", ALONE.saved)
    if not isinstance(ranks, dict) or not _is_count(ranks.get("number")) or not _is_count(ranks.get("count"), 1):
        yield "its processes (ranks) are no numbers of them"
        return
    if not isinstance(weights, dict):
        yield "it has no weights (state_dict)"
        return
    for name, value in weights.items():
        if not isinstance(value, Tensor):
            if not str(name).endswith(_EXTRA):
                yield f"the weight {name} is a {type(value).__name__}"
        elif value.is_floating_point() and value.isnan().any():
            yield f"the weight {name} is NaN"


def other_weights(expected: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[str]:
    """Say where weights are missing, unknown, or of another size or type than those of a module."""
    for name in expected:
        if name not in found:
            yield f"the weight {name} is missing"
    for name, value in found.items():
        if name not in expected:
            yield f"the weight {name} is of another network"
        else:
            yield from _unlike(expected[name], value, f"the weight {name}")


def _not_finite(module: nn.Module, found: Mapping[str, Tensor]) -> Iterator[str]:
    for name, _ in module.named_parameters(remove_duplicate=False):
        if name in found and not found[name].isfinite().all():
            yield f"the weight {name} is infinite"


def _other_optimizers(module: Learner, checkpoint: Mapping[str, Any]) -> Iterator[str]:
    found = checkpoint.get("optimizer_states")
    each = [(phase, optimizer) for phase in module.phases for optimizer in phase.optimizers.values()]
    if not isinstance(found, list) or len(found) != len(each):
        number = len(found) if isinstance(found, list) else "no"
        yield f"it has {number} states of optimisers and should have {len(each)}"
        return
    for state, (phase, optimizer) in zip(found, each, strict=True):
        begun = checkpoint["hetrl"]["iteration"] >= phase.phase.every
        for problem in _other_optimizer(optimizer, state, begun):
            yield f"an optimiser of update.{phase.phase.name} {problem}"


def _other_optimizer(optimizer: torch.optim.Optimizer, found: Any, begun: bool) -> Iterator[str]:
    """Say in what the state of an optimiser differs from what it should be.

    Args:
        optimizer: as it is built.
        found: its state.
        begun: whether it has taken a step.
    """
    if not isinstance(found, dict) or not all(word in found for word in ("state", "param_groups")):
        yield "has no state"
        return
    expected = optimizer.state_dict()["param_groups"]
    if _words(found["param_groups"]) != _words(expected):
        yield "has other settings or parameters than the recipe's"
        return
    if not all(math.isfinite(group["lr"]) for group in found["param_groups"] if "lr" in group):
        yield "has a learning rate that is not finite"
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    known = found["state"]
    if not isinstance(known, dict) or not set(known) <= set(range(len(parameters))):
        yield "has a state of other parameters"
        return
    keeps = isinstance(optimizer, torch.optim.Adam)
    if (begun and keeps and not known) or (known and len(known) != len(parameters)):
        yield f"has lost its state of {len(parameters) - len(known)} parameters"
    for index, own in known.items():
        yield from _other_moments(parameters[index], own, keeps)


def _words(groups: Any) -> Any:
    """Return what must be equal of an optimiser's groups: all but a number that may follow a schedule."""
    try:
        return [{word: value for word, value in group.items() if word != "lr"} for group in groups]
    except (AttributeError, TypeError):
        return None


def _other_moments(parameter: Tensor, found: Any, adam: bool) -> Iterator[str]:
    if not isinstance(found, dict):
        yield "has a state that is no mapping"
        return
    for word in ("step", "exp_avg", "exp_avg_sq") if adam else ():
        if not isinstance(found.get(word), Tensor):
            yield f"has no {word}"
    for word, value in found.items():
        if isinstance(value, Tensor):
            if value.ndim and value.shape != parameter.shape:
                yield f"has {word} of {list(value.shape)} for a parameter of {list(parameter.shape)}"
            if value.is_floating_point() and not value.isfinite().all():
                yield f"has {word} that is NaN or infinite"


def _other_progress(checkpoint: Mapping[str, Any]) -> Iterator[str]:
    """Say where frames and batches are not counted alike."""
    collected = checkpoint.get("Collection")
    if not isinstance(collected, dict) or not isinstance(collected.get("source"), dict):
        yield "it has no simulator (Collection)"
        return
    if collected.get("collected") != checkpoint["hetrl"]["frames"]:
        yield f"it counts {checkpoint['hetrl']['frames']} frames and {collected.get('collected')!r} collected ones"
    try:
        loop = checkpoint["loops"]["fit_loop"]
        batches, epochs = loop["epoch_loop.batch_progress"]["total"]["processed"], loop["epoch_progress"]
        if batches != collected.get("n_batches") or not _is_count(epochs["current"]["completed"]):
            yield f"it counts {batches!r} batches and {collected.get('n_batches')!r} collected ones"
    except (KeyError, TypeError):
        yield "it has no progress of Lightning's (loops)"


def _other_source(data: Collection, checkpoint: Mapping[str, Any]) -> Iterator[str]:
    """Say in what the state of the data differs from that of a source that is built anew."""
    expected, found = data.source.state_dict(), checkpoint["Collection"]["source"]
    for word in _APART:
        if (word in expected) != (word in found):
            yield f"Collection.{word} is missing, or unknown"
    alike, other = ({word: each[word] for word in each if word not in _APART} for each in (expected, found))
    if rng.kind_of_device(checkpoint["hetrl"].get("global", {})) != data.device.type:
        alike, other = ({word: each[word] for word in each if word not in _DRAWING} for each in (alike, other))
    yield from _unlike(alike, other)
    if "ring" in expected and isinstance(found.get("observation"), dict):
        yield from _other_ring(found, bool(getattr(data.source, "save", True)))


def _unlike(expected: Any, found: Any, where: str = "Collection") -> Iterator[str]:
    """Say where two trees have other words, types, or tensors of other sizes."""
    if isinstance(expected, Tensor) and isinstance(found, Tensor):
        if (expected.shape, expected.dtype) != (found.shape, found.dtype):
            yield f"{where} is {list(found.shape)} of {found.dtype}, not {list(expected.shape)} of {expected.dtype}"
    elif type(expected) is not type(found):
        yield f"{where} is a {type(found).__name__} and should be a {type(expected).__name__}"
    elif isinstance(expected, dict):
        for word in {**expected, **found}:
            if (word in expected) != (word in found):
                yield f"{where}.{word} is {'unknown' if word in found else 'missing'}"
            else:
                yield from _unlike(expected[word], found[word], f"{where}.{word}")


def _other_ring(source: Mapping[str, Any], saved: bool) -> Iterator[str]:
    """Say what is wrong with the steps of a replay buffer."""
    ring = source["ring"]
    if ring is None and not saved:
        return
    if not isinstance(ring, dict) or not _is_count(ring.get("written"), 1) or not isinstance(ring.get("steps"), dict):
        yield "the replay buffer (Collection.ring) is missing"
        return
    try:
        n_slots, n_envs = ring["size"]
        shape = [min(ring["written"], n_slots), n_envs]
        steps = ring["steps"]
        places: Sequence[tuple[str, Any]] = [(word, steps[word]) for word in ("terminated", "truncated")]
        for group in source["observation"]:
            if group == STATE:  # the environment's own
                places = [*places, (STATE, steps[STATE]), (f"next.{STATE}", steps["next"][STATE])]
                continue
            places = [*places, *((f"{group}.{word}", steps[group][word]) for word in ("action", "reward"))]
            for name, part in ((group, steps[group]), (f"next.{group}", steps["next"][group])):
                places = [*places, *((f"{name}.{word}", value) for word, value in part.items())]
                if part["observation"].shape[2:] != source["observation"][group].shape[1:]:
                    yield f"the replay buffer's {name}.observation is {list(part['observation'].shape)}"
        for name, value in places:
            if list(value.shape[:2]) != shape:
                yield f"the replay buffer's {name} is {list(value.shape)} and should begin with {shape}"
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        yield f"the replay buffer (Collection.ring) lacks {error}"
