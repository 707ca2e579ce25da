"""Which scenarios can be captured: each is traced and proved, or refused with its reason.

    python tests/benchmark/captures.py [SCENARIO ...] [--steps 1000] [--compile] [--table PAGE]

Writes ``captures.json`` (rows of earlier calls are kept) and, with ``--table``, puts the
table into a page, docs/benchmarks/captured_scenarios.md.
"""

import argparse
import json
import os
import time
import warnings
from pathlib import Path
from typing import Any

os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
warnings.filterwarnings("ignore")

import torch  # noqa: E402

from hetrl.env.capture.capture import make  # noqa: E402
from hetrl.env.capture.places import RefusalError  # noqa: E402
from hetrl.env.capture.runner import as_it_is, compiled  # noqa: E402
from hetrl.env.vmas import _OWNERS, Vmas, scenarios  # noqa: E402

ARGUMENTS: dict[str, dict[str, Any]] = {"football, ai_red_agents: false": {"ai_red_agents": False}}
"""Rows beside those of the defaults: scenario and arguments in words -> arguments."""
START, END = "<!-- captures -->", "<!-- /captures -->"


def row(name: str, n_envs: int, n_steps: int, is_compiled: bool) -> dict[str, Any]:
    """Trace one scenario and prove it."""
    env = Vmas(scenario=name.split(",")[0], n_envs=n_envs, seed=1, **ARGUMENTS.get(name, {}))
    env.start()
    begin = time.process_time()
    try:
        made = make(env, _OWNERS, compiled if is_compiled else as_it_is, None, n_steps)
    except RefusalError as refusal:
        return {"refused": str(refusal)}
    except Exception as error:
        return {"refused": f"{type(error).__name__}: {str(error).splitlines()[0][:120]}"}
    found = {
        "operations": made.runner.traced.n_operations, "steps": made.traced.n_steps, "rows": n_envs,
        "unequal": made.traced.unequal, "worst": made.traced.worst, "own": made.traced.missed,
        "terminations": made.traced.terminations, "seconds": time.process_time() - begin,
    }  # fmt: skip
    return found | ({"compiled": made.compiled.worst} if is_compiled else {})


def page(rows: dict[str, dict[str, Any]]) -> str:
    """Return the table in Markdown."""
    lines = ["| scenario | operations | steps | traced | compiled |", "|---|---|---|---|---|"]
    for name, found in sorted(rows.items()):
        if "refused" in found:
            lines.append(f"| `{name}` | | | refused: {found['refused']} | |")
            continue
        equal = (
            "equal"
            if not found["unequal"]
            else f"{found['worst']:.0e} at {found['unequal']} step{'s' * (found['unequal'] > 1)}"
        )
        equal += f", {found['own']} steps were VMAS's" if found["own"] else ""
        far = f"{found['compiled']:.0e}" if "compiled" in found else ""
        lines.append(f"| `{name}` | {found['operations']:,} | {found['steps']:,} | {equal} | {far} |")
    return "\n".join(lines)


def main() -> None:
    """Go through the scenarios that were asked for, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--n-envs", type=int, default=6)
    parser.add_argument("--compile", action="store_true", help="prove the compiled step as well")
    parser.add_argument("--table", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    file = Path("captures.json")
    rows = json.loads(file.read_text()) if file.exists() else {}
    for name in options.scenarios or ([] if options.table else [*scenarios(), *ARGUMENTS]):
        found = row(name, options.n_envs, options.steps, options.compile)
        known = rows.get(name, {})  # a call without --compile keeps what one with it has found
        rows[name] = found if "refused" in found or "refused" in known else {**known, **found}
        print(name, rows[name], flush=True)
        file.write_text(json.dumps(rows, indent=1) + "\n")
    if options.table:
        text = options.table.read_text(encoding="utf-8")
        before, after = text.split(START)[0], text.split(END)[1]
        options.table.write_text(f"{before}{START}\n{page(rows)}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
