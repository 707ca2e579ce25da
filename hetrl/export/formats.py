"""The formats of a file: how each is written, and how it is run again."""

import contextlib
import io
import logging
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from hetrl.errors import DependencyError
from hetrl.export.function import PolicyFunction

LoadedFile = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
_ROWS = 3
"""Of the examples that a function is traced with; a file takes any number of rows."""


class Format(ABC):
    """One kind of file."""

    suffix: ClassVar[str]

    @abstractmethod
    def require(self) -> None:
        """Refuse to begin where a package is missing.

        Raises:
            DependencyError: one is.
        """

    @abstractmethod
    def write(self, function: PolicyFunction, path: Path) -> None:
        """Write a policy."""

    @abstractmethod
    def load(self, path: Path, function: PolicyFunction) -> LoadedFile:
        """Return what is in a file as a function of named inputs."""


class Onnx(Format):
    """ONNX, as onnxruntime runs it."""

    suffix = ".onnx"

    def require(self) -> None:
        """Ask for the packages that write and run it."""
        try:
            import onnx  # noqa: F401
            import onnxruntime  # noqa: F401
            import onnxscript  # noqa: F401
        except ImportError as error:
            raise DependencyError(
                f"--format onnx needs {error.name or 'onnx'}: pip install 'hetrl[export]'; or take --format torch."
            ) from None

    def write(self, function: PolicyFunction, path: Path) -> None:
        """Write a policy, its weights inside."""
        program, examples = _traced(function)
        with _quietly():
            written = torch.onnx.export(
                program, (), kwargs=examples, dynamo=True, verbose=False, input_names=list(examples),
                output_names=function.outputs,
            )  # fmt: skip
            assert written is not None
            written.save(str(path), external_data=False)

    def load(self, path: Path, function: PolicyFunction) -> LoadedFile:
        """Return it as onnxruntime runs it."""
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

        def run(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
            found = session.run(function.outputs, {name: value.numpy() for name, value in inputs.items()})
            return {name: torch.from_numpy(value) for name, value in zip(function.outputs, found, strict=True)}

        return run


class Torch(Format):
    """A program of ``torch.export``, as ``torch.export.load`` reads it."""

    suffix = ".pt2"

    def require(self) -> None:
        """Ask for nothing more than hetrl itself does."""

    def write(self, function: PolicyFunction, path: Path) -> None:
        """Write a policy."""
        with _quietly():
            torch.export.save(_traced(function)[0], path)

    def load(self, path: Path, function: PolicyFunction) -> LoadedFile:
        """Return it as torch runs it."""
        with _quietly():
            module = torch.export.load(path).module()

        @torch.no_grad()
        def run(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return dict(zip(function.outputs, module(**inputs), strict=True))

        return run


FORMATS: dict[str, Format] = {"onnx": Onnx(), "torch": Torch()}


def _traced(function: PolicyFunction) -> tuple[torch.export.ExportedProgram, dict[str, Tensor]]:
    """Return a function as a graph for any number of rows, and the examples that it was traced with."""
    examples = function.examples(_ROWS, torch.Generator().manual_seed(0))
    rows = {name: {0: torch.export.Dim("rows", min=1)} for name in examples}
    with torch.no_grad(), _quietly():
        return torch.export.export(function.eval(), (), examples, dynamic_shapes=rows), examples


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Leave out what the exporters say about operators that are not there, and about themselves."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)
