"""The notebooks of the documentation run from the first cell to the last, and keep no outputs that could be old."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BOOKS = sorted((Path(__file__).parent.parent / "docs" / "notebooks").glob("*.ipynb"))
SAYS = {
    "train_and_look": "with a package of 10",
    "compose": "it links",
    "bring_and_take": "all well",
}
"""Something that each prints."""


def cells(book: Path, kind: str = "code") -> list[dict]:
    return [cell for cell in json.loads(book.read_text())["cells"] if cell["cell_type"] == kind]


def test_these_are_the_notebooks():
    page = (BOOKS[0].parent.parent / "notebooks.md").read_text()
    assert [book.stem for book in BOOKS] == sorted(SAYS)
    assert all(f"notebooks/{book.name}" in page for book in BOOKS)


@pytest.mark.parametrize("book", BOOKS, ids=lambda book: book.stem)
def test_a_notebook_is_code_without_outputs(book):
    for number, cell in enumerate(cells(book)):
        assert cell["outputs"] == [] and cell["execution_count"] is None
        compile("".join(cell["source"]), f"{book.name}[{number}]", "exec")


@pytest.mark.slow
@pytest.mark.parametrize("book", BOOKS, ids=lambda book: book.stem)
def test_a_notebook_runs(book, tmp_path):
    """As it stands, in an empty folder."""
    script = "\n\n".join("".join(cell["source"]) for cell in cells(book))
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert SAYS[book.stem] in done.stdout
