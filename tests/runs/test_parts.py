"""Files that register parts, ``--parts FILE``: run when they are named, kept as text, asked for where missing."""

import hashlib
import json
import re
import sys
from pathlib import Path

import pytest
from env.test_own import TINY

import hetrl
from hetrl import catalog, cli
from hetrl.env import scenarios
from hetrl.errors import HetrlWarning, RecipeError, RunError
from hetrl.runs import parts
from hetrl.runs.folder import Folder
from hetrl.runs.run import evaluate_run, train
from hetrl.runs.seeds import train_seeds

SOURCE = (Path(__file__).parent.parent / "env" / "forage.py").read_text()
TASK = "task={use: env/my.forage, n_envs: 2, horizon: 10}"
RECIPE = ["happo", TASK, "nets.actor={use: net/categorical_policy, hidden: [8]}", *TINY]


@pytest.fixture(autouse=True)
def forget(monkeypatch, tmp_path):
    """Every test is a process in which nobody has registered anything, in an empty folder."""
    for owner, name in (
        (catalog, "REGISTERED"),
        (catalog, "REGISTRATIONS"),
        (scenarios, "REGISTERED"),
        (parts, "_RUN"),
    ):
        monkeypatch.setattr(owner, name, {})
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr("warnings.showwarning", __import__("warnings").showwarning)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    Path("mine.py").write_text(SOURCE + "\n\nimport hetrl\n\nhetrl.register('env/my.forage', Forage)\n")

    def new_process():
        for mapping in (catalog.REGISTERED, catalog.REGISTRATIONS, scenarios.REGISTERED, parts._RUN):
            mapping.clear()

    return new_process


