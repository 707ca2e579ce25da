"""The names a recipe may use: built-in entries, those of installed packages, and what this process has registered.

A name is ``kind/entry``; it is never an import path, so a recipe can choose code but not bring any. Packages add
entries under the entry-point group ``hetrl.<kind>`` as ``vendor.name``; their code is imported when a recipe names
them, and not before. Built-in entries, too, are imported when they are first used, and names and summaries do without.
"""

import functools
import importlib
import inspect
import re
from collections.abc import Iterable, Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hetrl.errors import RecipeError, nearest

if TYPE_CHECKING:
    from hetrl.component import Component

KINDS = ("order", "estimate", "weight", "loss", "net", "optim", "env", "data")

BUILT_IN: dict[str, str] = {
    "order/random_permutation": "hetrl.order.random_permutation:RandomPermutation",
    "order/fixed": "hetrl.order.fixed:Fixed",
    "order/reversed": "hetrl.order.reversed:Reversed",
    "order/simultaneous": "hetrl.order.simultaneous:Simultaneous",
    "estimate/gae": "hetrl.estimate.gae:GAE",
    "estimate/standardize": "hetrl.estimate.standardize:Standardize",
    "estimate/standardize_jointly": "hetrl.estimate.standardize_jointly:StandardizeJointly",
    "estimate/standardize_candidates": "hetrl.estimate.standardize_candidates:StandardizeCandidates",
    "estimate/td_target": "hetrl.estimate.td_target:TDTarget",
    "estimate/soft_td_target": "hetrl.estimate.soft_td_target:SoftTDTarget",
    "estimate/best_candidate": "hetrl.estimate.best_candidate:BestCandidate",
    "estimate/joint_log_prob": "hetrl.estimate.joint_log_prob:JointLogProb",
    "estimate/optimal_marginal_q": "hetrl.estimate.optimal_marginal_q:OptimalMarginalQ",
    "estimate/marginal_action": "hetrl.estimate.marginal_action:MarginalAction",
    "estimate/baseline_drift": "hetrl.estimate.baseline_drift:BaselineDrift",
    "weight/unit_factor": "hetrl.weight.unit_factor:UnitFactor",
    "weight/importance_factor": "hetrl.weight.importance_factor:ImportanceFactor",
    "weight/qadv": "hetrl.weight.qadv:Qadv",
    "weight/qcut": "hetrl.weight.qcut:Qcut",
    "loss/clipped_surrogate": "hetrl.loss.clipped_surrogate:ClippedSurrogate",
    "loss/surrogate": "hetrl.loss.surrogate:Surrogate",
    "loss/kl_penalty": "hetrl.loss.kl_penalty:KLPenalty",
    "loss/entropy_bonus": "hetrl.loss.entropy_bonus:EntropyBonus",
    "loss/td": "hetrl.loss.td:TD",
    "loss/pessimistic_uncertainty": "hetrl.loss.pessimistic_uncertainty:PessimisticUncertainty",
    "loss/soft_policy": "hetrl.loss.soft_policy:SoftPolicy",
    "loss/expected_soft_policy": "hetrl.loss.expected_soft_policy:ExpectedSoftPolicy",
    "loss/deterministic_policy": "hetrl.loss.deterministic_policy:DeterministicPolicy",
    "loss/weighted_denoising": "hetrl.loss.weighted_denoising:WeightedDenoising",
    "loss/weighted_likelihood": "hetrl.loss.weighted_likelihood:WeightedLikelihood",
    "loss/uniform_entropy": "hetrl.loss.uniform_entropy:UniformEntropy",
    "loss/path_kl": "hetrl.loss.path_kl:PathKL",
    "loss/elbo_clip": "hetrl.loss.elbo_clip:ElboClip",
    "loss/temperature": "hetrl.loss.temperature:Temperature",
    "loss/huber_value": "hetrl.loss.huber_value:HuberValue",
    "net/gaussian_policy": "hetrl.net.gaussian_policy:GaussianPolicy",
    "net/squashed_gaussian_policy": "hetrl.net.squashed_gaussian_policy:SquashedGaussianPolicy",
    "net/categorical_policy": "hetrl.net.categorical_policy:CategoricalPolicy",
    "net/deterministic_policy": "hetrl.net.deterministic_policy:DeterministicPolicy",
    "net/diffusion_policy": "hetrl.net.diffusion_policy:DiffusionPolicy",
    "net/joint_q": "hetrl.net.joint_q:JointQ",
    "net/temperature": "hetrl.net.temperature:Temperature",
    "net/mixed_policy": "hetrl.net.mixed_policy:MixedPolicy",
    "net/recurrent_policy": "hetrl.net.recurrent_policy:RecurrentPolicy",
    "net/recurrent_value": "hetrl.net.recurrent_value:RecurrentValue",
    "net/state_value": "hetrl.net.state_value:StateValue",
    "optim/adam": "hetrl.optim.adam:Adam",
    "optim/trust_region": "hetrl.optim.trust_region:TrustRegion",
    "env/vmas": "hetrl.env.vmas:Vmas",
    "env/mamujoco": "hetrl.env.mamujoco:Mamujoco",
    "env/matrix_game": "hetrl.env.matrix_game:MatrixGame",
    "env/tabular_game": "hetrl.env.tabular_game:TabularGame",
    "env/cue_game": "hetrl.env.cue_game:CueGame",
    "env/pettingzoo": "hetrl.env.pettingzoo:PettingZoo",
    "data/on_policy": "hetrl.data.on_policy:OnPolicy",
    "data/replay": "hetrl.data.replay:Replay",
}
REGISTERED: dict[str, type[Any]] = {}
"""Name -> the class that this process has given it, see :func:`register`."""
_NAME = re.compile(r"\w+(\.\w+)+", re.ASCII)


