"""Runs as jobs: by submitit's local executor for real, and by Slurm with programs that stand for its commands."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

import hetrl
from hetrl.errors import DependencyError, RunError
from hetrl.runs import launch, seeds, submitted
from hetrl.runs.folder import Folder
from hetrl.runs.job import JobFiles
from hetrl.runs.launch import SeedProcess, StopSignals
from hetrl.runs.place import RunPlace
from hetrl.runs.seeds import resume_seeds, train_seeds
from hetrl.runs.submitted import Slurm, Submits, slurm_words

pytest.importorskip("submitit")
pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="jobs are POSIX's"),
    pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*", "ignore:subprocess .* is still running"),
]
TINY = [
    "task={use: env/tabular_game, n_states: 3, n_actions: [2, 2], n_envs: 4, horizon: 7}",
    "nets.actor.use=net/categorical_policy", "nets.actor.hidden=[8]", "nets.value.hidden=[8]", "data.frames=40",
    "run.eval_every=null", "run.device=cpu", "run.threads=1",
]  # fmt: skip
STAND_IN = """
import pathlib, signal, sys, time
run, what = pathlib.Path(sys.argv[1]), sys.argv[2]
(run / "recipe.yaml").touch()
def saved(frames):
    (run / "checkpoints").mkdir(exist_ok=True)
    (run / "checkpoints" / "last.ckpt").write_text(str(frames))
if what == "waits":
    signal.signal(signal.SIGTERM, lambda *given: (saved(40), print("saved", flush=True), sys.exit(0)))
    print("begun" if signal.getsignal(signal.SIGUSR2) is signal.SIG_IGN else "would die", flush=True)
    time.sleep(60)
if what == "fails":
    print("a line\\nerror the simulator fell over")
    sys.exit(1)
