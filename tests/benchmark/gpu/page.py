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
    sizes = " | ".join(f"{n_envs:,}" for n_envs in N_ENVS)
    lines = [f"Machine: {where}. Checks: {told}.", ""]
    lines += ["Frames a second in training, eager / captured / captured and with graphs, by environments; and the most"]
    lines += ["memory that a run took:", ""]
    lines += [f"| recipe, scenario | {sizes} | memory |", f"|---|---|{'---|' * len(N_ENVS)}"]
    for recipe in RECIPES:
        for scenario in SCENARIOS:
            each = [[found.get(speed_name(recipe, scenario, n, mode), {}) for mode in MODES] for n in N_ENVS]
            rates = [_cell([one.get("frames/s") for one in modes], ",.0f") for modes in each]
            taken = [one["GB"] for modes in each for one in modes if "GB" in one]
            memory = f"{max(taken):.1f} GB" if taken else UNKNOWN
            lines.append(f"| `{recipe}`, `{scenario}` | {' | '.join(rates)} | {memory} |")
    lines += ["", "A step of the simulator alone, VMAS / captured, in milliseconds:", ""]
    lines += [f"| scenario | {sizes} |", f"|---|{'---|' * len(N_ENVS)}"]
    for scenario in SCENARIOS:
        steps = [found.get(captured_name(scenario, n), {}) for n in N_ENVS]
        times = [_cell([one.get("own ms"), one.get("captured ms")], ".2f") for one in steps]
        lines.append(f"| `{scenario}` | {' | '.join(times)} |")
    return "\n".join(lines) + "\n"


def _cell(values: Sequence[float | None], form: str) -> str:
    """Return some figures side by side, "-" for one that is not known."""
    if all(value is None for value in values):
        return UNKNOWN
    return " / ".join("-" if value is None else format(value, form) for value in values)


def write(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Put the table into the page, where there is one."""
    if not file.is_file():
        return
    text = file.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    file.write_text(f"{before}{BEGIN}\n{table(rows)}\n{END}{after}", encoding="utf-8")
