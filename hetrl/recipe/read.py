"""From YAML to a recipe: reading, overriding, resolving, and the shape of every section."""

import importlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hetrl import arguments, keys
from hetrl.arguments import Count
from hetrl.errors import RecipeError, nearest

FORMAT = 1
SECTIONS = ("hetrl", "about", "task", "nets", "data", "update", "run")
Per = Literal["agent", "group", "team"]
Inactive = Literal["skip", "count"]
Tree = dict[str, Any]


@dataclass(frozen=True)
class Use:
    """A catalog entry with its arguments."""

    where: str
    name: str
    arguments: Tree = field(default_factory=dict)


@dataclass(frozen=True)
class Target:
    """A slow copy of a net: after every so-many-th phase that trains it, target <- target + tau (net - target)."""

    tau: float
    every: int = 1


@dataclass(frozen=True)
class Net:
    """A network of the recipe: what it is, who shares it, and whether it has a slow copy."""

    where: str
    name: str
    use: str
    per: Per | None
    target: Target | None
    arguments: Tree


@dataclass(frozen=True)
class Step:
    """One step of a phase: a component, or a net's mode."""

    where: str
    use: str | None
    net: str | None
    mode: str | None
    arguments: Tree
    at: str | None
    keys: dict[str, str]
    reads: dict[str, str]
    writes: dict[str, str]

    @property
    def title(self) -> str:
        """What the recipe calls it, for messages."""
        if self.use:
            return self.use
        return f"{self.net}.{self.mode}" if self.mode else str(self.net)


@dataclass(frozen=True)
class Phase:
    """One entry of ``update``."""

    where: str
    name: str
    train: str | None = None
    per: Per = "team"
    order: Use | None = None
    epochs: int = 1
    minibatches: int = 1
    every: int = 1
    inactive: Inactive = "skip"
    """Rows in which the agent in turn is out: left out of the means, or counted."""
    optim: Use | None = None
    before: tuple[Step, ...] = ()
    prepare: tuple[Step, ...] = ()
    steps: tuple[Step, ...] = ()
    after: tuple[Step, ...] = ()


@dataclass(frozen=True)
class Run:
    """How long, how often, on what; everything that is not the algorithm."""

    frames: int
    seed: int = 0
    device: str = "auto"
    compile: bool = False
    threads: int | None = None
    eval_every: int | None = None
    n_eval_episodes: int = 64
    checkpoint_every: int | None = None

    @classmethod
    def checked(cls, tree: Tree) -> "Run":
        """Return the section, its names, types and ranges checked."""
        arguments.check(_run_schema, tree, "run")
        return cls(**tree)


def _run_schema(
    *,
    frames: Count,
    seed: arguments.Seed = 0,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    compile: bool = False,
    threads: Count | None = None,
    eval_every: Count | None = None,
    n_eval_episodes: Count = 64,
    checkpoint_every: Count | None = None,
) -> None:
    """The ``run`` section's names, types and ranges."""


@dataclass(frozen=True)
class Recipe:
    """A recipe whose sections have the right shape; :func:`hetrl.recipe.check.check` says whether it links."""

    name: str
    about: str
    task: Use
    groups: dict[str, list[str]] | None
    nets: dict[str, Net]
    data: Use
    update: tuple[Phase, ...]
    run: Run
    tree: Tree
    """The resolved recipe, as it is saved with a run."""

    def yaml(self) -> str:
        """Return the resolved recipe as YAML text."""
        return OmegaConf.to_yaml(OmegaConf.create(self.tree))

    def build(self) -> tuple[Any, Any]:
        """Return the LightningModule and the data that ``L.Trainer(...).fit(module, data)`` takes."""
        # A door for users, not a dependency: training builds on recipes, and importing lightning takes seconds.
        return importlib.import_module("hetrl.train.build").build(self)


