"""Memory that cannot be had is one line that names the setting and the size, and no traceback."""

import pytest
import torch

import hetrl
from hetrl.allocation import allocating, refuse_above_all, size
from hetrl.errors import RecipeError
from hetrl.runs import run as runs

TINY = ["task.n_envs=4", "data.frames=40", "run.frames=40", "run.device=cpu"]
PETA = 10**15


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 2147483648 bytes."), "2 GiB"),
        (RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total of ..."), "20.00 GiB"),
        (MemoryError("Unable to allocate 7.45 GiB for an array with shape (1000000000,)"), "7.45 GiB"),
    ],
    ids=["torch", "cuda", "numpy"],
)
def test_the_size_is_what_the_library_says(error, said):
    with (
        pytest.raises(RecipeError, match=rf"^data\.x = 3 needs memory that cannot be had: {said} at once; make it "),
        allocating("data.x = 3"),
    ):
        raise error


@pytest.mark.parametrize(
    "make", [lambda: torch.empty(2**62, 2**62), lambda: torch.zeros(10**20), lambda: bytearray(10**20)]
)
def test_what_cannot_even_be_counted(make):
    with (
        pytest.raises(RecipeError, match=r"^x needs memory that cannot be had: more than can be addressed; make it "),
        allocating("x"),
    ):
        make()


def test_other_errors_stay_what_they_are():
    for error in (RuntimeError("shapes differ"), TypeError("no size"), RecipeError("x")):
        with pytest.raises(type(error)) as found, allocating("x"):
            raise error
        assert found.value is error


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("happo", f"nets.actor.hidden=[{PETA}]", r"^nets\.actor \(net/gaussian_policy\): a net of this size needs mem"),
        (
            "happo",
            "task.n_envs=1000000000000",
            r"^task\.n_envs = 1000000000000 needs \S+ TiB, and there are \S+ \wiB i",
        ),
        ("happo", f"data.frames={4 * PETA}", rf"^data\.frames = {4 * PETA} needs memory that cannot be had: \S+ PiB"),
        ("hasac", f"data.capacity={PETA}", rf"^data\.capacity = {PETA} needs memory that cannot be had: \S+ [TP]iB at"),
    ],
    ids=["net", "environments", "batch", "ring"],
)
def test_a_recipe_that_asks_for_too_much(tmp_path, name, change, message):
    more = [change, "data.frames=1000000000000"] if "n_envs" in change else [change]
    tiny = [text for text in TINY if not (name == "hasac" and text.startswith("data"))]
    with pytest.raises(RecipeError, match=message):
        runs.train(hetrl.load(name, *tiny, *more), tmp_path / "run", quiet=True)


def test_an_update_on_too_large_a_batch_names_its_phase(tmp_path, monkeypatch):
    from hetrl.engine.phase import PhaseRunner

    def large(*given):
        return torch.empty(PETA)

    monkeypatch.setattr(PhaseRunner, "run", large)
    with pytest.raises(RecipeError, match=r"^update\.estimate: an update on such a batch needs memory that cannot be"):
        runs.train(hetrl.load("happo", *TINY), tmp_path / "run", quiet=True)


def test_more_than_all_there_is_is_refused_before_it_is_asked_for():
    refuse_above_all("x", 1024, torch.device("cpu"))
    with pytest.raises(RecipeError, match=r"^x needs 888 PiB, and there are \S+ \wiB in all; make it smaller\.$"):
        refuse_above_all("x", 10**18, torch.device("cpu"))


def test_sizes_in_words():
    assert [size(n) for n in (5, 1024, 1536 * 2**20, 10**25)] == ["5 bytes", "1 KiB", "1.5 GiB", "8673617 EiB"]
