"""The table of ``docs/gpu.md``: figures where they were measured, and "not measured" elsewhere."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- make gpu writes from here -->\n", "<!-- to here -->\n"
UNKNOWN = "not measured"
MODES = ("eager", "captured", "graphs")
SCENARIOS = ("balance", "navigation", "mixed_transport")
RECIPES = ("happo", "mappo", "hasac", "haqo")
N_ENVS = (4096, 16384, 65536)


def speed_name(recipe: str, scenario: str, n_envs: int, mode: str) -> str:
    """Return the name of a check of speed."""
    return f"speed {recipe} {scenario} {n_envs} {mode}"


def captured_name(scenario: str, n_envs: int) -> str:
    """Return the name of the check of a captured simulator."""
    return f"captured {scenario} {n_envs}"


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the part of the page that is measured."""
    found = {row["name"]: row["figures"] for row in rows if row["state"] == "ok"}
    machine = found.get("machine", {})
    where = ", ".join(str(value) for value in machine.values()) if machine else UNKNOWN
    checked = [row for row in rows if row["state"] != "skip"]
    failed = [row["name"] for row in rows if row["state"] == "FAIL"]
    told = f"{len(checked)} checks, failed: {', '.join(failed) or 'none'}" if checked else UNKNOWN
    lines = [f"Machine: {where}. Checks: {told}.", "", "Frames a second in training:", ""]
    lines += [
        "| recipe, scenario | environments | eager | captured | captured, graphs | memory |",
        "|---|---|---|---|---|---|",
    ]
    for recipe in RECIPES:
        for scenario in SCENARIOS:
            for n_envs in N_ENVS:
                each = [found.get(speed_name(recipe, scenario, n_envs, mode), {}) for mode in MODES]
                rates = [f"{one['frames/s']:,.0f}" if "frames/s" in one else UNKNOWN for one in each]
                memory = next((f"{one['GB']:.1f} GB" for one in reversed(each) if "GB" in one), UNKNOWN)
                lines.append(f"| `{recipe}`, `{scenario}` | {n_envs:,} | {' | '.join(rates)} | {memory} |")
    lines += ["", "A step of the simulator alone, in milliseconds:", ""]
    lines += ["| scenario | environments | VMAS | captured |", "|---|---|---|---|"]
    for scenario in SCENARIOS:
        for n_envs in N_ENVS:
            one = found.get(captured_name(scenario, n_envs), {})
            own, fast = (f"{one[word]:.2f}" if word in one else UNKNOWN for word in ("own ms", "captured ms"))
            lines.append(f"| `{scenario}` | {n_envs:,} | {own} | {fast} |")
    return "\n".join(lines) + "\n"


def write(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Put the table into the page, where there is one."""
    if not file.is_file():
        return
    text = file.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    file.write_text(f"{before}{BEGIN}\n{table(rows)}\n{END}{after}", encoding="utf-8")
