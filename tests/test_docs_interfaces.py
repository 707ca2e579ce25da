"""The pages of the interfaces: their examples keep the contract, and their commands are there."""

import re
import sys
import types
from pathlib import Path

import pytest

from hetrl import catalog
from hetrl.scaffold.new import STEPS, new

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs" / "interfaces").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_example_keeps_the_contract(page, monkeypatch):
    (block,) = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    module = types.ModuleType(f"example_of_{page.stem}")
    monkeypatch.setitem(sys.modules, module.__name__, module)  # torch.compile looks for it there
    exec(compile(block, page.name, "exec"), module.__dict__)
    assert re.search(r"^check_\w+\(\w+", block, re.MULTILINE)


def test_every_kind_has_its_page_and_its_command(tmp_path):
    text = "".join(page.read_text() for page in PAGES)
    assert len(PAGES) == 6 and all(f"interfaces/{page.name}" in (ROOT / "mkdocs.yml").read_text() for page in PAGES)
    commands = re.findall(r"^hetrl new (\w+) (\S+) (\S+)", text, re.MULTILINE)
    for kind, name, folder in commands:
        assert new(kind, name, tmp_path / folder)
    named = {kind for kind, *_ in commands} | set(re.findall(r"# or (\w+), or (\w+):", text)[0])
    assert named == set(STEPS) == set(catalog.KINDS) - {"env"}
