"""Where a run's first weights come from: ``RUN``, ``RUN:actor,value``, ``RUN:actor+optimizers``."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hetrl.disk import replace_text
from hetrl.errors import RunError
from hetrl.recipe import text as yaml_text
from hetrl.runs.folder import Folder
from hetrl.runs.seeds_folder import SeedsFolder
from hetrl.train.inherit import Inherited, inherit
from hetrl.train.learner import Learner

_OPTIMIZERS = "+optimizers"
_PARTS = re.compile(r"(?P<run>.+?)(:(?P<nets>[^:/\\]*))?", re.DOTALL)
"""A run, and after its last colon the nets; no name of a net has a slash, so that ``C:\\run`` is a path."""


@dataclass(frozen=True)
class Origin:
    """Another run, and what is taken from its last checkpoint."""

    run: Path
    nets: tuple[str, ...] = ()
    """Which nets; all where none is named."""
    optimizers: bool = False
    """Whether their optimisers go on."""

    @classmethod
    def parse(cls, text: str | Path) -> "Origin":
        """Return what ``RUN``, ``RUN:NET,NET`` or ``RUN:NET+optimizers`` says (``RUN:+optimizers``: of all nets).

        Raises:
            RunError: it says none of these.
        """
        found = _PARTS.fullmatch(str(text))
        if found is None:
            raise RunError("--init needs a run's folder, as in --init runs/mine or --init runs/mine:actor.")
        named = found["nets"] or ""
        nets = tuple(filter(None, (word.strip() for word in named.removesuffix(_OPTIMIZERS).split(","))))
        for net in nets:
            if "+" in net:
                raise RunError(f"--init {text}: after '+' comes 'optimizers', as in {found['run']}:actor{_OPTIMIZERS}.")
        return cls(Path(found["run"]), nets, named.endswith(_OPTIMIZERS))

    def __str__(self) -> str:
        more = ",".join(self.nets) + (_OPTIMIZERS if self.optimizers else "")
        return f"{self.run}:{more}" if more else str(self.run)

    def of_seed(self, seed: int) -> "Origin":
        """Return where a seed begins: of a folder of seeds, at the run of the same seed.

        Raises:
            RunError: it has no such seed.
        """
        several = SeedsFolder(self.run)
        if not several.recipe.exists():
            return self
        if seed not in several.runs:
            raise RunError(f"--init {self}: {self.run} has no seed {seed}; name one of its runs, as {self.run}/seed0.")
        return Origin(several.runs[seed], self.nets, self.optimizers)

    def give(self, module: Learner) -> "Given":
        """Give a module its first weights.

        Raises:
            RunError: there is no such run or it has no checkpoint, or nothing of it fits.
        """
        origin = self.of_seed(module.recipe.run.seed)
        folder = Folder(origin.run)
        folder.refuse_if_empty()
        checkpoint = folder.load_checkpoint()
        saved = folder.checkpoint
        tree = yaml_text.parse(checkpoint["hetrl"]["recipe"], f"the recipe in {saved}", whole=True)
        try:
            report = inherit(module, checkpoint, tree, origin.nets, optimizers=origin.optimizers)
        except RunError as error:
            raise RunError(f"--init {origin}: {error}") from None
        return Given(origin, int(checkpoint["hetrl"]["frames"]), report)


@dataclass(frozen=True)
class Given:
    """What a run was given to begin with."""

    origin: Origin
    frames: int
    """Of the other run, at its checkpoint."""
    report: Inherited

    def lines(self) -> Iterator[str]:
        """Yield what to print."""
        yield f"Starts from {self.origin} (after {self.frames:,} frames):"
        for line in self.report.lines():
            yield f"  {line}"

    def save(self, folder: Folder) -> None:
        """Write it into a run's folder, with what the other run itself was given.

        Raises:
            RunError: it cannot be written.
        """
        before = Folder(self.origin.run).init
        told: dict[str, Any] = {"run": str(self.origin.run.resolve()), "frames": self.frames, **self.report.as_dict()}
        if before.exists():
            told["before"] = _read(before)
        replace_text(folder.init, json.dumps(told, indent=1) + "\n")


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):  # of another run, and no more than a memory
        return f"{path} cannot be read"
