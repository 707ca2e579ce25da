import math

import pytest
import torch
from jaxtyping import TypeCheckError

from hetrl.errors import RecipeError
from hetrl.net.recurrent_encoder import RecurrentEncoder

EXACT = {"rtol": 0, "atol": 1e-12}


def encoder(chunk, hidden=(5,), memory=4):
    return RecurrentEncoder(3, list(hidden), "tanh", memory, chunk).double()


def sequence(steps, *batch, begins=()):
    """Return what is seen, and flags that are True at the steps ``begins``."""
    is_init = torch.zeros(steps, *batch, dtype=torch.bool)
    is_init[list(begins)] = True
    return torch.randn(steps, *batch, 3, dtype=torch.float64), is_init


def stepped(net, seen, is_init, memory=None):
    """Return the hidden states before and after each step, as acting carries them."""
    memory = torch.zeros(*seen.shape[1:-1], 4, dtype=seen.dtype) if memory is None else memory
    before, after = [], []
    for x, begin in zip(seen, is_init, strict=True):
        before.append(memory.masked_fill(begin.unsqueeze(-1), 0.0))
        memory = net.step(x, before[-1])
        after.append(memory)
    return torch.stack(before), torch.stack(after)


def test_a_step_by_hand():
    """All weights 0: both gates are 1/2 and n is tanh of its bias, 0.5; from 1 to 0.75 to 0.625."""
    net = RecurrentEncoder(1, [], "tanh", 1, 2)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        net.body[0].bias[2] = math.atanh(0.5)
    out = net(torch.randn(2, 1, 1), torch.ones(2, 1, 1), torch.zeros(2, 1, dtype=torch.bool))
    assert out.flatten().tolist() == pytest.approx([0.75, 0.625])


def test_is_torchs_gru_behind_an_mlp():
    net = encoder(chunk=6, hidden=())
    other = torch.nn.GRU(3, 4, dtype=torch.float64)
    with torch.no_grad():
        for mine, theirs in ((net.body[0], "ih"), (net.recurrent, "hh")):
            torch.nn.init.normal_(mine.bias)
            getattr(other, f"weight_{theirs}_l0").copy_(mine.weight)
            getattr(other, f"bias_{theirs}_l0").copy_(mine.bias)
    seen, is_init = sequence(6, 2)
    memory = torch.randn(6, 2, 4, dtype=torch.float64)
    torch.testing.assert_close(net(seen, memory, is_init), other(seen, memory[:1])[0], **EXACT)


@pytest.mark.parametrize("chunk", [1, 2, 4, 12])
@pytest.mark.parametrize("batch", [(3,), (3, 2), ()], ids=str)
def test_unrolled_is_what_stepping_gave(chunk, batch):
    """Also where episodes begin inside a chunk, and at the border of two."""
    net = encoder(chunk)
    seen, is_init = sequence(12, *batch, begins=(0, 5, 8))
    if batch:
        is_init[7, 0] = True  # in one environment alone
    before, after = stepped(net, seen, is_init)
    torch.testing.assert_close(net(seen, before, is_init), after, **EXACT)


def test_float32_too():
    net = encoder(4).float()
    seen, is_init = sequence(12, 3, begins=(0, 5))
    before, after = stepped(net, seen.float(), is_init)
    torch.testing.assert_close(net(seen.float(), before, is_init), after, rtol=0, atol=1e-6)


def test_a_reset_inside_a_chunk_is_two_sequences():
    net = encoder(6)
    seen, is_init = sequence(6, 2, begins=(0, 4))
    memory = torch.zeros(6, 2, 4, dtype=torch.float64)
    whole = net(seen, memory, is_init)
    net.chunk = 4
    first = net(seen[:4], memory[:4], is_init[:4])
    net.chunk = 2
    torch.testing.assert_close(whole, torch.cat([first, net(seen[4:], memory[4:], is_init[4:])]), **EXACT)


def test_only_the_memories_where_something_begins_are_read():
    net = encoder(4)
    seen, is_init = sequence(8, 2, begins=(6,))
    memory = torch.randn(8, 2, 4, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(net(seen, memory, is_init).sum(), memory)
    assert (gradient.abs().sum((1, 2)) > 0).nonzero().flatten().tolist() == [0, 4, 6]


def reaches(net, seen, is_init, step):
    """Return the steps whose observation has a gradient from the hidden state after ``step``."""
    seen = seen.clone().requires_grad_()
    memory = torch.randn(*seen.shape[:-1], 4, dtype=seen.dtype)
    (gradient,) = torch.autograd.grad(net(seen, memory, is_init)[step].sum(), seen)
    return (gradient.abs().sum((1, 2)) > 0).nonzero().flatten().tolist()


def test_gradients_stay_inside_of_chunks_and_episodes():
    seen, is_init = sequence(8, 2, begins=(0, 6))
    assert reaches(encoder(4), seen, is_init, 3) == [0, 1, 2, 3]
    assert reaches(encoder(4), seen, is_init, 5) == [4, 5]
    assert reaches(encoder(4), seen, is_init, 7) == [6, 7]
    assert reaches(encoder(8), seen, is_init, 5) == [0, 1, 2, 3, 4, 5]
    assert reaches(encoder(1), seen, is_init, 5) == [5]


def test_rows_that_all_begin_stand_alone():
    """What ``at: next`` asks for: each row a step from its own memory, in chunks of any length."""
    seen, memory = torch.randn(8, 2, 3, dtype=torch.float64), torch.randn(8, 2, 4, dtype=torch.float64)
    net = encoder(4)
    out = net(seen, memory, torch.ones(8, 2, dtype=torch.bool))
    torch.testing.assert_close(out, net.step(seen, memory), **EXACT)


def test_refuses_steps_that_are_no_whole_chunks():
    with pytest.raises(RecipeError, match=r"^10 steps are no multiple of chunk = 4\.$"):
        encoder(4)(torch.zeros(10, 2, 3), torch.zeros(10, 2, 4), torch.zeros(10, 2, dtype=torch.bool))


def test_refuses_flags_of_another_shape():
    with pytest.raises(TypeCheckError):
        encoder(4)(torch.zeros(4, 2, 3), torch.zeros(4, 2, 4), torch.zeros(4, dtype=torch.bool))
