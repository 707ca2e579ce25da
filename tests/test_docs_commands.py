"""Every command of the documentation works: the command line takes it, and its recipe loads, checks and links.

The blocks go through a shell in which ``hetrl`` only notes what it was called with, so loops, variables and quotes are
those that a reader's shell would see. The slow part runs the commands, with the sizes of recipes made small.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from hetrl import catalog, cli
from hetrl.errors import HetrlError
from hetrl.recipe.combinations import combinations, split
from hetrl.recipe.read import load
from hetrl.recipe.schema import Recipe
from hetrl.report.quantity import quantities
from hetrl.search.ranges import SearchRange, corners

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMANDS = typer.main.get_command(cli.app).commands
FOLLOWED = (
    "docs/add_a_loss.md", "docs/own_environment.md", "docs/own_environment/scenario.md",
    "docs/own_environment/env_base.md", "docs/own_environment/deaths_and_masks.md", "docs/worlds.md",
    "docs/environments/football_academy.md",
)  # fmt: skip
"""Their recipes are of packages or files that they make on the way, which tests of their own follow, or of packages of
others that are not installed here."""
NOTING = r"""
exec 3>&1 >/dev/null 2>&1 </dev/null
PATH= ; set -f
command_not_found_handle() { :; }
cd() { :; }
hetrl() { { printf '%s\037' "$@"; printf '\036'; } >&3; }
"""
BASH = shutil.which("bash")


def place(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(text: str) -> list[str]:
    """Return the blocks with commands: bash, and text that has some."""
    found = re.findall(r"^```(bash|text)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [block for language, block in found if language == "bash" or re.search(r"^\s*hetrl ", block, re.MULTILINE)]


def noted(text: str) -> list[list[str]]:
    """Return the words of every call of ``hetrl`` that a shell makes of a page's blocks."""
    script = NOTING + "\n".join(blocks(text))
    done = subprocess.run([str(BASH), "--norc", "-c", script], capture_output=True, text=True, check=False, timeout=60)
    return [call.split("\x1f")[:-1] for call in done.stdout.split("\x1e")[:-1]]


def written(text: str) -> int:
    """Return how many calls stand at the beginning of a line, or after ``do``."""
    return sum(len(re.findall(r"(?:^|\bdo )\s*hetrl ", block, re.MULTILINE)) for block in blocks(text))


def parsed(words: list[str]) -> dict[str, Any]:
    """Return the parameters that the real command line makes of a call."""
    assert words and words[0] in COMMANDS, f"hetrl {' '.join(words)}: no such command"
    try:
        return COMMANDS[words[0]].make_context(words[0], words[1:]).params
    except Exception as error:  # typer has its own copies of click's errors
        raise AssertionError(f"hetrl {' '.join(words)}: {getattr(error, 'message', error)}") from None


LINKED: set[str] = set()
"""Recipes that have been linked, without ``run``, which says nothing about the algorithm."""


def linked(recipe: str, overrides: list[str]) -> Recipe:
    """Return the recipe of a call, linked for its task as ``hetrl check`` does."""
    loaded = load(recipe, *overrides)
    known = repr({word: part for word, part in loaded.tree.items() if word not in ("run", "about")})
    if known not in LINKED:
        cli.check.check(recipe, overrides)
        LINKED.add(known)
    return loaded


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return the folder that commands run in: empty, but for the repository's tests, which some pages name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    return tmp_path


def follow(calls: list[list[str]]) -> None:
    """Parse calls, in order, and link every recipe that they name."""
    trained: dict[str, tuple[str, list[str]]] = {}
    for words in calls:
        given = parsed(words)
        recipe, overrides = given.get("recipe"), list(given.get("overrides") or [])
        if words[0] == "train" and given.get("resume") is None:
            asked = [word for word in overrides if "=" in word]
            others = [word for word in overrides if "=" not in word]  # more recipes
            for each in (combinations([recipe, *others], asked, [task for text in given["task"] or []
                                                                 for task in split(text)], given["vary"] or [])
                         if others or given["task"] or given["vary"] else []):  # fmt: skip
                linked(each.recipe, list(each.overrides))
            overrides = asked
        if words[0] == "search" and given["vary"]:
            for each in corners(recipe, overrides, [SearchRange.parse(text) for text in given["vary"]]):
                linked(each.recipe, list(each.overrides))
        if words[0] == "cp":
            cli.cp.cp(given["recipe"], given["file"])
        elif words[0] == "diff":
            sides = [given["one"], given["other"]]
            for side, texts in zip(sides, ([], overrides), strict=True):
                if not side.startswith("runs/"):
                    linked(side, texts)
        elif words[0] in ("train", "check", "show") and recipe is not None and given.get("resume") is None:
            if catalog.is_part(recipe) or (words[0] == "show" and quantities(recipe)):
                cli.show.show(recipe)
                continue
            if recipe.endswith("/recipe.yaml"):
                recipe, before = trained[recipe.removesuffix("/recipe.yaml")]
                overrides = before + overrides
            linked(recipe, overrides)
            if given.get("folder"):
                trained[str(given["folder"])] = recipe, overrides


@pytest.mark.skipif(BASH is None, reason="no bash here")
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page.read_text())], ids=place)
def test_commands_parse_and_link(page, folder, capsys):
    calls = noted(page.read_text())
    assert len(calls) >= written(page.read_text()) > 0 or not written(page.read_text())
    if place(page) in FOLLOWED:
        for words in calls:
            parsed(words)
    else:
        follow(calls)


