"""The pages of "Your own environment", followed literally: their files, commands, Python, package."""

import re
import shlex
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hetrl
from hetrl import catalog, cli
from hetrl.env import scenarios
from hetrl.recipe import packaged
from hetrl.recipe.read import load
from hetrl.runs import parts
from hetrl.runs.folder import Folder

DOCS = Path(__file__).parent.parent / "docs"
PAGES = (
    "own_environment.md", "own_environment/deaths_and_masks.md", "own_environment/scenario.md",
    "own_environment/env_base.md",
)  # fmt: skip
PAGE = "\n## \n".join((DOCS / page).read_text() for page in PAGES)
FILES = dict(re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
SMALL = ["run.device=cpu", "run.threads=1", "run.n_eval_episodes=2", "task.n_envs=4", "nets.actor.hidden=[8]",
         "nets.value.hidden=[8]", "data.frames=80", "run.eval_every=80", "update.actors.epochs=1",
         "update.critic.epochs=1", "update.actors.minibatches=1", "update.critic.minibatches=1"]  # fmt: skip
FRAMES = {"16000": "160", "32000": "160", "40000": "160", "24000": "240", "48000": "240"}
"""Frames of the page -> those of the test."""


def section(title: str) -> str:
    (found,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return found


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[list[str]]:
    lines = [line for block in blocks(text, "bash") for line in block.replace("\\\n", " ").splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("hetrl ")]


@pytest.fixture(autouse=True)
def process(monkeypatch, tmp_path):
    """Return a function that makes this process one in which nobody has registered anything."""
    kept = ((catalog, "REGISTERED"), (catalog, "REGISTRATIONS"), (scenarios, "REGISTERED"), (parts, "_RUN"))
    for owner, name in kept:
        monkeypatch.setattr(owner, name, {})
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    for name, text in FILES.items():
        Path(name).write_text(text)

    def new_process():
        for owner, name in kept:
            getattr(owner, name).clear()

    yield new_process
    for name in [name for name in sys.modules if name.split(".")[0] in ("ring", "forage", "acme_marl")]:
        del sys.modules[name]
    for each in (catalog.installed, scenarios.installed, scenarios._of_name, scenarios._loaded, packaged.packaged):
        each.cache_clear()


@pytest.fixture
def run(monkeypatch, capsys, process):
    """Return a function that runs a command of the page in a process of its own, with frames that take moments."""

    def call(*words: str) -> str:
        process()
        words = tuple(re.sub(r"^(run\.frames)=(\d+)$", lambda m: f"{m[1]}={FRAMES[m[2]]}", word) for word in words)
        if words[0] == "train" and "--resume" not in words:
            words = (*words[:2], *[word for word in words[2:] if not re.match(r"data\.frames|run\.eval_every", word)],
                     *SMALL)  # fmt: skip
        monkeypatch.setattr(sys, "argv", ["hetrl", *words])
        with pytest.raises(SystemExit) as left:
            cli.main()
        printed = capsys.readouterr()
        assert not left.value.code, f"hetrl {shlex.join(words)}: {printed.out}{printed.err}"
        return printed.out

    return call


# Lightning's advice for other kinds of training: a short epoch, and the manual optimisation that we have.
@pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*", "ignore:.*no pre-optimization state.*")
@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("PettingZoo: deaths, masks, a state", "forage"),
        ("A scenario of VMAS", "dock"),
        ("An EnvBase of TorchRL", "meet"),
    ],
)
def test_the_commands_of_a_section(run, title, name):
    """Checked, trained, resumed, evaluated, filmed, compared; and what was resumed is what is trained in one go."""
    done = [words for words in commands(section(title)) if run(*words) or True]
    assert {"check", "train", "eval", "compare"} <= {words[0] for words in done}
    folder = Folder(Path("runs") / name)
    assert folder.frames_saved() == 240 and (folder.path / "parts" / f"{name}.py").read_text() == FILES[f"{name}.py"]
    assert Path(f"{name}.gif").stat().st_size > 0 and Path("comparison.png").exists()
    (begun,) = [words for words in done if f"runs/{name}" in words and words[0] == "train" and "--resume" not in words]
    run(*[word.replace("16000", "24000").replace("32000", "48000").replace(f"runs/{name}", "whole") for word in begun])
    one, other = (each.load_checkpoint()["state_dict"] for each in (folder, Folder(Path("whole"))))
    assert all(torch.equal(value, other[word]) for word, value in one.items())


def test_the_shortest_example(run):
    """Checked, trained, evaluated and plotted; evenly spread agents earn 1 in a step."""
    for words in commands(section("The shortest example")):
        run(*words)
    assert Path("ring.png").stat().st_size > 0 and Folder(Path("runs/ring")).frames_saved() == 160
    named: dict[str, Any] = {"__name__": "ring"}
    exec(compile(FILES["ring.py"].replace("hetrl.register", "print"), "ring.py", "exec"), named)
    env = named["Ring"]()
    env.reset(seed=0)
    env.place = np.array([0.0, 1 / 3, 2 / 3])
    seen, earned, *_ = env.step(dict.fromkeys(env.agents, np.zeros(1, np.float32)))
    assert earned["agent_0"] == pytest.approx(1) and seen["agent_2"] == pytest.approx([1 / 3, 1 / 3])


