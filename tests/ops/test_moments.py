import torch

from hetrl.ops.moments import moments


def test_by_hand():
    """1, 2, 6: mean 3, variance (4 + 1 + 9) / 3."""
    mean, std = moments(torch.tensor([1.0, 2.0, 6.0]), None)
    torch.testing.assert_close((mean, std), (torch.tensor(3.0), torch.tensor(14 / 3).sqrt()))


def test_masked_is_as_if_the_others_were_not_there():
    x, active = torch.randn(6, 7), torch.rand(6, 7) > 0.4
    torch.testing.assert_close(moments(x, active), moments(x[active], None))


def test_nobody():
    assert moments(torch.ones(3), torch.zeros(3, dtype=torch.bool)) == (0, 0)
