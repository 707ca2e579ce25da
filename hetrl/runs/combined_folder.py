"""The folder of several combinations, and the folders of seeds in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hetrl.disk import replace_text
from hetrl.errors import RunError
from hetrl.runs.seeds_folder import SeedsFolder


@dataclass(frozen=True)
class CombinedFolder:
    """Where combinations of recipes, tasks and variations lie, each a folder of seeds."""

    path: Path

    @property
    def table(self) -> Path:
        """A line for each combination, its folder and what it is; its presence makes a folder one of combinations."""
        return self.path / "combinations.txt"

    @property
    def about(self) -> dict[str, str]:
        """Name of a folder -> what its combination is.

        Raises:
            RunError: the table is damaged.
        """
        found = {}
        for line in self.table.read_text(encoding="utf-8").splitlines():
            name, tab, about = line.partition("\t")
            if not tab or not name or Path(name).name != name:
                raise RunError(f"{self.table} has a line that is not 'folder, tab, what it is': {line[:80]!r}.")
            found[name] = about
        return found

    @property
    def combinations(self) -> dict[str, SeedsFolder]:
        """Name -> its folder of seeds; empty where this is no folder of combinations."""
        return {name: SeedsFolder(self.path / name) for name in self.about} if self.table.exists() else {}

    def write(self, about: Mapping[str, str]) -> None:
        """Write the table."""
        replace_text(self.table, "".join(f"{name}\t{text}\n" for name, text in about.items()))