@pytest.mark.parametrize(
    ("page", "about"),
    [(PAGES[0], "Agents on a ring spread out."), (PAGES[1], "Foragers on a line pick berries until they are full.")],
)
def test_the_list_shows_it(run, page, about):
    (first,) = commands((DOCS / page).read_text().split("\n## ")[0])
    assert about in run(*first)


def test_what_forage_says_is_believed(run):
    """Its masks, its deaths, its state, and what it tells of episodes that end."""
    parts.run(Path("forage.py"))
    env = catalog.resolve("env/my.forage")(n_envs=4, horizon=20)
    env.start()
    assert set(env.masks) == {"active", "action_mask"} and env.team.state_size == 8
    gone = 0
    for _ in range(200):
        mask = env.masks["action_mask"]["agents"]
        moved = env.advance({"agents": mask.float().flatten(0, 1).multinomial(1).unflatten(0, mask.shape[:2])})
        gone += int((~moved.next_masks["active"]["agents"]).sum())
    assert gone > 0
    env.close()


@pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*", "ignore:.*no pre-optimization state.*")
def test_the_python_of_the_page(monkeypatch, capsys):
    small = [word.replace("=80", "=320") for word in SMALL]
    block = blocks(section("In Python"), "python")[0]
    for before, after in FRAMES.items():
        block = block.replace(f"={before}", f"={4 * int(after)}")
    monkeypatch.setattr(hetrl, "load", lambda recipe, *overrides: load(recipe, *overrides, *small))
    monkeypatch.syspath_prepend(Path.cwd())
    exec(compile(block, "page.py", "exec"), {})
    assert "tensor(" in capsys.readouterr().out
    assert list(Folder(Path("runs/from_python")).parts()) == ["ring.py"]


def test_the_check_of_the_page(monkeypatch):
    monkeypatch.syspath_prepend(Path.cwd())
    block = blocks(section("Check what it does"), "python")[0]
    exec(compile(block, "page.py", "exec"), {})
    with pytest.raises(AssertionError, match=r"^env/my.ring: .*'agents'"):
        exec(compile(block.replace("agents", "agnets"), "page.py", "exec"), {})


def test_the_package_of_the_page(monkeypatch, run):
    """What its ``pyproject.toml`` says, as an installer writes it down."""
    (text,) = blocks(section("As a package"), "toml")
    project = tomllib.loads(text)["project"]
    package, info = Path("acme_marl"), Path("acme_marl-0.1.0.dist-info")
    (package / "recipes" / "task").mkdir(parents=True)
    info.mkdir()
    (package / "__init__.py").touch()
    for name, code in FILES.items():
        (package / name).write_text(re.sub(r"^(import hetrl|hetrl\.register\(.*\))\n", "", code, flags=re.MULTILINE))
    (package / "recipes" / "task" / "meadow.yaml").write_text(blocks(section("As a package"), "yml")[0])
    actor = "nets.actor={use: net/categorical_policy, hidden: [8]}"
    (package / "recipes" / "berries.yaml").write_text(load("happo", actor).yaml())
    lines = [f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
             for group, points in project["entry-points"].items()]  # fmt: skip
    (info / "entry_points.txt").write_text("\n".join(lines))
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    monkeypatch.syspath_prepend(Path.cwd())
    for each in (catalog.installed, scenarios.installed, packaged.packaged):
        each.cache_clear()
    assert "env/acme.forage" in run("list", "env") and "acme.dock" in run("list", "scenario")
    words = ("run.frames=16000", "--folder")
    said = [shlex.split(line)[1:] for line in blocks(section("As a package"), "text")[0].splitlines()]
    for number, line in enumerate(line for line in said if line[0] == "train"):
        run(*line, *words, f"packaged_{number}")
        assert not Path(f"packaged_{number}/parts").exists()
        assert '"acme-marl": "0.1.0"' in Path(f"packaged_{number}/versions.json").read_text()
    run("train", "happo", "task={use: env/acme.meet, n_envs: 4, horizon: 25}", *words, "packaged_meet")
    for name in ("packaged_0", "packaged_1", "packaged_meet"):
        assert "2 episodes" in run("eval", name)
    run("eval", "packaged_1", "--video", "film.gif")
    run("train", "--resume", "packaged_meet", "run.frames=24000")


def test_the_message_of_the_page(monkeypatch, capsys, run, process):
    run(*commands(section("PettingZoo: deaths, masks, a state"))[1])
    process()
    (session,) = [each for each in blocks(section("What a run keeps"), "text") if each.startswith("$ hetrl")]
    command, expected = session.strip().split("\n")
    monkeypatch.setattr(sys, "argv", shlex.split(command)[1:])
    with pytest.raises(SystemExit):
        cli.main()
    digest = r"\(sha256 \w{12}\)"
    assert re.sub(digest, "", capsys.readouterr().err.strip()) == re.sub(digest, "", expected)