def register(name: str, part: type[Any]) -> None:
    """Give a class a name that recipes of this process can use.

    A recipe holds the name, and so does a run's folder: whoever goes on with the run registers the class again first.
    What the class has is looked at, here and in :func:`hetrl.check`; what it does is for ``check_env`` and the others
    of ``hetrl.testing``. For use by others, and on the command line, put it into a package (``hetrl new``).

    Args:
        name: ``kind/vendor.name``, such as ``env/my.forage``.
        part: the class; the same one may be registered again, as a notebook's cell does that is run twice.

    Raises:
        RecipeError: the name is none, or taken, or the class is not what entries of that kind have to be.
    """
    kind, _, word = str(name).partition("/")
    if kind not in KINDS:
        raise RecipeError(f"'{name}': no kind '{kind}'.{nearest(kind, KINDS)} Write kind/vendor.name.")
    if not _NAME.fullmatch(word) or word.split(".")[0] == "hetrl":
        raise RecipeError(f"'{name}' names no vendor; write {kind}/vendor.name, such as '{kind}/my.{word or 'part'}'.")
    from hetrl.interface import misfit

    before = REGISTERED.get(name)
    if name in installed():
        raise RecipeError(f"'{name}' is there already, from {provider(installed()[name])}; choose another name.")
    problem = misfit(part, kind)
    if problem:
        raise RecipeError(f"'{name}' {problem}{'' if ';' in problem else '; correct it'}.")
    if before is not None and (before.__module__, before.__qualname__) != (part.__module__, part.__qualname__):
        raise RecipeError(f"'{name}' is registered already, as {before.__qualname__}; choose another name.")
    REGISTERED[name] = part


@functools.cache
def installed() -> dict[str, EntryPoint]:
    """Return the usable entries that installed packages add, by name, without importing them."""
    return _scan()[0]


def unusable() -> dict[str, str]:
    """Return the entries of installed packages that no recipe can name -> why, in one line, and what to do.

    Two packages claim one name, or a package one of hetrl's own; an entry has no vendor, or its group is of no kind.
    Everything else goes on working.
    """
    return _scan()[1]


def _scan() -> tuple[dict[str, EntryPoint], dict[str, str]]:
    """Return what the installed packages offer: what is usable, and why the rest is not."""
    found: dict[str, list[EntryPoint]] = {}
    for group in sorted(group for group in entry_points().groups if group.startswith("hetrl.")):
        for point in entry_points(group=group):
            found.setdefault(f"{group.removeprefix('hetrl.')}/{point.name}", []).append(point)
    problems = {name: _unusable(name, points) for name, points in found.items()}
    usable = {name: points[0] for name, points in found.items() if not problems[name]}
    return usable, {name: problem for name, problem in problems.items() if problem}


def _unusable(name: str, points: Sequence[EntryPoint]) -> str:
    """Return why no recipe can name an entry of these packages; ``""`` where it can."""
    kind, _, word = name.partition("/")
    package = provider(points[0])
    if kind not in KINDS:
        return (
            f"{package} offers '{word}' under 'hetrl.{kind}', and there is no kind '{kind}'.{nearest(kind, KINDS)} "
            "Correct its pyproject.toml, or uninstall it."
        )
    if name in BUILT_IN:
        return f"'{name}' is hetrl's own, and {package} claims it too; uninstall that package."
    if "." not in word:
        return f"'{name}' of {package} names no vendor; call it 'vendor.{word}' in its pyproject.toml, or uninstall it."
    if len(points) > 1:
        both = " and by ".join(provider(point) for point in points[:2])
        return f"'{name}' is provided twice, by {both}; uninstall one of them."
    return ""


