"""The names a recipe may use: built-in entries, those of installed packages, and what this process has registered.

A name is ``kind/entry``; it is never an import path, so a recipe can choose code but not bring any. Packages add
entries under the entry-point group ``hetrl.<kind>`` as ``vendor.name``; their code is imported when a recipe names
them, and not before. Built-in entries, too, are imported when they are first used, and names and summaries do without.
Scenarios are looked up by ``env/scenarios``, and given a name here.
"""

import functools
import importlib
import inspect
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hetrl.errors import RecipeError, nearest
from hetrl.offers import claim, described, imported, offered, provider

if TYPE_CHECKING:
    from hetrl.component import Component

KINDS = ("order", "estimate", "weight", "loss", "net", "optim", "env", "data")

BUILT_IN: dict[str, str] = {
    "order/random_permutation": "hetrl.order.random_permutation:RandomPermutation",
    "order/blocks": "hetrl.order.blocks:Blocks",
    "order/fixed": "hetrl.order.fixed:Fixed",
    "order/reversed": "hetrl.order.reversed:Reversed",
    "order/simultaneous": "hetrl.order.simultaneous:Simultaneous",
    "order/greedy": "hetrl.order.greedy:Greedy",
    "order/semi_greedy": "hetrl.order.semi_greedy:SemiGreedy",
    "estimate/gae": "hetrl.estimate.gae:GAE",
    "estimate/corrected_gae": "hetrl.estimate.corrected_gae:CorrectedGAE",
    "estimate/standardize": "hetrl.estimate.standardize:Standardize",
    "estimate/standardize_jointly": "hetrl.estimate.standardize_jointly:StandardizeJointly",
    "estimate/standardize_candidates": "hetrl.estimate.standardize_candidates:StandardizeCandidates",
    "estimate/td_target": "hetrl.estimate.td_target:TDTarget",
    "estimate/td_lambda_target": "hetrl.estimate.td_lambda_target:TDLambdaTarget",
    "estimate/soft_value": "hetrl.estimate.soft_value:SoftValue",
    "estimate/counterfactual_advantage": "hetrl.estimate.counterfactual_advantage:CounterfactualAdvantage",
    "estimate/soft_td_target": "hetrl.estimate.soft_td_target:SoftTDTarget",
    "estimate/best_candidate": "hetrl.estimate.best_candidate:BestCandidate",
    "estimate/joint_log_prob": "hetrl.estimate.joint_log_prob:JointLogProb",
    "estimate/optimal_marginal_q": "hetrl.estimate.optimal_marginal_q:OptimalMarginalQ",
    "estimate/marginal_action": "hetrl.estimate.marginal_action:MarginalAction",
    "estimate/baseline_drift": "hetrl.estimate.baseline_drift:BaselineDrift",
    "estimate/sum_of_utilities": "hetrl.estimate.sum_of_utilities:SumOfUtilities",
    "weight/unit_factor": "hetrl.weight.unit_factor:UnitFactor",
    "weight/importance_factor": "hetrl.weight.importance_factor:ImportanceFactor",
    "weight/clip_scale": "hetrl.weight.clip_scale:ClipScale",
    "weight/qadv": "hetrl.weight.qadv:Qadv",
    "weight/boltzmann": "hetrl.weight.boltzmann:Boltzmann",
    "weight/qcut": "hetrl.weight.qcut:Qcut",
    "loss/clipped_surrogate": "hetrl.loss.clipped_surrogate:ClippedSurrogate",
    "loss/clipped_joint_surrogate": "hetrl.loss.clipped_joint_surrogate:ClippedJointSurrogate",
    "loss/surrogate": "hetrl.loss.surrogate:Surrogate",
    "loss/kl_penalty": "hetrl.loss.kl_penalty:KLPenalty",
    "loss/entropy_bonus": "hetrl.loss.entropy_bonus:EntropyBonus",
    "loss/td": "hetrl.loss.td:TD",
    "loss/single_td": "hetrl.loss.single_td:SingleTD",
    "loss/pessimistic_uncertainty": "hetrl.loss.pessimistic_uncertainty:PessimisticUncertainty",
    "loss/soft_policy": "hetrl.loss.soft_policy:SoftPolicy",
    "loss/expected_soft_policy": "hetrl.loss.expected_soft_policy:ExpectedSoftPolicy",
    "loss/deterministic_policy": "hetrl.loss.deterministic_policy:DeterministicPolicy",
    "loss/weighted_denoising": "hetrl.loss.weighted_denoising:WeightedDenoising",
    "loss/mode_covering": "hetrl.loss.mode_covering:ModeCovering",
    "loss/noise_drift": "hetrl.loss.noise_drift:NoiseDrift",
    "loss/noise_matching": "hetrl.loss.noise_matching:NoiseMatching",
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
    "net/chain_policy": "hetrl.net.chain_policy:ChainPolicy",
    "net/joint_q": "hetrl.net.joint_q:JointQ",
    "net/attention_q": "hetrl.net.attention_q:AttentionQ",
    "net/utility": "hetrl.net.utility:Utility",
    "net/mixer": "hetrl.net.mixer:Mixer",
    "net/local_q": "hetrl.net.local_q:LocalQ",
    "net/temperature": "hetrl.net.temperature:Temperature",
    "net/mixed_policy": "hetrl.net.mixed_policy:MixedPolicy",
    "net/recurrent_policy": "hetrl.net.recurrent_policy:RecurrentPolicy",
    "net/recurrent_value": "hetrl.net.recurrent_value:RecurrentValue",
    "net/local_value": "hetrl.net.local_value:LocalValue",
    "net/state_value": "hetrl.net.state_value:StateValue",
    "net/convolutional": "hetrl.net.convolutional:Convolutional",
    "net/entities": "hetrl.net.entities:Entities",
    "net/units": "hetrl.net.units:Units",
    "optim/adam": "hetrl.optim.adam:Adam",
    "optim/trust_region": "hetrl.optim.trust_region:TrustRegion",
    "env/vmas": "hetrl.env.vmas:Vmas",
    "env/mamujoco": "hetrl.env.mamujoco:Mamujoco",
    "env/matrix_game": "hetrl.env.matrix_game:MatrixGame",
    "env/tabular_game": "hetrl.env.tabular_game:TabularGame",
    "env/cue_game": "hetrl.env.cue_game:CueGame",
    "env/battle": "hetrl.env.battle:Battle",
    "env/football_academy": "hetrl.env.football_academy:FootballAcademy",
    "env/pettingzoo": "hetrl.env.pettingzoo:PettingZoo",
    "data/on_policy": "hetrl.data.on_policy:OnPolicy",
    "data/replay": "hetrl.data.replay:Replay",
}
REGISTERED: dict[str, type[Any]] = {}
"""Name -> the entry that this process has given it, see :func:`register`."""
REGISTRATIONS: dict[str, "Registration"] = {}
"""Name -> who registered it, ``scenario/...`` too."""
_NAME = re.compile(r"\w+(\.\w+)+", re.ASCII)
_OTHERS = ("scenario", "recipe")
"""What packages offer besides entries of a kind."""


