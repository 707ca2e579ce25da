"""A comparison as text: one table for each task."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from hetrl.recipe.sheet import Sheet
from hetrl.report.compare import SCORES, Comparison
from hetrl.report.statistics import ENOUGH, FEWER_RESAMPLES, RESAMPLES, Estimate


def as_table(comparison: Comparison) -> RenderableType:
    """Return all figures as text."""
    blocks: list[RenderableType] = [Text(line) for line in _heading(comparison)]
    for task in [*comparison.about.tasks, *([None] if comparison.scales else [])]:
        means, pairs = comparison.statistics(task)
        columns = (task or "all tasks, scaled", "seeds", "IQM", "95 % interval", "mean", "lowest", "highest")
        sheet = Sheet(columns, numbers=True)
        for method, scores in comparison.matrices(task).items():
            rest = [_number(value) for value in (scores.mean(), scores.min(), scores.max())]
            sheet.add(method, str(len(scores)), *_estimate(means[method]), *rest)
        blocks += [sheet, *_pair_table(pairs)]
    if comparison.scales:
        ends = "; ".join(f"{task} {_number(low)} is 0, {_number(high)} is 1"
                         for task, (low, high) in comparison.scales.items())  # fmt: skip
        blocks.append(Text(f"Scaled by {comparison.scaled_by}: {ends}."))
    blocks += [Text(f"Note: {note}", style="yellow") for note in comparison.about.notes]
    return Group(*blocks)


def _heading(comparison: Comparison) -> list[str]:
    measured = comparison.about.entries[0].tree["run"]
    what = f"A run's score is {comparison.metric}: {SCORES[comparison.score][1]}."
    if comparison.metric.startswith("eval/"):
        what += f" An evaluation is {measured.get('n_eval_episodes', 64)} episodes with deterministic policies."
    if comparison.rate:
        what += (
            " It is a rate, and its intervals end at 0 and 1; how surely the episodes of one evaluation tell it stands "
            f"in a run's metrics, {comparison.metric}_low and {comparison.metric}_high."
        )
    return [
        what,
        "IQM: interquartile mean over seeds; intervals: percentile bootstrap over seeds within tasks "
        f"({RESAMPLES:,} resamples, {FEWER_RESAMPLES:,} for probabilities and curves); of fewer than {ENOUGH} seeds, "
        "marked t, Student's t of the mean.",
    ]


def _number(value: float) -> str:
    return f"{value:.4g}"


def _estimate(found: Estimate) -> tuple[str, str]:
    if found.low is None or found.high is None:
        return _number(found.value), "-"
    return _number(found.value), f"{_number(found.low)} to {_number(found.high)}{' t' if found.student else ''}"


def _pair_table(pairs: Sequence[tuple[str, str, Estimate]]) -> list[Sheet]:
    sheet = Sheet(("", "probability of a better score", "95 % interval"), numbers=True)
    for one, other, found in pairs:
        sheet.add(f"{one} over {other}", *_estimate(found))
    return [sheet] if pairs else []
