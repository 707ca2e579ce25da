"""``make gpu``: a rehearsal without a GPU runs through, a failure stops nothing, the page says what was measured."""

import json
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "tests" / "benchmark" / "gpu"

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="it comes with the repository")


@pytest.fixture
def part(monkeypatch):
    """Return a function that loads a file of the program."""
    monkeypatch.syspath_prepend(str(FOLDER))

    def load(name):
        spec = spec_from_file_location(f"make_gpu_{name.strip('_')}", FOLDER / f"{name}.py")
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


def test_the_page_holds_what_was_measured(part):
    file = ROOT / "docs" / "data" / "gpu.json"
    rows = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
    assert part("page").table(rows) in (ROOT / "docs" / "gpu.md").read_text(encoding="utf-8")


def test_figures_get_into_the_page(part, tmp_path):
    page = part("page")
    trained, stepped = page.speed_name("happo", "balance", 4096, "graphs"), page.captured_name("navigation", 65536)
    rows = [
        {"name": "machine", "state": "ok", "figures": {"GPU": "a GPU", "memory": "80 GB"}},
        {"name": "equal happo", "state": "FAIL", "figures": {}},
        {"name": trained, "state": "ok", "figures": {"frames/s": 1.5e6, "GB": 3}},
        {"name": stepped, "state": "ok", "figures": {"own ms": 9.0, "captured ms": 0.5}},
    ]  # fmt: skip
    file = tmp_path / "gpu.md"
    file.write_text(f"before\n{page.BEGIN}old\n{page.END}after\n", encoding="utf-8")
    page.write(file, rows)
    text = file.read_text(encoding="utf-8")
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert "Machine: a GPU, 80 GB. Checks: 4 checks, failed: equal happo." in text
    assert "| `happo`, `balance` | - / - / 1,500,000 | not measured | not measured | 3.0 GB |" in text
    assert "| `navigation` | not measured | not measured | 9.00 / 0.50 |" in text


def test_a_check_that_fails_leaves_the_next_alone(part, tmp_path, capsys):
    main, ran = part("__main__"), []

    def fails():
        raise ValueError("no\nmore")

    report = main.Report(tmp_path / "gpu.json", 60, "e")
    report.check("one", fails)
    report.check("the other", lambda word: ran.append(word) or {"apart": 1e-3, "what": word}, "given")
    report.check("last", ran.clear)  # its name does not hold the word
    report._end = 0
    report.check("late", ran.clear)
    assert ran == ["given"] and report.failed == ["one"]
    assert [line.split(" (")[0] for line in capsys.readouterr().out.splitlines()] == [
        "FAIL one: ValueError: no", "ok   the other: apart 0.001, what given", "skip late: ",
    ]  # fmt: skip
    assert [row["state"] for row in json.loads((tmp_path / "gpu.json").read_text())] == ["FAIL", "ok", "skip"]


def rehearse(folder, *words):
    command = [sys.executable, str(FOLDER), "--dry", "--out", str(folder), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
def test_a_rehearsal_runs_through(tmp_path):
    code, said, wrong = rehearse(tmp_path)
    assert code == 0, said + wrong[-2000:]
    rows = json.loads((tmp_path / "data" / "gpu_dry.json").read_text())
    assert {row["state"] for row in rows} == {"ok"} and not any("refused" in row["figures"] for row in rows)
    assert {row["name"].split()[0] for row in rows} == {
        "machine", "tests", "equal", "no", "graphs", "trust", "resumes", "captured", "speed",
    }  # fmt: skip


@pytest.mark.slow
def test_without_time_nothing_is_checked(tmp_path):
    code, said, _ = rehearse(tmp_path, "--minutes", "0")
    assert code == 0 and "ok  " not in said and " 0 failed" in said
