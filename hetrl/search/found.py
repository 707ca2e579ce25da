"""What a search has found: the best trial, and how much each word matters."""

from dataclasses import dataclass
from typing import Any

from hetrl.errors import DependencyError, RunError
from hetrl.recipe.read import load
from hetrl.runs.parts import again
from hetrl.search.ranges import changes
from hetrl.search.search_folder import SearchFolder, SearchWords
from hetrl.search.study import known_study, require_optuna

SAID = "said"
"""The attribute of a failed trial that has its last words."""
FEWEST = 6
"""Whole trials from which importances are told."""


@dataclass(frozen=True)
class Found:
    """A search as far as it has come."""

    folder: SearchFolder
    words: SearchWords
    study: Any

    @classmethod
    def of(cls, folder: SearchFolder) -> "Found":
        """Return what is in a folder.

        Raises:
            RunError: it is no search's, or no trial has been begun.
            DependencyError: Optuna is not installed.
        """
        return cls(folder, folder.read(), known_study(folder))

    def trials(self, state: str) -> list[Any]:
        """Return the trials in a state of Optuna's: ``COMPLETE``, ``PRUNED``, ``RUNNING`` or ``FAIL``."""
        return self.study.get_trials(states=(require_optuna().trial.TrialState[state],))

    @property
    def ended(self) -> int:
        """How many trials have trained to the end or were pruned."""
        return len(self.trials("COMPLETE")) + len(self.trials("PRUNED"))

    @property
    def whole(self) -> bool:
        """Whether there are as many as were asked for, and none is under way."""
        return self.ended >= self.words.trials and not self.trials("RUNNING")

    @property
    def failures(self) -> dict[str, list[int]]:
        """Last words -> the trials that failed with them."""
        found: dict[str, list[int]] = {}
        for each in self.trials("FAIL"):
            found.setdefault(each.user_attrs.get(SAID) or "no message", []).append(each.number)
        return found

    @property
    def best(self) -> Any:
        """The best of the trials that have trained to the end.

        Raises:
            RunError: none has.
        """
        if not self.trials("COMPLETE"):
            raise RunError(f"no trial in {self.folder.path} has trained to its end; hetrl search --resume it.")
        return self.study.best_trial

    def command(self) -> list[str]:
        """Return the recipe and the overrides of the best trial, the words after ``hetrl train``."""
        params = self.best.params
        drawn = changes({each.word: params[each.word] for each in self.words.ranges})
        return [self.words.recipe, *self.words.overrides, *drawn]

    @property
    def again(self) -> str:
        """What a command has to be given to know the recipe's parts, as it ends."""
        return again(load(self.folder.recipe, *self.words.overrides).tree)

    def importances(self) -> dict[str, float]:
        """Return the share of each word in how much the whole trials differ, the largest first; they add up to 1.

        Source: Hutter, Hoos and Leyton-Brown 2014, An efficient approach for assessing hyperparameter importance, ICML
            (fANOVA), as Optuna has it: of a random forest that is fitted to the trials.

        Raises:
            RunError: the trials are too few, or no word makes a difference.
            DependencyError: scikit-learn is not installed.
        """
        whole = self.trials("COMPLETE")
        if len(whole) < FEWEST:
            raise RunError(
                f"{len(whole)} trials have trained to the end, and importances need {FEWEST}; more with --trials, or "
                "--prune none."
            )
        try:
            import sklearn  # noqa: F401 (Optuna's way of saying that it is missing takes many lines)
        except ImportError:
            raise DependencyError("importances need scikit-learn: pip install 'hetrl[search]'.") from None
        importance = require_optuna().importance
        forest = importance.FanovaImportanceEvaluator(seed=0)
        try:
            found = importance.get_param_importances(self.study, evaluator=forest)
        except RuntimeError:  # the forest has nothing to split
            about = f"the {self.words.metric} of {len(whole)} trials"
            raise RunError(f"what was varied makes no difference to {about}.") from None
        return {word: float(share) for word, share in found.items()}
