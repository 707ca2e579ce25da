"""Several processes that share the environments train like one; see ``ranks_side_by_side.py``."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("ranks_side_by_side.py")
QUICK = ["happo", "mappo", "haa2c", "happo_penalty", "hatrpo", "recurrent_happo", "masks", "blocks", "hasac", "haqo",
         "omdpg", "qmix"]  # fmt: skip
LATER = ["masks_shared", "semi_greedy", "graphs", "vdn"]
LOCAL = ["local_moments", "local_statistics", "local_counts"]
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")


def compared(folder, *cases):
    """Return how far two processes are from one, by case."""
    words = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPT.parents[2])}
    ran = subprocess.run(
        [sys.executable, SCRIPT, folder, *cases], capture_output=True, text=True, env={**os.environ, **words}
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    return json.loads(ran.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return compared(tmp_path_factory.mktemp("ranks"), *QUICK, *LOCAL)


def as_one(two):
    assert two["updates"] >= 19 and two["moved"] > 1e-3  # statistics wait for a first collection
    assert two["apart"] < 1e-9 and two["figures"] < 1e-9
    assert two["unlike"] == 0.0


@pytest.mark.parametrize("case", QUICK)
def test_two_processes_are_as_one(found, case):
    as_one(found[case])


@pytest.mark.slow
@pytest.mark.parametrize("case", LATER)
def test_two_processes_are_as_one_there_too(tmp_path, case):
    as_one(compared(tmp_path, case)[case])


@pytest.mark.slow
def test_compiled_they_are_as_one(tmp_path):
    """The coefficient of the penalty, and the statistics of values, go from process to process within the graph."""
    two = compared(tmp_path, "compiled")["compiled"]
    assert two["updates"] == 3 and two["moved"] > 1e-3
    assert two["apart"] < 1e-9 and two["unlike"] == 0.0


@pytest.mark.parametrize("case", LOCAL)
def test_what_is_not_shared_is_noticed(found, case):
    assert found[case]["apart"] > 1e-5
