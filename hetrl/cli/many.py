"""Several runs at one call of ``hetrl train``: seeds, recipes, tasks and variations."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hetrl.errors import RunError


@dataclass(frozen=True)
class Asked:
    """What the command line asks for."""

    recipe: str | None
    words: Sequence[str]
    """Overrides; without ``=`` further recipes."""
    folder: Path | None
    resume: Path | None
    seeds: int | None
    tasks: Sequence[str]
    vary: Sequence[str]
    init: str | None

    @property
    def recipes(self) -> list[str]:
        """All recipes that are named."""
        return [*([] if self.recipe is None else [self.recipe]), *(word for word in self.words if "=" not in word)]

    @property
    def overrides(self) -> list[str]:
        """Changes to all of them."""
        return [word for word in self.words if "=" in word]

    @cached_property
    def combined(self) -> bool:
        """Whether there are, or may be, several combinations."""
        from hetrl.runs.combined_folder import CombinedFolder

        if self.resume is not None:
            return CombinedFolder(self.resume).table.exists()
        return len(self.recipes) > 1 or bool(self.tasks) or bool(self.vary)

    @cached_property
    def several(self) -> bool:
        """Whether there are several runs."""
        from hetrl.runs.seeds_folder import SeedsFolder

        begun = self.resume is not None and SeedsFolder(self.resume).recipe.exists()
        return self.seeds is not None or begun or self.combined

    def train(self, at_once: int | None, wandb: str | None, on: str | None, slurm: str | None) -> None:
        """Train or continue them, and say how they ended."""
        from hetrl.cli.outcome import finish_combinations, finish_seeds
        from hetrl.cli.recipes import warned
        from hetrl.recipe.combinations import combinations, split
        from hetrl.recipe.read import load
        from hetrl.runs.combined import resume_combinations, train_combinations
        from hetrl.runs.seeds import resume_seeds, train_seeds
        from hetrl.runs.submitted import slurm_words

        given: dict[str, Any] = {
            "at_once": at_once, "wandb": wandb, "on": on or "local", "slurm": slurm_words(slurm),
        }  # fmt: skip
        if self.resume is not None and self.combined:
            finish_combinations(resume_combinations(self.resume, *self.words, count=self.seeds, **given))
        elif self.resume is not None:
            finish_seeds(resume_seeds(self.resume, *self.words, count=self.seeds, **given))
        elif self.combined:
            if self.init is not None:
                raise RunError("--init goes with one recipe on one task; give it to each with --seeds.")
            tasks = [name for text in self.tasks for name in split(text)]
            found = combinations(self.recipes, self.overrides, tasks, self.vary)
            finish_combinations(train_combinations(found, self.seeds or 1, self.folder, **given))
        else:
            loaded = warned(load(str(self.recipe), *self.words))
            finish_seeds(train_seeds(loaded, int(self.seeds or 1), self.folder, init=self.init, **given))
