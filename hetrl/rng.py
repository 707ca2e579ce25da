"""Random number states as tensors and primitives, and private random streams.

Checkpoints load with ``weights_only=True``, so the states of torch, numpy and python are kept as tensors and numbers.
"""

import os
import random
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.random import mtrand

State = dict[str, Any]
_turn = threading.RLock()


@contextmanager
def own_turn() -> Iterator[None]:
    """Have the global generators for oneself: they are the process's, and another run may be training in a thread."""
    with _turn:
        yield


def _renew() -> None:
    """Give a forked process a lock of its own: who held this one in another thread does not exist there."""
    global _turn
    _turn = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)


def capture(device: torch.device | None = None) -> State:
    """Return the states of torch (CPU, and ``device`` where it is a GPU), numpy and python."""
    _, words, position, has_gauss, gauss = np.random.get_state(legacy=True)
    version, internal, python_gauss = random.getstate()
    state: State = {
        "torch": torch.get_rng_state(),
        "numpy": {
            "words": torch.from_numpy(np.asarray(words).astype(np.int64)),
            "position": int(position),
            "has_gauss": int(has_gauss),
            "gauss": float(gauss),
        },
        "python": {"version": version, "words": torch.tensor(internal), "gauss": python_gauss},
    }
    if device is not None and device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore(state: State, device: torch.device | None = None) -> None:
    """Put back what :func:`capture` returned."""
    torch.set_rng_state(state["torch"].cpu())
    numpy_state, python_state = state["numpy"], state["python"]
    words = numpy_state["words"].cpu().numpy().astype(np.uint32)
    np.random.set_state(("MT19937", words, numpy_state["position"], numpy_state["has_gauss"], numpy_state["gauss"]))
    random.setstate((python_state["version"], tuple(python_state["words"].tolist()), python_state["gauss"]))
    if device is not None and device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"].cpu(), device)


def kind_of_device(state: Mapping[str, Any]) -> str:
    """Return the kind of device whose generator is in what :func:`capture` returned, ``cuda`` or ``cpu``."""
    return "cuda" if "cuda" in state else "cpu"


_SMALLEST = 16
"""Bytes of a generator's state on a CUDA GPU; a CPU's has more."""


def go_on(generator: torch.Generator, state: torch.Tensor) -> None:
    """Let a generator go on from a state; from one of another kind of device, of which it cannot, it begins anew.

    What it then draws depends on that state alone, so that the same checkpoint gives the same numbers.

    Raises:
        RuntimeError: it is no generator's state.
    """
    state = state.cpu()
    if _SMALLEST <= len(state) != len(generator.get_state()):
        generator.manual_seed(derive(0, bytes(state.tolist()).hex()))
    else:
        generator.set_state(state)


def seed(number: int) -> None:
    """Seed the global generators of torch (all devices), numpy and python."""
    torch.manual_seed(number)
    np.random.seed(number % 2**32)
    random.seed(number)


