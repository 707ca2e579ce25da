import pytest
import torch
from jaxtyping import TypeCheckError

from hetrl.errors import RecipeError
from hetrl.loss.td import TD

Q, TARGET = torch.tensor([[1.0], [3.0]]), torch.tensor([2.0])


def loss(q, target, **arguments):
    q = torch.tensor(q, requires_grad=True)
    out = TD(**arguments).compute(q, torch.tensor(target))["loss"]
    (gradient,) = torch.autograd.grad(out.sum(), q)
    return out.tolist(), gradient.tolist()


def test_the_docstrings_numbers():
    """(1 - 2)^2 + (3 - 2)^2 = 2; with delta 0.5 each 0.5 (1 - 0.25) = 0.375."""
    assert TD().compute(Q, TARGET)["loss"].tolist() == [2.0]
    assert TD(delta=0.5).compute(Q, TARGET)["loss"].tolist() == [0.75]


def test_every_sample_and_member_by_hand():
    """Samples (1 and 4 against 2; 0 and 0 against -3): 1 + 4 and 9 + 9; slopes 2 (q - y)."""
    found, slopes = loss([[1.0, 0.0], [4.0, 0.0]], [2.0, -3.0])
    assert found == [5.0, 18.0]
    assert slopes == [[-2.0, 6.0], [4.0, 6.0]]


def test_huber_by_hand():
    """delta 2: errors 1 and 4 cost 1/2 and 2 (4 - 1) = 6; the slopes are 1 and no more than 2."""
    found, slopes = loss([[3.0], [6.0]], [2.0], delta=2.0)
    assert found == [6.5] and slopes == [[1.0], [2.0]]
    assert loss([[1.0], [-2.0]], [2.0], delta=2.0) == ([6.5], [[-1.0], [-2.0]])  # and to the other side


def test_coef():
    assert TD(coef=3.0).compute(Q, TARGET)["loss"].tolist() == [6.0]
    assert TD(delta=0.5, coef=2.0).compute(Q, TARGET)["loss"].tolist() == [1.5]


@pytest.mark.parametrize("delta", [None, 0.7])
def test_members_do_not_see_each_other(delta):
    """The sum of the losses of ensembles of one, whose gradients stay apart."""
    q, target = torch.randn(4, 3, 5), torch.randn(3, 5)
    whole = TD(delta=delta).compute(q, target)["loss"]
    alone = sum(TD(delta=delta).compute(member.unsqueeze(0), target)["loss"] for member in q)
    assert whole.shape == (3, 5)
    torch.testing.assert_close(whole, alone)


def test_refuses_to_broadcast():
    with pytest.raises(TypeCheckError):
        TD().compute(torch.zeros(2, 3), torch.zeros(3, 1))
    with pytest.raises(TypeCheckError):
        TD().compute(torch.zeros(3, 1), torch.zeros(3))  # one member, turned around


@pytest.mark.parametrize("values", [{"delta": 0.0}, {"coef": -1.0}, {"delta": "10"}])
def test_refuses_what_is_out_of_range(values):
    with pytest.raises(RecipeError, match=f"^TD: {next(iter(values))} = "):
        TD(**values)
