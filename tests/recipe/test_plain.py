"""What a recipe from Python may hold: what YAML can say, and nothing else."""

import enum

import numpy as np
import pytest
import torch

from hetrl.errors import RecipeError
from hetrl.recipe.plain import plain
from hetrl.recipe.read import load


class Way(enum.StrEnum):
    SUM = "sum"


def changed(**words):
    return load("happo").tree | words


def refused(text, about):
    with pytest.raises(RecipeError, match=text) as caught:
        load(changed(about=about))
    assert str(caught.value).isprintable() and len(str(caught.value)) < 1200


@pytest.mark.parametrize(
    "value", [object(), {1, 2}, b"bytes", np.array([1.0]), np.int64(3), torch.tensor(2.0), len, 1j, range(3)]
)
def test_other_objects_are_refused(value):
    refused(
        rf"^about\[0\].x: a Python {type(value).__name__} is nothing that a recipe can say; write a number, a text,",
        [{"x": value}],
    )


def test_subclasses_become_what_they_are():
    found = plain({"a": (Way.SUM, np.float64(1.5), True, None)})
    assert found == {"a": ["sum", 1.5, True, None]}
    assert [type(each) for each in found["a"]] == [str, float, bool, type(None)]


def test_words_numbers_and_letters_that_no_file_holds():
    refused("^about: the word 3 is no text; put it in quotes, or write a name.$", {3: 4})
    refused("^about: the word None is no text", {None: 4})
    refused("^about is a number of 100 bits; write one below", 10**30)
    refused("^about: .* holds half a letter", "\ud800")
    refused("^about: .* holds half a letter", {"\ud800": 1})


def test_what_is_deep_or_holds_itself():
    deep, loop = [], []
    for _ in range(60):
        deep = [deep]
    loop.append(loop)
    for value in (deep, loop):
        refused("^about: it is nested too deep; 50 levels are allowed.$", value)


@pytest.mark.parametrize(
    ("override", "number"),
    [("run.frames=1e6", 1_000_000), ("run.frames=1.5E3", 1500), ("run={frames: +2e+3}", 2000), ("run.seed=0e5", 0)],
)
def test_whole_numbers_with_an_exponent(override, number):
    run = load("happo", override).run
    assert number in (run.frames, run.seed) and type(run.frames) is int


def test_numbers_that_are_not_whole():
    for value, shown in (("1.5", "1.5"), ("true", "True"), ("3.0", "3.0"), ("1e-3", "0.001"), ("'1e6'", "'1e6'")):
        with pytest.raises(RecipeError, match=f"run.frames .*not {shown}.$"):
            load("happo", f"run.frames={value}")
    assert load("happo", "update.actors.optim.lr=5e-4").update[1].optim.arguments["lr"] == 5e-4
    assert load("happo", "about='1e6'").about == "1e6"


def test_an_exponent_in_a_file_with_anchors(tmp_path):
    path = tmp_path / "mine.yaml"
    text = load("happo").yaml().replace("seed: 0", "seed: &n 1e2").replace("threads: 1", "threads: *n")
    path.write_text(text.replace("frames: 480000", "frames: 4.8e5"))
    run = load(path).run
    assert (run.frames, run.seed, run.threads) == (480_000, 100, 100)
    path.write_text(text.replace("frames: 480000", "frames: 4.8e5\n  frames: 3"))
    with pytest.raises(RecipeError, match="duplicate key"):
        load(path)
