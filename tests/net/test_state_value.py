import pytest
import torch
from jaxtyping import TypeCheckError

from hetrl.errors import RecipeError
from hetrl.net.state_value import StateValue
from hetrl.team import Agent, Box, Team

AGENT = Agent("a", "agents", 0, 3, Box((-1.0,), (1.0,)), "agents")
TEAM = Team((AGENT,), state_size=2)


def linear(**arguments):
    """Return a critic that is 2 x - y + 0.5."""
    net = StateValue(AGENT, TEAM, hidden=[], **arguments)
    with torch.no_grad():
        net.body[0].weight.copy_(torch.tensor([[2.0, -1.0]]))
        net.body[0].bias.fill_(0.5)
    return net


STATE = torch.tensor([[1.0, 0.0], [3.0, 4.0]])


def test_value_by_hand():
    """2 - 0 + 0.5 = 2.5 and 6 - 4 + 0.5 = 2.5 + 0 = 2.5; one number per state, in any batch shape."""
    assert linear().value(STATE)["value"].tolist() == [2.5, 2.5]
    assert linear().normalized(STATE.view(1, 2, 2))["normalized_value"].shape == (1, 2)


def test_without_normalisation_units_are_the_same():
    net = linear()
    returns = torch.tensor([1.0, 5.0])
    assert torch.equal(net.normalize(returns)["normalized_return"], returns)
    assert torch.equal(net.denormalize(returns)["value"], returns)
    assert torch.equal(net.value(STATE)["value"], net.normalized(STATE)["normalized_value"])


def test_normalises_after_taking_the_returns_in():
    """Returns 1 and 5 have mean 3 and deviation 2: -1 and 1; the output 2.5 is then worth 2.5 * 2 + 3 = 8."""
    net = linear(normalize=True).double()
    normalized = net.normalize(torch.tensor([1.0, 5.0], dtype=torch.float64))["normalized_return"]
    torch.testing.assert_close(normalized, torch.tensor([-1.0, 1.0], dtype=torch.float64))
    eight = torch.tensor([8.0, 8.0], dtype=torch.float64)
    torch.testing.assert_close(net.value(STATE.double())["value"], eight)
    torch.testing.assert_close(net.denormalize(net.normalized(STATE.double())["normalized_value"])["value"], eight)


def test_looking_changes_no_statistics():
    net = linear(normalize=True)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    net.value(STATE), net.normalized(STATE), net.denormalize(torch.ones(2))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_layers_are_as_wide_as_asked():
    net = StateValue(AGENT, TEAM, hidden=[5, 7], activation="relu")
    assert [tuple(w.shape) for w in net.parameters() if w.ndim == 2] == [(5, 2), (7, 5), (1, 7)]


def test_is_one_for_the_team_and_its_plain_mode_is_value():
    assert (StateValue.default_per, StateValue.default_mode) == ("team", "value")
    assert set(StateValue.modes) == {"value", "normalized", "normalize", "denormalize"}


def test_refuses_a_state_that_is_no_vector():
    with pytest.raises(TypeCheckError):
        linear().value(torch.tensor(1.0))
    with pytest.raises(TypeCheckError):
        linear().denormalize(torch.zeros(2, dtype=torch.int64))


@pytest.mark.parametrize(
    ("values", "text"),
    [({"hidden": [0]}, r"hidden\[0\] = 0"), ({"activation": "relux"}, "activation"), ({"normalize": 1}, "normalize")],
)
def test_refuses_wrong_arguments(values, text):
    with pytest.raises(RecipeError, match=f"^StateValue: {text}"):
        StateValue(AGENT, TEAM, **values)
