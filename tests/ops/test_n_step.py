import torch

from hetrl.ops.n_step import n_step_weights


def weights(done: list[int], stored: list[int], gamma: float = 0.5):
    column = [torch.tensor(flags, dtype=torch.bool).unsqueeze(-1) for flags in (done, stored)]
    weight, discount, last = n_step_weights(*column, gamma)
    return weight.squeeze(-1).tolist(), discount.item(), last.item()


def test_the_docstrings_numbers():
    assert weights([0, 1, 0], [1, 1, 1]) == ([1.0, 0.5, 0.0], 0.25, 1)


def test_what_ends_the_sum():
    assert weights([0, 0, 0], [1, 1, 1]) == ([1.0, 0.5, 0.25], 0.125, 2)
    assert weights([1, 0, 1], [1, 1, 1]) == ([1.0, 0.0, 0.0], 0.5, 0)
    assert weights([0, 0, 1], [1, 1, 1]) == ([1.0, 0.5, 0.25], 0.125, 2)
    assert weights([0, 0, 0], [1, 1, 0]) == ([1.0, 0.5, 0.0], 0.25, 1)
    assert weights([0, 1, 0], [1, 0, 0]) == ([1.0, 0.0, 0.0], 0.5, 0)  # what is not stored cannot end it


def test_no_discount_and_nothing_but_it():
    assert weights([0, 0], [1, 1], 1.0) == ([1.0, 1.0], 1.0, 1)
    assert weights([0, 0], [1, 1], 0.0) == ([1.0, 0.0], 0.0, 1)
