"""The written list: which runs a table wants, in which order."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import hetrl
from hetrl.recipe.schema import Recipe
from hetrl.recipe.text import MOST_LETTERS, parse

WORDS = {
    "recipe": str, "task": str, "frames": int, "priority": int, "speed": int, "seeds": list, "words": list, "name": str,
}  # fmt: skip
"""Of a line of the list -> their type."""
NEEDED = ("recipe", "task", "frames", "priority", "speed", "seeds")


@dataclass(frozen=True)
class Entry:
    """A run that a table wants.

    Args:
        table: the list that it stands in.
        arm: what its curve is called, with the other seeds'.
        recipe: a shipped one, by name.
        task: the task that is dropped in.
        words: more overrides.
        seed: its seed.
        frames: that it is to have.
        priority: small numbers first.
        speed: frames a second of one core, as measured when the line was written.
    """

    table: str
    arm: str
    recipe: str
    task: str
    words: tuple[str, ...]
    seed: int
    frames: int
    priority: int
    speed: int

    @property
    def where(self) -> str:
        """The task's name without its folder and its family: ``halfcheetah_2x3``."""
        return self.task.split("/")[-1].removeprefix("mamujoco_")

    @property
    def name(self) -> str:
        """Of its folder and its file: no other entry of the table has it."""
        return f"{self.arm}_{self.where}_{self.seed}"

    @property
    def overrides(self) -> tuple[str, ...]:
        """What changes the recipe, in order."""
        return (f"task={self.task}", *self.words, f"run.frames={self.frames}", f"run.seed={self.seed}")

    @property
    def command(self) -> str:
        """The command that trains it, as a reader would type it."""
        quoted = (f"'{word}'" if set(word) & set(" {}[]|") else word for word in self.overrides)
        return f"hetrl train {self.recipe} {' '.join(quoted)}"

    @cached_property
    def loaded(self) -> Recipe:
        """The resolved recipe."""
        return hetrl.load(self.recipe, *self.overrides)


@dataclass(frozen=True)
class RunList:
    """A list as it is written.

    Args:
        table: its file's name, and that of what is drawn from it.
        title: of the page's table.
        entries: in the order in which they are taken.
        labels: arm -> what it is called where it is drawn; those that have none are called as they are.
        columns: task -> its title; others have the task's own name.
        accepted: versions whose numbers differ and whose results count all the same -> why.
    """

    table: str
    title: str
    entries: tuple[Entry, ...]
    labels: Mapping[str, str]
    columns: Mapping[str, str]
    accepted: Mapping[str, str]

    @property
    def arms(self) -> list[str]:
        """Every arm once, in the order of the list; those with a label first."""
        return list(dict.fromkeys([*self.labels, *(each.arm for each in self.entries)]))

    @property
    def places(self) -> list[str]:
        """Every task once, those with a title first."""
        return list(dict.fromkeys([*self.columns, *(each.where for each in self.entries)]))


def read_list(path: Path) -> RunList:
    """Return a list.

    Raises:
        ValueError: a line lacks a word, or has one that is none, or two lines are about the same run.
    """
    with path.open(encoding="utf-8") as file:
        tree: dict[str, Any] = parse(file.read(MOST_LETTERS), path.name, whole=True)
    table, common = path.stem, list(tree.get("words") or [])
    found = [entry for line in tree["runs"] for entry in entries_of(line, table, common, path.name)]
    names = [each.name for each in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{path.name}: {', '.join(twice)} stand in it twice; give one of two lines a name of its own.")
    # Stable: within a priority every line's first seed, then every line's second, as they are written.
    ordered = sorted(found, key=lambda each: (each.priority, each.seed))
    accepted = {str(word): str(why) for word, why in (tree.get("accepted") or {}).items()}
    return RunList(
        table, tree["title"], tuple(ordered), tree.get("labels") or {}, tree.get("columns") or {}, accepted
    )  # fmt: skip


def entries_of(line: Mapping[str, Any], table: str, common: list[str], file: str) -> Iterator[Entry]:
    """Yield the runs of a line, one for each seed.

    Raises:
        ValueError: a word is missing, unknown, or of the wrong type.
    """
    about = f"{file}: {line.get('recipe', line)} on {line.get('task', '?')}"
    if problems := [word for word in NEEDED if word not in line]:
        raise ValueError(f"{about} lacks {', '.join(problems)}.")
    for word, value in line.items():
        if word not in WORDS:
            raise ValueError(f"{about}: '{word}' is none of {', '.join(WORDS)}.")
        if not isinstance(value, WORDS[word]):
            raise ValueError(f"{about}: {word} is no {WORDS[word].__name__} but {value!r}.")
    for seed in line["seeds"]:
        words = tuple(map(str, [*common, *flat(line.get("words", []))]))
        yield Entry(
            table, line.get("name", line["recipe"]), line["recipe"], line["task"], words, seed, line["frames"],
            line["priority"], line["speed"],
        )  # fmt: skip


def flat(words: list[Any]) -> Iterator[Any]:
    """Yield words, those of a list among them (an alias of YAML) one by one."""
    for word in words:
        yield from word if isinstance(word, list) else [word]
