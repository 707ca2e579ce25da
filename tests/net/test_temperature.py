import math

import pytest
import torch

from hetrl.errors import RecipeError
from hetrl.net.temperature import Temperature
from hetrl.team import Agent, Box, Discrete, Team

STEERS = Agent("a", "steers", 0, 4, Box((-1.0, 0.0), (1.0, 5.0)), "steers")
CHOOSES = Agent("b", "chooses", 0, 3, Discrete((5,)), "chooses")
SEVERAL = Agent("c", "several", 0, 2, Discrete((2, 4)), "several")
TEAM = Team((STEERS, CHOOSES, SEVERAL), state_size=5)
LOG_PROB = torch.tensor([-1.0, 0.5, 2.0])
FLAGS = torch.zeros(3, dtype=torch.bool)


def test_alpha_is_the_same_for_every_sample():
    net = Temperature(STEERS, TEAM, initial=0.3)
    torch.testing.assert_close(net.alpha(FLAGS)["alpha"], torch.full((3,), 0.3))
    torch.testing.assert_close(net.joint_alpha(FLAGS.view(3, 1))["alpha"], torch.full((3, 1), 0.3))
    assert net.dual(LOG_PROB)["log_alpha"].tolist() == pytest.approx([math.log(0.3)] * 3)


def test_alpha_stays_positive_whatever_the_parameter():
    """alpha = e^x: x = -20 is 2.1e-9."""
    net = Temperature(STEERS, TEAM)
    with torch.no_grad():
        net.x.fill_(-20.0)
    assert net.alpha(FLAGS)["alpha"][0].item() == pytest.approx(math.exp(-20), rel=1e-5)


@pytest.mark.parametrize(
    ("agent", "expected"), [(STEERS, -2.0), (CHOOSES, 0.98 * math.log(5)), (SEVERAL, 0.98 * math.log(8))]
)
def test_target_entropy_of_an_agent(agent, expected):
    """-dim of a continuous action; 0.98 log of the number of (combined) options of a discrete one."""
    found = Temperature(agent, TEAM).dual(LOG_PROB)["target_entropy"]
    assert found.tolist() == pytest.approx([expected] * 3)


def test_the_joint_target_is_the_sum():
    """Row by row, whoever the agents are: -2 + 0.98 log 5 + 0.98 log 8 = 1.615102."""
    each = [Temperature(agent, TEAM).dual(LOG_PROB)["target_entropy"] for agent in TEAM.agents]
    for agent in TEAM.agents:
        found = Temperature(agent, TEAM).joint_dual(LOG_PROB, tuple(each))["target_entropy"]
        assert found.tolist() == pytest.approx([1.615102] * 3, abs=1e-6)


def test_masked_options_do_not_count():
    """Of 5 options 5, 2 and 1 are left: 0.98 log of that, in each row its own."""
    mask = torch.tensor([[True] * 5, [True, False, True, False, False], [False, True, False, False, False]])
    found = Temperature(CHOOSES, TEAM).dual(LOG_PROB, mask)["target_entropy"]
    assert found.tolist() == pytest.approx([0.98 * math.log(5), 0.98 * math.log(2), 0.0])


def test_masked_options_of_several_choices():
    """2 of 2 and 3 of 4: 0.98 log 6; 1 of 2 and 4 of 4: 0.98 log 4; none at all, as where an agent is out: 0."""
    mask = torch.tensor([[1, 1, 1, 0, 1, 1], [0, 1, 1, 1, 1, 1], [0] * 6]).bool()
    found = Temperature(SEVERAL, TEAM).dual(LOG_PROB, mask)["target_entropy"]
    assert found.tolist() == pytest.approx([0.98 * math.log(6), 0.98 * math.log(4), 0.0])


def test_a_given_target_replaces_all_of_that():
    net, mask = Temperature(CHOOSES, TEAM, target_entropy=-0.5), torch.zeros(3, 5).bool()
    assert net.dual(LOG_PROB, mask)["target_entropy"].tolist() == [-0.5] * 3


def test_a_continuous_agent_ignores_a_mask():
    found = Temperature(STEERS, TEAM).dual(LOG_PROB, torch.zeros(3, 2).bool())
    assert found["target_entropy"].tolist() == [-2.0] * 3


def test_only_log_alpha_has_a_gradient():
    net = Temperature(STEERS, TEAM)
    for out in (net.dual(LOG_PROB), net.joint_dual(LOG_PROB, (LOG_PROB,))):
        assert out["log_alpha"].requires_grad and not out["target_entropy"].requires_grad
    net.dual(LOG_PROB)["log_alpha"].sum().backward()
    assert net.x.grad.item() == 3


def test_a_fixed_one_has_nothing_to_train_and_is_in_the_checkpoint():
    free, fixed = Temperature(STEERS, TEAM), Temperature(STEERS, TEAM, fixed=True)
    assert [name for name, _ in free.named_parameters()] == ["x"] and not list(fixed.parameters())
    assert list(fixed.state_dict()) == ["x"]
    assert Temperature.trainable({}) and Temperature.trainable({"fixed": False})
    assert not Temperature.trainable({"fixed": True, "initial": 0.1})
    assert not fixed.alpha(FLAGS)["alpha"].requires_grad


@pytest.mark.parametrize(
    ("values", "text"), [({"initial": 0.0}, "initial = 0.0"), ({"fixed": 1}, "fixed = 1"), ({"target": 1.0}, "")]
)
def test_refuses_wrong_arguments(values, text):
    with pytest.raises(RecipeError, match=f"^Temperature.*{text}"):
        Temperature(STEERS, TEAM, **values)
