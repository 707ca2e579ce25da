"""How many operations an update asks a GPU for, as it is and with recordings that are played; see docs/gpu.md."""

import pytest
import torch
from train.test_device_rehearsal import BUDGET, SLACK, phases, samples_of, words

import hetrl
from hetrl import graph
from hetrl.testing import ledger
from hetrl.testing.pretended_device import pretended_device, watched
from hetrl.testing.tape import Tape

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::UserWarning:vmas")]
PLAYED = {"happo": (6, 654), "hasac": (6, 138), "omdpg": (6, 73), "haqo": (6, 132)}
"""Recipe -> of its largest minibatch, and of a whole update, played; as they are, they are in ``BUDGET``."""


class Once(Tape):
    """A recording that is played is one launch."""

    def play(self):
        """Play it."""
        with watched():  # what the tape does again is no launch of the host's
            super().play()
        ledger.note_launch("play")


@pytest.mark.parametrize("name", PLAYED)
def test_an_update_is_so_many_launches(monkeypatch, name):
    """One that comes after another, in which everything is recorded."""
    _, (sample,) = samples_of(name, 1)
    monkeypatch.setitem(graph.RECORDERS, "cuda", Once)
    with pretended_device():
        hetrl.rng.seed(0)
        module, data = words(name, "cuda", "run.graphs=true").build()
        here, generator = sample.to("cuda"), torch.Generator("cuda").manual_seed(0)
        phases(module, here, generator)
        with watched() as update:
            largest = max(phases(module, here, generator, lambda: update.launches))
        data.source.close()
    assert not update.waits and not update.mixed
    found = largest, update.launches
    near = [abs(one - other) < SLACK for one, other in zip(found, PLAYED[name], strict=True)]
    assert all(near) and found < BUDGET[name][1:], f"its launches are {found}; is that meant? Then say so in the docs"
