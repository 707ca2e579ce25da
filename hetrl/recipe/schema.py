"""A recipe and its sections: the tree as it was written, and every part of it checked for its words and types."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

from omegaconf import OmegaConf
from pydantic import InstanceOf

from hetrl.arguments import Count, Seed
from hetrl.errors import RecipeError, nearest
from hetrl.recipe.frozen import FrozenDict, Tree, frozen, refuse, thawed
from hetrl.recipe.keep import Keep
from hetrl.recipe.net import Net, trained_nets
from hetrl.recipe.order import Order
from hetrl.recipe.section import Section, Use, close, known_only, mapping, named, sequence
from hetrl.recipe.step import Step

FORMAT = 2
SECTIONS = ("hetrl", "about", "task", "nets", "data", "update", "run")
Inactive = Literal["skip", "count"]
_DEVICES = ("auto", "cpu", "cuda")
_MAY_BE_NULL = ("train", "order", "optim", "before", "prepare", "after")
"""Words of a phase that an override may take away again."""
STAGES = ("before", "prepare", "steps", "after")
"""The lists of steps in a phase, in the order in which they run."""


class Phase(Section):
    """One entry of ``update``."""

    name: str
    train: str | tuple[str, ...] | None = None
    """The net that it trains, or several nets that are trained together; see :attr:`trained`."""
    order: InstanceOf[Order] | None = None
    """In which order agents (or groups) take their turns; left out, the team is trained at once."""
    epochs: Count = 1
    minibatches: Count = 1
    every: Count = 1
    inactive: Inactive = "skip"
    """Rows in which the agent in turn is out: left out of the means, or counted."""
    optim: InstanceOf[Use] | None = None
    before: tuple[InstanceOf[Step], ...] = ()
    prepare: tuple[InstanceOf[Step], ...] = ()
    steps: tuple[InstanceOf[Step], ...] = ()
    after: tuple[InstanceOf[Step], ...] = ()

    @classmethod
    def parse(cls, tree: Any, index: int, nets: Mapping[str, Net]) -> "Phase":
        """Return the phase that an entry of ``update`` writes.

        Args:
            tree: the entry.
            index: its place in the list.
            nets: the recipe's nets.

        Raises:
            RecipeError: a word is missing or wrong.
        """
        where = f"update[{index}]"
        tree = mapping(tree, where)
        if "phase" not in tree:
            raise RecipeError(f"{where} needs 'phase: name'.{close('phase', map(str, tree))}")
        name = named(tree.pop("phase"), f"{where}.phase")
        where = f"update.{name}"
        if "per" in tree:
            raise RecipeError(f"{where}.per is said by the order now; {_of_now(tree)} in place of per and order.")
        known_only(tree, ["phase", *(word for word in cls.model_fields if word not in ("where", "name"))], where)
        tree = {word: each for word, each in tree.items() if each is not None or word not in _MAY_BE_NULL}
        if "steps" not in tree:
            raise RecipeError(f"{where} has no steps.")
        if "train" in tree:
            tree["train"] = trained_nets(tree["train"], f"{where}.train", list(nets))
        for word in STAGES:
            if word in tree:
                entries = enumerate(sequence(tree[word], f"{where}.{word}"))
                tree[word] = tuple(Step.parse(each, f"{where}.{word}[{i}]", nets) for i, each in entries)
        parts: dict[str, type[Order] | type[Use]] = {"order": Order, "optim": Use}
        tree |= {word: part.parse(tree[word], f"{where}.{word}") for word, part in parts.items() if word in tree}
        return cls.read(tree, where, name=name)

    @property
    def trained(self) -> tuple[str, ...]:
        """The nets that it trains, in the order in which the recipe lists them; nothing where it trains none."""
        return (self.train,) if isinstance(self.train, str) else self.train or ()

    @property
    def names_trained(self) -> str:
        """The nets that it trains, as messages name them."""
        return " and ".join(f"'{name}'" for name in self.trained)

    @property
    def stages(self) -> Mapping[str, tuple[Step, ...]]:
        """Stage -> its steps, in the order in which they run."""
        return {word: getattr(self, word) for word in STAGES}

    @property
    def every_step(self) -> Iterator[Step]:
        """All steps, in the order in which they run."""
        return (step for steps in self.stages.values() for step in steps)


class RunSettings(Section):
    """How long, how often, on what; everything that is not the algorithm."""

    frames: Count
    seed: Seed = 0
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda``, or one of several GPUs: ``cuda:1``."""
    devices: Count = 1
    """Processes that share the environments, and train as one: on each machine so many, each with a device."""
    nodes: Count = 1
    """Machines with so many processes each."""
    compile: bool = False
    graphs: bool | Literal["auto"] = False
    """Whether minibatches are recorded once and played, see :mod:`hetrl.graph`; ``auto`` does so on a GPU."""
    threads: Count | None = None
    eval_every: Count | None = None
    n_eval_episodes: Count = 64
    eval_drawn: bool = False
    """Whether evaluations are done a second time, with drawn actions."""
    checkpoint_every: Count | None = None
    keep: str | None = None
    """Which checkpoints stay beside the last one, see :class:`~hetrl.recipe.keep.Keep`."""

    @property
    def n_ranks(self) -> int:
        """How many processes train it."""
        return self.devices * self.nodes

    @classmethod
    def parse(cls, tree: Any) -> "RunSettings":
        """Return what the section says.

        Raises:
            RecipeError: a word is unknown, missing or wrong.
        """
        run = cls.read(tree, "run")
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", run.device):
            raise RecipeError(
                f"run.device: {run.device!r} is not one of auto, cpu, cuda, cuda:N.{close(run.device, _DEVICES)}"
            )
        if Keep.parse(run.keep).best and run.eval_every is None:
            raise RecipeError("run.keep: the best of what? Say run.eval_every=... as well.")
        return run


