"""What answers at once: help, lists and completion do without torch, a check and a show without Lightning."""

import os
import subprocess
import sys

import pytest

import hetrl

WATCHED = ("torch", "numpy", "omegaconf", "lightning", "torchmetrics", "matplotlib", "tensorboard", "wandb", "scipy")
PROGRAM = f"""
import sys
sys.argv = ["hetrl", *sys.argv[1:]]
from hetrl.cli import main
try:
    main()
finally:
    print("brought:", *[name for name in {WATCHED} if name in sys.modules], file=sys.stderr)
"""


def brought(*words: str, **environment: str) -> tuple[str, set[str]]:
    """Return what a command prints, and which of the heavy modules it imports."""
    command = [sys.executable, "-c", PROGRAM, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | environment)
    assert "brought:" in done.stderr
    return done.stdout, set(done.stderr.split("brought:")[1].split())


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["list"], ["list", "loss"], ["list", "recipe"]])
def test_help_and_lists_do_without_torch(words):
    printed, modules = brought(*words)
    assert printed and not modules


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("hetrl train shared_h", "shared_happo"),
        ("hetrl train happo update.actors.ep", "update.actors.epochs=5"),
        ("hetrl list est", "estimate"),
    ],
)
def test_completion_does_without_torch(line, found):
    words = str(len(line.split()) - 1)
    printed, modules = brought(_HETRL_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=words)
    assert printed.split() == [found] and not modules


@pytest.mark.parametrize("command", ["check", "show"])
def test_a_recipe_is_linked_without_lightning(command):
    printed, modules = brought(command, "happo")
    assert printed and modules <= {"torch", "numpy", "omegaconf"}


def test_names_of_the_package_are_there_when_they_are_asked_for():
    """Also ``component``, which a module is called too; importing that module does not take the function's place."""
    program = (
        "import sys, hetrl; assert 'torch' not in sys.modules; assert set(hetrl.__all__) < set(dir(hetrl));"
        "import hetrl.component; assert hetrl.component('loss/td') is not None;"
        "from hetrl import *; assert load is hetrl.load and component is hetrl.component"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_what_is_no_name_of_the_package_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'hetrl' has no attribute 'nothing'"):
        hetrl.nothing  # noqa: B018
