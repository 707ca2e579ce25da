import torch

from hetrl.ops.scaled import scaled


def test_bytes_count_from_0_to_1_and_the_rest_is_as_it_was():
    found = scaled(torch.tensor([255, 51, 0], dtype=torch.uint8))
    assert torch.equal(found, torch.tensor([255.0, 51.0, 0.0]) / 255) and found[0] == 1
    for other in (torch.tensor([255.0]), torch.tensor([3]), torch.tensor([True])):
        assert scaled(other) is other
