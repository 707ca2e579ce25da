import torch

from hetrl.ops.episodes import finished_sums


def test_by_hand():
    """Carry 10, rewards 1 2, an end after the first: 10 + 1 = 11 there, 0 elsewhere, and 2 goes on."""
    sums, carry = finished_sums(torch.tensor([[1.0], [2.0]]), torch.tensor([[True], [False]]), torch.tensor([10.0]))
    assert sums.tolist() == [[11.0], [0.0]] and carry.tolist() == [2.0]


def test_two_ends_and_none():
    """First column: 1 + 2 = 3, then 3 + 4 = 7, nothing goes on. Second: no end, 5 + 10 goes on."""
    value = torch.tensor([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0], [4.0, 4.0]])
    done = torch.tensor([[False, False], [True, False], [False, False], [True, False]])
    sums, carry = finished_sums(value, done, torch.tensor([0.0, 5.0]))
    assert sums.T.tolist() == [[0.0, 3.0, 0.0, 7.0], [0.0] * 4]
    assert carry.tolist() == [0.0, 15.0]


def test_batches_cut_anywhere_say_the_same():
    value, done = torch.rand(20, 3, dtype=torch.float64), torch.rand(20, 3) < 0.3
    start = torch.rand(3, dtype=torch.float64)
    whole, left = finished_sums(value, done, start)
    first, carry = finished_sums(value[:7], done[:7], start)
    second, carry = finished_sums(value[7:], done[7:], carry)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    torch.testing.assert_close(carry, left)
    running, expected = start.clone(), torch.zeros_like(whole)
    for step in range(20):
        running += value[step]
        expected[step] = torch.where(done[step], running, 0.0)
        running[done[step]] = 0
    torch.testing.assert_close(whole, expected)


def test_step_by_step_it_is_the_same_to_the_bit():
    value, done, carry = torch.rand(1, 50), torch.rand(1, 50) < 0.5, torch.rand(50)
    one, left = finished_sums(value, done, carry)
    none = torch.zeros(1, 50)
    two, rest = finished_sums(torch.cat([value, none]), torch.cat([done, none.bool()]), carry)
    assert torch.equal(one, two[:1]) and torch.equal(left, rest)
