"""An error is one line of letters, whatever it repeats of a recipe."""

import pytest

from hetrl.errors import DependencyError, DivergenceError, HetrlError, RecipeError, RunError, one_line


@pytest.mark.parametrize("kind", [HetrlError, RecipeError, RunError, DependencyError, DivergenceError])
def test_what_would_break_the_line_is_shown_as_python_does(kind):
    assert str(kind("a\nb\x1b[31m\u202ec \x00 é 😀")) == r"a\nb\x1b[31m\u202ec \x00 é 😀"


def test_of_a_long_one_the_ends_are_kept():
    text = str(RecipeError(f"about: '{'x' * 10_000}' is too long; shorten it."))
    assert len(text) < 1000 and text.startswith("about: 'xxx") and text.endswith("xxx' is too long; shorten it.")
    assert one_line("x" * 1000) == "x" * 1000
