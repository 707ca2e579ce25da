"""What ``hetrl new`` writes runs at once, fails only where its author has to write something, and refuses bad names."""

import importlib.metadata
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import hetrl
from hetrl import catalog, cli
from hetrl.errors import HetrlError
from hetrl.recipe.shipped import shipped
from hetrl.runs import parts
from hetrl.scaffold.new import CALLED, FILES, SENTENCES, STEPS, SUFFIX, TEMPLATES, new, taken
from hetrl.testing import check_env
from hetrl.testing.docstring import TO_FILL_IN

KINDS = list(STEPS)


def files_of(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Return a function that makes a package and puts it on the path, installed as far as entry points go."""

    def make(kind: str) -> Path:
        folder = tmp_path / "made"
        new(kind, "acme.some_thing", folder)
        info = folder / "acme_some_thing-0.1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-some-thing\nVersion: 0.1.0\n")
        (info / "entry_points.txt").write_text(
            f"[hetrl.{kind}]\nacme.some_thing = acme_some_thing.some_thing:SomeThing\n"
        )
        monkeypatch.syspath_prepend(folder)
        catalog.installed.cache_clear()
        return folder

    yield make
    catalog.installed.cache_clear()
    for name in [name for name in sys.modules if name.startswith("acme_some_thing")]:
        del sys.modules[name]


def functions_of(folder: Path, name: str) -> dict:
    """Return the tests of a file, by name."""
    names: dict = {"__file__": str(folder / "tests" / name)}
    exec(compile((folder / "tests" / name).read_text(), name, "exec"), names)
    return {word: value for word, value in names.items() if word.startswith("test_") and inspect.isfunction(value)}


@pytest.mark.parametrize("kind", KINDS)
def test_its_tests_fail_only_where_something_is_to_fill_in(made, kind):
    folder = made(kind)
    failed = {}
    for file in ("test_contract.py", "test_numbers.py"):
        for name, test in functions_of(folder, file).items():
            try:
                test()
            except AssertionError as error:
                failed[name] = str(error)
    assert set(failed) == {"test_keeps_the_contract", "test_the_numbers_worked_by_hand"}
    assert all(TO_FILL_IN in text and "\n" not in text for text in failed.values()), failed

    component = folder / "acme_some_thing" / "some_thing.py"
    component.write_text(component.read_text().replace(TO_FILL_IN, "Written:"))
    numbers = folder / "tests" / "test_numbers.py"
    example = re.search(r"such as (\[.*\])", numbers.read_text())[1]
    numbers.write_text(numbers.read_text().replace("EXPECTED = None", f"EXPECTED = {example}"))
    for name in [name for name in sys.modules if name.startswith("acme_some_thing")]:
        del sys.modules[name]
    catalog.installed.cache_clear()
    functions_of(folder, "test_contract.py")["test_keeps_the_contract"]()
    with pytest.raises(AssertionError, match=r"Tensor-likes are not (close|equal)"):  # the example is not the answer
        functions_of(folder, "test_numbers.py")["test_the_numbers_worked_by_hand"]()


def test_an_environment_is_a_task_without_an_installation(tmp_path, monkeypatch):
    """Its file is given with ``--parts``; the recipe is the one that is written beside it."""
    new("env", "acme.some_thing", tmp_path / "made")
    monkeypatch.chdir(tmp_path / "made")
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = dict(catalog.REGISTERED), dict(catalog.REGISTRATIONS)
    try:
        parts.run(Path("acme_some_thing/some_thing.py"))
        hetrl.check(hetrl.load("some_thing.yaml", "task.n_envs=2", "task.speed=0.2", "data.frames=200"))
        assert catalog.REGISTRATIONS["env/acme.some_thing"].file == Path("acme_some_thing/some_thing.py").resolve()
        with pytest.raises(HetrlError, match="'speed'"):
            hetrl.check(hetrl.load("some_thing.yaml", "task.sped=0.2"))
        with pytest.raises(AssertionError, match=f"^env/acme.some_thing: the docstring has a place .*{TO_FILL_IN}"):
            check_env("env/acme.some_thing", {"agents": 2, "horizon": 5})
    finally:
        for kept, now in zip(before, (catalog.REGISTERED, catalog.REGISTRATIONS), strict=True):
            now.clear()
            now.update(kept)


def test_what_each_kind_asks_of_others(tmp_path):
    for kind in ("env", "loss"):
        new(kind, "acme.some_thing", tmp_path / kind)
        text = (tmp_path / kind / "pyproject.toml").read_text()
        assert ('"pettingzoo>=' in text) == (kind == "env")
        readme = (tmp_path / kind / "README.md").read_text()
        assert ("--parts acme_some_thing/some_thing.py" in readme) == (kind == "env")
        assert ("what to compare with" in readme) == (kind == "loss")


@pytest.mark.parametrize("kind", KINDS)
def test_its_recipe_is_the_shipped_one_but_for_the_part(tmp_path, kind):
    new(kind, "acme.some_thing", tmp_path / "made")
    text = (tmp_path / "made" / "some_thing.yaml").read_text()
    theirs = hetrl.load(shipped()["happo"])
    assert text.count(f"use: {kind}/acme.some_thing") == 1
    back = tmp_path / "back.yaml"
    back.write_text(text.replace(f"use: {kind}/acme.some_thing", f"use: {STEPS[kind]}"))
    ours = hetrl.load(back)
    assert {**ours.tree, "about": ""} == {**theirs.tree, "about": ""}


def test_what_it_writes_is_clean(tmp_path):
    root = Path(hetrl.__file__).parent.parent
    for kind in KINDS:
        new(kind, "acme.some_thing", tmp_path / kind)
        for command in (["check"], ["format", "--check"]):
            done = subprocess.run(
                [sys.executable, "-m", "ruff", *command, "--no-cache", "--config", str(root / "pyproject.toml"), "."],
                cwd=tmp_path / kind, capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout
    assert not [text for text in files_of(tmp_path).values() if "$" in text]


def test_every_template_is_used():
    used = {source.replace("$kind", kind) + SUFFIX for source in FILES.values() for kind in KINDS}
    found = {str(path.relative_to(TEMPLATES)) for path in TEMPLATES.rglob("*") if path.is_file()}
    sentences = {f"{name}{SUFFIX}" for name in SENTENCES}
    assert {name for name in found if name.split("/")[-1] not in sentences} == used
    assert sentences <= found


def test_a_class_hides_nothing_that_its_files_need():
    assert {"Component", "Float", "NonNegative", "Path", "Tensor"} <= taken("loss") and "Policy" not in taken("loss")
    assert {"Policy", "Box", "Team", "mode", "nn"} <= taken("net") and {"Step", "Optim"} <= taken("optim")


@pytest.mark.parametrize(
    ("kind", "name", "problem"),
    [
        ("los", "acme.bonus", "no kind 'los'. Nearest: 'loss'."),
        ("losses", "acme.bonus", "no kind 'losses'. Nearest: 'loss'."),
        ("env", "bonus", "'bonus' is no name for an env; write vendor.name"),
        ("loss", "bonus", "'bonus' is no name for a loss; write vendor.name, each of small letters, digits and "
         "underscores, such as 'yourlab.bonus'."),
        ("loss", "loss/acme.bonus", "'loss/acme.bonus' is no name for a loss; write .* such as 'acme.bonus'."),
        ("loss", "acme.Capped-Surrogate", "'acme.Capped-Surrogate' is no name .* such as 'acme.capped_surrogate'."),
        ("loss", "Acme.cappedSurrogate", ".* such as 'acme.capped_surrogate'."),
        ("loss", "acme.1st", ".* such as 'acme.st'."),
        ("loss", "acme.lambda", ".* such as 'acme.my_lambda'."),
        ("loss", "acme.", ".* such as 'acme.my_loss'."),
        ("loss", "a.b.c", ".* such as 'a.b_c'."),
        ("loss", "../../etc.x", ".* such as "),
        ("loss", "hetrl.bonus", "'hetrl.bonus': hetrl's own entries have no vendor; write your own, such as 'your"),
        ("loss", "acme.component", "'acme.component': its class would hide Component, which it needs; choose another"),
        ("loss", "acme.path", "'acme.path': its class would hide Path, which it needs; choose another name."),
        ("net", "acme.team", "'acme.team': its class would hide Team, which it needs; choose another name."),
        ("loss", "acme.none", "'acme.none': its class would be None, a word of Python's own; choose another name."),
        ("loss", "acme.true", "'acme.true': its class would be True, a word of Python's own; choose another name."),
    ],
)  # fmt: skip
def test_names_that_are_refused(tmp_path, kind, name, problem):
    with pytest.raises(HetrlError, match=f"^{problem}") as caught:
        new(kind, name, tmp_path / "made")
    assert "\n" not in str(caught.value) and not (tmp_path / "made").exists()


def test_a_taken_name_is_refused(made, tmp_path, monkeypatch):
    made("loss")
    with pytest.raises(HetrlError, match=r"^'loss/acme.some_thing' is there already, from acme-some-thing 0.1.0; ch"):
        new("loss", "acme.some_thing", tmp_path / "again")
    monkeypatch.setattr("hetrl.scaffold.new.packages_distributions", lambda: {"acme_other": ["acme-other"]})
    with pytest.raises(
        HetrlError, match=r"^'acme.other' would be a package 'acme_other', and one is installed; choose"
    ):
        new("loss", "acme.other", tmp_path / "again")


def test_an_existing_folder_is_refused_and_left_alone(tmp_path):
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "thesis.tex").write_text("x")
    with pytest.raises(HetrlError, match=r"made exists; name a folder that does not."):
        new("loss", "acme.bonus", tmp_path / "made")
    assert list(files_of(tmp_path)) == ["made/thesis.tex"]
    with pytest.raises(HetrlError, match=r"below cannot be written: "):
        new("loss", "acme.bonus", tmp_path / "made" / "thesis.tex" / "below")


def test_the_command_says_what_to_do_next(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["hetrl", "new", "loss", "acme.bonus", "mine"])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    printed = capsys.readouterr().out
    assert not exit_.value.code and 'cd mine\n  python -m pip install -e ".[dev]"\n  python -m pytest' in printed
    assert all(f"mine/{path}" in printed for path in files_of(tmp_path / "mine"))


def test_the_version_it_asks_for_is_ours(tmp_path):
    new("loss", "acme.bonus", tmp_path / "made")
    asked = re.search(r'"hetrl>=([\d.]+)"', (tmp_path / "made" / "pyproject.toml").read_text())[1]
    assert hetrl.__version__.startswith(asked)
    assert importlib.metadata.version("hetrl").startswith(asked)


@pytest.mark.parametrize("kind", KINDS)
def test_the_readme_calls_the_part_what_it_is(kind, tmp_path):
    new(kind, "acme.some_thing", tmp_path / "made")
    text = (tmp_path / "made" / "README.md").read_text()
    assert f"\n{CALLED[kind]} for hetrl, to be used in a recipe as `use: {kind}/acme.some_thing`." in text
    assert ("formula" in text) == (kind not in ("data", "env"))
