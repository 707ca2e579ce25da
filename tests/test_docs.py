"""What the documentation says is what happens: commands run, excerpts are the files, every word is explained."""

import importlib.util
import re
import shlex
import sys
import tomllib
import types
from pathlib import Path
from typing import get_args

import pytest
import torch
from omegaconf import OmegaConf

import hetrl
from hetrl import catalog, cli, glossary, keys
from hetrl.recipe import schema
from hetrl.recipe.net import Net, Per, Target
from hetrl.recipe.order import Of
from hetrl.recipe.read import load
from hetrl.recipe.shipped import shipped
from hetrl.recipe.step import Step
from hetrl.testing import check_component
from hetrl.train.build import make_env

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
TINY = [
    "task.n_envs=4", "task.horizon=7", "data.frames=40", "run.frames=80", "run.device=cpu", "run.n_eval_episodes=3",
    "nets.actor.hidden=[8]", "nets.value.hidden=[8]",
]  # fmt: skip
QUICK = ("show", "list", "cp", "diff")
"""Run here as they stand; ``check`` is run by ``test_docs_commands.py``, once for each program."""
FOLLOWED = ("add_a_loss", "own_environment", "deaths_and_masks", "scenario", "env_base")
"""Pages whose commands build on one another: a test of their own runs them, in order."""


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


@pytest.mark.parametrize(
    "page", [page for page in PAGES if commands(page) and page.stem not in FOLLOWED], ids=lambda page: page.stem
)
def test_commands_run(page, run):
    for words in commands(page):
        assert run(*words).strip()


def test_every_command_is_explained():
    page = (ROOT / "docs" / "commands.md").read_text()
    for command in cli.app.registered_commands:
        name = command.name or command.callback.__name__
        assert f"`hetrl {name} " in page, name


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


WITHIN = {"data/replay": "hasac", "values": "qmix"}
"""Entry, or phase -> the shipped recipe that a fragment with it stands in; any other stands in happo."""


def completed(fragment) -> dict | None:
    """Return the recipe that a fragment makes: itself, or a shipped one with its phases or its sections in place."""
    if isinstance(fragment, list):
        phases = {entry["phase"]: entry for entry in fragment if "phase" in entry}
        assert len(phases) == len(fragment), "a list is one of whole phases"
        tree = hetrl.load(WITHIN.get(next(iter(phases)), "happo")).tree
        assert set(phases) <= {phase["phase"] for phase in tree["update"]}
        return {**tree, "update": [phases.get(phase["phase"], phase) for phase in tree["update"]]}
    if "hetrl" in fragment:
        return fragment
    if set(fragment) <= {"task", "data", "run"}:
        return hetrl.load(WITHIN.get(fragment.get("data", {}).get("use"), "happo")).tree | fragment
    return None


@pytest.mark.parametrize(
    ("page", "block"),
    [(page, block) for page in PAGES for block in blocks(page, "yaml")],
    ids=lambda each: each.stem if isinstance(each, Path) else "",
)
def test_recipes_phases_and_sections_link(page, block):
    """Nets, an encoder or an optimiser alone are no whole: what uses them is elsewhere."""
    tree = completed(OmegaConf.to_container(OmegaConf.create(block)))
    if tree is None:
        assert set(OmegaConf.create(block)) <= {"nets", "optim", "encoder"}
        return
    recipe = hetrl.load(tree)
    hetrl.check(recipe)
    hetrl.link(recipe, make_env(recipe, torch.device("cpu"), 0, n_envs=1).team)


# Lightning's advice for other kinds of training: a short epoch, and the manual optimisation that we have.
@pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*", "ignore:.*no pre-optimization state.*")
@pytest.mark.parametrize(
    "page",
    [
        "docs/in_python.md", "docs/training/trainer.md", "docs/fine_tuning.md", "docs/api.md", "docs/deploy.md",
        "docs/coming_from/torchrl.md",
    ],
)  # fmt: skip
def test_python_blocks_run(page, monkeypatch, tmp_path, capsys):
    """The blocks as they stand, but for the recipes' sizes."""
    monkeypatch.chdir(tmp_path)
    for place in (hetrl, sys.modules[hetrl.train.__module__]):
        monkeypatch.setattr(place, "load", lambda recipe, *texts: load(recipe, *texts, *TINY, "run.eval_every=40"))
    for block in blocks(ROOT / page, "python"):
        names: dict = {}
        exec(compile(block, page, "exec"), names)
        if "trainer" in names:
            assert names["module"].frames == 80
        printed = capsys.readouterr().out
        for line in block.splitlines():
            if line.startswith("print(") and "  # " in line:
                assert line.split("  # ")[1] in printed


def test_contributings_loss_works(monkeypatch):
    """Its three places, as they are written."""
    file, row, test = blocks(ROOT / "CONTRIBUTING.md", "python")
    module = types.ModuleType("hetrl.loss.capped_surrogate")
    monkeypatch.setitem(sys.modules, module.__name__, module)  # torch.compile looks for it there
    exec(compile(file, "capped_surrogate.py", "exec"), module.__dict__)
    cls = module.CappedSurrogate
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