@pytest.mark.parametrize("page", PAGES, ids=place)
def test_commands_in_prose_parse(page):
    """``hetrl word`` in code is a command that there is, and its options are that command's."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for code in re.findall(r"(?<!`)`(hetrl [a-z][^`]*)`", text):
        words = code.split()
        assert words[1] in COMMANDS, code
        options = {name for option in COMMANDS[words[1]].params for name in option.opts}
        assert not [word for word in words[2:] if word.startswith("--") and word not in options], code


@pytest.mark.skipif(BASH is None, reason="no bash here")
@pytest.mark.parametrize(
    "wrong",
    [
        "hetrl trian happo",
        "hetrl train happo --sedes 5",
        "hetrl train hapo",
        "hetrl check happo update.actors.steps.clipped_surrogate.clp=0.1",
        "hetrl check happo nets.actor.per=grop",
        "hetrl train happo task=task/vmas_navigatoin",
        "hetrl check happo task.scenario=balnce",
        "hetrl check hasac data.batch=0",
        "for o in fixed simultaneus; do hetrl train happo update.actors.order.use=order/$o; done",
        "hetrl diff hasac masca",
        "hetrl search happo --vary update.actors.optim.lrr=log:1e-4:1e-3 --trials 5",
        "hetrl search happo --vary update.actors.optim.lr=lgo:1e-4:1e-3 --trials 5",
        "hetrl eval",
    ],
)
def test_a_misspelt_command_is_found(wrong, folder, capsys):
    calls = noted(f"```bash\n{wrong}\n```\n")
    assert calls
    with pytest.raises((AssertionError, HetrlError)):
        follow(calls)


def test_a_shell_makes_the_words():
    block = 'for s in 0 1; do\n  hetrl train happo "a={b: 1, c: [2]}" run.seed=$s --folder runs/x_${s}\ndone\n'
    assert noted(f"```text\n{block}```\n") == [
        ["train", "happo", "a={b: 1, c: [2]}", f"run.seed={s}", "--folder", f"runs/x_{s}"] for s in (0, 1)
    ]
    assert noted("```text\nsome output\n```\n") == []


# --------------------------------------------------------------------------- run for real

RUN = [
    "README.md", "docs/index.md", "docs/in_python.md", "docs/training.md", "docs/training/checkpoints.md",
    "docs/training/evaluation.md", "docs/deploy.md", "docs/coming_from/harl.md", "docs/coming_from/benchmarl.md",
]  # fmt: skip
"""Pages whose commands a newcomer types, top to bottom."""


def small(recipe: Recipe) -> list[str]:
    """Return overrides that make a run of a recipe take moments."""
    texts = ["task.n_envs=4", "task.horizon=10", "run.device=cpu", "run.threads=1", "run.n_eval_episodes=2"]
    texts += [f"nets.{name}.hidden=[8]" for name, net in recipe.nets.items() if "hidden" in net.arguments]
    texts += [f"update.{phase.name}.epochs=1" for phase in recipe.update if phase.epochs > 1]
    if recipe.data.name == "data/replay":
        return [*texts, "data.capacity=400", "data.batch=8", "data.warmup=16", "run.frames=24", "run.eval_every=12"]
    return [*texts, "data.frames=80", "run.frames=160", "run.eval_every=80"]


# Lightning's advice for other kinds of training: a short epoch, and the manual optimisation that we have.
@pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*", "ignore:.*no pre-optimization state.*")
@pytest.mark.slow
@pytest.mark.parametrize("page", RUN)
def test_commands_run(page, folder, monkeypatch, capsys):
    """Top to bottom; two seeds where a page has more, and frames that take moments; none of which reach 128,000."""
    done: set[str] = set()
    frames = 160

    def run(*words: str) -> None:
        monkeypatch.setattr(sys, "argv", ["hetrl", *words])
        with pytest.raises(SystemExit) as left:
            cli.main()
        printed = capsys.readouterr()
        if "MuJoCo found no OpenGL" in printed.err:
            return  # a film wants what this machine lacks, and the error says so
        assert not left.value.code, f"hetrl {' '.join(words)}: {printed.out}{printed.err}"

    run("train", "happo", *small(load("happo")), "--folder", "prepared")
    for words in noted((ROOT / page).read_text()):
        given = parsed(words)
        if words[0] == "train" and given["resume"] is None:
            changes = small(load(given["recipe"], *(given["overrides"] or [])))
            words = [*words[:2], *(given["overrides"] or []), *changes]
            words += ["--folder", str(given["folder"])] if given["folder"] else []
            words += ["--seeds", "2"] if given["seeds"] else []
            words += ["--keep", given["keep"]] if given["keep"] else []
        elif words[0] == "train":
            frames += 80  # those runs have ended
            words = [word for word in words if not word.startswith("run.frames")] + [f"run.frames={frames}"]
        for run_folder in [given.get("run"), given.get("resume"), *(given.get("runs") or [])]:
            if run_folder is not None and not Path(run_folder).exists():
                shutil.copytree("prepared", run_folder)  # a run that the page does not make
        words = ["best" if word == "128000" else word for word in words]
        if words[0] == "eval":
            words = re.sub(r"--episodes\x1f\d+", "--episodes\x1f2", "\x1f".join(words)).split("\x1f")
        if " ".join(words) not in done:
            run(*words)
            done.add(" ".join(words))
    assert done
