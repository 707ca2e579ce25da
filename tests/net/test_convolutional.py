import pytest
import torch

import hetrl.net.convolutional as module
from hetrl.errors import RecipeError
from hetrl.team import Box, Team

ARM = Box((-1.0,), (1.0,))


def built(shape, *others, **arguments):
    team = Team.of([f"a_{i}" for i in range(1 + len(others))], [shape, *others], [ARM] * (1 + len(others)))
    return module.Convolutional(team.agents[0], team, **{"filters": [1], "kernels": [2], "strides": [1], **arguments})


def test_a_convolution_by_hand():
    """Image (1 2 3 / 4 5 6), a kernel of ones: sums 12 and 16; a linear layer that adds them up: 28, and -28 is cut."""
    net = built((2, 3), size=2)
    with torch.no_grad():
        net.convolutions[0].weight.fill_(1.0)
        net.linear.weight.copy_(torch.tensor([[1.0, 1.0], [-1.0, -1.0]]))
    found = net.encode(torch.tensor([[1.0, 2, 3, 4, 5, 6]]))["features"]
    assert found.tolist() == [[28.0, 0.0]] and net.features == 2


def test_channels_stand_last_or_first():
    """The same pixels in either order are the same image."""
    image = torch.rand(5, 2, 3, 4)  # channels, height and width
    last, first = built((3, 4, 2), size=6), built((2, 3, 4), channels="first", size=6)
    first.load_state_dict(last.state_dict())
    found = last.encode(image.movedim(1, -1).flatten(1))["features"]
    torch.testing.assert_close(found, first.encode(image.flatten(1))["features"])
    assert last.convolutions[0].weight.shape == (1, 2, 2, 2)


def test_the_usual_sizes():
    """84 -> 20 -> 9 -> 7, so that the linear layer has 64 * 7 * 7 = 3,136 inputs; 36 is the smallest image."""
    usual = {"filters": [32, 64, 64], "kernels": [8, 4, 3], "strides": [4, 2, 1]}
    assert built((84, 84, 3), **usual).linear.weight.shape == (512, 3136)
    assert built((36, 36), **usual).linear.weight.shape == (512, 64)
    message = (
        r"^agent 'a_0' sees 35x40: an image of 35x40 pixels is too small for kernels \[8, 4, 3\] with strides "
        r"\[4, 2, 1\], which take 36x36 at least; write smaller ones, such as filters: "
    )
    with pytest.raises(RecipeError, match=message):
        built((35, 40), **usual)


def test_who_sees_no_image_among_those_who_do_is_given_what_he_sees():
    net = built(5, (4, 4))
    seen = torch.randn(3, 5)
    assert net.features == 5 and torch.equal(net.encode(seen)["features"], seen)
    assert not list(net.parameters())


@pytest.mark.parametrize(
    ("shape", "arguments", "message"),
    [
        (12, {}, "^agent 'a_0' sees 12 numbers in a row, and nobody an image; drop the encoder, or use net/entities"),
        ((2, 3, 4, 5), {}, "^agent 'a_0' sees 2x3x4x5, which is no image; let the environment give two or three"),
        ((4, 4), {"strides": [1, 2]}, "^filters, kernels and strides are 1, 1 and 2 numbers; give one of each"),
        ((4, 4), {"filters": []}, "filters"),
    ],
)
def test_what_it_cannot_be_is_refused(shape, arguments, message):
    with pytest.raises(RecipeError, match=message):
        built(shape, **arguments)
