"""Does hetrl run on this GPU, rightly, and how fast? ``make gpu``, or ``python tests/benchmark/gpu``.

    python tests/benchmark/gpu [--minutes 20] [--only WORD] [--dry] [--out FOLDER]

A line for each check; one that fails leaves the next ones alone, and one for which no time is left is skipped. The
exit code is how many failed. Figures go to ``docs/data/gpu.json`` after every check, and into the table of
``docs/gpu.md`` at the end. ``--dry`` is a rehearsal without a GPU, on the pretended one of ``hetrl.testing``, with tiny
sizes: what it measures means nothing, and the page is left as it is unless ``--out`` holds a copy.
"""

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
warnings.filterwarnings("ignore")

import checks  # noqa: E402
import page  # noqa: E402
import torch  # noqa: E402

ROOT = Path(__file__).resolve().parents[3]


class Report:
    """What was checked, printed and written as it comes.

    Args:
        file: where figures go.
        seconds: for all checks together.
        only: a word that a check's name has to hold; every name holds "".
    """

    def __init__(self, file: Path, seconds: float, only: str) -> None:
        self._file, self._only, self._end = file, only, time.monotonic() + seconds
        self.rows: list[dict[str, Any]] = []

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self._end - time.monotonic()

    @property
    def failed(self) -> list[str]:
        """Names of the checks that failed."""
        return [row["name"] for row in self.rows if row["state"] == "FAIL"]

    def check(self, name: str, function: Callable[..., dict[str, Any]], *given: Any) -> None:
        """Run a check, whatever it does: it returns its figures, and raises where something does not hold."""
        if self._only not in name:
            return
        row: dict[str, Any] = {"name": name, "state": "ok", "figures": {}}
        start = time.monotonic()
        if self.left <= 0:
            row["state"] = "skip"
        else:
            try:
                row["figures"] = function(*given)
            except Exception as error:
                text = (str(error).strip().splitlines() or [""])[0][:300]
                row |= {"state": "FAIL", "error": f"{type(error).__name__}: {text}"}
        row["seconds"] = round(time.monotonic() - start, 1)
        self.rows.append(row)
        told = row.get("error") or ", ".join(f"{word} {_said(value)}" for word, value in row["figures"].items())
        print(f"{row['state']:4} {name}: {told} ({row['seconds']} s)", flush=True)
        self._file.write_text(json.dumps(self.rows, indent=1) + "\n", encoding="utf-8")


def _said(value: Any) -> str:
    return f"{value:,.3g}" if isinstance(value, float) else str(value)


def main() -> int:
    """Run all checks and return how many failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20.0, help="after which no further check begins")
    parser.add_argument("--only", default="", help="checks whose name holds this word")
    parser.add_argument("--dry", action="store_true", help="a rehearsal without a GPU")
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="folder of gpu.md and of data/gpu.json")
    given = parser.parse_args()
    if not given.dry and not torch.cuda.is_available():
        print("There is no CUDA GPU here; make gpu DRY=1 rehearses without one.")
        return 1
    sizes = checks.DRY if given.dry else checks.FULL
    if given.dry:
        checks.rehearse()
    file = given.out / "data" / ("gpu_dry.json" if given.dry else "gpu.json")
    file.parent.mkdir(parents=True, exist_ok=True)
    report = Report(file, 60 * given.minutes, given.only)
    checks.run_all(report, sizes)
    if not given.dry or given.out != ROOT / "docs":
        page.write(given.out / "gpu.md", report.rows)
    skipped = sum(row["state"] == "skip" for row in report.rows)
    print(f"{len(report.rows)} checks, {skipped} skipped, {len(report.failed)} failed: {report.failed}; {file}")
    return min(len(report.failed), 125)


if __name__ == "__main__":
    sys.exit(main())
