"""The house: which way imports run, how long files are, and how far a minibatch has to be followed."""

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import hetrl

PACKAGE = Path(hetrl.__file__).parent
FILES = {
    ".".join((PACKAGE.name, *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
MACHINERY = ("recipe", "engine", "train", "runs", "search")
MINIBATCH = (
    "loss/clipped_surrogate.py", "engine/phase.py", "engine/turns.py", "engine/objective.py", "engine/rows.py",
    "engine/program.py",
)  # fmt: skip
"""What a HAPPO minibatch crosses, in reading order."""


def imported(path):
    """Yield the modules of hetrl that a file names: at its top, inside a function, or in a text."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in FILES else str(node.module) for name in names)
        elif isinstance(node, ast.Constant) and re.fullmatch(r"hetrl(\.\w+)+(:\w+)?", str(node.value)):
            yield str(node.value).split(":")[0]


def graph():
    # What `import hetrl` brings for its users is no dependency of the package's own files.
    return {
        name: {other for other in imported(path) if other in FILES and other not in (name, "hetrl")}
        for name, path in FILES.items()
    }


def test_no_imports_in_a_circle():
    """Also not by way of an import inside a function, or of a name in a text."""
    try:
        TopologicalSorter(graph()).prepare()
    except CycleError as error:
        pytest.fail(f"a cycle: {' <- '.join(error.args[1])}")


def test_the_search_sees_what_is_hidden(tmp_path):
    (tmp_path / "file.py").write_text(
        "import hetrl.keys\nfrom hetrl import rng\n\ndef f():\n    from hetrl.team import Team\n\n"
        "x = 'hetrl.net.joint_q:JointQ'\ny = 'hetrl.errors'\nz = 'hetrl is not a path'\n"
    )
    assert set(imported(tmp_path / "file.py")) == {
        "hetrl.keys", "hetrl.rng", "hetrl.team", "hetrl.net.joint_q", "hetrl.errors",
    }  # fmt: skip


@pytest.mark.parametrize("folder", MACHINERY)
def test_files_and_functions_are_short(folder):
    long = []
    for path in sorted((PACKAGE / folder).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if len(text.splitlines()) > 300:
            long.append(f"{path.name}: {len(text.splitlines())} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
                if node.end_lineno - first + 1 > 40:
                    long.append(f"{path.name}: {node.name}, {node.end_lineno - first + 1} lines")
    assert not long


def test_a_minibatch_is_followed_in_six_files():
    assert sum(len((PACKAGE / file).read_text(encoding="utf-8").splitlines()) for file in MINIBATCH) <= 900
    guide = PACKAGE.parent / "CONTRIBUTING.md"
    if guide.is_file():
        text = guide.read_text(encoding="utf-8")
        assert all(file in text for file in MINIBATCH)
