"""What the layout promises: names are paths, no algorithm is known to the code, imports go downward."""

import ast
import importlib
import inspect
import io
import re
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

import hetrl
from hetrl import catalog

PACKAGE = Path(hetrl.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
ALGORITHMS = (
    "happo",
    "mappo",
    "hatrpo",
    "haa2c",
    "hasac",
    "masac",
    "haddpg",
    "hatd3",
    "matd3",
    "maddpg",
    "omdpg",
    "haqo",
    "qmix",
    "vdn",
    "iql",
    "a2po",
    "coma",
    "ippo",
    "isac",
)
ACRONYMS = {"gae": "GAE", "kl": "KL", "td": "TD", "pettingzoo": "PettingZoo"}
NO_ENTRIES = {"data": {"behaviour", "environment", "collected", "ends", "evaluate", "figures", "intake",
                       "played_step", "random_actions", "ring"},
              "env": {"simulator_state", "transition", "team_env", "finite_game", "painter", "physique", "physics",
                      "robots", "scenarios", "settled", "spare"},
              "net": {"gaussian_head", "recurrent_encoder", "value_normalizer"}}  # fmt: skip
"""Files beside the entries of a kind that serve several of them."""


def name(path):
    return str(path.relative_to(PACKAGE))


# ----- names are paths


@pytest.mark.parametrize("entry", catalog.BUILT_IN)
def test_an_entry_is_a_file_and_a_class(entry):
    kind, word = entry.split("/")
    module, attribute = catalog.BUILT_IN[entry].split(":")
    assert module == f"hetrl.{kind}.{word}"
    assert attribute == "".join(ACRONYMS.get(part, part.capitalize()) for part in word.split("_"))
    assert (PACKAGE / kind / f"{word}.py").is_file()
    cls = catalog.resolve(entry)
    assert (cls.__module__, cls.__name__) == (module, attribute)


def test_every_file_of_a_kind_is_an_entry():
    found = {
        f"{kind}/{path.stem}"
        for kind in catalog.KINDS
        for path in (PACKAGE / kind).glob("*.py")
        if path.stem != "__init__" and path.stem not in NO_ENTRIES.get(kind, ())
    }
    assert found == set(catalog.BUILT_IN)


@pytest.mark.parametrize("kind", ["order", "estimate", "weight", "loss", "net", "optim", "ops"])
def test_every_file_has_its_tests(kind):
    stems = {path.stem for path in (PACKAGE / kind).glob("*.py")} - {"__init__"}
    tested = {path.stem.removeprefix("test_") for path in (Path(__file__).parent / kind).glob("test_*.py")}
    assert tested == stems


def test_no_drawer_for_everything():
    assert not [name(path) for path in FILES if path.stem in ("utils", "util", "helpers", "helper", "misc", "common")]


# ----- one word, one thing


NAMED_TWICE = {"Scenario"}
"""VMAS looks for a class of this name in every file of scenarios."""


def named(path):
    """Return the classes and the aliases of types at the top of a file."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            word = node.targets[0].id
            if word.strip("_")[:1].isupper() and not word.isupper():
                yield word


def test_a_name_is_one_thing():
    """Entries of two kinds may have one name, ``loss/temperature`` and ``net/temperature``: a recipe says which."""
    entries = {place.split(":")[1] for place in catalog.BUILT_IN.values()}
    places = {}
    for path in FILES:
        for word in named(path):
            places.setdefault(word, []).append(name(path))
    twice = {word: files for word, files in places.items() if len(files) > 1 and word not in entries}
    assert {word: files for word, files in twice.items() if word not in NAMED_TWICE} == {}


# ----- no algorithm in the code


def docstrings(source):
    """Return the positions of the docstrings, also of those under attributes."""
    tree = ast.parse(source)
    found = set()
    for node in ast.walk(tree):
        for inner in getattr(node, "body", None) or [] if not isinstance(node, ast.Lambda | ast.IfExp) else []:
            if (
                isinstance(inner, ast.Expr)
                and isinstance(inner.value, ast.Constant)
                and isinstance(inner.value.value, str)
            ):
                found.add((inner.value.lineno, inner.value.col_offset))
    return found


def spoken(source):
    """Return the names and texts of the code itself, without comments and docstrings."""
    skipped = docstrings(source)
    kinds = {tokenize.NAME, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in kinds and token.start not in skipped:
            yield token.string


def algorithms(source):
    words = {word for text in spoken(source) for word in re.split(r"[^a-z0-9]+", text.lower())}
    return sorted(words & set(ALGORITHMS))


@pytest.mark.parametrize("path", FILES, ids=name)
def test_no_algorithm_is_known_to_the_code(path):
    assert not algorithms(path.read_text(encoding="utf-8"))


def test_the_search_itself_finds_them():
    assert algorithms("def run_happo(): pass") == ["happo"]
    assert algorithms("x = 'the MAPPO loss'") == ["mappo"]
    assert algorithms('if f"{name}_haqo": pass') == ["haqo"]
    assert algorithms('"""As in HAPPO."""\n# like happo\nx = 1\n"""Of happo."""\ndef f():\n    """Happo."""\n') == []


# ----- imports


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize("path", FILES, ids=name)
def test_lightning_is_imported_where_runs_are_trained_only(path):
    watching = PACKAGE / "report" / "monitor.py"
    if not any(path.is_relative_to(place) for place in (PACKAGE / "train", PACKAGE / "runs", watching)):
        assert not [module for module in imports(path) if module.split(".")[0] in ("lightning", "pytorch_lightning")]


@pytest.mark.parametrize("path", sorted((PACKAGE / "ops").glob("*.py")), ids=name)
def test_ops_import_torch_only(path):
    assert {module.split(".")[0] for module in imports(path)} <= {
        "typing",
        "torch",
        "jaxtyping",
        "math",
        "collections",
        "torchrl",
    }


def test_imports_go_downward():
    program = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    root = PACKAGE.parent
    if not (root / "pyproject.toml").is_file():
        pytest.skip("the contracts are in the repository's pyproject.toml")
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


def test_importing_hetrl_brings_neither_lightning_nor_a_simulator():
    """They take seconds, and a recipe can be read and checked without them."""
    program = (
        "import sys, hetrl; hetrl.load('happo'); print(sorted({'lightning', 'vmas', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ----- docstrings


def modules():
    for path in FILES:
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def public(owner, module):
    """Return the public functions and classes defined in a module, and the methods of those classes."""
    for word, value in vars(owner).items():
        value = inspect.unwrap(value.__func__ if isinstance(value, classmethod | staticmethod) else value)
        value = value.fget if isinstance(value, property) else getattr(value, "func", value)
        if word.startswith("_") or not (inspect.isfunction(value) or inspect.isclass(value)):
            continue
        if getattr(value, "__module__", None) != module:
            continue
        yield f"{getattr(owner, '__name__', '')}.{word}", value
        if inspect.isclass(value):
            yield from public(value, module)


@pytest.mark.parametrize("module", list(modules()))
def test_every_public_name_has_a_docstring(module):
    loaded = importlib.import_module(module)
    assert (loaded.__doc__ or "").strip(), f"{module} says nothing of itself"
    missing = [
        where
        for where, value in public(loaded, module)
        if not (inspect.getdoc(value) if inspect.isfunction(value) else value.__doc__)
    ]
    assert not missing
