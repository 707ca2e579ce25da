import numpy as np
import torch

from hetrl.ops.running import entry_moments, merged


def near(found, *wanted):
    for value, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(value, torch.tensor(other, dtype=torch.float64))


def test_the_docstrings_numbers():
    x = torch.tensor([[1.0, 4.0], [3.0, 4.0], [9.0, 9.0]])
    near(entry_moments(x, torch.tensor([True, True, False])), [2.0], [2.0, 4.0], [2.0, 0.0])
    near(merged(entry_moments(torch.tensor([[1.0], [3.0]])), entry_moments(torch.tensor([[5.0]]))), [3.0], [3.0], [8.0])


def test_nobody_and_then_somebody():
    x = torch.tensor([[7.0]])
    nobody = entry_moments(x, torch.tensor([False]))
    near(nobody, [0.0], [0.0], [0.0])
    near(merged(nobody, nobody), [0.0], [0.0], [0.0])
    near(merged(nobody, entry_moments(x)), [1.0], [7.0], [0.0])


def test_a_stream_in_batches_is_the_whole_of_it():
    """Far from 0, where float32 loses the variance; with those who are out left out."""
    generator = np.random.default_rng(0)
    batches = [generator.normal(1e4, [1.0, 30.0, 0.1], (n, 4, 3)).astype(np.float32) for n in (1, 7, 5)]
    active = [generator.random((len(batch), 4)) < 0.7 for batch in batches]
    found = entry_moments(torch.from_numpy(batches[0]), torch.from_numpy(active[0]))
    for batch, here in zip(batches[1:], active[1:], strict=True):
        found = merged(found, entry_moments(torch.from_numpy(batch), torch.from_numpy(here)))
    rows = np.concatenate([batch[here] for batch, here in zip(batches, active, strict=True)]).astype(np.float64)
    near(found, [float(len(rows))], rows.mean(0), rows.var(0) * len(rows))