def provider(point: EntryPoint) -> str:
    """Return the package and version that brings an entry."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else f"the package of {point.value}"


def outside(entries: Iterable[str]) -> dict[str, str]:
    """Return the version of every package that brings some of these entries; hetrl's own are left out."""
    points = [installed()[name] for name in entries if name not in BUILT_IN and name in installed()]
    return {point.dist.name: point.dist.version for point in points if point.dist}


def names(kind: str | None = None) -> list[str]:
    """Return every known name, or those of one kind, sorted.

    Raises:
        RecipeError: there is no such kind.
    """
    if kind is not None and kind not in KINDS:
        raise RecipeError(f"no kind '{kind}'.{nearest(kind, KINDS)}")
    every = sorted([*BUILT_IN, *installed(), *REGISTERED])
    return [name for name in every if kind is None or name.startswith(f"{kind}/")]


def resolve(name: str, kind: str | tuple[str, ...] | None = None) -> type[Any]:
    """Return the class behind a name, importing it.

    Raises:
        RecipeError: the name is unknown, an import path, or of another kind; or an installed entry is claimed twice,
            fails to import, or lacks what entries of its kind have.
    """
    kinds = (kind,) if isinstance(kind, str) else kind
    there = isinstance(name, str) and any(name in place for place in (BUILT_IN, REGISTERED, installed()))
    if isinstance(name, str) and not there and name in (refused := unusable()):
        raise RecipeError(refused[name])
    if not there:
        known = [known for known in names() if kinds is None or known.split("/")[0] in kinds]
        looks_imported = isinstance(name, str) and "/" not in name and ("." in name or ":" in name)
        hint = " It looks like an import path, and a recipe may only choose catalog names." if looks_imported else ""
        raise RecipeError(f"no entry '{name}' in the catalog.{hint}{nearest(str(name), known)}")
    if kinds is not None and name.split("/")[0] not in kinds:
        raise RecipeError(f"'{name}' cannot stand here; use one of {', '.join(k + '/...' for k in kinds)}.")
    if name in BUILT_IN:
        module, attribute = BUILT_IN[name].split(":")
        return getattr(importlib.import_module(module), attribute)
    if name in REGISTERED:
        return REGISTERED[name]
    return _load(name, installed()[name])


def _load(name: str, point: EntryPoint) -> type[Any]:
    """Import what a package offers under a name, and refuse what lacks what entries of the name's kind have."""
    where = f"'{name}' of {provider(point)} ({point.value})"
    try:
        found = point.load()
    except Exception as error:
        text = (str(error).strip().splitlines() or [""])[0]
        raise RecipeError(
            f"{where} does not import: {type(error).__name__}: {text} Repair that package, or uninstall it."
        ) from error
    from hetrl.interface import misfit

    problem = misfit(found, name.split("/")[0])
    if problem:
        what_to_do = "" if ";" in problem else "; correct the entry in its pyproject.toml, or uninstall it"
        raise RecipeError(f"{where} {problem}{what_to_do}.")
    return found


def component(name: str, **values: Any) -> "Component":
    """Return the component of that name, wired to its default keys.

    >>> import torch
    >>> clip = component("loss/clipped_surrogate", clip=0.2)
    >>> zero, one = torch.zeros(1), torch.ones(1)
    >>> clip.compute(log_prob=zero, old_log_prob=zero, advantage=one, factor=one)["loss"]
    tensor([-1.])

    Raises:
        RecipeError: the name or an argument is unknown, or an argument is of the wrong type or out of range.
    """
    from hetrl import arguments
    from hetrl.component import Component

    cls = resolve(name)
    if not (inspect.isclass(cls) and issubclass(cls, Component)):
        raise RecipeError(f"'{name}' is not a component (nets, environments and data are built by a recipe).")
    arguments.check(cls.__init__, values, name)
    return cls(**values)


def summary(name: str) -> str:
    """Return the first line of an entry's docstring; one of hetrl's own is read from its file, without importing it."""
    if name not in BUILT_IN:
        return (inspect.getdoc(resolve(name)) or "").split("\n")[0]
    attribute = BUILT_IN[name].split(":")[1]
    found = re.search(rf'^class {attribute}\b.*?"""(.*?)(?:\n|""")', _source(name), re.MULTILINE | re.DOTALL)
    return found[1] if found else ""


def lists_tasks(name: str) -> bool:
    """Whether a name is an environment of hetrl's own with a ``catalogue`` of tasks; told from its file, too."""
    return name.startswith("env/") and name in BUILT_IN and "    def catalogue(" in _source(name)


def _source(name: str) -> str:
    """Return the file of a built-in entry."""
    module = BUILT_IN[name].split(":")[0].split(".")[1:]
    return Path(__file__).parent.joinpath(*module).with_suffix(".py").read_text(encoding="utf-8")