class Stream:
    """A private stream for code that draws from the *global* generators (a simulator, say).

    Inside ``with stream:`` the global generators continue this stream; outside they are as they were, so a second
    stream (an evaluation environment) never disturbs the first. Entering costs microseconds: states stay in each
    library's own form until :meth:`state_dict` is asked for. Who is inside may enter once more, to no effect.
    """

    def __init__(self, seed: int, device: torch.device | None = None) -> None:
        self.device = device
        self._state: tuple[Any, ...] = ()
        self._entered: list[AbstractContextManager[None]] = []
        self.seed(seed)

    def seed(self, number: int) -> None:
        """Start again from a seed."""
        with self._swapped(keep=False):
            seed(number)

    def _get(self) -> tuple[Any, ...]:
        gpu = self.device
        return (
            torch.get_rng_state(),
            np.random.get_state(),
            random.getstate(),
            torch.cuda.get_rng_state(gpu) if gpu is not None and gpu.type == "cuda" else None,
        )

    def _set(self, state: tuple[Any, ...]) -> None:
        torch.set_rng_state(state[0])
        np.random.set_state(state[1])
        random.setstate(state[2])
        if state[3] is not None:
            torch.cuda.set_rng_state(state[3], self.device or "cuda")

    @contextmanager
    def _swapped(self, keep: bool = True) -> Iterator[None]:
        with own_turn():
            outside = self._get()
            if keep:
                self._set(self._state)
            try:
                yield
            finally:
                self._state = self._get()
                self._set(outside)

    def __enter__(self) -> "Stream":
        turn = own_turn()
        turn.__enter__()  # whoever is inside has the turn: below, that is this thread
        try:
            context = nullcontext() if self._entered else self._swapped()
            context.__enter__()
            self._entered.append(context)
        finally:
            turn.__exit__(None, None, None)
        return self

    def __exit__(self, *exception: Any) -> None:
        self._entered.pop().__exit__(*exception)

    def state_dict(self) -> State:
        """The stream's state as tensors and primitives."""
        with self._swapped():
            return capture(self.device)

    def load_state_dict(self, state: State) -> None:
        """Continue from ``state``."""
        with self._swapped(keep=False):
            restore(state, self.device)


class Interleaved:
    """The stream of one of several who draw from the global generators in turns, all within ``with kept():``.

    A turn costs a fraction of what entering a :class:`Stream` would: numpy's generator is put in another's place, where
    its state would have to be copied twice, and python's, which takes longest to read, is read only once it is used.
    The second of two normals that numpy has drawn at once is lost with a turn.
    """

    def __init__(self) -> None:
        self._numpy = np.random.MT19937(0)
        self._uses_python = self._known = False
        self._next = 0

    def begin(self, number: int) -> None:
        """It is its turn, and its stream starts from a seed."""
        mtrand.set_bit_generator(self._numpy)
        np.random.seed(number % 2**32)
        random.seed(number)
        torch.default_generator.manual_seed(number)  # of the CPU alone: torch's own notes each call for GPUs to come
        self._known = False

    def resume(self) -> None:
        """It is its turn, and its stream goes on."""
        mtrand.set_bit_generator(self._numpy)
        random.setstate(self._python)
        torch.default_generator.set_state(self._torch)
        self._known = True

    def pause(self) -> None:
        """Its turn is over."""
        self._torch = torch.default_generator.get_state()
        if not self._known or self._uses_python:
            self._python = random.getstate()
        elif random.getrandbits(32) == self._next:  # python's next word is what it would have been: nothing was drawn
            return
        else:
            self._python, self._uses_python = _one_back(random.getstate()), True
        _, _, gauss = self._python
        self._uses_python |= gauss is not None  # a normal in store is drawn without a word
        self._next = random.getrandbits(32)  # whoever comes next brings a state of its own


def _one_back(state: tuple[Any, ...]) -> tuple[Any, ...]:
    """A state of python's generator before its latest word; it makes 624 at a time, of which the last entry counts."""
    version, (*words, place), gauss = state
    return version, (*words, place - 1), gauss


@contextmanager
def kept() -> Iterator[None]:
    """Put the global generators back afterwards, as they were."""
    with own_turn():
        own, numpy_state = mtrand.get_bit_generator(), np.random.get_state(legacy=False)
        python_state, torch_state = random.getstate(), torch.get_rng_state()
        try:
            yield
        finally:
            mtrand.set_bit_generator(own)
            if numpy_state.get("has_gauss"):  # the rest is untouched
                np.random.set_state(numpy_state)
            random.setstate(python_state)
            torch.set_rng_state(torch_state)


def derive(seed: int, *path: str) -> int:
    """Return an independent seed for one purpose, such as ``derive(0, "env")``."""
    entropy = [seed, *(int.from_bytes(word.encode(), "big") for word in path)]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0] >> 1)
