import torch

from hetrl.ops.candidates import centred, heaviest


def test_centred_by_hand():
    assert centred(torch.tensor([[1.0, 2.0, 6.0]])).tolist() == [[-2, -1, 3]]
    assert centred(torch.full((2, 3), 0.1)).count_nonzero() == 0


def test_centred_loses_nothing_to_a_great_value():
    """Around 2^23 a float has no fractions left, but the differences are whole numbers."""
    q = torch.tensor([[0.0, 4.0, 8.0]])
    assert torch.equal(centred(q + 2**23), centred(q))


def test_heaviest_by_hand():
    candidates = torch.tensor([[[0.5, 5.0], [0.7, 7.0], [0.1, 1.0]]])
    weight = torch.tensor([[0.0, 3.0, 2.0]])
    chosen, kept = heaviest(candidates, weight, 2)
    assert torch.equal(chosen, candidates[:, [1, 2]]) and kept.tolist() == [[3, 2]]
    every, weights = heaviest(candidates, weight, None)
    assert every is candidates and weights is weight


def test_heaviest_in_more_dimensions():
    candidates, weight = torch.randn(4, 3, 5, 2), torch.randn(4, 3, 5)
    chosen, kept = heaviest(candidates, weight, 1)
    for row in range(4):
        for agent in range(3):
            place = weight[row, agent].argmax()
            assert torch.equal(chosen[row, agent, 0], candidates[row, agent, place])
            assert kept[row, agent, 0] == weight[row, agent, place]
