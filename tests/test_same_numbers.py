"""The comparison of numbers before and after a change: it passes what is the same, and notices everything else."""

import importlib.util
import shutil
from pathlib import Path

import pytest
import torch

import hetrl
from hetrl.recipe.check import check

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "tests" / "benchmark" / "same_numbers.py"


@pytest.fixture(scope="module")
def script():
    """Return the script as a module."""
    spec = importlib.util.spec_from_file_location("same_numbers", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tree(**changes):
    """Return a small tree of all that checkpoints hold."""
    inner = {"words": torch.tensor([1, 2]), 0: [1.5, None, True], "none": {}, "flag": torch.tensor(False)}
    return {"weight": torch.tensor([[1.0, 2.0]]), "inner": inner, "name": "a", "scalar": torch.tensor(3.0), **changes}


def test_every_leaf_has_a_path_and_a_digest(script):
    found = dict(script.leaves(tree()))
    inner = ["words", "0/0", "0/1", "0/2", "none", "flag"]
    expected = ["weight", *(f"inner/{path if path[0] == '0' else repr(path)}" for path in inner), "name", "scalar"]
    assert list(found) == expected
    assert found == dict(script.leaves(tree()))


@pytest.mark.parametrize(
    "weight",
    [
        [[1.0, 2.0000002]], [[1.0], [2.0]], [1.0, 2.0], [[1, 2]], [[1.0, 2.0, 0.0]], [[]],
        torch.tensor([[1.0, 2.0]]).double(), torch.tensor([[1.0, 2.0]]).half(),
    ],
)  # fmt: skip
def test_a_bit_a_shape_or_a_type_makes_another_digest(script, weight):
    weight = weight if isinstance(weight, torch.Tensor) else torch.tensor(weight)
    before, after = dict(script.leaves(tree())), dict(script.leaves(tree(weight=weight)))
    assert [path for path in before if before[path] != after[path]] == ["weight"]


def test_what_equality_hides_is_seen(script):
    pairs = [(0.0, -0.0), (1, True), (1, 1.0), ({}, []), (None, "None")]
    pairs += [(torch.tensor(0.0), torch.tensor(-0.0)), (torch.tensor(1), torch.tensor([1]))]
    for one, other in pairs:
        assert dict(script.leaves({"a": one})) != dict(script.leaves({"a": other})), (one, other)
    nan = torch.tensor([float("nan")])
    assert dict(script.leaves({"a": nan})) == dict(script.leaves({"a": nan.clone()}))
    strided = torch.arange(6.0).view(2, 3).T
    assert dict(script.leaves({"a": strided})) == dict(script.leaves({"a": strided.contiguous()}))


def test_what_it_cannot_read_it_does_not_pass_over(script):
    with pytest.raises(TypeError, match="a/'b' is a object; say here how its content is read"):
        dict(script.leaves({"a": {"b": object()}}))


def recorded(script, **changes):
    parts = {word: {f"{word}/a": "1", f"{word}/b": "2"} for word in script.PARTS} | changes
    return {word: {"sha256": script.part_digest(part), "leaves": part} for word, part in parts.items()}


@pytest.mark.parametrize(
    ("part", "leaves", "said"),
    [
        ("weights", {"weights/a": "1", "weights/b": "3"}, "1 of 2 differ, first weights/b"),
        (
            "weights",
            {"weights/b": "2", "weights/a": "1"},
            "names in another order, first weights/b where weights/a was",
        ),
        ("data", {"data/a": "1", "data/c": "2"}, "names: 1 gone, first data/b and 1 new, first data/c"),
        ("run", {"run/a": "1"}, "names: 1 gone, first run/b"),
    ],
)
def test_it_says_what_differs_first(script, part, leaves, said):
    assert script.difference(recorded(script), recorded(script, **{part: leaves})) == f"{part}: {said}"


def test_it_names_every_part_that_differs(script):
    changes = {word: {f"{word}/a": "1", f"{word}/b": "3"} for word in ("optimizers", "metrics")}
    assert script.difference(recorded(script), recorded(script)) is None
    assert script.difference(recorded(script), recorded(script, **changes)) == (
        "metrics: 1 of 2 differ, first metrics/b; optimizers: 1 of 2 differ, first optimizers/b"
    )


def test_a_line_for_each_recipe(script, capsys):
    machine = {"torch": "2"}
    one, other = recorded(script), recorded(script, metrics={"metrics/a": "1", "metrics/b": "5"})
    before = {"machine": machine, "recipes": {"happo": one, "hasac": one, "mappo": one, "gone": one}}
    after = {
        "machine": machine,
        "recipes": {"happo": one, "hasac": other, "mappo": {"failed": "error no."}, "new": one},
    }
    assert not script.compare(before, after)
    assert [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()] == [
        ["happo", "same"],
        ["hasac", "metrics: 1 of 2 differ, first metrics/b"],
        ["mappo", "failed after: error no."],
        ["gone", "only recorded before"],
        ["new", "only recorded after"],
    ]
    assert script.compare(before, before)
    assert not script.compare(before, before | {"machine": {"torch": "3"}})


def test_every_recipe_and_variant_links_with_its_sizes(script):
    for name in script.shipped(ROOT):
        check(hetrl.load(name.partition("+")[0], *script.words_for(ROOT, name)))


@pytest.mark.slow
def test_a_changed_number_is_noticed(script, tmp_path, capsys):
    changed = tmp_path / "changed"
    for name in ("hetrl", "recipes"):
        shutil.copytree(ROOT / name, changed / name, ignore=shutil.ignore_patterns("__pycache__"))
    file = changed / "recipes" / "happo.yaml"
    text = file.read_text()
    file.write_text(text.replace("lr: 5e-4", "lr: 5.01e-4", 1))  # the actors'
    assert file.read_text() != text
    before, after = (script.record(root, ["happo"]) for root in (ROOT, changed))
    assert script.compare(before, before)
    assert not script.compare(before, after)
    said = capsys.readouterr().out.splitlines()[-1]
    assert "metrics: 1 of 1 differ" in said and "weights: " in said and "optimizers: " in said
    assert "run: " not in said  # as many draws, of the same generators