saved(80)
print("went on" if what == "goes on" else "whole")
"""


def command(run, what):
    return [sys.executable, "-c", STAND_IN, str(run), what]


def wait_for(is_so, seconds=30.0):
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.fixture
def stand_ins(monkeypatch):
    """Let seeds be small programs: what each does is chosen by its number."""
    monkeypatch.setattr(launch, "_POLL", 0.01)
    frames = lambda folder: int(folder.checkpoint.read_text()) if folder.checkpoint.exists() else 0  # noqa: E731
    monkeypatch.setattr(Folder, "frames_saved", frames)

    def choose(**what):
        def stand_in(words, wandb):
            new = "--folder" in words
            run = Path(words[words.index("--folder" if new else "--resume") + 1])
            return command(run, what.get(run.name, "whole") if new else "goes on")

        monkeypatch.setattr(seeds, "command_line", stand_in)

    return choose


def recipe(*more):
    return hetrl.load("happo", *TINY, "run.frames=80", *more)


# ----- submitit's local executor


def test_jobs_end_fail_and_are_continued(stand_ins, tmp_path, capsys):
    stand_ins(seed1="fails")
    found = train_seeds(recipe(), 2, tmp_path / "runs", on="submitit-local", at_once=2)
    assert found.done == [0] and found.failed == {1: "error the simulator fell over"}
    assert "  a line\n  error the simulator fell over\n" in capsys.readouterr().out
    assert not [path for path in (tmp_path / "runs").iterdir() if path.suffix in (".job", ".code", ".stop")]
    stand_ins()
    assert resume_seeds(tmp_path / "runs", on="submitit-local").done == [0, 1]


def test_a_signal_to_the_job_saves_and_another_call_goes_on(stand_ins, tmp_path):
    stand_ins(seed0="waits")
    log = tmp_path / "runs" / "seed0.log"
    submit = submitted.SubmititHere.submit

    def then_its_time_is_up(queue, job, name):
        number = submit(queue, job, name)
        wait_for(lambda: log.exists() and "begun" in log.read_text())
        os.kill(int(number), signal.SIGTERM)  # the controller hands it on, as Slurm does
        return number

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(submitted.SubmititHere, "submit", then_its_time_is_up)
        found = train_seeds(recipe(), 1, tmp_path / "runs", on="submitit-local")
    assert found.stopped == [0] and log.read_text().split() == ["begun", "saved"]
    assert resume_seeds(tmp_path / "runs", on="submitit-local").done == [0]
    assert log.read_text().split() == ["begun", "saved", "went", "on"]


def test_ctrl_c_stops_the_jobs_and_they_save(stand_ins, tmp_path, monkeypatch):
    stand_ins(seed0="waits")
    log = tmp_path / "runs" / "seed0.log"
    update = seeds.SeedsBoard.update

    def stop(board, running):
        update(board, running)
        if log.exists() and "begun" in log.read_text() and not asked:
            asked.append(1)
            os.kill(os.getpid(), signal.SIGINT)

    asked: list[int] = []
    monkeypatch.setattr(seeds.SeedsBoard, "update", stop)
    found = train_seeds(recipe(), 1, tmp_path / "runs", on="submitit-local")
    assert found.stopped == [0] and "saved" in log.read_text()


@pytest.mark.parametrize("name", ["SIGUSR1", "SIGUSR2", "SIGTERM"])
def test_before_the_limit_a_job_saves_queues_again_and_goes_on(name, tmp_path, monkeypatch):
    """In a process of its own, with a program in place of scontrol."""
    run, there = tmp_path / "seed0", tmp_path / "bin"
    run.mkdir()
    there.mkdir()
    (there / "scontrol").write_text(f"#!/bin/sh\necho $@ >> {tmp_path}/asked\n")
    (there / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", f"{there}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    log = tmp_path / "seed0.log"
    script = (
        "import pathlib; from hetrl.runs.job import Job\n"
        f"Job(pathlib.Path({str(run)!r}), pathlib.Path({str(log)!r}), {command(run, 'waits')!r}, "
        f"{command(run, 'goes on')!r}, 80)()"
    )
    job = SeedProcess(0, run.with_name("job"), [sys.executable, "-c", script])
    job.start(1)
    wait_for(lambda: log.exists() and "begun" in log.read_text())
    job.process.send_signal(getattr(signal, name))
    wait_for(lambda: (tmp_path / "asked").exists())
    assert (tmp_path / "asked").read_text() == "requeue 17\n" and (
        run / "checkpoints" / "last.ckpt"
    ).read_text() == "40"
    time.sleep(0.3)
    assert job.process.poll() is None and not JobFiles(run).code.exists()  # it waits for the end that Slurm makes
    job.process.kill()
    job.process.wait()
    again = SeedProcess(0, run.with_name("job"), [sys.executable, "-c", script])  # as Slurm starts it anew
    again.start(1)
    assert again.process.wait(30) == 0 and JobFiles(run).code.read_text() == "0\n"
    assert log.read_text().split() == ["begun", "saved", "went", "on"]


# ----- Slurm's commands


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Return a folder with programs in place of Slurm's, which keep a queue as a file and start nothing."""
    there = tmp_path / "bin"
    there.mkdir()
    programs = {
        "srun": "exit 0",
        "sbatch": f'cp "$1" {there}/script; echo 17 >> {there}/queue; echo Submitted batch job 17',
        "squeue": f"cat {there}/queue",
        "scancel": f"echo $@ >> {there}/cancelled; : > {there}/queue",
    }
    for name, text in programs.items():
        (there / name).write_text(f"#!/bin/sh\n{text}\n")
        (there / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{there}:{os.environ['PATH']}")
    monkeypatch.setattr(submitted, "_LOOK", 0.0)
    return there


def queue(tmp_path, **words):
    return Slurm(tmp_path / "submitit", {"time": 240, **words})


def a_seed(tmp_path):
    (tmp_path / "seed0").mkdir(exist_ok=True)
    return SeedProcess(0, tmp_path / "seed0", ["true"])


def test_what_slurm_is_asked_for(slurm, tmp_path):
    Submits(queue(tmp_path, partition="gpu", gpus_per_node=1, reservation="night"), 2, 5).start(a_seed(tmp_path))
    script = (slurm / "script").read_text()
    for line in ("--time=240", "--partition=gpu", "--gpus-per-node=1", "--reservation=night", "--signal=USR2@90"):
        assert f"#SBATCH {line}\n" in script
    assert (tmp_path / "seed0.job").read_text() == "17\n"


def test_a_job_ends_with_its_code_and_is_lost_without_one(slurm, tmp_path):
    there = Submits(queue(tmp_path), 1, 5)
    seed, other = a_seed(tmp_path), a_seed(tmp_path)
    there.start(seed)
    assert not seed.ended
    JobFiles(seed.run).code.write_text("0\n")
    assert seed.ended and seed.ending(True) == "done" and not JobFiles(seed.run).number.exists()
    there.start(other)
    assert not other.ended
    (slurm / "queue").write_text("")
    wait_for(lambda: other.ended)
    assert other.ending(False) == "failed"


def test_jobs_of_an_earlier_call_are_watched_and_not_queued_twice(slurm, tmp_path):
    Submits(queue(tmp_path), 1, 5).start(a_seed(tmp_path))
    seed = a_seed(tmp_path)
    assert Submits(queue(tmp_path), 1, 5).adopt(seed) and not seed.ended
    (slurm / "queue").write_text("")
    assert not Submits(queue(tmp_path), 1, 5).adopt(a_seed(tmp_path))


def test_what_slurm_has_is_not_trained_here_as_well(slurm, stand_ins, tmp_path):
    stand_ins()
    folder = tmp_path / "runs"
    train_seeds(recipe(), 1, folder)
    (folder / "seed0" / "checkpoints" / "last.ckpt").write_text("40")
    (folder / "seed0.job").write_text("17\n")
    (slurm / "queue").write_text("17\n")
    with pytest.raises(
        RunError, match=r"seed0 is trained by job 17 of Slurm; --on slurm watches it, scancel 17 ends it"
    ):
        resume_seeds(folder)
    (slurm / "queue").write_text("")
    assert resume_seeds(folder).done == [0]


def test_jobs_outlast_a_closed_terminal_and_end_with_ctrl_c(slurm, tmp_path):
    there, seed = Submits(queue(tmp_path), 1, 5), a_seed(tmp_path)
    there.start(seed)
    with StopSignals(there.lasts) as stop:
        stop.running.append(seed)
        os.kill(os.getpid(), signal.SIGTERM)
        wait_for(lambda: stop.asked)
        assert stop.left and not (slurm / "cancelled").exists()
        os.kill(os.getpid(), signal.SIGINT)
        wait_for(lambda: not stop.left)
        assert (slurm / "cancelled").read_text() == "--state=PENDING 17\n" and JobFiles(seed.run).stop.exists()
        os.kill(os.getpid(), signal.SIGINT)
        wait_for(lambda: "\n17\n" in (slurm / "cancelled").read_text())


def test_slurm_that_does_not_answer_has_lost_nothing(slurm, tmp_path):
    there, seed = Submits(queue(tmp_path), 1, 5), a_seed(tmp_path)
    there.start(seed)
    (slurm / "squeue").write_text("#!/bin/sh\nexit 1\n")
    assert all(there.queue.there("17") for _ in range(3))
    (slurm / "sbatch").write_text("#!/bin/sh\necho invalid partition >&2; exit 1\n")
    with pytest.raises(RunError, match=r"^--on slurm: hetrl seed 0 was not taken: .*"):
        there.start(seed)


# ----- what is refused


def test_what_jobs_ask_for_is_read_and_refused():
    assert slurm_words("partition=gpu, time=240,gpus-per-node=1") == {
        "partition": "gpu", "time": 240, "gpus_per_node": 1,
    }  # fmt: skip
    with pytest.raises(RunError, match=r"^--on slurm: say how many minutes a job may take, --slurm time=240"):
        RunPlace("slurm", {"time": "4:00:00"})
    with pytest.raises(RunError, match=r"run\.device=cuda, and the jobs ask for no GPU; --slurm gpus_per_node=1\.$"):
        RunPlace("slurm", {"time": 5}).refuse_device(recipe("run.device=cuda"))
    RunPlace("slurm", {"time": 5, "gpus_per_node": 1}).refuse_device(recipe("run.device=cuda"))


def test_a_missing_package_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(DependencyError, match=r"--on slurm needs submitit: pip install 'hetrl\[cluster\]'\.$"):
        Slurm(tmp_path, {"time": 5})


@pytest.mark.slow
def test_a_real_run_is_a_job_like_any_other(tmp_path):
    found = train_seeds(recipe(), 1, tmp_path / "jobs", on="submitit-local")
    assert found.done == [0]
    here = train_seeds(recipe(), 1, tmp_path / "here")
    assert here.done == [0]
    tables = [(tmp_path / name / "seed0" / "metrics.csv").read_text() for name in ("jobs", "here")]
    assert tables[0] == tables[1]
