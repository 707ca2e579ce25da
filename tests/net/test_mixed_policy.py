"""The mixed policy is the policy that serves the agent's action space, mode by mode."""

import inspect

import pytest
import torch

from hetrl.errors import RecipeError
from hetrl.net.categorical_policy import CategoricalPolicy
from hetrl.net.gaussian_policy import GaussianPolicy
from hetrl.net.mixed_policy import MixedPolicy
from hetrl.net.squashed_gaussian_policy import SquashedGaussianPolicy
from hetrl.team import Agent, Box, Discrete, Team

CHOOSES = Agent("a", "discrete", 0, 3, Discrete((2, 3)), "discrete")
STEERS = Agent("b", "continuous", 0, 4, Box((-0.5, 0.0), (2.0, 10.0)), "continuous")
TEAM = Team((CHOOSES, STEERS), state_size=7)
MASK = torch.tensor([True, False, True, True, False]).expand(6, 5)
KINDS = {
    "categorical": (CHOOSES, CategoricalPolicy, {}, {}),
    "gaussian": (STEERS, GaussianPolicy, {"initial_std": 0.3}, {}),
    "squashed_gaussian": (
        STEERS,
        SquashedGaussianPolicy,
        {"std": "state_dependent", "std_map": "softplus"},
        {"continuous": "squashed_gaussian"},
    ),
}


def pair(kind):
    """Return a mixed policy and the plain one, with the same weights, and an observation."""
    agent, cls, arguments, choice = KINDS[kind]
    plain = cls(agent, TEAM, hidden=[8], **arguments)
    mixed = MixedPolicy(agent, TEAM, hidden=[8], **arguments, **choice)
    assert type(mixed.policy) is cls
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.add_(torch.randn_like(parameter))
    mixed.policy.load_state_dict(plain.state_dict())
    return mixed, plain, torch.randn(6, agent.observation_size)


@pytest.mark.parametrize("kind", KINDS)
def test_every_mode_is_that_of_the_policy_inside(kind):
    mixed, plain, observation = pair(kind)
    masks = [MASK] if kind == "categorical" else []
    drawn = [net.draw(observation, net.noise((6,), torch.Generator().manual_seed(1)), *masks) for net in (mixed, plain)]
    assert torch.equal(*drawn)
    old = plain.distribution(observation, *masks)["distribution"] + 0.1 * torch.randn(6, 1)
    noise = plain.noise((6,), torch.Generator().manual_seed(2))
    given = {
        "log_prob": (observation, drawn[0]),
        "sample": (observation, noise),
        "distribution": (observation,),
        "kl": (observation, old),
        "act": (observation,),
        "greedy": (observation,),
    }
    for mode, inputs in given.items():
        torch.manual_seed(0)  # the squashed policy's entropy is an estimate
        found = getattr(mixed, mode)(*inputs, *masks)
        torch.manual_seed(0)
        expected = getattr(plain, mode)(*inputs, *masks)
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_a_continuous_agent_ignores_a_mask():
    """A team's agents are called alike; who steers has no options that could be ruled out."""
    mixed, plain, observation = pair("gaussian")
    noise = torch.randn(6, 2)
    assert torch.equal(mixed.draw(observation, noise, MASK), plain.draw(observation, noise))
    found = mixed.log_prob(observation, noise, MASK)["log_prob"]
    assert torch.equal(found, plain.log_prob(observation, noise)["log_prob"])


@pytest.mark.parametrize("kind", KINDS)
def test_sampling_needs_no_noise(kind):
    """Each kind then draws its own, Gumbel for who chooses, normal for who steers; proposals are one-hot or actions."""
    mixed, _, observation = pair(kind)
    out = mixed.sample(observation, action_mask=MASK)
    width = sum(CHOOSES.action.choices) if kind == "categorical" else STEERS.action.size
    assert out["proposal"].shape == (6, width) and out["proposal_log_prob"].shape == (6,)
    assert (out["proposal_log_prob"] != mixed.sample(observation, action_mask=MASK)["proposal_log_prob"]).any()
    if kind == "categorical":
        assert (out["proposal"][~MASK] == 0).all()


def test_a_masked_option_is_never_drawn():
    mixed, _, observation = pair("categorical")
    noise = mixed.noise((500, 6), torch.Generator().manual_seed(0))
    drawn = mixed.draw(observation.expand(500, 6, 3), noise, MASK.expand(500, 6, 5))
    assert (drawn[..., 0] == 0).all() and set(drawn[..., 1].unique().tolist()) == {0, 1}


def test_modes_write_what_the_other_policies_write():
    for cls in (CategoricalPolicy, GaussianPolicy):
        for mode, table in MixedPolicy.modes.items():
            assert table.writes == cls.modes[mode].writes
    assert {role for table in MixedPolicy.modes.values() for role in table.optional} == {"action_mask", "noise"}


def test_its_arguments_are_those_of_the_policies_inside():
    """With their defaults, but for ``continuous`` itself."""
    own = inspect.signature(MixedPolicy).parameters
    for name, parameter in inspect.signature(GaussianPolicy).parameters.items():
        assert own[name].default == parameter.default, name
    assert set(own) - set(inspect.signature(GaussianPolicy).parameters) == {"continuous"}


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"continuous": "beta"}, "MixedPolicy: continuous = 'beta': Input should be 'gaussian' or 'squashed_gaussian'"),
        ({"hiden": [4]}, "MixedPolicy has no argument 'hiden'. Nearest: 'hidden'."),
        ({"std_map": "sigmoid"}, "initial_std = 1.0 must be below max_std = 0.5"),
    ],
)
def test_refuses_wrong_arguments(values, text):
    with pytest.raises(RecipeError, match=text):
        MixedPolicy(STEERS, TEAM, **values)
