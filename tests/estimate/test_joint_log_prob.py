import pytest
import torch
from jaxtyping import TypeCheckError

from hetrl.estimate.joint_log_prob import JointLogProb


def test_by_hand():
    """Probabilities 1/2, 1/4, 1/5 of three agents: 1/40; and one agent alone."""
    log_probs = tuple(torch.tensor([p]).log() for p in (1 / 2, 1 / 4, 1 / 5))
    torch.testing.assert_close(JointLogProb().compute(log_probs)["log_prob"].exp(), torch.tensor([1 / 40]))
    assert torch.equal(JointLogProb().compute(log_probs[:1])["log_prob"], log_probs[0])


def test_it_is_a_distribution_over_joint_actions():
    """Two agents of 2 and 3 options: the six joint actions have probability 1 together."""
    own = [torch.randn(options).log_softmax(-1) for options in (2, 3)]
    pairs = torch.cartesian_prod(torch.arange(2), torch.arange(3))
    log_probs = tuple(own[agent][pairs[:, agent]] for agent in range(2))
    assert JointLogProb().compute(log_probs)["log_prob"].exp().sum().item() == pytest.approx(1)


def test_its_inputs_stay_as_they_are():
    log_probs = (torch.ones(3), torch.ones(3))
    found = JointLogProb().compute(log_probs)["log_prob"]
    assert found.tolist() == [2.0] * 3 and log_probs[0].tolist() == [1.0] * 3


def test_refuses_to_broadcast():
    with pytest.raises(TypeCheckError):
        JointLogProb().compute((torch.zeros(3), torch.zeros(3, 1)))
