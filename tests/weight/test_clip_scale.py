import torch

from hetrl.weight.clip_scale import ClipScale


def scale(turn, *turns, **arguments):
    wide = [torch.full((4,), each) for each in (turn, *turns)]
    return ClipScale(**arguments).compute(wide[0], tuple(wide[1:]), torch.ones(4))["scale"].unique().tolist()


def test_by_hand():
    """0.5 + 0.5 * 1 / 2 and 0.5 + 0.5 * 2 / 2."""
    assert scale(0, 0, 1) == [0.75]
    assert scale(1, 0, 1) == [1.0]


def test_one_round_may_use_all_of_it():
    """One agent, or several at once."""
    assert scale(0, 0) == scale(0, 0, 0, 0) == [1.0]


def test_a_start_of_1_leaves_the_clip_alone():
    assert scale(0, 2, 0, 1, start=1.0) == [1.0]
