"""Timings: the parts add up to no more than the clock, and leave the run as it was."""

import pytest
import torch

import hetrl
from hetrl.runs.csv_table import CsvTable, read
from hetrl.runs.run import resume, train
from hetrl.train.timings import Timings

TINY = [
    "task={use: env/tabular_game, n_states: 3, n_actions: [2, 2], n_envs: 4, horizon: 7}",
    "nets.actor.use=net/categorical_policy", "nets.actor.hidden=[8]", "nets.value.hidden=[8]", "data.frames=40",
    "run.frames=120", "run.eval_every=80", "run.n_eval_episodes=3", "run.device=cpu",
]  # fmt: skip
# Lightning's advice for other kinds of training: a short epoch.
pytestmark = pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*")


def test_every_part_is_timed_and_the_parts_fit_the_whole(tmp_path):
    folder = train(hetrl.load("happo", *TINY), tmp_path / "run", quiet=True)
    rows = read(folder.timings)
    assert [row["frames"] for row in rows] == [40, 80, 120]
    parts = {"collect", "evaluate", "estimate", "actors", "critic"}
    assert set(rows[0]) == {"frames", "wall", *parts}  # the first evaluation comes before the first batch
    assert "evaluate" in rows[1] and "evaluate" not in rows[2]
    for row in rows:
        spent = [row[part] for part in parts if part in row]
        assert min(spent) > 0 and sum(spent) <= row["wall"]
    resumed = resume(tmp_path / "run", "run.frames=160", quiet=True)
    assert [row["frames"] for row in read(resumed.timings)] == [40, 80, 120, 160]


class Reached:
    """Stands in for an event of a GPU."""

    def __init__(self, at, there=True):
        self.at, self.there = at, there

    def query(self):
        return self.there

    def synchronize(self):
        self.there = True

    def elapsed_time(self, end):
        assert self.there and end.there
        return end.at - self.at


def test_what_the_device_has_not_reached_counts_later(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "Event", Reached)
    timings = Timings(CsvTable(tmp_path / "timings.csv"))
    late, last = Reached(3000, there=False), Reached(7000, there=False)
    timings._spans = [("actors", Reached(0), Reached(1000)), ("critic", Reached(1000), late), ("actors", late, last)]
    timings._add_up(wait=False)
    assert timings._seconds == {"actors": 1.0}
    late.there = True
    timings._add_up(wait=False)
    assert timings._seconds == {"actors": 1.0, "critic": 2.0}
    timings._add_up(wait=True)
    assert timings._seconds == {"actors": 5.0, "critic": 2.0} and not timings._spans


@pytest.mark.gpu
def test_on_a_gpu_the_device_is_timed(tmp_path):
    recipe = hetrl.load("happo", "run.device=cuda", "run.frames=19200", "run.eval_every=6400")
    rows = read(train(recipe, tmp_path / "run", quiet=True).timings)
    assert torch.cuda.is_available() and len(rows) == 3
    for row in rows:
        spent = [value for name, value in row.items() if name not in ("frames", "wall")]
        assert len(spent) == 5 and min(spent) > 0
        assert 0.5 * row["wall"] < sum(spent) <= 1.05 * row["wall"]  # two clocks
