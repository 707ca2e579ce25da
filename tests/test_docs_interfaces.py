"""The pages of the interfaces: their examples keep the contract, and their commands are there."""

import re
import sys
import types
from pathlib import Path

import pytest

import hetrl
from hetrl import catalog
from hetrl.scaffold.new import STEPS, new

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs" / "interfaces").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_example_keeps_the_contract(page, monkeypatch):
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    module = types.ModuleType(f"example_of_{page.stem}")
    monkeypatch.setitem(sys.modules, module.__name__, module)  # torch.compile looks for it there
    monkeypatch.setattr(catalog, "REGISTERED", {})
    for block in blocks:
        exec(compile(block, page.name, "exec"), module.__dict__)
        assert re.search(r"^check_\w+\(\w+", block, re.MULTILINE)
    assert blocks


def test_the_order_that_reads_a_key_links(monkeypatch):
    """As the page writes it, on a small task."""
    module = types.ModuleType("example_of_reading")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(catalog, "REGISTERED", {})
    page = (ROOT / "docs" / "interfaces" / "orders.md").read_text()
    for block in re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        exec(compile(block, "orders.md", "exec"), module.__dict__)
    small = ("task.n_envs=2", "task.horizon=5", "data.frames=10", "run.frames=10", "nets.actor.hidden=[4]")
    learner, _ = hetrl.build(hetrl.load(module.recipe, *small))
    assert isinstance(learner.linked.orders["actors"], module.GreatestFirst)


def test_every_kind_has_its_page_and_its_command(tmp_path):
    text = "".join(page.read_text() for page in PAGES)
    assert len(PAGES) == 6 and all(f"interfaces/{page.name}" in (ROOT / "mkdocs.yml").read_text() for page in PAGES)
    commands = re.findall(r"^hetrl new (\w+) (\S+) (\S+)", text, re.MULTILINE)
    for kind, name, folder in commands:
        assert new(kind, name, tmp_path / folder)
    named = {kind for kind, *_ in commands} | set(re.findall(r"# or (\w+), or (\w+):", text)[0])
    assert named == set(STEPS) == set(catalog.KINDS)
