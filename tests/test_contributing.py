"""CONTRIBUTING.md's loss needs three places: they are written into a copy of the tree, and its tests are run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
COPIED = ("hetrl", "recipes", "docs", "tests", "README.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "pyproject.toml",
          "constraints.txt", "mkdocs.yml")  # fmt: skip
CHECKED = ("tests/test_contract.py", "tests/test_structure.py", "tests/test_docs.py", "tests/test_catalog.py")


@pytest.fixture
def tree(tmp_path):
    """Return a copy of the tree."""
    for name in COPIED:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", ".*", "*.egg-info")
            shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
        elif (ROOT / name).exists():
            shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def pytest_in(tree: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words]
    return subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_loss_needs_a_file_a_row_and_a_test(tree):
    blocks = re.findall(r"^```python\n(.*?)^```", (tree / "CONTRIBUTING.md").read_text(), re.MULTILINE | re.DOTALL)
    # Under another name: the page's own must stay free, and a test of the documentation says so.
    file, row, test = (
        block.replace("capped_surrogate", "limited_surrogate").replace("CappedSurrogate", "LimitedSurrogate")
        for block in blocks
    )
    (tree / "hetrl" / "loss" / "limited_surrogate.py").write_text(file)
    done = pytest_in(tree, "tests/test_structure.py", "-k", "every_file_of_a_kind or every_file_has")
    assert done.returncode == 1 and "2 failed" in done.stdout, done.stdout[-3000:]  # the row and the test are missed

    catalog = tree / "hetrl" / "catalog.py"
    before = '    "loss/clipped_surrogate": '
    catalog.write_text(catalog.read_text().replace(before, f"    {row.strip()}\n{before}"))
    (tree / "tests" / "loss" / "test_limited_surrogate.py").write_text(test)
    done = pytest_in(tree, "tests/loss/test_limited_surrogate.py", *CHECKED)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-1000:]
    done = pytest_in(tree, "tests/test_contract.py", "-k", "limited_surrogate")
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout[-3000:]
