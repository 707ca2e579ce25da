"""What the episodes of an evaluation came to: a line of each seed, their mean, and a table."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from hetrl.data.evaluate import Episodes
from hetrl.report.curve import half_width
from hetrl.report.writable import written


def line(episodes: Episodes) -> str:
    """Return what episodes came to in a line: mean, deviation and range of the returns, the mean length, and rates.

    A rate, such as that of wins, has its 95 % interval over these episodes beside it (Wilson's).
    """
    returns, lengths = episodes.returns, episodes.lengths
    text = (
        f"{len(returns)} episodes: return {returns.mean():.4g} (std {returns.std(correction=0):.3g}, "
        f"{returns.min():.4g} to {returns.max():.4g}), length {lengths.mean():.4g}"
    )
    for name, (rate, low, high) in episodes.rates.items():
        text += f", {name} {rate:.3g} (95 % {low:.3g} to {high:.3g})"
    return f"{text}."


def means_line(by_seed: Mapping[int, Episodes]) -> str:
    """Return the mean over seeds of their mean returns, with the 95 % interval that curves have (Student's t).

    And the same of rates that all seeds have; their intervals end at 0 and 1. Of one or two seeds there is no interval.
    """
    every = list(by_seed.values())
    text = f"{len(every)} seeds: {_mean('return', [episodes.returns.mean().item() for episodes in every])}"
    for name in every[0].rates:
        rates = [episodes.rates[name][0] for episodes in every if name in episodes.rates]
        if len(rates) == len(every):
            text += f", {_mean(name, rates, 0.0, 1.0)}"
    return f"{text}."


def _mean(name: str, values: Sequence[float], least: float = -math.inf, most: float = math.inf) -> str:
    """Return a mean over seeds in words, with its interval within bounds."""
    means = np.array(values)
    text = f"{name} {means.mean():.4g}"
    if len(means) > 2:
        low, high = np.clip(means.mean() + float(half_width(means)) * np.array([-1, 1]), least, most)
        text += f" (95 % interval of the mean {low:.4g} to {high:.4g})"
    return text


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
