"""The folder of a search: what is searched for, Optuna's journal, and the runs of the trials."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hetrl.disk import replace_text
from hetrl.errors import RunError
from hetrl.recipe.combinations import labels
from hetrl.search.ranges import Range


@dataclass(frozen=True)
class SearchWords:
    """What a search was asked for."""

    recipe: str
    """Its name or file, as it was typed."""
    overrides: tuple[str, ...]
    """Changes that all trials have."""
    vary: tuple[str, ...]
    """As :meth:`~hetrl.search.ranges.Range.parse` takes them."""
    trials: int
    metric: str = "eval/return"
    minimize: bool = False
    prune: str = "halving"

    @property
    def ranges(self) -> list[Range]:
        """What is varied.

        Raises:
            RecipeError: one is neither a list nor a range, or two are of one word.
        """
        found = [Range.parse(text) for text in self.vary]
        labels([each.word for each in found])
        return found


@dataclass(frozen=True)
class SearchFolder:
    """Where trials lie as runs, ``trial0``, ``trial1``, ... with what they printed in ``trial0.log``, ..."""

    path: Path

    @property
    def words(self) -> Path:
        """What was asked for; its presence makes a folder one of a search."""
        return self.path / "search.json"

    @property
    def recipe(self) -> Path:
        """The recipe's file as it was when the search began, without any overrides."""
        return self.path / "search.yaml"

    @property
    def journal(self) -> Path:
        """What Optuna knows of the trials."""
        return self.path / "journal.log"

    @property
    def picture(self) -> Path:
        """How much each word matters."""
        return self.path / "importances.png"

    def run(self, number: int) -> Path:
        """Return the folder of a trial's run."""
        return self.path / f"trial{number}"

    def write(self, words: SearchWords) -> None:
        """Write what was asked for."""
        replace_text(self.words, json.dumps(asdict(words), indent=1) + "\n")

    def read(self) -> SearchWords:
        """Return what was asked for.

        Raises:
            RunError: this is no search's folder, or the file is damaged.
        """
        if not self.words.exists():
            raise RunError(f"{self.path} is no search (it has no {self.words.name}).")
        try:
            found: dict[str, Any] = json.loads(self.words.read_bytes())
            return SearchWords(**found | {word: tuple(found[word]) for word in ("overrides", "vary")})
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise RunError(f"{self.words} does not hold what hetrl wrote; begin a new search.") from None
