"""What TF32 and bfloat16 in products make of gradients, on a CPU that rounds as a GPU does; see docs/gpu.md."""

from contextlib import nullcontext

import pytest
import torch
from train.test_device_rehearsal import EACH, samples_of, words

import hetrl
from hetrl.engine.store import Store
from hetrl.testing.rounded import Rounded

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:vmas")
WORST = {"tf32": (0.1, 0.1), "bfloat16": (0.25, 0.5)}
"""How far a minibatch's gradient may be from that in float32, as a part of its length, and as a part of how far that of
another batch is. With bfloat16 a greedy action may be another one: all that is held there is that nothing breaks."""


def gradients(name, sample, kept=None):
    """Return the gradient of each minibatch of a fresh recipe's first update, with weights that stay as they are."""
    hetrl.rng.seed(0)
    module, data = words(name, "cpu").build()
    data.source.close()
    found = []

    def look(optimizer, closure):
        closure()
        optimizer.figures = {}
        parameters = (each for group in optimizer.param_groups for each in group["params"])
        found.append(torch.cat([each.grad.flatten() for each in parameters]))

    store, generator = Store(module.linked.team, sample), torch.Generator().manual_seed(0)
    hetrl.rng.seed(1)
    with nullcontext() if kept is None else Rounded(kept):
        for phase in module.phases:
            phase.run(store, 0.5, generator, look)
    return found


def apart(found, wanted):
    """Return the largest difference of two gradients, as a part of the second's length."""
    return max(((a - b).norm() / b.norm()).item() for a, b in zip(found, wanted, strict=True) if b.norm() > 1e-6)


@pytest.mark.parametrize("name", EACH)
def test_gradients_with_fewer_digits(name):
    """They differ from those in float32, and less than those of another batch do. Figures with ``pytest -s``."""
    _, (sample, other) = samples_of(name, 2)
    wanted = gradients(name, sample)
    rounded = {kept: apart(gradients(name, sample, kept), wanted) for kept in WORST}
    drawn = apart(gradients(name, other), wanted)
    print(f"{name}: {rounded}, another batch {drawn:.1e}")
    for kept, (of_length, of_drawn) in WORST.items():
        assert 1e-6 < rounded[kept] < min(of_length, of_drawn * drawn), f"{rounded}, and {drawn:.1e} of another batch"