def shipped() -> dict[str, Path]:
    """Return the recipes that come with hetrl: name -> file (``task/...`` are sections to drop in)."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "recipes", package.parent / "recipes"):
        if folder.is_dir():
            return {str(p.relative_to(folder).with_suffix("")): p for p in sorted(folder.rglob("*.yaml"))}
    return {}


def load(recipe: str | os.PathLike[str] | Mapping[str, Any], *overrides: str) -> Recipe:
    """Read a recipe.

    Args:
        recipe: the name of a shipped recipe, a YAML file, or the same thing as nested dicts.
        overrides: ``a.b=c`` texts. In a list, a word names an entry: the phase, the last part of what a step uses, or
            its net (``update.actors.epochs=10``, ``update.actors.steps.clipped_surrogate.clip=0.1``), and ``null``
            drops it (``update.actors.steps.entropy_bonus=null``).

    Raises:
        RecipeError: the file or a section cannot be read as a recipe.
    """
    tree: Any
    if isinstance(recipe, Mapping):
        name, tree = "recipe", OmegaConf.to_container(OmegaConf.create(dict(recipe)), resolve=False)
    else:
        path = _find(recipe)
        name, tree = path.stem, _read(path)
    if not isinstance(tree, dict):
        raise RecipeError(f"{name}: a recipe is a mapping of sections, {', '.join(SECTIONS)}.")
    _drop_in(tree)
    for override in overrides:
        _override(tree, override)
        _drop_in(tree)
    _refuse_resolvers(tree, "")
    try:
        tree = OmegaConf.to_container(OmegaConf.create(tree), resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise RecipeError(f"{name}: {str(error).splitlines()[0]}") from None
    return parse(tree, name)


def _find(recipe: str | os.PathLike[str]) -> Path:
    text = os.fspath(recipe)
    known = shipped()
    if text in known:
        return known[text]
    path = Path(text)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        if path.is_file():
            return path
        raise RecipeError(f"there is no recipe file '{text}'.")
    recipes = [name for name in known if not name.startswith("task/")]
    raise RecipeError(f"no recipe '{text}' is shipped, and there is no such file.{nearest(text, recipes)}")


def _read(path: Path) -> Any:
    try:
        return OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise RecipeError(f"{path.name}{f', line {mark.line + 1}' if mark else ''}: {problem}.") from None
    except (OmegaConfBaseException, UnicodeDecodeError, OSError) as error:
        raise RecipeError(f"{path.name}: {str(error).splitlines()[0]}") from None


def _drop_in(tree: Tree) -> None:
    """Replace ``task: task/name`` by the shipped section of that name."""
    task = tree.get("task")
    if isinstance(task, str):
        tasks = {name: path for name, path in shipped().items() if name.startswith("task/")}
        if task not in tasks:
            raise RecipeError(f"task: no section '{task}' is shipped.{nearest(task, tasks)}")
        tree["task"] = _read(tasks[task])


def _override(tree: Tree, text: str) -> None:
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        raise RecipeError(f"override '{text}': write a.b=value.")
    try:
        parsed = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={value}"]), resolve=False)["value"]  # type: ignore[index,call-overload]
    except (OmegaConfBaseException, yaml.YAMLError) as error:
        raise RecipeError(f"override '{text}': {str(error).splitlines()[0]}") from None
    words = path.strip().split(".")
    if words[0] not in SECTIONS:
        raise RecipeError(f"override '{text}': no section '{words[0]}'.{nearest(words[0], SECTIONS)}")
    place: Any = tree
    for word in words[:-1]:
        if isinstance(place, dict) and word not in place and word in ("run", "groups", "optim", "order"):
            place[word] = {}
        place = place[_step_into(place, word, text)]
    last = words[-1]
    if not isinstance(place, (dict, list)):
        raise RecipeError(f"override '{text}': '{words[-2]}' is a single value; there is nothing below it.")
    if isinstance(place, list):
        index = _step_into(place, last, text)
        place[index : index + 1] = [] if parsed is None else [parsed]
    else:
        place[last] = parsed


def _step_into(place: Any, word: str, text: str) -> Any:
    """Return the key or index that ``word`` names in a mapping or a list."""
    if isinstance(place, dict):
        if word not in place:
            raise RecipeError(f"override '{text}': nothing is called '{word}' there.{nearest(word, map(str, place))}")
        return word
    if not isinstance(place, list):
        raise RecipeError(f"override '{text}': '{word}' is below a single value.")
    if word.isdigit() and int(word) < len(place):
        return int(word)
    titles = [_titles(entry) for entry in place]
    found = [index for index, names in enumerate(titles) if word in names]
    if len(found) != 1:
        problem = "nothing" if not found else f"{len(found)} entries"
        known = [name for names in titles for name in names]
        raise RecipeError(f"override '{text}': {problem} called '{word}' there; use its index.{nearest(word, known)}")
    return found[0]


def _titles(entry: Any) -> list[str]:
    if not isinstance(entry, dict):
        return []
    names = [str(entry[word]) for word in ("phase", "use", "net") if word in entry]
    return [*names, *(re.split(r"[/.]", name)[-1] for name in names if "/" in name)]


def _refuse_resolvers(tree: Any, where: str) -> None:
    if isinstance(tree, dict):
        for word, value in tree.items():
            _refuse_resolvers(value, f"{where}.{word}" if where else str(word))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            _refuse_resolvers(value, f"{where}[{index}]")
    elif isinstance(tree, str) and re.search(r"\$\{[^}]*:", tree):
        raise RecipeError(
            f"{where}: '{tree}' asks for a resolver; only plain references such as ${{run.seed}} are read."
        )


def parse(tree: Tree, name: str = "recipe") -> Recipe:
    """Return the recipe that a resolved tree describes.

    Raises:
        RecipeError: a section or a word in it is unknown, missing, or of the wrong shape.
    """
    _known(tree, SECTIONS, name)
    for section in ("hetrl", "task", "nets", "data", "update", "run"):
        if section not in tree:
            raise RecipeError(f"{name}: the section '{section}' is missing.")
    if tree["hetrl"] != FORMAT:
        raise RecipeError(
            f"hetrl: {tree['hetrl']!r} is no recipe format that this version reads; write hetrl: {FORMAT}."
        )
    task = dict(_mapping(tree["task"], "task"))
    groups = task.pop("groups", None)
    if groups is not None:
        groups = {_word(group, "task.groups"): _names(names, f"task.groups.{group}")
                  for group, names in _mapping(groups, "task.groups").items()}  # fmt: skip
    nets = {net: _net(entry, net) for net, entry in _mapping(tree["nets"], "nets").items()}
    phases = tuple(_phase(entry, index) for index, entry in enumerate(_sequence(tree["update"], "update")))
    seen: set[str] = set()
    for phase in phases:
        if phase.name in seen:
            raise RecipeError(f"{phase.where}: two phases are called '{phase.name}'; rename one.")
        seen.add(phase.name)
    return Recipe(
        name=name,
        about=str(tree.get("about", "")),
        task=_use(task, "task"),
        groups=groups,
        nets=nets,
        data=_use(tree["data"], "data"),
        update=phases,
        run=Run.checked(_mapping(tree["run"], "run")),
        tree=tree,
    )


def _known(tree: Mapping[str, Any], words: Sequence[str], where: str) -> None:
    for word in tree:
        if word not in words:
            raise RecipeError(f"{where} has no '{word}'.{nearest(str(word), words)}")


def _word(name: Any, where: str) -> str:
    """Return a name that may be part of a key."""
    if not isinstance(name, str) or "." in name:
        raise RecipeError(f"{where}: {name!r} is no name; write letters, digits and underscores.")
    keys.parse(name)
    return name


def _names(tree: Any, where: str) -> list[str]:
    names = _sequence(tree, where)
    if not all(isinstance(name, str) for name in names):
        raise RecipeError(f"{where} must be a list of agents' names, not {tree!r}.")
    return names


def _mapping(tree: Any, where: str) -> Tree:
    if not isinstance(tree, Mapping):
        raise RecipeError(f"{where} must be a mapping, not {tree!r}.")
    return dict(tree)


def _sequence(tree: Any, where: str) -> list[Any]:
    if not isinstance(tree, Sequence) or isinstance(tree, str):
        raise RecipeError(f"{where} must be a list, not {tree!r}.")
    return list(tree)


def _use(tree: Any, where: str) -> Use:
    tree = _mapping(tree, where)
    name = tree.pop("use", None)
    if not isinstance(name, str):
        raise RecipeError(f"{where} needs 'use: kind/name'.")
    return Use(where, name, tree)


def _net(tree: Any, net: str) -> Net:
    where = f"nets.{_word(net, 'nets')}"
    tree = _mapping(tree, where)
    per = tree.pop("per", None)
    if per is not None and per not in get_args(Per):
        raise RecipeError(f"{where}.per: '{per}' is not one of agent, group, team.{nearest(str(per), get_args(Per))}")
    target = tree.pop("target", None)
    if target is not None:
        target = _mapping(target, f"{where}.target")
        arguments.check(_target_schema, target, f"{where}.target")
        target = Target(**target)
    use = _use(tree, where)
    return Net(where, net, use.name, per, target, use.arguments)


def _target_schema(*, tau: arguments.Share, every: Count = 1) -> None:
    """A target copy's names, types and ranges."""


