"""What the documentation says is what happens: commands run, excerpts are the files, every word is explained."""

import importlib.util
import re
import shlex
import sys
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest
from omegaconf import OmegaConf

import hetrl
from hetrl import catalog, cli
from hetrl.recipe import load as loading
from hetrl.testing import check_component

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
TINY = [
    "task.n_envs=4", "task.horizon=7", "data.frames=40", "run.frames=80", "run.device=cpu", "run.n_eval_episodes=3",
    "nets.actor.hidden=[8]", "nets.value.hidden=[8]",
]  # fmt: skip
QUICK = ("check", "show", "list", "cp")


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[list[str]]:
    """Return the quick ``hetrl`` commands of a page's bash blocks, as words."""
    lines = [line for block in blocks(page, "bash") for line in block.replace("\\\n", " ").splitlines()]
    found = [shlex.split(line, comments=True) for line in lines if line.startswith("hetrl ")]
    return [words[1:] for words in found if words[1] in QUICK]


def words_in(text: str) -> set[str]:
    return {word for code in re.findall(r"`([^`\n]+)`", text) for word in re.findall(r"\w+", code)}


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Return a function that runs a command in an empty folder and returns what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def command(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["hetrl", *words])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        printed = capsys.readouterr()
        assert not exit_.value.code, f"hetrl {shlex.join(words)}: {printed.out}{printed.err}"
        return printed.out

    return command


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=lambda page: page.stem)
def test_commands_run(page, run):
    for words in commands(page):
        assert run(*words).strip()


def test_every_command_is_in_the_readme():
    readme = (ROOT / "README.md").read_text()
    for command in cli.app.registered_commands:
        name = command.name or command.callback.__name__
        assert f"`hetrl {name} " in readme, name


def test_the_readmes_error_is_the_real_one(monkeypatch, capsys):
    session = next(block for block in blocks(ROOT / "README.md", "text") if block.startswith("$ hetrl"))
    command, expected = session.strip().split("\n")
    monkeypatch.setattr(sys, "argv", shlex.split(command)[1:])
    with pytest.raises(SystemExit):
        cli.main()
    assert capsys.readouterr().err.strip() == expected


def test_the_readmes_recipe_is_the_file():
    (excerpt,) = blocks(ROOT / "README.md", "yaml")
    assert excerpt == (ROOT / "recipes" / "happo.yaml").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_yaml_blocks_are_yaml(page):
    for block in blocks(page, "yaml"):
        OmegaConf.create(block)


# Lightning's advice for other kinds of training: a short epoch, and the manual optimisation that we have.
@pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*", "ignore:.*no pre-optimization state.*")
@pytest.mark.parametrize("page", ["README.md", "docs/training.md"])
def test_python_blocks_run(page, monkeypatch, tmp_path, capsys):
    """The blocks as they stand, but for the recipes' sizes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hetrl, "load", lambda recipe, *overrides: loading.load(recipe, *overrides, *TINY))
    for block in blocks(ROOT / page, "python"):
        names: dict = {}
        exec(compile(block, page, "exec"), names)
        if "trainer" in names:
            assert names["module"].frames == 80
        for line in block.splitlines():
            if line.startswith("print(") and "  # " in line:
                assert line.split("  # ")[1] in capsys.readouterr().out


def test_contributings_loss_works(monkeypatch):
    """Its three places, as they are written."""
    file, row, test = blocks(ROOT / "CONTRIBUTING.md", "python")
    names: dict = {"__name__": "hetrl.loss.capped_surrogate"}
    exec(compile(file, "capped_surrogate.py", "exec"), names)
    cls = names["CappedSurrogate"]
    name, place = row.strip().rstrip(",").replace('"', "").split(": ")
    assert place == f"{cls.__module__}:{cls.__name__}" and name not in catalog.BUILT_IN
    resolve = catalog.resolve
    monkeypatch.setattr(catalog, "resolve", lambda asked, kind=None: cls if asked == name else resolve(asked, kind))
    check_component(name)
    tests: dict = {}
    exec(compile(test, "test_capped_surrogate.py", "exec"), tests)
    tests["test_the_docstrings_numbers"]()
    use = re.search(r'hetrl train happo "(.*?)"', (ROOT / "CONTRIBUTING.md").read_text())
    hetrl.check(hetrl.load("happo", use[1]))


def test_every_word_of_the_format_is_explained():
    explained = words_in((ROOT / "docs" / "recipes.md").read_text())
    phase = [field.name for field in fields(loading.Phase) if field.name not in ("where", "name")]
    run_words = [field.name for field in fields(loading.Run)]
    target = [field.name for field in fields(loading.Target)]
    words = [*loading.SECTIONS, "phase", *phase, *loading._STEP_WORDS, *run_words, *get_args(loading.Per)]
    words += ["target", *target]
    missing = [word for word in [*words, "groups", "next", "linear"] if word not in explained]
    assert not missing


@pytest.fixture(scope="module")
def generated():
    spec = importlib.util.spec_from_file_location("docs_hooks", ROOT / "docs" / "hooks.py")
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    return hooks.pages()


def test_every_catalog_entry_has_a_page(generated):
    for name in catalog.BUILT_IN:
        text = generated[f"components/{name}.md"]
        assert text.startswith(f"# {name}\n") and catalog.summary(name).split("``")[0] in text
        assert f"({name}.md)" in generated["components/index.md"]


def test_every_key_is_in_the_glossary():
    explained = set(re.findall(r"`([^`\n]+)`", (ROOT / "docs" / "keys.md").read_text()))
    from hetrl.data.on_policy import OnPolicy
    from hetrl.data.replay import Replay
    from hetrl.env.cue_game import CueGame
    from hetrl.env.vmas import Vmas

    used = set(OnPolicy.provides(Vmas.provides({}))) | set(Replay.provides(CueGame.provides({"leave": 0.1})))
    for name in catalog.BUILT_IN:
        cls = catalog.resolve(name)
        for table in [cls.table] if hasattr(cls, "table") else getattr(cls, "modes", {}).values():
            used |= {*table.reads.values(), *table.writes.values()}
    assert used <= explained, sorted(used - explained)


@pytest.mark.parametrize("algorithm", ["happo", "mappo", "hasac", "haddpg"])
def test_details_quote_the_recipe(algorithm):
    """What follows 'Recipe:' in a page of details stands in the recipe; after 'Recipe of x:' in that one."""
    text = (ROOT / "docs" / "details" / f"{algorithm}.md").read_text()
    after = re.findall(r"Recipe(?: of\s(\w+))?:((?:\s*`[^`]+`,?)+)", text)
    quoted = [(name or algorithm, code) for name, codes in after for code in re.findall(r"`([^`]+)`", codes)]
    recipes = {name: (ROOT / "recipes" / f"{name}.yaml").read_text() for name, _ in quoted}
    assert len(quoted) > 3 and len(after) == len(re.findall(r"Recipe(?: of\s\w+)?:", text))
    assert [(name, code) for name, code in quoted if code not in recipes[name]] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page, generated):
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text()):
        path = (page.parent / target).resolve().relative_to(ROOT)
        made = str(path).removeprefix("docs/") in generated
        assert made or (ROOT / path).exists(), target


def test_the_docs_name_no_machine():
    for page in PAGES:
        assert not re.search(r"/root/|/home/|/tmp/", page.read_text()), page


def test_the_constraints_name_exact_versions():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[\w.]+", line) for line in lines)
    assert any(line.startswith("torch==") for line in lines)
