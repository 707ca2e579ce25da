"""An encoder in a recipe: checked, built, shown and compared like any part."""

import io
import warnings

import pytest
from rich.console import Console

import hetrl
from hetrl.engine.link import link
from hetrl.engine.show import show
from hetrl.errors import HetrlWarning, RecipeError
from hetrl.recipe.diff import differences
from hetrl.recipe.read import load
from hetrl.team import Box, Team

ARM = Box((-1.0,), (1.0,))
EYES = Team.of(["a", "b"], [(9, 8, 3)] * 2, [ARM] * 2)
EYE = "nets.actor.encoder={use: net/convolutional, filters: [4], kernels: [3], strides: [2]}"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["nets.actor.encoder={use: net/convolutinal}"],
         r"^nets.actor.encoder: no entry 'net/convolutinal' in the catalog. Nearest: 'net/convolutional'"),
        (["nets.actor.encoder={use: net/convolutional, filter: [4]}"],
         r"^nets.actor.encoder: net/convolutional has no argument 'filter'. Nearest: 'filters'"),
        (["nets.actor.encoder={use: net/convolutional, filters: [0]}"],
         r"^nets.actor.encoder: net/convolutional: filters"),
        (["nets.actor.encoder={use: net/state_value}"],
         r"^nets.actor.encoder: net/state_value is no encoder; use net/convolutional or net/entities or net/units\."),
        (["nets.actor.encoder={use: loss/td}"], r"^nets.actor.encoder: 'loss/td' cannot stand here"),
        (["nets.actor.encoder={filters: [4]}"], r"^nets.actor.encoder needs 'use: kind/name'"),
        (["nets.actor.encoder=net/convolutional"], r"^nets.actor.encoder must be a mapping, not 'net/convolutional'"),
        (["nets.actor.encoder={use: net/entities}"], r"^nets.actor.encoder: net/entities needs the argument 'own'"),
        (["nets.actor.eye={use: net/convolutional}"], r"^nets.actor: net/gaussian_policy has no argument 'eye'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place(overrides, message):
    with pytest.raises(RecipeError, match=message):
        hetrl.check(load("happo", *overrides))


def test_what_does_not_suit_the_agents_is_said_with_its_place():
    with pytest.raises(
        RecipeError, match=r"^nets.actor.encoder \(net/convolutional\): agent 'a' sees 9x8x3: an image of"
    ):
        link(load("happo", "nets.actor.encoder={use: net/convolutional}"), EYES)


def test_a_word_of_it_can_be_changed_and_the_rest_is_the_recipes_tree():
    recipe = load("happo", EYE, "nets.actor.encoder.size=7")
    assert recipe.tree["nets"]["actor"]["encoder"]["size"] == 7
    linked = link(recipe, EYES)
    assert linked.policy(EYES.agents[:1]).head.encoder.features == 7
    assert link(load("happo", EYE, "nets.actor.encoder=null"), EYES).policy(EYES.agents[:1]).head.body


def test_it_is_shown():
    console = Console(file=io.StringIO(), width=200)
    console.print(show(load("happo", EYE), EYES))
    said = console.file.getvalue()
    assert "encoder=net/convolutional(filters=[4], kernels=[3], strides=[2])" in said and "[9x8x3]" in said


def test_it_is_compared_by_its_parts_and_a_default_that_is_spelled_out_is_no_difference():
    one = load("happo", EYE)
    assert not differences(one, load(one, "nets.actor.encoder.size=512"))
    (found,) = differences(one, load(one, "nets.actor.encoder.size=64"))
    assert (found.section, found.what, found.one, found.other) == ("nets", "actor encoder size", "512", "64")
    (found,) = differences(load("happo"), one)
    assert found.what == "actor encoder" and found.one == "-" and "use=net/convolutional" in found.other
    (found,) = differences(load("happo"), load("happo", "task.normalize_observations=true"))
    assert (found.section, found.what, found.other) == ("task", "normalize_observations", "True")


def test_large_observations_without_an_encoder_are_told_with_the_memory_that_they_take():
    """120 x 120 x 3 = 43,200 numbers, 128 units, 4 numbers of 4 bytes for each weight, 2 agents: 169 MiB."""
    large = Team.of(["a", "b"], [(120, 120, 3)] * 2, [ARM] * 2)
    words = (
        r"^nets.actor: 'a' sees 120x120x3, 43,200 numbers, and its first layer \(hidden: \[128, 128\]\) has weights "
        r"for each; with gradients and moments they take 169 MiB. Put an encoder in front of it, "
        "nets.actor.encoder={use: net/convolutional}"
    )
    with pytest.warns(HetrlWarning, match=words), pytest.warns(HetrlWarning, match="^nets.value: the state is 86,400"):
        link(load("happo"), large)
    both = [f"nets.{name}.encoder={{use: net/convolutional, size: 8}}" for name in ("actor", "value")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        link(load("happo", *both), large)
