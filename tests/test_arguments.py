"""Signatures as schema."""

import math
from typing import Annotated, Literal

import pytest

from hetrl.arguments import (
    SCHEDULABLE,
    Count,
    Fraction,
    NonNegative,
    Positive,
    Seed,
    Widths,
    check,
    checked,
    parameters,
)
from hetrl.errors import RecipeError


def build(
    positional,
    *,
    rate: Annotated[Positive, SCHEDULABLE],
    share: Annotated[Fraction, SCHEDULABLE] = 0.5,
    coef: NonNegative = 0.0,
    count: Count = 1,
    hidden: Widths = [4],  # noqa: B006
    seed: Seed = 0,
    way: Literal["sum", "mean"] = "sum",
    limit: Annotated[Positive | None, SCHEDULABLE] = None,
    flag: bool = False,
    names: list[str] | None = None,
):
    """A constructor."""


def test_hyperparameters_are_the_keyword_only_ones():
    assert list(parameters(build)) == [
        "rate", "share", "coef", "count", "hidden", "seed", "way", "limit", "flag", "names"
    ]  # fmt: skip


GOOD = [
    ("rate", 1), ("rate", 1e-9), ("share", 0), ("share", 1), ("share", 1.0), ("coef", 0), ("count", 1), ("hidden", []),
    ("hidden", [4, 8]), ("seed", 2**31 - 1), ("way", "mean"), ("limit", None), ("limit", 2.5), ("flag", True),
    ("names", ["a"]), ("rate", {"linear": [1.0, 0.1]}), ("share", {"linear": [0, 1]}), ("limit", {"linear": [2, 1]}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), GOOD)
def test_takes_what_fits(name, value):
    check(build, {"rate": 1.0, name: value}, "x/y")


BAD = [
    ("rate", 0), ("rate", -1.0), ("rate", "1"), ("rate", None), ("rate", True), ("rate", [1.0]), ("share", 1.01),
    ("share", -0.01), ("coef", -1e-9), ("count", 0), ("count", 1.0), ("count", True), ("count", "3"), ("hidden", 4),
    ("hidden", (4, 8)), ("hidden", [1] * 17), ("seed", 2**31), ("seed", -1), ("way", "median"), ("limit", 0.0),
    ("flag", 1), ("flag", "true"), ("names", "a"), ("names", [1]), ("count", {"linear": [1, 2]}),
    ("way", {"linear": [1, 2]}), ("coef", {"linear": [1.0, 2.0]}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), BAD)
def test_refuses_what_does_not(name, value):
    with pytest.raises(RecipeError, match=rf"^x/y: {name}(\[0\])? = ") as caught:
        check(build, {"rate": 1.0, name: value}, "x/y")
    assert "\n" not in str(caught.value)


def test_says_which_member_of_a_list():
    with pytest.raises(RecipeError, match=r"^x/y: hidden\[1\] = 0: Input should be greater than 0.$"):
        check(build, {"rate": 1.0, "hidden": [4, 0]}, "x/y")


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_refuses_what_is_not_finite(value):
    with pytest.raises(RecipeError, match=r"^x/y: rate: .* is not a finite number.$"):
        check(build, {"rate": value}, "x/y")
    with pytest.raises(RecipeError, match=r"^x/y: rate: .* is not a finite number.$"):
        check(build, {"rate": {"linear": [1.0, value]}}, "x/y")


def test_names():
    with pytest.raises(RecipeError, match=r"^x/y has no argument 'shar'. Nearest: 'share'.$"):
        check(build, {"rate": 1.0, "shar": 0.5}, "x/y")
    with pytest.raises(RecipeError, match=r"^x/y has no argument 'positional'."):
        check(build, {"rate": 1.0, "positional": 1}, "x/y")
    with pytest.raises(RecipeError, match=r"^x/y needs the argument 'rate'.$"):
        check(build, {}, "x/y")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"linear": [1.0, 0.0]}, "rate = 0.0: "),
        ({"linear": [1.0]}, r"rate: a linear schedule is two numbers, \{linear: \[start, end\]\}, not \[1.0\]"),
        ({"linear": [1.0, "0.1"]}, "rate: a linear schedule is two numbers"),
        ({"linear": 1.0}, "rate: a linear schedule is two numbers"),
        ({"cosine": [1.0, 0.5]}, r"rate: 'cosine' is no schedule; write \{linear: \[start, end\]\}"),
        ({"linear": [1, 2], "steps": 3}, "rate: 'steps' is no schedule"),
        ({"until": 0.5}, "rate: 'until' is no schedule"),
        ({"linear": [1, 2], "until": 0}, "rate: until = 0 is the share of the run after which a schedule ends; above"),
        ({"linear": [1, 2], "until": 1.5}, "rate: until = 1.5 is the share"),
        ({"linear": [1, 2], "until": "half"}, "rate: until = 'half' is the share"),
        ({}, "rate: "),
    ],
)
def test_schedules_are_checked_too(value, text):
    with pytest.raises(RecipeError, match=f"^x/y: {text}"):
        check(build, {"rate": value}, "x/y")


def test_a_function_that_takes_anything_takes_anything():
    def build(*, rate: Positive = 1.0, **rest):
        """A constructor with arguments of somebody else's."""

    check(build, {"whatever": object()}, "x/y")
    with pytest.raises(RecipeError, match=r"^x/y: rate = 0: "):
        check(build, {"whatever": 1, "rate": 0}, "x/y")


def test_a_checked_constructor():
    class Thing:
        def __init__(self, size, *, rate: Annotated[Positive, SCHEDULABLE] = 1.0) -> None:
            self.size, self.rate = size, rate

        __init__ = checked(__init__, "x/thing")

    assert (Thing(3).rate, Thing(3, rate=2).size) == (1.0, 3)
    assert Thing(3, rate={"linear": [0.5, 0.1]}).rate == 0.5  # where it begins
    with pytest.raises(RecipeError, match=r"^x/thing: rate = 0: "):
        Thing(3, rate=0)
    with pytest.raises(RecipeError, match=r"^x/thing has no argument 'rat'. Nearest: 'rate'.$"):
        Thing(3, rat=1.0)
