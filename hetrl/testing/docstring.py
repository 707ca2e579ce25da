"""Does a component's docstring have its parts?"""

import re

from hetrl import arguments
from hetrl.testing.part import Part
from hetrl.testing.subject import Subject

__tracebackhide__ = True  # pytest shows the line of the test, not these
SECTIONS = ("Args", "Raises", "Source", "Differs")
TO_FILL_IN = "FILL IN"
"""What the templates of ``hetrl new`` put where the author has to write something."""


def check_docstring(subject: Subject | Part, *, of_a_paper: bool = True) -> None:
    """Summary line, formula, ``Args`` (where there are any), ``Source``, ``Differs``, in this order, none empty.

    Args:
        subject: whose docstring.
        of_a_paper: whether formula, ``Source`` and ``Differs`` are wanted, as of what is an equation of a paper.

    Raises:
        AssertionError: one line, what is missing.
    """
    lines = [line.strip() for line in (subject.cls.__doc__ or "").strip().splitlines()]
    subject.require(bool(lines), "no docstring; write a summary line, the formula, Args, Source and Differs.")
    check_filled_in(subject)
    parted = len(lines) > 2 and not lines[1]
    subject.require(
        parted or (len(lines) == 1 and not of_a_paper), "the docstring needs one summary line, then an empty one."
    )
    sections = {word: place for place, line in enumerate(lines) for word in SECTIONS if line.startswith(f"{word}:")}
    formula = next((line for line in lines[1:] if line), "")
    is_formula = not formula.startswith(tuple(f"{word}:" for word in SECTIONS)) and re.search(r"[=<>+*/()^-]", formula)
    subject.require(bool(is_formula) or not of_a_paper, f"the docstring's second paragraph is no formula: '{formula}'.")
    names = list(arguments.parameters(subject.cls.__init__))
    needed = ["Args"] * bool(names) + ["Source", "Differs"] * of_a_paper
    for word in needed:
        subject.require(word in sections, f"the docstring has no line that starts with '{word}:'.")
    found = [word for word in SECTIONS if word in sections]
    in_order = sorted(found, key=lambda word: sections[word]) == found
    subject.require(in_order, f"the docstring's sections stand in another order than {found}.")
    ends = sorted([*sections.values(), len(lines)])
    for word in found:
        end = ends[ends.index(sections[word]) + 1]
        inside = [line for line in lines[sections[word] + 1 : end] if line]
        subject.require(bool(inside or lines[sections[word]] != f"{word}:"), f"the docstring's '{word}:' is empty.")
        for name in names if word == "Args" else ():
            named = any(line.startswith(f"{name}:") for line in inside)
            subject.require(named, f"the docstring's Args do not explain '{name}'.")


def check_filled_in(subject: Subject | Part) -> None:
    """Whether nothing is left of what a template asks for.

    Raises:
        AssertionError: one line, what is.
    """
    todo = [line.strip() for line in (subject.cls.__doc__ or "").splitlines() if TO_FILL_IN in line]
    several = f"{len(todo)} places" if len(todo) > 1 else "a place"
    subject.require(not todo, f"the docstring has {several} to fill in: {', '.join(map(repr, todo))}.")
