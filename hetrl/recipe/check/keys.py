"""Has every key that is read been written before, and is it still true?"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

from hetrl import catalog, keys
from hetrl.errors import RecipeError, nearest
from hetrl.recipe.plan import Plan
from hetrl.recipe.schema import Phase, Recipe
from hetrl.recipe.step import Step


def check_keys(plan: Plan, provided: Iterable[str]) -> None:
    """Follow the keys through all phases.

    Args:
        plan: the recipe's.
        provided: the keys of a batch.

    Raises:
        RecipeError: a step or an order reads what nobody wrote, what has been dropped, or what has gone stale.
    """
    given = list(provided)
    agents = [keys.of_agent_in_turn(key) for key in keys.OF_EPISODES if key in given]  # the same, or the agent's own
    flow = _Flow(plan.recipe, dict.fromkeys([*given, *agents, keys.PLACE]))
    for phase in plan.recipe.update:
        flow.written.pop(keys.TURN, None)
        if phase.order is not None:
            flow.order(phase)
            flow.written[keys.TURN] = None
        for stage, steps in phase.stages.items():
            before = flow.copy()
            for step in steps:
                flow.step(step, phase)
                if stage == "steps" and phase.order is not None:
                    _refuse_unseen(step, set(flow.written) - set(before.written), phase)
            if stage == "steps" and phase.trained:
                flow.drop(before, phase)
                flow.train(phase)


def _refuse_unseen(step: Step, fresh: Collection[str], phase: Phase) -> None:
    """Refuse a step that reads of everybody what the agent in turn alone has written, in these steps."""
    for key in step.table.reads.values():
        if keys.scope(key) == keys.AGENTS and keys.single(key) in fresh:
            raise RecipeError(
                f"{step} reads everybody's '{key}', and in these steps the agent in turn alone writes its own; write "
                f"it in before as well, or drop order from {phase.where}, which trains everybody at once."
            )


@dataclass
class _Flow:
    """What is written, by which net, and what has since gone stale or been dropped. Keys of an agent stand for all."""

    recipe: Recipe
    written: dict[str, str | None]
    """Key -> the net that wrote it; None for what no net has written."""
    every: dict[str, Phase] = field(default_factory=dict)
    """Keys whose phase does not run in every batch."""
    dropped: dict[str, str] = field(default_factory=dict)
    stale: dict[str, str] = field(default_factory=dict)

    def copy(self) -> "_Flow":
        return replace(self, written=dict(self.written), stale=dict(self.stale), every=dict(self.every))

    def step(self, step: Step, phase: Phase) -> None:
        """Let a step read and write."""
        for role, key in step.table.reads.items():
            if role not in step.table.optional or keys.single(key) in self.written:
                self.read(key, str(step), phase)
        for key in map(keys.single, step.table.writes.values()):
            if not keys.is_output(key):
                self.written[key] = None if step.mode is None else step.mode.net
                for gone in (self.stale, self.dropped, self.every):
                    gone.pop(key, None)
                if phase.every > 1:
                    self.every[key] = phase

    def order(self, phase: Phase) -> None:
        """Let an order read what has been written before its phase."""
        assert phase.order is not None
        for key in phase.order.entry().table.reads.values():
            if key != keys.MEMBERS:
                self.read(key, f"{phase.order.where} ({phase.order.name})", phase)

    def read(self, key: str, reader: str, phase: Phase) -> None:
        """Refuse to read what is not there, or is not true any more."""
        single = keys.single(key)
        if single not in self.written:
            if single in self.dropped:
                raise RecipeError(
                    f"{reader} reads '{key}', which {self.dropped[single]} wrote in its steps; what steps write is "
                    "dropped after the turn. Write it again here, or in prepare or after."
                )
            raise RecipeError(
                f"{reader} reads '{key}', and nothing before it writes that."
                f"{nearest(key, self.written)}{_writers(single, self.recipe)}"
            )
        writer = self.every.get(single)
        if writer is not None and phase.every % writer.every:
            raise RecipeError(
                f"{reader} reads '{key}' in samples in which {writer.where}, which writes it, does not run; it has "
                f"every: {writer.every}, so write every: {writer.every} in {phase.where} too."
            )
        if single in self.stale and not single.split(".")[-1].startswith("old_"):
            raise RecipeError(
                f"{reader} reads '{key}', which is stale: {self.stale[single]} has trained the net since it was "
                "written. Write it again first, or keep the old one under a name that says so, 'old_...'."
            )

    def drop(self, before: "_Flow", phase: Phase) -> None:
        """Forget what the steps of a turn have written."""
        for key in set(self.written) - set(before.written):
            self.dropped[key] = phase.where
        self.written, self.stale, self.every = before.written, before.stale, before.every

    def train(self, phase: Phase) -> None:
        """Take note that what the phase's nets have written is of before their training."""
        for key, writer in self.written.items():
            if writer in phase.trained:
                self.stale[key] = phase.where


def _writers(key: str, recipe: Recipe) -> str:
    """Return which steps would write a key, as a recipe says them and a message ends; nothing where none would."""
    later = f"{keys.NEXT}."
    at, wanted = (", at: next" if key.startswith(later) else ""), key.removeprefix(later)
    steps = {words: table for net in recipe.nets.values() for words, table in net.steps.items()}
    own = [name for kind in ("estimate", "weight") for name in catalog.names(kind) if name in catalog.BUILT_IN]
    steps |= {f"use: {name}": catalog.resolve(name).table for name in own}  # a package's code stays unimported
    writers = [
        f"{{{words}{at}}}"
        for words, table in steps.items()
        if wanted in map(keys.single, table.writes.values()) and wanted not in map(keys.single, table.reads.values())
    ]
    return f" {' or '.join(writers)} would." if writers else ""