def test_contributing_names_files_that_are_there_and_the_layers_that_are_held():
    page = (ROOT / "CONTRIBUTING.md").read_text()
    (part,) = re.findall(r"^## Where things happen\n(.*?)^## ", page, re.MULTILINE | re.DOTALL)
    named = re.findall(r"`([a-z_/]+\.(?:py|yaml))`", part)
    assert "engine/phase.py" in named
    assert [path for path in named if not (ROOT / "hetrl" / path).exists() and not (ROOT / path).exists()] == []
    (block,) = re.findall(r"^```text\n(.*?)^```", part, re.MULTILINE | re.DOTALL)
    held = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]["layers"]
    layers = [re.match(r"\w+(?: \| \w+)*", line) for line in block.splitlines()]
    assert [layer[0] for layer in layers if layer] == [line.replace("hetrl.", "") for line in held]


@pytest.mark.parametrize("name", ["promised.md", "promised_environments.md"])
def test_every_promise_is_held_by_a_test_that_is_there(name):
    page = (ROOT / "docs" / name).read_text()
    lines = [line for line in page.splitlines() if line.startswith("| ") and not line.endswith("| held by |")]
    held = [re.findall(r"`(tests/[a-z_/]+\.py)::(test_\w+)`", line) for line in lines]
    assert lines and all(held)
    missing = [f"{file}::{name}" for each in held for file, name in each
               if f"def {name}(" not in (ROOT / file).read_text()]  # fmt: skip
    assert missing == []


