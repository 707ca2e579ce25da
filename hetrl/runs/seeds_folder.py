"""The folder of several seeds of one recipe, and the runs in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hetrl.disk import writes


@dataclass(frozen=True)
class SeedsFolder:
    """Where the runs of several seeds lie: ``seed0``, ``seed1``, ... with what they printed in ``seed0.log``, ..."""

    path: Path

    @property
    def recipe(self) -> Path:
        """The resolved recipe of the first seed; its presence makes a folder one of seeds."""
        return self.path / "seeds.yaml"

    @property
    def init(self) -> Path:
        """Where the seeds start from other weights, what ``--init`` said."""
        return self.path / "init.txt"

    @property
    def runs(self) -> dict[int, Path]:
        """Seed -> its run's folder, which is empty until it is started."""
        numbers = {path.name.removeprefix("seed"): path for path in self.path.glob("seed*") if path.is_dir()}
        return {int(number): numbers[number] for number in sorted(filter(str.isdecimal, numbers), key=int)}

    def add(self, seeds: Sequence[int]) -> None:
        """Make room for seeds."""
        for seed in seeds:
            with writes(self.path):
                (self.path / f"seed{seed}").mkdir(parents=True, exist_ok=True)
