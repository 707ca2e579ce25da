"""What a replay buffer takes is what it is said to take."""

import pytest

from hetrl import allocation, load
from hetrl.engine.task import team_of
from hetrl.recipe.check.buffer import buffer

SMALL = ("task.n_envs=4", "data.capacity=80", "data.batch=8", "data.warmup=20", "run.frames=60")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hasac", ()),
        ("hasac", ("task=task/mixed_transport",)),
        ("hasac", ("task={use: env/vmas, scenario: balance, n_agents: 5}",)),
        ("omdpg_discrete", ()),
        ("hasac_battle", ()),
    ],
    ids=["three_agents", "two_bodies", "five_agents", "choices", "masks_and_a_state"],
)
def test_it_is_what_the_ring_holds(name, words):
    recipe = load(name, *words, *SMALL)
    source = recipe.build()[1].source
    source.collect()
    stored = sum(value[:1].nbytes for value in source.ring.leaves().values())
    found = buffer(recipe, team_of(recipe))
    assert (found.whole, found.filled) == (80 * stored, 60 * stored)


def test_what_keeps_no_steps_has_none():
    recipe = load("happo")
    assert buffer(recipe, team_of(recipe)) is None


def test_check_says_it_and_warns(hetrl, monkeypatch):
    """3 agents with 16 numbers seen twice, an action of 2 and a reward, and 2 flags: 3 (128 + 8 + 4) + 2 = 422."""
    assert hetrl("check", "hasac", *SMALL)[1].splitlines()[2] == (
        "Replay: data.capacity = 80 takes 33 KiB, of which this run fills 24.7 KiB."
    )
    monkeypatch.setattr(allocation, "free_memory", lambda: 1024)
    assert (
        "warning: data.capacity = 80: the run fills 24.7 KiB with stored steps, and 1 KiB are free; write a "
        "smaller data.capacity."
    ) in hetrl("check", "hasac", *SMALL)[1]


def test_free_memory_is_known_or_not(monkeypatch, tmp_path):
    free = allocation.free_memory()
    assert free is None or free > 0
    monkeypatch.setattr(allocation, "Path", lambda _: tmp_path / "none")
    assert allocation.free_memory() is None
