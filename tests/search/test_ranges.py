"""What may be varied in a search: ranges and lists, and the recipes at their ends."""

import pytest

from hetrl.errors import RecipeError
from hetrl.search.ranges import Range, corners

optuna = pytest.importorskip("optuna")


@pytest.mark.parametrize(
    ("text", "kind", "ends"),
    [
        ("a.b=log:1e-4:1e-3", "log", ("0.0001", "0.001")),
        ("a.b=0.9:0.99", "float", ("0.9", "0.99")),
        ("a.b= 1 : 3 ", "float", ("1.0", "3.0")),
        ("a.b=int:1:8", "int", ("1", "8")),
        ("a.b=int:1_000:1e4", "int", ("1000", "10000")),
        ("a.b=-2:-1", "float", ("-2.0", "-1.0")),
        ("a.b=relu,tanh", "list", ("relu", "tanh")),
        ("a.b=[64],[64, 64]", "list", ("[64]", "[64, 64]")),
        ("a.b={use: x, c: 1},{use: y}", "list", ("{use: x, c: 1}", "{use: y}")),
    ],
)
def test_what_is_read(text, kind, ends):
    assert Range.parse(text) == Range("a.b", kind, ends)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.b", r"--vary a\.b: write a\.b=value,value\.$"),
        ("a.b=", r"write a\.b=value,value\.$"),
        ("a.b=5", r"one value is no choice; write a\.b=log:1e-4:1e-3, a\.b=0\.9:0\.99, a\.b=int:1:8, or a list"),
        ("a.b=3:1", r"3 is not below 1; a range goes upwards\.$"),
        ("a.b=1:1", r"1 is not below 1"),
        ("a.b=log:0:1", r"0 has no logarithm; begin above 0, or leave out 'log:'\.$"),
        ("a.b=log:-1:1", r"-1 has no logarithm"),
        ("a.b=int:0.5:3", r"the ends of 'int:' are whole numbers; for others leave it out\.$"),
        ("a.b=lgo:1:2", r"there is no range 'lgo:'\. Nearest: 'log'\.$"),
        ("a.b=1:2:3:4", r"there is no range '1:2:'\. There are: float, int, log\.$"),
        ("a.b=log:1e-4", r"'log' is no number; a range goes from one number to a higher one\.$"),
        ("a.b=0:inf", r"'inf' is no number"),
        ("a.b=nan:1", r"'nan' is no number"),
        ("a.b={c: 1}", r"'{c' is no number"),
    ],
)
def test_what_is_refused(text, message):
    with pytest.raises(RecipeError, match=message):
        Range.parse(text)


def test_values_are_drawn_from_within_and_kept():
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    texts = ["lr=log:1e-4:1e-2", "clip=0.1:0.3", "epochs=int:1:3", "of=agent,group"]
    ranges = [Range.parse(text) for text in texts]
    found = []
    for _ in range(60):
        trial = study.ask()
        found.append([each.draw(trial) for each in ranges])
        assert [each.draw(trial) for each in ranges] == found[-1]
    rates, clips, epochs, whose = zip(*found, strict=True)
    assert min(rates) >= 1e-4 and max(rates) <= 1e-2 and 15 < sum(rate < 1e-3 for rate in rates) < 45
    assert min(clips) >= 0.1 and max(clips) <= 0.3
    assert set(epochs) == {1, 2, 3} and set(whose) == {"agent", "group"}


def test_corners_are_all_ends_with_all_values():
    ranges = [Range.parse(text) for text in ("update.actors.optim.lr=log:1e-4:1e-3", "run.seed=4,5,6")]
    found = corners("happo", ["run.threads=1"], ranges)
    assert [each.overrides[1:] for each in found] == [
        (f"update.actors.optim.lr={rate}", f"run.seed={seed}") for rate in (0.0001, 0.001) for seed in (4, 5, 6)
    ]
    assert {each.overrides[0] for each in found} == {"run.threads=1"}


def test_of_very_many_corners_each_words_ends_alone():
    found = corners("happo", [], [Range.parse(f"a.word{number}=0:1") for number in range(7)])
    assert len(found) == 14 and found[-1].overrides == ("a.word6=1.0",)
    assert len(corners("happo", [], [Range.parse(f"a.word{number}=0:1") for number in range(6)])) == 64


def test_a_value_twice_is_refused():
    with pytest.raises(RecipeError, match=r"^happo, seed=1 is named twice"):
        corners("happo", [], [Range.parse("run.seed=1,1")])
