"""Which combinations of recipes, tasks and variations there are, and what they are called."""

import pytest

from hetrl.errors import RecipeError
from hetrl.recipe.combinations import combinations, split, variation
from hetrl.recipe.task_names import task_section


def test_recipes_tasks_and_variations_are_combined_recipes_first():
    found = combinations(["happo", "hasac"], ["run.frames=80"], ["balance", "navigation"])
    assert [each.name for each in found] == [
        "happo_vmas_balance", "happo_vmas_navigation", "hasac_vmas_balance", "hasac_vmas_navigation",
    ]  # fmt: skip
    assert found[1].overrides == ("task=task/vmas_navigation", "run.frames=80")
    assert found[1].load().task.arguments["scenario"] == "navigation" and found[1].load().run.frames == 80


def test_variations_come_last_and_are_named_by_what_tells_them_apart():
    found = combinations(
        ["happo"], ["run.seed=3"], [], ["update.actors.optim.lr=1e-4,5e-4", "nets.actor.hidden=[8],[8, 8]"]
    )
    assert [each.name for each in found] == [
        "happo_lr=1e-4_hidden=_8_", "happo_lr=1e-4_hidden=_8__8_", "happo_lr=5e-4_hidden=_8_",
        "happo_lr=5e-4_hidden=_8__8_",
    ]  # fmt: skip
    assert found[3].about == "happo, lr=5e-4, hidden=[8, 8]"
    assert found[3].overrides == ("run.seed=3", "update.actors.optim.lr=5e-4", "nets.actor.hidden=[8, 8]")
    assert found[3].load().tree["nets"]["actor"]["hidden"] == [8, 8]
    both = combinations(["happo"], [], [], ["update.actors.optim.lr=1,2", "update.value.optim.lr=3"])
    assert both[0].name == "happo_actors.optim.lr=1_value.optim.lr=3"


def test_commas_inside_brackets_belong_to_a_value():
    assert split("{a: 1, b: [2, 3]}, x") == ["{a: 1, b: [2, 3]}", "x"]
    assert variation("data.frames = 40, 80") == ("data.frames", ["40", "80"])


@pytest.mark.parametrize("text", ["lr", "=1", "lr=", "lr=1,,2"])
def test_what_is_no_variation_is_refused(text):
    with pytest.raises(RecipeError, match=r"^--vary .*: write a\.b=value,value\.$"):
        variation(text)


def test_what_would_share_a_folder_is_refused():
    with pytest.raises(RecipeError, match="happo is named twice, or would have the folder of another: happo"):
        combinations(["happo", "happo"], [])
    with pytest.raises(RecipeError, match=r"^--vary run\.seed=\.\.\.: 'run\.seed' is varied twice; put all its values"):
        combinations(["happo"], [], [], ["run.seed=1", "run.seed=2"])


def test_a_task_is_found_by_its_end():
    assert task_section("balance") == task_section("task/vmas_balance") == task_section("vmas_balance")
    with pytest.raises(RecipeError, match=r"^--task balnce: no task of that name is shipped\. .*balance"):
        task_section("balnce")
