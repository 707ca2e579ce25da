"""Linear layers as one node of the graph."""

from itertools import pairwise

import pytest
import torch
from torch.nn import functional

from hetrl.ops.activation import ACTIVATIONS, SLOPES
from hetrl.ops.layers import layers


def chain(sizes=(5, 7, 6, 2)):
    weights = [torch.randn(out, size).double().requires_grad_() for size, out in pairwise(sizes)]
    biases = [torch.randn(out).double().requires_grad_() for out in sizes[1:]]
    return weights, biases


def ours(x, weights, biases, activation, sparse=False):
    function = ACTIVATIONS[activation]
    return layers(x, weights, biases, function, SLOPES.get(function), sparse)


def plain(x, weights, biases, activation):
    for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        x = functional.linear(x if layer == 0 else getattr(functional, activation)(x), weight) + bias
    return x


def test_by_hand():
    """relu(2 x - 1) 3 + 0.5 of x = 2 is 9.5; the derivatives by x, weights and biases are 6, 6 and 3, 3 and 1."""
    x = torch.tensor([[2.0]], requires_grad=True)
    weights = [torch.tensor([[number]], requires_grad=True) for number in (2.0, 3.0)]
    biases = [torch.tensor([number], requires_grad=True) for number in (-1.0, 0.5)]
    out = ours(x, weights, biases, "relu")
    assert out.item() == 9.5
    found = torch.autograd.grad(out, [x, *weights, *biases])
    assert [each.item() for each in found] == [6, 6, 3, 3, 1]


@pytest.mark.parametrize("activation", ["relu", "tanh", "silu"])
@pytest.mark.parametrize("shape", [(4,), (3, 2), ()], ids=str)
@pytest.mark.parametrize("sparse", [False, True])
def test_is_what_torch_makes_of_the_layers(activation, shape, sparse):
    """Outputs and all gradients, and the gradient of the gradients; with and without the rows that have none."""
    x = torch.randn(*shape, 5).double().requires_grad_()
    weights, biases = chain()
    inputs = [x, *weights, *biases]
    judged = torch.randn(*shape, 2).double() * (torch.rand(*shape, 1) < 0.6)
    mine = ours(x, weights, biases, activation, sparse)
    theirs = plain(x, weights, biases, activation)
    torch.testing.assert_close(mine, theirs)
    found, expected = (torch.autograd.grad(out, inputs, judged, retain_graph=True) for out in (mine, theirs))
    torch.testing.assert_close(found, expected)
    twice = []
    for out in (mine, theirs):
        slope = torch.autograd.grad((out.square() * judged).sum(), inputs, create_graph=True)
        length = sum(each.square().sum() for each in slope)
        twice.append(torch.autograd.grad(length, inputs, allow_unused=True, materialize_grads=True))
    torch.testing.assert_close(*twice)


def test_only_what_needs_a_gradient_gets_one():
    x = torch.randn(3, 5).double()
    weights, biases = chain()
    weights[1].requires_grad_(False)
    ours(x, weights, biases, "relu").sum().backward()
    assert x.grad is None and weights[1].grad is None
    assert all(each.grad is not None for each in (weights[0], weights[2], *biases))


def test_what_comes_back_is_not_written_to():
    """The slope is taken in place, but never in what the caller holds."""
    x = torch.randn(4, 5).double().requires_grad_()
    weights, biases = chain((5, 5))
    judged = torch.randn(4, 5).double()
    before = judged.clone()
    torch.autograd.grad(ours(x, weights, biases, "relu"), x, judged)
    assert torch.equal(judged, before)


def test_a_gradient_of_nothing_is_zero():
    """No row is left, and everything has the shape that it should."""
    x = torch.randn(3, 5).double().requires_grad_()
    weights, biases = chain()
    out = ours(x, weights, biases, "tanh", sparse=True)
    for each in torch.autograd.grad(out, [x, *weights, *biases], torch.zeros_like(out)):
        assert not each.any()


def test_networks_in_a_stack_have_their_gradients():
    """torch.func maps over them, and finds what each has by itself."""
    many = [chain() for _ in range(3)]
    weights, biases = ([torch.stack(each) for each in zip(*group, strict=True)] for group in zip(*many, strict=True))
    x = torch.randn(3, 4, 5).double()

    def total(weights, biases, x):
        return ours(x, weights, biases, "tanh").square().sum()

    found = torch.vmap(torch.func.grad(total))(weights, biases, x)
    for place, (own, shifts) in enumerate(many):
        alone = torch.autograd.grad(total(own, shifts, x[place]), own)
        torch.testing.assert_close([each[place] for each in found], list(alone))


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("own", [True, False], ids=["own rows", "the same rows"])
@pytest.mark.parametrize("each_row", [False, True], ids=["biases", "biases of each row"])
def test_several_networks_at_once_are_one_after_the_other(activation, own, each_row):
    """Outputs and all gradients of ``torch.vmap`` over weights, of the networks' own rows or of everybody's."""
    nets = [chain() for _ in range(3)]
    weights = [torch.stack(each).detach().requires_grad_() for each in zip(*(net[0] for net in nets), strict=True)]
    biases = [torch.stack(each).detach() for each in zip(*(net[1] for net in nets), strict=True)]
    if each_row:
        biases[0] = torch.randn(3, 8, biases[0].shape[-1]).double()
    biases = [bias.requires_grad_() for bias in biases]
    x = torch.randn(*([3] if own else []), 4, 2, 5).double().requires_grad_()
    inputs = [x, *weights, *biases]
    places = (0 if own else None, [0] * 3, [0] * 3)
    mine = torch.vmap(lambda *given: ours(*given, activation), in_dims=places)(x, weights, biases)
    theirs = []
    for net in range(3):
        rows = (x[net] if own else x).flatten(0, 1)
        theirs.append(plain(rows, [each[net] for each in weights], [each[net] for each in biases], activation))
    theirs = torch.stack(theirs).view(mine.shape)
    torch.testing.assert_close(mine, theirs)
    judged = torch.randn_like(mine)
    torch.testing.assert_close(*(torch.autograd.grad(out, inputs, judged) for out in (mine, theirs)))


@pytest.mark.parametrize("activation", ["relu", "silu"])
def test_a_bias_of_each_rows_own_has_the_gradient_of_its_row(activation):
    x = torch.randn(3, 2, 5).double().requires_grad_()
    weights, biases = chain()
    own = torch.randn(6, 7).double().requires_grad_()
    inputs = [x, own, *weights, *biases[1:]]
    judged = torch.randn(3, 2, 2).double()
    mine = ours(x, weights, [own, *biases[1:]], activation)
    first = functional.linear(x, weights[0]) + own.view(3, 2, 7)
    theirs = plain(getattr(functional, activation)(first), weights[1:], biases[1:], activation)
    torch.testing.assert_close(mine, theirs)
    torch.testing.assert_close(*(torch.autograd.grad(out, inputs, judged) for out in (mine, theirs)))