_STEP_WORDS = ("use", "net", "at", "keys", "reads", "writes")


def _step(tree: Any, where: str) -> Step:
    tree = _mapping(tree, where)
    if ("use" in tree) == ("net" in tree):
        hint = nearest(next(iter(tree), ""), ("use", "net")) if not {"use", "net"} & set(tree) else ""
        raise RecipeError(f"{where}: a step is either 'use: kind/name' or 'net: name.mode'.{hint}")
    net, _, mode = str(tree.get("net", "")).partition(".")
    at = tree.get("at")
    if at not in (None, "next"):
        raise RecipeError(f"{where}.at: '{at}' is not known; the only other time is 'next'.")
    renames = {word: {str(r): str(k) for r, k in _mapping(tree.get(word, {}), f"{where}.{word}").items()}
               for word in ("keys", "reads", "writes")}  # fmt: skip
    return Step(
        where=where,
        use=tree.get("use"),
        net=net or None,
        mode=mode or None,
        arguments={word: value for word, value in tree.items() if word not in _STEP_WORDS},
        at=at,
        **renames,
    )


def _phase(tree: Any, index: int) -> Phase:
    where = f"update[{index}]"
    tree = _mapping(tree, where)
    if "phase" not in tree:
        raise RecipeError(f"{where} needs 'phase: name'.{_hint(tree, 'phase')}")
    where = f"update.{_word(tree['phase'], f'{where}.phase')}"
    words = [f.name for f in fields(Phase) if f.name not in ("where", "name")]
    _known(tree, ["phase", *words], where)
    if "steps" not in tree:
        raise RecipeError(f"{where} has no steps.")
    values: Tree = {word: tree[word] for word in words if word in tree}
    for word, choices in (("per", get_args(Per)), ("inactive", get_args(Inactive))):
        if word in values and values[word] not in choices:
            raise RecipeError(f"{where}.{word}: '{values[word]}' is not one of {', '.join(choices)}.")
    if not isinstance(values.get("train", ""), str):
        raise RecipeError(f"{where}.train must be the name of a net, not {values['train']!r}.")
    for word in ("epochs", "minibatches", "every"):
        if word in values and (type(values[word]) is not int or values[word] < 1):
            raise RecipeError(f"{where}.{word} must be a whole number above 0, not {values[word]!r}.")
    for word in ("before", "prepare", "steps", "after"):
        if word in values:
            entries = _sequence(values[word], f"{where}.{word}")
            values[word] = tuple(_step(entry, f"{where}.{word}[{i}]") for i, entry in enumerate(entries))
    for word in ("order", "optim"):
        if word in values:
            values[word] = _use(values[word], f"{where}.{word}")
    return Phase(where=where, name=str(tree["phase"]), **values)


def _hint(tree: Mapping[str, Any], word: str) -> str:
    found = nearest(word, map(str, tree))
    return found if "Nearest" in found else ""
