"""What the episodes of an evaluation came to: a line of each seed, their mean, and a table."""

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import Tensor

from hetrl.data.evaluate import Episodes
from hetrl.report.curve import half_width
from hetrl.report.writable import written


def line(episodes: Episodes) -> str:
    """Return what episodes came to in a line: mean, deviation and range of the returns, and the mean length."""
    returns, lengths = episodes.returns, episodes.lengths
    return (
        f"{len(returns)} episodes: return {returns.mean():.4g} (std {returns.std(correction=0):.3g}, "
        f"{returns.min():.4g} to {returns.max():.4g}), length {lengths.mean():.4g}."
    )


def means_line(by_seed: Mapping[int, Episodes]) -> str:
    """Return the mean over seeds of their mean returns, with the 95 % interval that curves have (Student's t).

    Of one or two seeds there is no interval.
    """
    means = np.array([episodes.returns.mean().item() for episodes in by_seed.values()])
    text = f"{len(means)} seeds: return {means.mean():.4g}"
    if len(means) > 2:
        half = float(half_width(means))
        text += f" (95 % interval of the mean {means.mean() - half:.4g} to {means.mean() + half:.4g})"
    return f"{text}."


def columns(episodes: Episodes) -> dict[str, np.ndarray]:
    """Return what each episode came to, as columns: its number, return and length, and what agents earned of it.

    ``return/AGENT`` is an agent's own return, ``info/NAME`` what the environment told at the end.
    """
    found: dict[str, Tensor] = {"return": episodes.returns, "length": episodes.lengths}
    found |= {f"return/{name}": value for name, value in episodes.agent_returns.items()}
    found |= {f"info/{name}": value for name, value in episodes.infos.items()}
    return {"episode": np.arange(len(episodes.returns)), **{name: each.cpu().numpy() for name, each in found.items()}}


def save(found: Episodes | Mapping[int, Episodes], path: Path) -> Path:
    """Write a row for each episode as CSV, and return the path.

    Args:
        found: the episodes; or seed -> its episodes, and the seed is the first column.
        path: the file.

    Raises:
        RunError: it cannot be written.
    """
    single = isinstance(found, Episodes)
    tables = {0: columns(found)} if isinstance(found, Episodes) else {seed: columns(its) for seed, its in found.items()}
    names = list({name: None for table in tables.values() for name in table})
    with written(path) as half, half.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(names if single else ["seed", *names])
        for seed, table in tables.items():
            for row in range(len(table["episode"])):
                cells = [_text(table[name][row].item()) if name in table else "" for name in names]
                writer.writerow(cells if single else [seed, *cells])
    return path


def _text(value: float) -> str:
    """Return a number as a table has it: what was not told is empty, and whole numbers have no point."""
    if value != value:
        return ""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)