class Recipe:
    """A recipe whose sections have the right shape; :func:`hetrl.check` says whether it links.

    A recipe is its tree: what is trained is what is saved, shown and compared. Nothing can be changed behind it;
    :func:`hetrl.load` makes another recipe of one, ``hetrl.load(recipe, "task.n_envs=8")``.

    Args:
        tree: the resolved recipe, as nested mappings and lists.
        name: what it is called in messages and folders.

    Raises:
        RecipeError: a section or a word in it is unknown, missing, or of the wrong shape.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]] = {}  # dataclasses.replace asks here, and is refused below

    _tree: FrozenDict
    name: str
    about: str
    task: Use
    groups: Mapping[str, list[str]] | None
    normalize_observations: bool
    nets: Mapping[str, Net]
    data: Use
    update: tuple[Phase, ...]
    run: RunSettings

    def __init__(self, tree: Mapping[str, Any] | None = None, name: str = "recipe", **parts: Any) -> None:
        if parts or tree is None:
            refuse()
        known_only(tree, SECTIONS, name)
        _refuse_format(tree, name)
        for section in SECTIONS:
            if section not in tree and section != "about":
                raise RecipeError(f"{name}: the section '{section}' is missing.")
        task = mapping(tree["task"], "task")
        groups = task.pop("groups", None)
        normalize = task.pop("normalize_observations", False)
        if not isinstance(normalize, bool):
            raise RecipeError(f"task.normalize_observations must be true or false, not {normalize!r}.")
        nets = {net: Net.parse(words, net) for net, words in mapping(tree["nets"], "nets").items()}
        self.__dict__.update(
            _tree=frozen(tree),
            name=name,
            about=str(tree.get("about", "")),
            task=Use.parse(task, "task"),
            groups=None if groups is None else _groups(groups),
            normalize_observations=normalize,
            nets=frozen(nets),
            data=Use.parse(tree["data"], "data"),
            update=_phases(tree["update"], nets),
            run=RunSettings.parse(tree["run"]),
        )

    __setattr__ = __delattr__ = __replace__ = refuse

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Recipe) and (self.name, self._tree) == (other.name, other._tree)

    def __hash__(self) -> int:
        return hash((self.name, self.yaml()))

    def __repr__(self) -> str:
        return f"Recipe({self.name!r})"

    def __deepcopy__(self, memo: Any) -> "Recipe":
        return self  # it never changes

    @property
    def tree(self) -> Tree:
        """The resolved recipe, as it is saved with a run; a copy."""
        return thawed(self._tree)

    def phase(self, name: str) -> Phase:
        """Return the phase of that name.

        Raises:
            RecipeError: there is none.
        """
        found = {phase.name: phase for phase in self.update}
        if name not in found:
            raise RecipeError(f"{self.name} has no phase '{name}'.{nearest(name, found)}")
        return found[name]

    def yaml(self) -> str:
        """Return the resolved recipe as YAML text."""
        return OmegaConf.to_yaml(OmegaConf.create(self.tree))

    def build(self) -> tuple[Any, Any]:
        """Return the LightningModule and the data that ``L.Trainer(...).fit(module, data)`` takes.

        Raises:
            RecipeError: see :func:`hetrl.build`.
        """
        import hetrl  # training builds on recipes, not they on it

        return hetrl.build(self)


def _refuse_format(tree: Mapping[str, Any], name: str) -> None:
    """Refuse another format than ours, and say what has to be written in a recipe of the first."""
    said = tree.get("hetrl", FORMAT)
    if type(said) is int and said == FORMAT:
        return
    if type(said) is not int or said != 1:
        raise RecipeError(f"hetrl: {said!r} is no recipe format that this version reads; write hetrl: {FORMAT}.")
    phases = [phase for phase in tree.get("update") or [] if isinstance(phase, Mapping) and "order" in phase]
    turns = "; ".join(f"in phase '{phase.get('phase')}' {_of_now(phase)}" for phase in phases)
    instead = f", and {turns} in place of per and order" if turns else ""
    raise RecipeError(f"{name}: hetrl: 1 is the format of earlier versions; write hetrl: {FORMAT}{instead}.")


def _of_now(phase: Mapping[str, Any]) -> str:
    """Return what to write in a phase of the first format, whose ``per`` said whose turns its order orders."""
    order = phase.get("order")
    said = dict(order) if isinstance(order, Mapping) else {}
    words = {"use": said.pop("use", "order/random_permutation"), "of": phase.get("per", "agent")}
    words |= {word: value for word, value in said.items() if word != "of"}
    listed = (f"{word}: {each if isinstance(each, str) else json.dumps(each)}" for word, each in words.items())
    return f"write order: {{{', '.join(listed)}}}"


def _groups(tree: Any) -> Mapping[str, list[str]]:
    """Return the sharing groups of ``task.groups``: name -> its agents' names."""
    found = {}
    for group, members in mapping(tree, "task.groups").items():
        where = f"task.groups.{named(group, 'task.groups')}"
        found[group] = sequence(members, where)
        if not all(isinstance(member, str) for member in found[group]):
            raise RecipeError(f"{where} must be a list of agents' names, not {members!r}.")
    return frozen(found)


def _phases(tree: Any, nets: Mapping[str, Net]) -> tuple[Phase, ...]:
    """Return the phases of ``update``."""
    phases = tuple(Phase.parse(each, index, nets) for index, each in enumerate(sequence(tree, "update")))
    seen: set[str] = set()
    for phase in phases:
        if phase.name in seen:
            raise RecipeError(f"{phase.where}: two phases are called '{phase.name}'; rename one.")
        seen.add(phase.name)
    return phases
