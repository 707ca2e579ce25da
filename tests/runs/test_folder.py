"""What else lies in a folder, spoilt in every way; and starts that came to nothing."""

import pytest

import hetrl
from hetrl import cli
from hetrl.errors import HetrlError, RunError
from hetrl.report.comparable import comparable
from hetrl.report.curve import draw_runs
from hetrl.report.page import write as write_page
from hetrl.runs import run as runs
from hetrl.runs.csv_table import read
from hetrl.runs.folder import Folder

TINY = [
    "task={use: env/tabular_game, n_states: 3, n_actions: [2, 2], n_envs: 4, horizon: 7}",
    "nets.actor.use=net/categorical_policy", "nets.actor.hidden=[8]", "nets.value.hidden=[8]", "data.frames=40",
    "run.frames=80", "run.eval_every=40", "run.n_eval_episodes=3", "run.device=cpu",
]  # fmt: skip
# Lightning's advice for other kinds of training: a short epoch.
pytestmark = pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return runs.train(hetrl.load("happo", *TINY), tmp_path_factory.mktemp("runs") / "run", quiet=True)


@pytest.fixture
def spoilt(folder, request):
    """Return the folder, of which whatever a test writes is put back."""
    kept = {file: file.read_bytes() for file in (folder.recipe, folder.versions, folder.metrics, folder.timings)}
    yield folder
    for file, content in kept.items():
        file.write_bytes(content)


READERS = {
    "plot": lambda folder: draw_runs([folder.path], None, folder.path / "curve.png"),
    "compare": lambda folder: comparable([folder.path]),
    "report": lambda folder: write_page(folder.path, folder.path / "report.html"),
    "resume": lambda folder: runs.resume(folder.path, "run.frames=120", quiet=True),
    "evaluate": lambda folder: runs.evaluate_run(folder.path),
}
RECIPES = {
    "empty": b"",
    "a list": b"[1, 2]\n",
    "tagged": b"run: !!python/name:os.system\n",
    "half": b"run: {frames: 80, se",
    "no text": b"run: \xff\xfe\n",
    "oversized": b"about: " + b"x" * 1_000_001,
    "resolver": b"about: ${oc.env:HOME}\ntask: {use: x}\nrun: {frames: 1}\n",
    "no task": b"run: {frames: 80}\n",
    "run a number": b"task: {use: x}\nrun: 3\n",
    "nested": b"[" * 3000,
}


@pytest.mark.parametrize("content", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("use", READERS.values(), ids=READERS)
def test_a_spoilt_recipe_is_one_line(use, content, spoilt):
    spoilt.recipe.write_bytes(content)
    with pytest.raises(HetrlError) as error:
        use(spoilt)
    assert "\n" not in str(error.value) and "recipe.yaml" in str(error.value)
    assert spoilt.recipe.read_bytes() == content


@pytest.mark.parametrize("content", [b"", b'{"packages": {"tor', b"[1]", b"\xff", b'{"packages": 3}', b"[" * 9000])
def test_a_spoilt_versions_json_is_one_line(content, spoilt):
    spoilt.versions.write_bytes(content)
    for use in (READERS["compare"], READERS["report"]):
        with pytest.raises(RunError, match=r"^[^\n]*versions\.json does not hold what hetrl wrote; remove it"):
            use(spoilt)
    spoilt.versions.unlink()
    assert write_page(spoilt.path, spoilt.path / "report.html").exists()


def test_spoilt_timings_are_one_line(spoilt):
    spoilt.timings.write_text("frames,wall\n40,1e-\n80,2\n")
    for use in (READERS["report"], READERS["resume"]):
        with pytest.raises(RunError, match=r"^[^\n]*timings\.csv, line 2: wall is '1e-', no number; mend or drop"):
            use(spoilt)


@pytest.mark.parametrize("more", [[], ["run.seed=3"]], ids=["same", "another"])
def test_a_start_that_failed_does_not_block_the_next(more, tmp_path):
    """One that was killed, that is: any other leaves nothing (``test_failed.py``)."""
    (tmp_path / "run").mkdir()
    Folder(tmp_path / "run").recipe.write_text(hetrl.load("happo", *TINY).yaml())
    with pytest.raises(RunError, match=r"has no checkpoint yet"):
        runs.resume(tmp_path / "run", quiet=True)
    folder = Folder(tmp_path / "run")
    folder.metrics.write_text("frames,eval/return\n0,77\n")  # untrained policies were evaluated
    folder.recipe.with_name(".recipe.part.yaml").write_text("hetr")
    folder = runs.train(hetrl.load("happo", *TINY, *more), tmp_path / "run", quiet=True)
    assert folder.frames_saved() == 80 and ",77.0" not in folder.metrics.read_text().splitlines()[1]
    with pytest.raises(RunError, match=r"holds (this run already|a run of another recipe)"):
        runs.train(hetrl.load("happo", *TINY), tmp_path / "run", quiet=True)


def test_a_run_that_ended_before_its_first_checkpoint_starts_again(tmp_path):
    """The same one; what another has trained stays."""
    recipe, other = hetrl.load("happo", *TINY), hetrl.load("happo", *TINY, "run.seed=3")
    (tmp_path / "recipe.yaml").write_text(recipe.yaml())
    (tmp_path / "metrics.csv").write_text("frames,return\n40,1\n")
    with pytest.raises(RunError, match=r"holds a run of another recipe \(run\.seed differs\)"):
        runs.train(other, tmp_path, quiet=True)
    assert runs.train(recipe, tmp_path, quiet=True).frames_saved() == 80
    assert [row["frames"] for row in read(tmp_path / "metrics.csv")] == [0, 40, 80]


def test_hidden_files_are_files(tmp_path):
    (tmp_path / ".git").mkdir()
    with pytest.raises(RunError, match="exists and is no run"):
        runs.train(hetrl.load("happo", *TINY), tmp_path, quiet=True)


def test_slurm_is_not_asked(tmp_path, monkeypatch):
    """A plain run is one process, whatever a batch script has set aside."""
    for name, value in (("NTASKS", "4"), ("JOB_NAME", "mine"), ("JOB_ID", "1"), ("PROCID", "0"), ("NNODES", "2")):
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert runs.train(hetrl.load("happo", *TINY), tmp_path / "run", quiet=True).frames_saved() == 80


@pytest.mark.parametrize("words", [
    ["train", "happo", *TINY, "--folder", "/proc/x"],
    ["train", "happo", *TINY, "--folder", "/proc/version/x"],
    ["train", "happo", *TINY, "--seeds", "1", "--folder", "/proc/x"],
    ["cp", "happo", "/proc/x.yaml"],
    ["new", "loss", "lab.x", "/proc/x"],
], ids=["train", "below a file", "seeds", "cp", "new"])  # fmt: skip
def test_what_cannot_be_written_is_one_line(words):
    with pytest.raises(RunError, match=r"^/proc/\S* cannot be written: [^\n]*\.$"):
        cli.app(words, standalone_mode=False)


def test_nothing_is_half_written(tmp_path, monkeypatch):
    """A full disk leaves recipe and versions as they were."""
    from hetrl import disk

    path = tmp_path / "recipe.yaml"
    disk.replace_text(path, "old")

    def full(*given, **named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(disk.os, "fsync", full)
    with pytest.raises(RunError, match=r"recipe\.yaml cannot be written: No space left on device; make room, and"):
        disk.replace_text(path, "new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