@dataclass(frozen=True)
class Registration:
    """What stands behind a registered name, and the file that registered it, as it was then."""

    part: Any
    file: Path | None
    """None in a notebook or a console."""
    source: bytes = b""
    script: bool = False
    """Whether the file is the program itself, which cannot be run a second time beside it."""


def register(name: str, part: Any) -> None:
    """Give a part a name that recipes of this process can use.

    A recipe holds the name, and so does a run's folder: whoever goes on with the run registers the part again first, in
    Python or with ``--parts FILE``, a file that calls this function. What a part has is looked at, here and in
    :func:`hetrl.check`; what it does is for ``check_env`` and the others of ``hetrl.testing``.

    An environment need not be written for hetrl. A PettingZoo ``ParallelEnv`` or a TorchRL ``EnvBase``, or a function
    that makes one, is wrapped, and its arguments become words of the task.

    Args:
        name: ``kind/vendor.name``, such as ``env/my.forage`` or ``scenario/my.dock``.
        part: a class; for ``env`` also a function. The same one may be registered again, as a notebook's cell does that
            is run twice.

    Raises:
        RecipeError: the name is none, or taken, or the part is not what entries of that kind have to be.
    """
    kind, _, word = str(name).partition("/")
    known = (*KINDS, "scenario")
    if kind not in known:
        raise RecipeError(f"'{name}': no kind '{kind}'.{nearest(kind, known)} Write kind/vendor.name.")
    if not _NAME.fullmatch(word) or word.split(".")[0] == "hetrl":
        raise RecipeError(f"'{name}' names no vendor; write {kind}/vendor.name, such as '{kind}/my.{word or 'part'}'.")
    from hetrl.env import scenarios

    provided = scenarios.installed().get(word) if kind == "scenario" else installed().get(name)
    if provided is not None:
        raise RecipeError(f"'{name}' is there already, from {provider(provided)}; choose another name.")
    entry, problem = _fitted(name, part)
    if problem:
        raise RecipeError(f"'{name}' {problem}{'' if ';' in problem else '; correct it'}.")
    taken = word in scenarios.REGISTERED if kind == "scenario" else name in REGISTERED
    before = REGISTRATIONS.get(name) if taken else None
    if before is not None and not _again(before.part, part):
        raise RecipeError(f"'{name}' is registered already, as {_called(before.part)}; choose another name.")
    REGISTRATIONS[name] = _registration(part, sys._getframe(1).f_globals)
    if kind == "scenario":
        scenarios.REGISTERED[word] = entry
    else:
        REGISTERED[name] = entry


def _fitted(name: str, part: Any) -> tuple[Any, str]:
    """Return the entry that a part makes under a name, and why it cannot be one."""
    from hetrl.env import scenarios
    from hetrl.env.adapter import own
    from hetrl.interface import misfit

    kind, _, word = name.partition("/")
    if kind == "scenario":
        return part, scenarios.misfit(part)
    if kind == "env" and own.foreign(part):
        problem = own.misfit(part)
        return None if problem else own.entry(word, part), problem
    return part, misfit(part, kind)


