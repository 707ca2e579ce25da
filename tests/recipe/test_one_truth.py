"""A recipe is its tree: nothing that is trained can be changed without what is saved changing with it."""

import copy
import dataclasses
import pickle

import pytest

import hetrl
from hetrl.errors import RecipeError
from hetrl.recipe.frozen import FrozenDict, FrozenList
from hetrl.recipe.shipped import shipped

REFUSED = r"^a recipe is its tree, and nothing can be changed behind it; make another one: hetrl.load\(recipe, 'task"


@pytest.mark.parametrize("part", ["task", "run", "nets", "update", "data", "name"])
def test_no_part_can_be_replaced(part):
    """Only the whole: ``replace(recipe, tree=...)`` is another recipe, read from that tree."""
    recipe = hetrl.load("happo")
    assert dataclasses.replace(recipe, tree=hetrl.load("mappo").tree).nets["actor"].per == "team"
    with pytest.raises(RecipeError, match=REFUSED):
        dataclasses.replace(recipe, **{part: getattr(hetrl.load("mappo"), part)})
    with pytest.raises(RecipeError, match=REFUSED):
        setattr(recipe, part, None)
    with pytest.raises(RecipeError, match=REFUSED):
        delattr(recipe, part)


def changes():
    """Every way to change a mapping or a list in place."""
    for name in ("__setitem__", "__delitem__", "clear", "pop", "__ior__", "update", "setdefault", "popitem"):
        yield lambda recipe, name=name: getattr(recipe.task.arguments, name)("n_envs", 3)
    for name in ("__setitem__", "__delitem__", "append", "extend", "insert", "pop", "clear", "sort", "reverse",
                 "remove", "__iadd__", "__imul__"):  # fmt: skip
        yield lambda recipe, name=name: getattr(recipe.nets["actor"].arguments["hidden"], name)(0, 3)
    yield lambda recipe: recipe.nets.pop("actor")
    yield lambda recipe: recipe.update[1].optim.arguments.update(lr=1.0)
    yield lambda recipe: recipe.update[1].steps[1].arguments.update(clip=1.0)


@pytest.mark.parametrize("change", list(changes()))
def test_no_argument_can_be_changed_in_place(change):
    recipe = hetrl.load("happo")
    before = recipe.yaml()
    with pytest.raises(RecipeError, match=REFUSED):
        change(recipe)
    assert recipe.yaml() == before and recipe == hetrl.load("happo")


@pytest.mark.parametrize("section", ["run", "update"])
def test_no_word_of_a_section_can_be_set(section):
    recipe = hetrl.load("happo")
    owner = recipe.run if section == "run" else recipe.update[1]
    with pytest.raises(RecipeError, match=REFUSED):
        owner.frames = 3


def test_the_tree_is_a_copy_that_is_yours():
    recipe = hetrl.load("happo")
    tree = recipe.tree
    tree["task"]["n_envs"] = 3
    tree["update"][1]["steps"].clear()
    assert recipe == hetrl.load("happo")
    assert not any(isinstance(each, (FrozenDict, FrozenList)) for each in (tree, tree["task"], tree["update"]))


def test_another_recipe_of_a_recipe():
    recipe = hetrl.load("happo")
    other = hetrl.load(recipe, "task.n_envs=8", "run.seed=3")
    assert (other.name, other.task.arguments["n_envs"], other.run.seed) == ("happo", 8, 3)
    assert recipe.task.arguments["n_envs"] == 64
    assert other.tree["task"]["n_envs"] == 8
    assert hetrl.load(recipe) == recipe and hash(hetrl.load(recipe)) == hash(recipe)


@pytest.mark.parametrize("name", [name for name in shipped() if not name.startswith("task/")])
def test_what_is_read_is_what_is_saved(name):
    """Every argument that a part was read with stands in the tree."""
    recipe = hetrl.load(name)
    tree = recipe.tree
    assert dict(recipe.task.arguments) == {w: v for w, v in tree["task"].items() if w not in ("use", "groups")}
    for phase, written in zip(recipe.update, tree["update"], strict=True):
        for section, steps in phase.stages.items():
            for step, entry in zip(steps, written.get(section, []), strict=True):
                words = ("use", "net", "at", "keys", "reads", "writes")
                assert dict(step.arguments) == {w: v for w, v in entry.items() if w not in words}


def test_copies_and_pickles_are_plain():
    arguments = hetrl.load("happo").nets["actor"].arguments
    for copied in (copy.deepcopy(arguments), pickle.loads(pickle.dumps(arguments))):
        copied["hidden"].append(3)
        assert type(copied) is dict and copied["hidden"] == [128, 128, 3]
    assert arguments["hidden"] == [128, 128]


def test_what_a_tree_cannot_hold_is_refused():
    """A function has no text: it would be trained with and not saved."""
    tree = hetrl.load("happo").tree
    tree["task"]["factory"] = print
    with pytest.raises(RecipeError, match=r"^task.factory: a Python builtin_function_or_method is nothing"):
        hetrl.load(tree)


def test_a_recipe_builds_through_one_door(monkeypatch):
    monkeypatch.setattr(hetrl, "build", lambda recipe: ("built", recipe))
    recipe = hetrl.load("happo")
    assert recipe.build() == ("built", recipe)
