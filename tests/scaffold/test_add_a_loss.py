"""The page "Add a loss in 15 minutes", followed to the letter in a fresh virtual environment.

Its files are written and its commands run, in order, in one shell. Only the two lines that fetch torch and hetrl's
dependencies from an index are replaced: the environment sees those of the tests' own instead, and hetrl itself and the
new package are built and installed by pip without a network.
"""

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "add_a_loss.md"
FENCES = re.compile(r'^```(bash|python)(?: title="(.*?)")?\n(.*?)^```', re.MULTILINE | re.DOTALL)
FETCHED = 'python -m pip install "torch==', "python -m pip install ./hetrl "
FAILS = "  # fails"


def script(text: str, offline: list[str]) -> str:
    """Return the page as one shell script; a line marked as failing must fail."""
    lines = ["set -euo pipefail"]
    fetched = []
    for language, title, block in FENCES.findall(text):
        if language == "python":
            lines += [f"cat > {title} <<'PYTHON'", block.rstrip("\n"), "PYTHON"]
            continue
        for line in block.splitlines():
            if line.startswith(FETCHED):
                fetched.append(line)
                lines += offline if line.startswith(FETCHED[-1]) else []
                continue
            command, fails, _ = line.partition(FAILS)
            lines += [f"echo '$ {command}'", f"! {command}" if fails else command]
    assert len(fetched) == len(FETCHED), "the page installs hetrl in another way than this test knows"
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def printed(tmp_path_factory) -> dict[str, str]:
    """Return what each command of the page has printed."""
    place = tmp_path_factory.mktemp("page")
    (place / "bin").mkdir()
    (place / "bin" / "python3").symlink_to(sys._base_executable)
    shared = sysconfig.get_path("purelib")
    offline = [
        "python -m pip uninstall --quiet --yes setuptools",  # some venvs bring an old one, ahead of ours
        f"echo '{shared}' > \"$(python -c 'import sysconfig; print(sysconfig.get_path(\"purelib\"))')/shared.pth\"",
        f"python -m pip install --quiet --no-deps --no-build-isolation --ignore-installed {ROOT}",
    ]
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON", "VIRTUAL_ENV"))
    }
    environment = clean | {
        "PATH": f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0",  # pip's own sense of it: 0 is without isolation
        "PIP_DISABLE_PIP_VERSION_CHECK": "1", "OMP_NUM_THREADS": "1", "COLUMNS": "200", "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    done = subprocess.run(
        ["bash", "-c", script(PAGE.read_text(), offline)],
        cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:]
    pieces = re.split(r"^\$ (.*)\n", done.stdout, flags=re.MULTILINE)
    found: dict[str, str] = {}
    for command, output in zip(pieces[1::2], pieces[2::2], strict=True):
        found[command] = found.get(command, "") + output
    return found | {"folder": str(place)}


@pytest.mark.slow
def test_it_fails_only_where_something_is_to_fill_in_and_then_no_more(printed):
    before, after = re.findall(r"=+ (\d.*?) in [\d.]+s", printed["python -m pytest"])
    assert (before, after) == ("2 failed, 2 passed", "4 passed")
    said = [line for line in printed["python -m pytest"].splitlines() if line.startswith("E ")]
    assert len([line for line in said if "AssertionError" in line]) == 2
    assert all("to fill in" in line or "FILL IN" in line for line in said if "AssertionError" in line)


@pytest.mark.slow
def test_the_installed_package_is_listed_with_its_version(printed):
    first, last = printed["hetrl list loss"].split("loss/clipped_surrogate")[0:2]
    assert "acme" not in first
    assert re.search(r"^ *loss/acme\.capped_surrogate +acme-capped-surrogate 0\.1\.0 *$", first + last, re.MULTILINE)
    assert "links" in printed["hetrl check capped_surrogate.yaml"]


@pytest.mark.slow
def test_it_trains(printed):
    assert "loss/acme.capped_surrogate" in printed["hetrl show capped_surrogate.yaml"]
    runs = Path(printed["folder"]) / "capped" / "runs"
    for seed, cap in ((0, None), (1, 1.2)):
        run = runs / f"capped_surrogate_balance_seed{seed}"
        assert "actors/agent_0/capped_surrogate" in (run / "metrics.csv").read_text().splitlines()[0]
        assert (f"cap: {cap}" in (run / "recipe.yaml").read_text()) == (cap is not None)
    assert (runs.parent / "both.png").stat().st_size > 10_000


@pytest.mark.slow
def test_hetrl_was_the_built_one(printed):
    site = next((Path(printed["folder"]) / "venv" / "lib").glob("python*/site-packages"))
    assert (site / "hetrl" / "scaffold" / "template" / "loss" / "component.py.in").is_file()
    assert (site / "hetrl" / "recipes" / "happo.yaml").is_file()


def test_the_test_itself_runs_every_command_of_the_page():
    text = PAGE.read_text()
    made = script(text, ["install"])
    commands = [line for block in re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
                for line in block.splitlines()]  # fmt: skip
    assert made.count("\necho '$ ") == len(commands) - len(FETCHED) > 10
    assert "\n! python -m pytest\n" in made and made.count("PYTHON'\n") == 3 and "\ninstall\n" in made
    for _, title, block in FENCES.findall(text):
        if title:
            compile(block, title, "exec")
