"""What the episodes of an evaluation came to, in lines and as a table."""

import csv

import pytest
import torch

from hetrl.data.evaluate import Episodes
from hetrl.errors import RunError
from hetrl.report.episodes import columns, line, means_line, save


def episodes(*returns):
    values = torch.tensor(returns)
    return Episodes(values, torch.full_like(values, 7.0), {"a": values * 2}, {"win": torch.tensor([1.0, torch.nan])})


def bare(*returns):
    values = torch.tensor(returns)
    return Episodes(values, torch.full_like(values, 7.0))


def test_a_line_of_each_and_the_mean_over_seeds():
    """Means 1, 2 and 3: their deviation is 1, so 4.303 / sqrt(3) = 2.484 to either side; none of two."""
    assert line(bare(1.0, 3.0)) == "2 episodes: return 2 (std 1, 1 to 3), length 7."
    by_seed = {seed: bare(seed + 0.5, seed + 1.5) for seed in range(3)}
    assert means_line(by_seed) == "3 seeds: return 2 (95 % interval of the mean -0.4843 to 4.484)."
    del by_seed[2]
    assert means_line(by_seed) == "2 seeds: return 1.5."


def test_rates_stand_with_their_intervals():
    """One win of one: Wilson's interval goes from 1 / (1 + 1.96^2) = 0.207 to 1. Rates 0.5, 1, 1: 5/6 +- 0.7171."""
    assert line(episodes(1.0, 3.0)).endswith(", length 7, win 1 (95 % 0.207 to 1).")
    won = ([0.0, 1.0], [1.0, 1.0], [1.0, 1.0])
    by_seed = {
        seed: Episodes(torch.ones(2), torch.ones(2), {}, {"win": torch.tensor(each), "late": torch.tensor([seed, 0.0])})
        for seed, each in enumerate(won)
    }
    assert means_line(by_seed) == (
        "3 seeds: return 1 (95 % interval of the mean 1 to 1), win 0.8333 (95 % interval of the mean 0.1162 to 1)."
    )


def test_a_row_for_each_episode(tmp_path):
    assert list(columns(episodes(1.0, 3.0))) == ["episode", "return", "length", "return/a", "info/win"]
    with save(episodes(0.5, 3.0), tmp_path / "new" / "e.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [
        {"episode": "0", "return": "0.5", "length": "7", "return/a": "1", "info/win": "1"},
        {"episode": "1", "return": "3", "length": "7", "return/a": "6", "info/win": ""},
    ]
    seeds = {3: episodes(1.0, 2.0), 4: Episodes(torch.zeros(1), torch.ones(1))}
    with save(seeds, tmp_path / "seeds.csv").open(newline="") as file:
        table = list(csv.reader(file))
    assert table[0] == ["seed", "episode", "return", "length", "return/a", "info/win"]
    assert [row[0] for row in table[1:]] == ["3", "3", "4"] and table[3] == ["4", "0", "0", "1", "", ""]


def test_a_table_that_cannot_be_written_is_one_line(tmp_path):
    with pytest.raises(RunError, match="cannot be written"):
        save(episodes(0.0, 1.0), tmp_path)
