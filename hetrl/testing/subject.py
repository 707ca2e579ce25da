"""What is checked: a class, the arguments to build it with, and the batch that it runs on."""

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

import torch
from tensordict import TensorDict, TensorDictBase

from hetrl import catalog, keys
from hetrl.component import Component
from hetrl.testing.batch import N_OTHER, annotation, copied, made_up, sample_dim, shape_of

__tracebackhide__ = True  # pytest shows the line of the test, not these


@dataclass(frozen=True)
class Subject:
    """A class, the arguments to build it with, and values that are not made up."""

    name: str
    cls: type[Component]
    values: Mapping[str, Any]
    given: Mapping[str, Any]

    @classmethod
    def of(cls, component: Any, values: Mapping[str, Any], given: Mapping[str, Any]) -> "Subject":
        """Return the subject for a catalog name or a class.

        Raises:
            AssertionError: it is no component, or a value is given for a role that it does not have.
        """
        found = catalog.resolve(component) if isinstance(component, str) else component
        name = component if isinstance(component, str) else getattr(found, "__name__", repr(found))
        if not (inspect.isclass(found) and issubclass(found, Component)):
            raise AssertionError(f"{name} is no component; give a catalog name or a subclass of Component.")
        subject = cls(name, found, values, given)
        for role in given:
            subject.require(role in [*found.reads, *found.calls], f"there is no role '{role}' to give a value for.")
        return subject

    def require(self, holds: bool, problem: str) -> None:
        """Raise an AssertionError of one line where something does not hold."""
        if not holds:
            raise AssertionError(f"{self.name}: {' '.join(problem.split())}")

    @property
    def kind(self) -> str:
        """Its kind in the catalog, where the name or the module says so; else ``""``."""
        words = self.name.split("/")[:1] if "/" in self.name else self.cls.__module__.split(".")
        return next((word for word in words if word in catalog.KINDS), "")

    @property
    def losses(self) -> list[str]:
        """The roles of ``writes`` that are losses."""
        return [role for role, key in self.cls.writes.items() if key.startswith(f"{keys.LOSS}.")]

    @property
    def sample_dims(self) -> dict[str, int | None]:
        """The place of the batch dimension of every role that is read, None where it has none."""
        hints = get_type_hints(self.cls.compute)
        return {role: sample_dim(hints.get(role)) for role, key in self.cls.reads.items() if key != keys.PLACE}

    def build(self, dtype: torch.dtype = torch.float32) -> Component:
        """Return a new component, its state of that type."""
        try:
            return self.cls(**self.values).to(dtype)
        except Exception as error:
            how = f"with {dict(self.values)}" if self.values else "from its defaults"
            raise AssertionError(
                f"{self.name}: does not build {how}: {first_line(error)} Give every argument a default that works, or "
                "name its value in the check."
            ) from error

    def batch(self, dtype: torch.dtype, seed: int = 0) -> dict[str, Any]:
        """Return one value for each role that ``compute`` takes."""
        generator = torch.Generator().manual_seed(seed)
        hints = get_type_hints(self.cls.compute)
        return {
            role: copied(self.given[role], dtype)
            if role in self.given
            else self._fake(role, hints.get(role), dtype, generator)
            for role in [*self.cls.reads, *self.cls.calls]
        }

    def _fake(self, role: str, hint: Any, dtype: torch.dtype, generator: torch.Generator) -> Any:
        if self.cls.reads.get(role) == keys.PLACE:
            return 0
        self.require(role not in self.cls.calls, f"calls '{role}'; give a function for it, given={{'{role}': ...}}.")
        shape, several = annotation(hint)
        self.require(shape is not None, f"role '{role}' has no shape; annotate it, such as Float[Tensor, '*batch'].")
        made = [made_up(shape, dtype, generator) for _ in range(N_OTHER if several else 1)]
        return tuple(made) if several else made[0]

    def run(self, component: Component, batch: Mapping[str, Any], when: str = "") -> dict[str, Any]:
        """Return what ``compute`` makes of a batch; its global random draws, if any, are the same every time."""
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                outputs = component.compute(**batch)
            self.require(
                isinstance(outputs, Mapping),
                f"compute returns a {type(outputs).__name__}, not a dict; return {as_dict(self.cls.writes)}.",
            )
            return dict(outputs)
        except AssertionError:
            raise
        except Exception as error:
            shapes = ", ".join(f"{role} {shape_of(value)}" for role, value in batch.items())
            raise AssertionError(f"{self.name}: compute failed on {shapes}{when}: {first_line(error)}") from error

    def call(self, component: Component, values: TensorDict) -> TensorDictBase:
        """Return what the wired component makes of a TensorDict, drawing as :meth:`run` does."""
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                return component(values)
        except Exception as error:
            raise AssertionError(f"{self.name}: it fails on a TensorDict: {first_line(error)}") from error


def fake_batch(component: str | type[Component], dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    """Return made-up values for the roles of a component, from the shapes that ``compute`` is annotated with.

    Floats are normal draws, integers 0 to ``N_OTHER - 1``, flags a coin's (the first one True); always the same ones.

    Args:
        component: a catalog name or a class.
        dtype: of the floats.
    """
    return Subject.of(component, {}, {}).batch(dtype)


def as_dict(writes: Iterable[str]) -> str:
    """Return what has to be returned for these roles, as a message says it."""
    return "{" + ", ".join(f"'{role}': ..." for role in writes) + "}"


def first_line(error: Exception) -> str:
    """Return the type of an error and the first line of its text."""
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