@pytest.fixture
def command(monkeypatch, capsys):
    def call(*words, code=0):
        monkeypatch.setattr(sys, "argv", ["hetrl", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        printed = capsys.readouterr()
        assert (left.value.code or 0) == code, printed.out + printed.err
        return printed.out + printed.err

    return call


def test_every_command_takes_a_file(command, forget):
    given = ("--parts", "mine.py")
    assert "links" in command("check", *RECIPE, *given)
    assert "ann" in command("show", *RECIPE, *given)
    assert re.search(r"env/my.forage +Two agents who earn", command("list", "env", *given))
    assert "Done: 40 frames" in command("train", *RECIPE, *given)
    run = Path("runs/happo_my.forage_seed0")
    forget()
    assert "2 episodes: return 5" in command("eval", run, *given)
    forget()
    assert "Done: 60 frames" in command("train", "--resume", run, "run.frames=60", *given)
    forget()
    assert "report.html" in command("report", run, *given)
    assert "sha256" in (run / "report.html").read_text() and "parts/mine.py" in (run / "report.html").read_text()
    forget()
    assert "the same" in command("diff", run, run, *given)
    forget()
    assert "task.groups" in command("groups", run, *given)
    assert "curve.png" in command("plot", run)  # tables alone


def test_a_run_keeps_the_file_and_its_digest(command):
    command("train", *RECIPE, "--parts", "mine.py", "--folder", "run")
    assert Path("run/parts/mine.py").read_bytes() == Path("mine.py").read_bytes()
    digest = hashlib.sha256(Path("mine.py").read_bytes()).hexdigest()
    assert json.loads(Path("run/versions.json").read_text())["parts"] == {"mine.py": digest}
    assert "mine" not in Path("run/recipe.yaml").read_text()


def test_a_missing_file_is_asked_for_and_the_copy_is_never_run(command, forget):
    command("train", *RECIPE, "--parts", "mine.py", "--folder", "run")
    forget()
    digest = hashlib.sha256(Path("mine.py").read_bytes()).hexdigest()[:12]
    expected = (f"error run uses 'env/my.forage', and nothing has registered it here; this run used parts/mine.py "
                f"(sha256 {digest}): give --parts mine.py, or import it first in Python.")  # fmt: skip
    for words in (["eval", "run"], ["train", "--resume", "run", "run.frames=60"], ["report", "run"], ["groups", "run"]):
        assert command(*words, code=2).strip() == expected
    with pytest.raises(RunError, match=r"give --parts mine.py, or import it first in Python\.$"):
        evaluate_run(Path("run"))
    said = command("check", "run/recipe.yaml", code=2)
    assert "task: no entry 'env/my.forage' in the catalog." in said and "--parts FILE" in said


@pytest.mark.filterwarnings("always::hetrl.errors.HetrlWarning")
def test_a_file_that_has_changed_is_told_and_kept_beside_the_first(command, forget):
    command("train", *RECIPE, "--parts", "mine.py", "--folder", "run")
    forget()
    Path("mine.py").write_text(Path("mine.py").read_text().replace("pay: float = 1.0", "pay: float = 2.0"))
    said = command("eval", "run", "--parts", "mine.py")
    line = "warning: 'env/my.forage' comes from mine.py, which is not what run was trained with (parts/mine.py): what "
    assert line in said and "return 10" in said
    assert list(Folder(Path("run")).parts()) == ["mine.py"]
    with pytest.warns(HetrlWarning, match="comes from mine.py, which is not what"):
        evaluate_run(Path("run"))
    forget()
    assert line in command("train", "--resume", "run", "run.frames=60", "--parts", "mine.py")
    Folder(Path("run")).keep_parts()
    assert list(Folder(Path("run")).parts()) == ["mine.py", "mine_2.py"]
    assert Path("run/parts/mine_2.py").read_bytes() == Path("mine.py").read_bytes()
    forget()
    assert "warning" not in command("eval", "run", "--parts", "mine.py")


def test_another_process_is_given_the_file(command):
    command("check", *RECIPE, "--parts", "mine.py")
    assert parts.options(hetrl.load(*RECIPE).tree) == ["--parts", str(Path("mine.py").resolve())]
    assert parts.again(hetrl.load(*RECIPE).tree) == " --parts mine.py"
    assert parts.options(hetrl.load("happo").tree) == [] and parts.again(hetrl.load("happo").tree) == ""


@pytest.mark.slow
def test_seeds_are_given_the_file(command, forget):
    said = command("train", *RECIPE, "--parts", "mine.py", "--seeds", "2", "--folder", "seeds")
    assert "Seeds: 2 done." in said
    assert Path("seeds/seed1/parts/mine.py").exists()
    forget()
    said = command("train", "--resume", "seeds", "run.frames=60", code=2)
    assert "uses 'env/my.forage', and nothing has registered it here" in said and "give --parts mine.py" in said
    assert "my.forage" in command("compare", "seeds", "--anyway")


def test_seeds_of_what_only_this_process_knows_are_refused():
    names = {"__name__": "__main__", "hetrl": hetrl}
    exec(SOURCE + "\nhetrl.register('env/my.forage', Forage)", names)
    with pytest.raises(RunError, match=r"^'env/my.forage' is registered in a notebook or a console, and every seed is"):
        train_seeds(hetrl.load(*RECIPE), 2, Path("seeds"))
    names["__file__"] = "mine.py"
    exec("hetrl.register('env/my.forage', Forage)", names)
    with pytest.raises(RunError, match=r"^'env/my.forage' is registered in this program itself, and every seed is a"):
        train_seeds(hetrl.load(*RECIPE), 2, Path("seeds"))
    assert not Path("seeds").exists()


def test_a_file_can_be_given_with_others_twice_and_import_what_lies_beside_it(command):
    Path("beside_it.py").write_text(SOURCE)
    Path("other.py").write_text(
        "import hetrl\nfrom beside_it import Forage\nhetrl.register('env/my.other', lambda width=3: Forage(width))\n"
    )
    given = ("--parts", "other.py", "--parts", "mine.py", "--parts", "mine.py")
    said = command("list", "env", *given)
    assert "env/my.forage" in said and "env/my.other" in said
    command("check", *RECIPE, "task.use=env/my.other", *given)
    sys.modules.pop("beside_it")


@pytest.mark.parametrize(
    ("text", "problem", "shown"),
    [
        ("x = (\n", r"--parts bad.py failed: SyntaxError: '\(' was never closed \(bad.py, line 1\). Correct .*", ""),
        ("def f():\n    return y\n\nf()\n",
         r"--parts bad.py failed: NameError: name 'y' is not defined \(bad.py, line 2\). Correct the file.",
         'Traceback (most recent call last):\n  File "{here}/bad.py", line 4, in <module>'),
        ("raise SystemExit(3)\n", r"--parts bad.py failed: SystemExit: 3 \(bad.py, line 1\). Correct the file.", ""),
        ("import hetrl\n\nhetrl.register('env/forage', int)\n",
         r"--parts bad.py failed: 'env/forage' names no vendor; .* \(line 3\). Correct the file.", ""),
        ("import hetrl\nhetrl.register('env/my.forage', int)\n",
         r"--parts bad.py failed: 'env/my.forage' is no environment: .* \(line 2\). Correct the file.", ""),
        ("x = 3\n", r"--parts bad.py registers nothing; call hetrl.register\('env/my.world', World\) in it, or .*", ""),
    ],
)  # fmt: skip
def test_a_file_that_fails_is_shown_as_its_own(command, text, problem, shown):
    Path("bad.py").write_text(text)
    said = command("check", "happo", "--parts", "bad.py", code=2)
    assert re.search(f"^error {problem}$", said.strip().splitlines()[-1]), said
    assert said.startswith(shown.format(here=Path.cwd()) or said)
    assert "hetrl/runs" not in said and not catalog.REGISTRATIONS


@pytest.mark.parametrize("name", ["nowhere.py", "."])
def test_a_file_that_cannot_be_read(command, name):
    said = command("list", "env", "--parts", name, code=2)
    assert re.search(rf"^error --parts {re.escape(name)} cannot be read: ", said)


def test_two_files_of_one_name(command):
    Path("other.py").write_text(Path("mine.py").read_text())
    said = command("list", "env", "--parts", "mine.py", "--parts", "other.py", code=2)
    assert "--parts other.py failed: 'env/my.forage' is registered already, as Forage; choose another name" in said


def test_in_python_the_module_that_registers_is_kept(monkeypatch, forget):
    monkeypatch.syspath_prepend(Path.cwd())
    import mine

    run = train(hetrl.load(*RECIPE), Path("run"), quiet=True)
    assert list(run.parts()) == ["mine.py"] and Path("run/parts/mine.py").exists()
    sys.modules.pop(mine.__name__)
    forget()
    exec(SOURCE + "\nimport hetrl\nhetrl.register('env/my.forage', Forage)", {"__name__": "__main__"})
    assert train(hetrl.load(*RECIPE), Path("other"), quiet=True).parts() == {}  # a notebook has no file
    assert not Path("other/parts").exists()


def test_a_recipe_cannot_name_a_file():
    with pytest.raises(RecipeError):
        hetrl.check(hetrl.load("happo", "task.use=mine.py"))
    with pytest.raises(RecipeError, match="no section 'parts'"):
        hetrl.load("happo", "parts=[mine.py]")


def test_a_scenario_of_a_file(command, forget):
    dock = (Path(__file__).parent.parent / "env" / "dock.py").read_text()
    Path("dock_it.py").write_text(dock + "\n\nimport hetrl\n\nhetrl.register('scenario/my.dock', Dock)\n")
    given = ("--parts", "dock_it.py")
    words = ["happo", "task={use: env/vmas, scenario: my.dock, n_envs: 2, horizon: 10}", "task.n_agents=3",
             "nets.actor.hidden=[8]", *TINY]  # fmt: skip
    assert "3 agents" in command("check", *words, *given)
    assert re.search(r"my.dock +n_agents, pull", command("list", "scenario", *given))
    command("train", *words, *given, "--folder", "run")
    assert Path("run/parts/dock_it.py").exists()
    forget()
    said = command("eval", "run", code=2)
    assert "run uses 'scenario/my.dock', and nothing has registered it here" in said
