"""A new package with one part, tests to fill in and a recipe that uses it."""

import keyword
import re
from importlib.metadata import packages_distributions, version
from pathlib import Path
from string import Template

from hetrl import catalog
from hetrl.disk import writes
from hetrl.errors import RecipeError, RunError, nearest

TEMPLATES = Path(__file__).parent / "template"
SUFFIX = ".in"
"""Of the templates, so that no tool takes them for what they become."""
STEPS = {
    "estimate": "estimate/standardize",
    "weight": "weight/unit_factor",
    "loss": "loss/clipped_surrogate, clip: 0.2",
    "order": "order/random_permutation",
    "net": "net/gaussian_policy",
    "optim": "optim/adam, lr: 5e-4, max_grad_norm: 10",
    "data": "data/on_policy",
    "env": "env/vmas, scenario: balance, n_agents: 3",
}
"""The kinds there are templates for, and what a new one takes the place of in the recipe."""
CHECKS = {
    "estimate": ("check_component", ", per_sample=False"),
    "weight": ("check_component", ", per_sample=True"),
    "loss": ("check_component", ", per_sample=True"),
    "order": ("check_order", ""),
    "net": ("check_net", ", hidden=[8]"),
    "optim": ("check_optim", ""),
    "data": ("check_data", ", frames=24"),
    "env": ("check_env", ", horizon=5"),
}
"""The check of ``hetrl.testing`` that each kind goes through, and the arguments that it is given."""
CALLED = {
    "estimate": "An estimate",
    "weight": "A weight",
    "loss": "A loss",
    "order": "An order",
    "net": "A net",
    "optim": "An optimiser",
    "data": "A source of data",
    "env": "An environment",
}
"""What each kind is in a sentence."""
REQUIRES = {"env": ["gymnasium>=1.0", "pettingzoo>=1.25"]}
"""What a kind needs besides hetrl."""
FILES = {
    ".gitignore": "gitignore",
    "README.md": "README.md",
    "pyproject.toml": "pyproject.toml",
    "$word.yaml": "recipe.yaml",
    "$package/__init__.py": "package.py",
    "$package/$word.py": "$kind/component.py",
    "tests/test_numbers.py": "$kind/numbers.py",
    "tests/test_contract.py": "contract.py",
}
"""What is written -> its template."""
SENTENCES = ("about", "comparison")
"""Templates of a sentence in these files, which a kind may have its own of."""
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def new(kind: str, name: str, folder: Path) -> list[Path]:
    """Write the package of a new part, and return its files.

    Args:
        kind: one of :data:`STEPS`.
        name: ``vendor.name``: who brings it, and what it is.
        folder: where to; it must not exist.

    Raises:
        RecipeError: there is no template for the kind, or the name cannot be one or is taken.
        RunError: the folder exists, or cannot be written.
    """
    words = _words(kind, name)
    if folder.exists():
        raise RunError(f"{folder} exists; name a folder that does not.")
    files = {folder / _filled(path, words): _template(_filled(source, words)) for path, source in FILES.items()}
    texts = {path: _filled(text, words) for path, text in files.items()}
    with writes(folder):
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return list(texts)


def _words(kind: str, name: str) -> dict[str, str]:
    """Return what the templates call things, once the names are found fit."""
    if kind not in STEPS:
        what = f"no template for '{kind}'" if kind in catalog.KINDS else f"no kind '{kind}'"
        raise RecipeError(f"{what}.{nearest(kind, STEPS)}")
    vendor, dot, word = name.partition(".")
    article = "an" if kind[0] in "aeio" else "a"
    for part in (vendor, word):
        if not dot or not _NAME.fullmatch(part) or keyword.iskeyword(part):
            raise RecipeError(
                f"'{name}' is no name for {article} {kind}; write vendor.name, each of small letters, digits and "
                f"underscores, such as '{_proposed(name, kind)}'."
            )
    if vendor == "hetrl":
        raise RecipeError(f"'{name}': hetrl's own entries have no vendor; write your own, such as 'yourlab.{word}'.")
    cls = "".join(part.capitalize() for part in word.split("_"))
    if cls in taken(kind):
        raise RecipeError(f"'{name}': its class would hide {cls}, which it needs; choose another name.")
    if keyword.iskeyword(cls):
        raise RecipeError(f"'{name}': its class would be {cls}, a word of Python's own; choose another name.")
    entry, package = f"{kind}/{name}", f"{vendor}_{word}"
    if entry in catalog.installed():
        provider = catalog.provider(catalog.installed()[entry])
        raise RecipeError(f"'{entry}' is there already, from {provider}; choose another name, or uninstall that.")
    if package in packages_distributions():
        raise RecipeError(f"'{name}' would be a package '{package}', and one is installed; choose another name.")
    replaced, ours = STEPS[kind].split(",")[0], ".".join(version("hetrl").split(".")[:2])
    said = {"entry": entry, "replaced": replaced, "word": word, "package": package}
    return {
        "kind": kind,
        "name": name,
        "word": word,
        "class_": cls,
        "entry": entry,
        "package": package,
        "distribution": package.replace("_", "-"),
        "check": CHECKS[kind][0],
        "given": CHECKS[kind][1],
        "a_part": CALLED[kind],
        "docstring": "the docstring" if kind in ("data", "env") else "the docstring and the formula",
        **{each: _filled(_template_of(kind, each).strip(), said) for each in SENTENCES},
        "resolved": "catalog.resolve(NAME).made_by[0]" if kind == "env" else "catalog.resolve(NAME)",
        "requires": ", ".join(f'"{each}"' for each in [f"hetrl>={ours}", *REQUIRES.get(kind, [])]),
        "replaced": replaced,
        **{f"{each}_step": entry if each == kind else step for each, step in STEPS.items()},
    }


def _proposed(name: str, kind: str) -> str:
    """Return what the author may have meant."""
    spoken = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.removeprefix(f"{kind}/")).lower()
    parts = [re.sub(r"[^a-z0-9]+", "_", part).strip("_0123456789") for part in spoken.split(".", 1)]
    parts = [part if part and not keyword.iskeyword(part) else f"my_{part or kind}" for part in parts]
    return ".".join(parts if len(parts) == 2 else ["yourlab", *parts])


def taken(kind: str) -> set[str]:
    """Return the words that the templates of a kind import or define, which its class cannot be called."""
    texts = [_template(_filled(source, {"kind": kind, "word": "", "package": ""})) for source in FILES.values()]
    found = re.findall(r"^(?:from \S+ import (.+)|import (\w+)|class (\w+)\()", "\n".join(texts), re.MULTILINE)
    return {word for groups in found for words in groups for word in words.split(", ") if word}


def _template_of(kind: str, name: str) -> str:
    """Return a template of a kind, or the one of all kinds."""
    return _template(f"{kind}/{name}" if (TEMPLATES / kind / f"{name}{SUFFIX}").exists() else name)


def _template(name: str) -> str:
    return (TEMPLATES / f"{name}{SUFFIX}").read_text(encoding="utf-8")


def _filled(text: str, words: dict[str, str]) -> str:
    return Template(text).substitute(words)
