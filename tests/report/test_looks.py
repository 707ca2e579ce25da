"""A recipe looks the same in every picture; whatever stands beside it looks otherwise."""

import re
from pathlib import Path

import pytest

import hetrl.report.looks
from hetrl.recipe.shipped import about, shipped
from hetrl.report.looks import _GREY, _table, looks

COLORS, LISTED = _table()
RECIPES = [name for name in shipped() if not name.startswith("task/")]


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_shipped_recipe_is_known_by_its_name_and_by_what_it_calls_itself(recipe):
    called = re.split(r"[.,:;]", about(shipped()[recipe]))[0]
    assert recipe in LISTED and LISTED[recipe] == LISTED[called]


def test_a_family_has_one_look_and_no_two_have_the_same():
    rows = hetrl.report.looks.tree(Path(hetrl.report.looks.__file__).with_name("looks.yaml"))["recipes"]
    names = [name for row in rows for name in row["names"]]
    assert len(names) == len(set(names)) and len({(row["color"], row["line"]) for row in rows}) == len(rows)
    assert looks(["happo"]) == looks(["happo_battle"]) == looks(["HAPPO as tuned for HalfCheetah 2x3"])
    assert LISTED["haqo"] != LISTED["haqo_gaussian"] and LISTED["hasac"] != LISTED["chain_hasac"]


@pytest.mark.parametrize(
    "together",
    [
        ("happo", "hatrpo", "haa2c", "mappo", "a2po", "ippo"),
        ("hasac", "masac", "isac", "hatd3", "haddpg", "chain_hasac"),
        ("omdpg", "haqo", "hasac", "happo", "hatrpo", "mappo"),
        ("omdpg", "hasac", "happo", "shared_happo"),
        ("haqo", "haqo_gaussian", "hasac", "happo", "mappo", "hatrpo"),
        ("mappo", "happo", "qmix", "vdn", "hasac", "omdpg"),
        ("coma", "happo", "mappo", "hasac"),
        ("maddpg", "matd3", "haddpg", "hatd3"),
    ],
)
def test_recipes_that_stand_side_by_side_have_colours_of_their_own(together):
    assert len({look.color for look in looks(together)}) == len(together)


def test_a_recipe_looks_the_same_whoever_stands_beside_it():
    for others in (["mappo"], ["mine", "hasac"], ["a", "b", "haqo", "c"]):
        assert looks([*others, "happo_mpe"])[-1] == looks(["happo", *others])[0] == LISTED["happo"]


def test_names_that_are_not_listed_take_free_colours_in_order():
    free = [color for color in COLORS if color not in (LISTED["happo"].color, LISTED["hasac"].color)]
    found = looks(["mine", "happo", "yours", "hasac", "theirs"])
    assert [found[place].color for place in (0, 2, 4)] == free[:3] and {look.line for look in found} == {"solid"}


def test_many_names_never_take_a_listed_ones_colour_and_are_told_apart():
    found = looks(["happo", *(f"mine {place}" for place in range(32))])
    assert len(set(found)) == 33 and LISTED["happo"].color not in {look.color for look in found[1:]}


def test_where_the_listed_have_all_colours_others_are_grey():
    solid = [name for name, look in LISTED.items() if look.line == "solid"]
    found = looks([*solid, "mine", "yours"])[-2:]
    assert [look.color for look in found] == [_GREY] * 2 and found[0].line != found[1].line


@pytest.mark.parametrize("recipe", ["happo", "haqo", "masac", "haqo_gaussian"])
def test_variants_of_a_recipe_are_told_apart(recipe):
    found = looks([recipe] * 8)
    assert found[0] == LISTED[recipe] and len(set(found)) == 8
    assert len({look.color for look in found}) == 2 and found[0].color != found[1].color
    assert found[0].line != found[1].line


def test_a_variant_never_looks_like_another_recipe_of_the_picture():
    """MAPPO in its own colour and dashed is MASAC; HAPPO's third look, dash-dotted, would be nobody's."""
    found = looks(["mappo"] * 7 + ["masac"] + ["omdpg"] * 2)
    assert len(set(found)) == 10 and found[7] == LISTED["masac"]
