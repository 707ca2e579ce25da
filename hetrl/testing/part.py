"""What is checked of the kinds that are no components: a class, and the arguments to build it with."""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from hetrl import catalog
from hetrl.interface import misfit
from hetrl.testing.subject import first_line

__tracebackhide__ = True  # pytest shows the line of the test, not these


@dataclass(frozen=True)
class Part:
    """A class of one kind, and the arguments to build it with."""

    name: str
    cls: type[Any]
    values: Mapping[str, Any]

    @classmethod
    def of(cls, part: Any, kind: str, values: Mapping[str, Any]) -> "Part":
        """Return the part for a catalog name or a class.

        Raises:
            AssertionError: it lacks what entries of the kind have.
        """
        found = catalog.resolve(part) if isinstance(part, str) else part
        name = part if isinstance(part, str) else getattr(found, "__name__", repr(found))
        problem = misfit(found, kind)
        if problem:
            raise AssertionError(f"{name}: it {problem}.")
        return cls(name, found, values)

    def require(self, holds: bool, problem: str) -> None:
        """Raise an AssertionError of one line where something does not hold."""
        if not holds:
            raise AssertionError(f"{self.name}: {' '.join(problem.split())}")

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Turn an error inside the block into an AssertionError of one line that says what was done."""
        try:
            yield
        except AssertionError:
            raise
        except Exception as error:
            self.require(False, f"{what}: {first_line(error)}")

    def build(self, *sizes: Any, draws: int = 0, **changed: Any) -> Any:
        """Return a new instance; its parameters, if any, are the same every time, for a seed of theirs."""
        values = {**self.values, **changed}
        how = f"with {values}" if values else "from its defaults"
        with self.doing(f"it does not build {how}"), torch.random.fork_rng(devices=[]):
            torch.manual_seed(draws)
            return self.cls(*sizes, **values)

    def reloaded(self, state: Any) -> Any:
        """Return a state as a checkpoint gives it back."""
        file = io.BytesIO()
        with self.doing("its state_dict does not load again; keep tensors and plain values in it"):
            torch.save(state, file)
            file.seek(0)
            return torch.load(file, weights_only=True)