def rows(page: str, heading: str) -> list[str]:
    """Return the words that the tables below a heading explain, up to the next heading."""
    text = (ROOT / "docs" / page).read_text()
    (part,) = re.findall(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    return re.findall(r"^\| `(\w+)` \|", part, re.MULTILINE)


def names(cls: type, *own: str) -> list[str]:
    return [name for name in cls.model_fields if name not in ("where", *own)]


@pytest.mark.parametrize(
    ("heading", "accepted"),
    [
        ("Sections", list(schema.SECTIONS)),
        ("`nets`", names(Net, "name", "arguments")),
        ("Phases", ["phase", *names(schema.Phase, "name")]),
        ("Steps", names(Step, "arguments")),
        ("`run`", names(schema.RunSettings)),
    ],
)
def test_the_words_of_the_format_are_these_and_no_others(heading, accepted):
    assert sorted(rows("recipes.md", heading)) == sorted(accepted)


def test_every_word_of_the_format_is_explained():
    explained = words_in((ROOT / "docs" / "recipes.md").read_text())
    words = [
        *names(Target),
        *get_args(Per),
        *get_args(schema.Inactive),
        *get_args(Of),
        "groups",
        "next",
        "linear",
    ]
    assert [word for word in words if word not in explained] == []


def test_every_word_that_is_explained_is_read():
    """Each word of the tables, misspelt, is refused; the loader knows no other."""
    tree = hetrl.load("hasac").tree
    for at, heading in ((tree, "Sections"), (tree["update"][0], "Phases"), (tree["run"], "`run`")):
        for word in rows("recipes.md", heading):
            at[f"{word}_"] = 1
            with pytest.raises(hetrl.HetrlError, match=f"{word}_"):
                schema.Recipe(tree)
            del at[f"{word}_"]


@pytest.fixture(scope="module")
def hooks():
    spec = importlib.util.spec_from_file_location("docs_hooks", ROOT / "docs" / "hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def generated(hooks):
    return hooks.pages()


def test_every_catalog_entry_has_a_page(generated):
    for name in catalog.BUILT_IN:
        text = generated[f"components/{name}.md"]
        assert text.startswith(f"# {name}\n") and catalog.summary(name).split("``")[0] in text
        assert f"({name}.md)" in generated["components/index.md"]


PARTS = {"order", "estimate", "weight", "loss", "optim"}
"""Kinds that are equations of papers, and say whose."""


@pytest.mark.parametrize("name", catalog.BUILT_IN)
def test_a_components_page_has_its_parts(name, generated):
    text = generated[f"components/{name}.md"]
    kind = name.split("/")[0]
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    wanted = ["Arguments", "Where it is used", "Code"]
    wanted += ["Source", "How it differs from the source"] if kind in PARTS else []
    wanted += ["Keys"] if kind in PARTS - {"optim"} else []
    assert [heading for heading in wanted if heading not in headings] == []
    assert "```text\n" in text or kind != "loss", "a loss has its formula"
    assert f"class {catalog.resolve(name).__name__}" in text
    cells = re.findall(r"^\| `\w+` \| (.*?) \| .*? \| (.*) \|$", text.split("## Keys")[0], re.MULTILINE)
    assert all(kind_of_value and explained for kind_of_value, explained in cells), cells


def test_pages_say_who_uses_a_component(hooks):
    text = hooks.page("loss/kl_penalty")
    assert "`happo_penalty`" in text and "[HAA2C, choice by choice](../../details/haa2c.md)" in text
    unused = hooks.page("order/reversed")
    assert "In no shipped recipe." in unused or "Pages: " in unused


def test_a_component_named_in_code_becomes_a_link(hooks):
    page = types.SimpleNamespace(file=types.SimpleNamespace(src_uri="details/happo.md"))
    made = hooks.on_page_markdown(
        "`{use: loss/td, coef: 2}` [`loss/td`](x.md)\n```yaml\n`loss/td`\n```\n", page, {}, []
    )
    assert made == (
        "[`{use: loss/td, coef: 2}`](../components/loss/td.md) [`loss/td`](x.md)\n```yaml\n`loss/td`\n```\n"
    )
    assert (
        hooks.on_page_markdown("`order/x` `loss/td.py` `loss/td_`", page, {}, []) == "`order/x` `loss/td.py` `loss/td_`"
    )


def keys_in_use() -> set[str]:
    """Return the keys that components, networks, collection and shipped recipes use."""
    from hetrl.data.on_policy import OnPolicy
    from hetrl.data.replay import Replay
    from hetrl.env.cue_game import CueGame
    from hetrl.env.vmas import Vmas

    used = set(OnPolicy.provides(Vmas.provides({}))) | set(Replay.provides(CueGame.provides({"leave": 0.1})))
    for name in catalog.BUILT_IN:
        cls = catalog.resolve(name)
        for table in [cls.table] if hasattr(cls, "table") else getattr(cls, "modes", {}).values():
            used |= {*table.reads.values(), *table.writes.values()}
        used |= {keys.of_agent_in_turn(cls.reads[role]) for role in getattr(cls, "follows", ())}
    for name in shipped():
        if not name.startswith("task/"):
            steps = [step for phase in hetrl.load(name).update for part in ("before", "prepare", "steps", "after")
                     for step in getattr(phase, part)]  # fmt: skip
            used |= {key for step in steps for named in (step.keys, step.reads, step.writes) for key in named.values()}
    return used


def test_every_key_is_in_the_glossary():
    """What a loss writes under ``loss.`` and ``log.`` needs no word; everything else is one that is explained."""
    used = {key for key in keys_in_use() if "." not in key or "target" not in key.split(".")[1:]}  # not calls
    assert glossary.unexplained(used) == []


def test_the_glossary_has_no_word_that_nobody_uses():
    used = {glossary.base(key) for key in keys_in_use()}
    assert [key for words in glossary.WORDS.values() for key in words if key not in used] == []


def test_the_glossarys_page_is_made_of_it(hooks):
    page = types.SimpleNamespace(file=types.SimpleNamespace(src_uri="keys.md"))
    made = hooks.on_page_markdown((ROOT / "docs" / "keys.md").read_text(), page, {}, [])
    for words in glossary.WORDS.values():
        for key, word in words.items():
            assert f"`{key}`" in made and word.meaning in made
    assert "| `log.agent.kl_coef` | reward/nat | [loss/kl_penalty](components/loss/kl_penalty.md) |" in made


def test_a_new_loss_key_needs_no_word(hooks, monkeypatch):
    """So a loss in the tree is a file, a row and a test."""

    class Doubled(hetrl.Component):
        reads = {"log_prob": "agent.log_prob"}
        writes = {"loss": "loss.agent.doubled", "size": "log.agent.size"}

        def compute(self, log_prob):
            """Return ``loss`` per sample [nat] and its ``size`` [1]."""

    resolve = catalog.resolve
    monkeypatch.setitem(catalog.BUILT_IN, "loss/doubled", "hetrl.loss.doubled:Doubled")
    monkeypatch.setattr(
        catalog, "resolve", lambda name, kind=None: Doubled if name == "loss/doubled" else resolve(name)
    )
    assert glossary.unexplained([*Doubled.table.reads.values(), *Doubled.table.writes.values()]) == []
    made = hooks.glossary_tables()
    assert "| `loss.agent.doubled` | nat | [loss/doubled](components/loss/doubled.md) |" in made
    assert "| `log.agent.size` | 1 | [loss/doubled](components/loss/doubled.md) |" in made
    assert glossary.unexplained(["agent.sizes", "agents.log_prob", "next.agent.old_entropy"]) == ["agent.sizes"]


def test_what_mends_a_run_is_a_word_that_some_recipe_takes():
    """Every override in a cell of the tables of 'It does not learn', and of those of 'Which recipe?'."""
    recipes = [hetrl.load(name).tree for name in shipped() if not name.startswith("task/")]
    tried = 0
    for page in ("does_not_learn.md", "which_recipe.md"):
        rows = [line for line in (ROOT / "docs" / page).read_text().splitlines() if line.startswith("| ")]
        for words in re.findall(r"`([a-z]+\.[a-z_.]+=[^`]*)`", "\n".join(rows)):
            tried += 1
            assert any(takes(tree, re.split(r" (?=[a-z]+\.)", words)) for tree in recipes), words
    assert tried > 15


def takes(tree: dict, overrides: list[str]) -> bool:
    """Whether a recipe loads and checks with overrides."""
    try:
        hetrl.check(hetrl.load(tree, *overrides))
    except hetrl.HetrlError:
        return False
    return True


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
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", re.sub(r"`[^`\n]*`", "`", prose)):
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
