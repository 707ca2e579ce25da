"""Cooperative VMAS scenarios whose agents differ and whose solution needs every one of them.

What the difference is good for is measured, and not the same in all: in ``tether`` it is not needed. In
``fork`` bodies are alike, and it is what they do that has to differ.

A file with a class ``Scenario`` is a scenario; a recipe names it ``hetrl/<file>``. The keyword-only arguments of its
``make_world`` are what the recipe may set, checked by name, type and range.
"""

Position = tuple[float, float]
"""A place in the plane: x and y [unit]."""