def _again(before: Any, part: Any) -> bool:
    """Whether a part is the one from before: itself, or what the same lines define once more."""
    if before is part:
        return True
    same = all(getattr(before, word, None) == getattr(part, word, "") for word in ("__module__", "__qualname__"))
    lines = [getattr(getattr(each, "__code__", None), "co_firstlineno", None) for each in (before, part)]
    return same and (lines[0] == lines[1] or part.__module__ == "__main__")


def _called(part: Any) -> str:
    return getattr(part, "__qualname__", type(part).__qualname__)


def _registration(part: Any, caller: Mapping[str, Any]) -> Registration:
    """Return what stands behind a name that a module registers, of which these are the globals."""
    try:
        file = Path(str(caller.get("__file__"))).resolve()
        return Registration(part, file, file.read_bytes(), caller.get("__name__") == "__main__")
    except OSError:
        return Registration(part, None)


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
    found = offered()
    problems = {name: _unusable(name, points) for name, points in found.items()}
    usable = {
        name: points[0]
        for name, points in found.items()
        if not problems[name] and name.partition("/")[0] not in _OTHERS
    }
    return usable, {name: problem for name, problem in problems.items() if problem}


def _unusable(name: str, points: Sequence[EntryPoint]) -> str:
    """Return why no recipe can name an entry of these packages; ``""`` where it can."""
    kind, _, word = name.partition("/")
    known = (*KINDS, *_OTHERS)
    if kind not in known:
        return (
            f"{provider(points[0])} offers '{word}' under 'hetrl.{kind}', and there is no kind '{kind}'."
            f"{nearest(kind, known)} Correct its pyproject.toml, or uninstall it."
        )
    if name in BUILT_IN:
        return f"'{name}' is hetrl's own, and {provider(points[0])} claims it too; uninstall that package."
    return claim(name, points)


def outside(entries: Iterable[str]) -> dict[str, str]:
    """Return the version of every package that brings some of these entries; hetrl's own are left out."""
    from hetrl.env import scenarios

    found = installed() | {f"scenario/{name}": point for name, point in scenarios.installed().items()}
    points = [found[name] for name in entries if name not in BUILT_IN and name in found]
    return {point.dist.name: point.dist.version for point in points if point.dist}


def knows(name: str) -> bool:
    """Whether there is an entry of that name, or a scenario, ``scenario/...``."""
    from hetrl.env import scenarios

    kind, _, word = name.partition("/")
    return word in scenarios.scenarios() if kind == "scenario" else name in names()


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
        raise RecipeError(f"no entry '{name}' in the catalog.{hint}{nearest(str(name), known)}{_elsewhere(name)}")
    if kinds is not None and name.split("/")[0] not in kinds:
        raise RecipeError(f"'{name}' cannot stand here; use one of {', '.join(k + '/...' for k in kinds)}.")
    if name in BUILT_IN:
        module, attribute = BUILT_IN[name].split(":")
        return getattr(importlib.import_module(module), attribute)
    if name in REGISTERED:
        return REGISTERED[name]
    return _load(name, installed()[name])


def _elsewhere(name: Any) -> str:
    """Return where a name with a vendor may be, as a message ends."""
    kind, _, word = name.partition("/") if isinstance(name, str) else ("", "", "")
    if kind not in KINDS or not _NAME.fullmatch(word):
        return ""
    return " It may be in a file of yours, --parts FILE, or in a package that is not installed."


def _load(name: str, point: EntryPoint) -> Any:
    """Import what a package offers under a name, and refuse what lacks what entries of the name's kind have."""
    entry, problem = _fitted(name, imported(name, point))
    if problem:
        what_to_do = "" if ";" in problem else "; correct the entry in its pyproject.toml, or uninstall it"
        raise RecipeError(f"{described(name, point)} {problem}{what_to_do}.")
    return entry


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


def is_part(name: str) -> bool:
    """Whether a word is written like the name of a part or a scenario, rather than of a recipe or a file."""
    kind, slash, _ = name.partition("/")
    return bool(slash) and kind in (*KINDS, "scenario") and not name.endswith((".yaml", ".yml"))


def with_word(word: str) -> list[str]:
    """Return the parts that are called so behind their kind."""
    return [name for name in names() if name.split("/", 1)[1] == word]


def lists_tasks(name: str) -> bool:
    """Whether a name is an environment of hetrl's own with a ``catalogue`` of tasks; told from its file, too."""
    return name.startswith("env/") and name in BUILT_IN and "    def catalogue(" in _source(name)


def _source(name: str) -> str:
    """Return the file of a built-in entry."""
    module = BUILT_IN[name].split(":")[0].split(".")[1:]
    return Path(__file__).parent.joinpath(*module).with_suffix(".py").read_text(encoding="utf-8")
