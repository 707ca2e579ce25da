"""Activations."""

import pytest
import torch

from hetrl.ops.activation import ACTIVATIONS, relu, tanh


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_are_torchs_own(name):
    """In place or not, the value and the gradient are those of the function of that name."""
    x = torch.linspace(-3, 3, 7, dtype=torch.float64, requires_grad=True)
    plain = getattr(torch.nn.functional, name)(x)
    mine = ACTIVATIONS[name](x.clone())
    torch.testing.assert_close(mine, plain)
    torch.testing.assert_close(torch.autograd.grad(mine.sum(), x)[0], torch.autograd.grad(plain.sum(), x)[0])


def test_tanh_as_it_is_compiled(monkeypatch):
    """2 / (1 + e^-2x) - 1 is tanh x: at x = ln 2 it is 2 / (1 + 1/4) - 1 = 3/5."""
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    x = torch.tensor([0.0, 2.0], dtype=torch.float64).log()[1:]
    torch.testing.assert_close(tanh(x), torch.tensor([0.6], dtype=torch.float64))


def test_relu_as_it_is_compiled(monkeypatch):
    """Value and gradient are torch's, at 0 too."""
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    x = torch.tensor([-2.0, -0.0, 0.0, 1e-30, 3.0], dtype=torch.float64, requires_grad=True)
    for function in (relu, torch.relu):
        assert function(x).tolist() == [0, 0, 0, 1e-30, 3]
        assert torch.autograd.grad((2 * function(x)).sum(), x)[0].tolist() == [0, 0, 0, 2, 2]
