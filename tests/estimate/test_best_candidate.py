"""The best of several joint actions."""

import torch

from hetrl.catalog import component

BEST = component("estimate/best_candidate")


def test_by_hand():
    """Two agents, K = 3, Q = a^1 b^1 + state: 1, 6 and 2 beside a state of 10; the second pair, worth 16. In the second
    row 3, 0 and -1: the first."""
    first = torch.tensor([[[1.0], [2.0], [2.0]], [[3.0], [0.0], [1.0]]])
    second = torch.tensor([[[1.0, 7.0], [3.0, 8.0], [1.0, 9.0]], [[1.0, 4.0], [5.0, 5.0], [-1.0, 6.0]]])
    state = torch.tensor([[10.0], [0.0]])
    asked = []

    def value(state, action):
        asked.append([state.shape, *(each.shape for each in action)])
        return {"q": state[..., 0] + action[0][..., 0] * action[1][..., 0]}

    found = BEST.compute(state, (first, second), value=value)
    assert found["q"].tolist() == [16, 3]
    assert [each.tolist() for each in found["proposal"]] == [[[2], [3]], [[3, 8], [1, 4]]]
    assert asked == [[(2, 3, 1), (2, 3, 1), (2, 3, 2)]]  # K values for each row, in one call


def test_a_pair_is_never_taken_apart():
    """The best of each agent alone would be the first with the third; they were not drawn together."""
    candidates = (torch.tensor([[[5.0], [1.0], [0.0]]]), torch.tensor([[[0.0], [1.0], [5.0]]]))
    found = BEST.compute(torch.zeros(1, 1), candidates, value=lambda s, a: {"q": (a[0] * a[1])[..., 0]})
    assert [each.item() for each in found["proposal"]] == [1, 1]
