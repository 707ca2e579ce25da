"""Tables that become lines where they do not fit."""

import io

from rich.console import Console

from hetrl.recipe.sheet import Page, Sheet, wrapped


def printed(what, width):
    console = Console(width=width, file=io.StringIO())
    console.print(what)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def made():
    sheet = Sheet(("", "step", "reads", "writes"), "critic: train value", heads=2)
    sheet.add("prepare", "net value", ["state [B, 48]", "other"], ["value [B]"])
    sheet.add("steps", "loss/huber_value\ndelta=10", "", ["loss.value [B]"])
    return sheet


def test_lines_where_the_names_do_not_fit():
    assert made().fits(72) and not made().fits(50)
    assert printed(made(), 50) == [
        "",
        "critic: train value",
        "  prepare  net value",
        "             reads   state [B, 48], other",
        "             writes  value [B]",
        "  steps    loss/huber_value",
        "           delta=10",
        "             writes  loss.value [B]",
    ]


def test_a_table_where_they_do():
    lines = printed(made(), 72)
    assert "│ prepare │ net value        │ state [B, 48] │ value [B]      │" in lines
    assert "│         │                  │ other         │                │" in lines


def test_tables_of_the_same_columns_look_alike():
    wide, narrow = made(), made()
    wide.add("after", "a_name_that_takes_the_place_of_others", "", "")
    other = Sheet(("a", "b"))
    other.add("1", "2")
    found = printed(Page(["About it.", narrow, wide, other]), 70)
    assert found[0] == "About it." and sum("━" in line for line in found) == 2  # of the last one alone


def test_a_long_title_of_a_column_stands_above():
    sheet = Sheet(("section", "what", "a_recipe_with_a_long_name", "another"), heads=2)
    sheet.add("actors", "order", "order/random_permutation", "-")
    assert printed(sheet, 44) == [
        "  actors  order",
        "            a_recipe_with_a_long_name",
        "              order/random_permutation",
        "            another",
        "              -",
    ]


def test_words_are_never_broken():
    assert wrapped(["a_long_name_in_a_narrow_place", "b"], 10) == ["a_long_name_in_a_narrow_place", "b"]
    assert wrapped(["key [B, 2],", "other [2, B]"], 8, 1) == [" key", " [B, 2],", " other", " [2, B]"]
    assert wrapped([], 10) == [""]
