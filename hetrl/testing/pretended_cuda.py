"""What ``torch.cuda`` says of a pretended GPU, and its random generators."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from hetrl.testing.ledger import CUDA, note_wait

_MARK = torch.tensor(list(b"pretended"), dtype=torch.uint8)
"""At the end of a pretended generator's state, so that it is of another size than a CPU's, as a GPU's is."""
_Generator = torch.Generator


class _AnyGenerator(type(_Generator)):  # type: ignore[misc]
    """Every generator counts as a pretended one: who is imported meanwhile takes the one class for the other."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _Generator)


class PretendedGenerator(torch.Generator, metaclass=_AnyGenerator):
    """A generator of either device. Both draw what the CPU's draws, but their states cannot be exchanged."""

    _pretends: bool

    def __new__(cls, device: Any = "cpu") -> "PretendedGenerator":
        """Make one for a device."""
        made = _Generator.__new__(cls, "cpu")  # type: ignore[call-arg]
        made._pretends = torch.device(device).type == "cuda"
        return made

    def __init__(self, device: Any = "cpu") -> None:
        """Torch's own has made it by now."""

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """Where it draws."""
        return CUDA if self._pretends else torch.device("cpu")

    def get_state(self) -> Tensor:
        """Its state, on the CPU."""
        state = super().get_state()
        return torch.cat([state, _MARK]) if self._pretends else state

    def set_state(self, new_state: Tensor) -> "PretendedGenerator":
        """Go on from a state of the same kind of device."""
        if self._pretends:
            if not torch.equal(new_state[-len(_MARK) :], _MARK):
                raise RuntimeError("RNG state is wrong size")
            new_state = new_state[: -len(_MARK)]
        super().set_state(new_state)
        return self


class PretendedEvent:
    """A moment in the queue of work, which is always reached."""

    def __init__(self, **_: Any) -> None:
        self.at = 0

    def record(self, stream: Any = None) -> None:
        """Take the next moment."""
        PretendedEvent._clock += 1
        self.at = PretendedEvent._clock

    _clock = 0

    def query(self) -> bool:
        """It is reached."""
        return True

    def synchronize(self) -> None:
        """There is nothing to wait for."""

    def wait(self, stream: Any = None) -> None:
        """There is nothing to wait for."""

    def elapsed_time(self, end: "PretendedEvent") -> float:
        """Milliseconds, one from each event to the next."""
        return float(end.at - self.at)


def _state(device: Any = "cuda") -> Tensor:
    return torch.zeros(16, dtype=torch.uint8)


def _set_state(state: Tensor, device: Any = "cuda") -> None:
    if state.device.type != "cpu" or state.shape != (16,):
        raise RuntimeError("RNG state must be a torch.ByteTensor of 16 bytes")


def _nothing(*_: Any, **__: Any) -> None:
    return None


_TOLD: dict[str, Any] = {
    "is_available": lambda: True,
    "is_initialized": lambda: True,
    "_is_in_bad_fork": lambda: False,
    "_lazy_init": _nothing,
    "device_count": lambda: 1,
    "current_device": lambda: 0,
    "set_device": _nothing,
    "get_device_name": lambda *_: "pretended",
    "get_device_capability": lambda *_: (7, 0),
    "get_device_properties": lambda *_: SimpleNamespace(name="pretended", total_memory=2**36),
    "is_bf16_supported": lambda *_, **__: True,
    "empty_cache": _nothing,
    "manual_seed": _nothing,
    "manual_seed_all": _nothing,
    "get_rng_state": _state,
    "set_rng_state": _set_state,
    "get_rng_state_all": lambda: [_state()],
    "set_rng_state_all": lambda states: _set_state(*states),
    "synchronize": lambda *_: note_wait("synchronize"),
    "set_sync_debug_mode": _nothing,
    "Event": PretendedEvent,
}


@contextmanager
def replaced(more: Sequence[tuple[Any, str, Any]]) -> Iterator[None]:
    """Put these, and ``more`` (owner, name, value), in the place of what torch has."""
    new = [*((torch.cuda, name, value) for name, value in _TOLD.items()), (torch, "Generator", PretendedGenerator)]
    old = [(owner, name, getattr(owner, name)) for owner, name, _ in [*new, *more]]
    try:
        for owner, name, value in [*new, *more]:
            setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in old:
            setattr(owner, name, value)
