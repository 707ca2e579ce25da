"""Units that attend to each other, wherever a task lists them."""

from dataclasses import replace

import pytest
import torch

from hetrl.encoder import Encoding, StateEncoder
from hetrl.errors import RecipeError
from hetrl.net.categorical_policy import CategoricalPolicy
from hetrl.net.state_value import StateValue
from hetrl.net.units import Units
from hetrl.team import Agent, Discrete, Listing, Team

MATES, FOES, OWN = Listing("mates", 0, 2, 3), Listing("foes", 6, 4, 3, scale=(1.0, 0.5, 0.25)), 2
SEEN = MATES.end + FOES.count * FOES.size + OWN
SIZE, EACH = 8, 3
AGENT = Agent("a", "agents", 0, SEEN, Discrete((5,)), "agents", listings=(MATES, FOES))
TEAM = Team((AGENT,), SEEN)


def built(**arguments):
    return Units(AGENT, TEAM, **{"size": SIZE, "heads": 2, "each": EACH, **arguments})


def split(seen):
    """Return mates, foes and what is one's own."""
    mates, foes = seen[..., : MATES.end], seen[..., FOES.start : FOES.end]
    return mates.unflatten(-1, (2, 3)), foes.unflatten(-1, (4, 3)), seen[..., FOES.end :]


def joined(mates, foes, own):
    return torch.cat([mates.flatten(-2), foes.flatten(-2), own], -1)


def parts(features):
    """Return what is common, and what there is of each mate and of each foe."""
    common, each = features[..., : OWN + 2 * SIZE], features[..., OWN + 2 * SIZE :].unflatten(-1, (6, EACH))
    return common, each[..., :2, :], each[..., 2:, :]


def test_the_docstrings_size():
    agent = Agent("a", "agents", 0, 10 + 7 * 13, Discrete((5,)), "agents", listings=(Listing("others", 0, 7, 13),))
    assert Units(agent, Team((agent,), 101), size=16, each=4).features == 70


def test_exchanging_units_exchanges_what_is_said_of_them_and_nothing_else():
    net, seen = built(layers=2), torch.randn(5, SEEN)
    order = [2, 0, 3, 1]
    mates, foes, own = split(seen)
    common, of_mates, of_foes = parts(net(seen))
    again, same_mates, turned = parts(net(joined(mates, foes[:, order], own)))
    torch.testing.assert_close((again, same_mates, turned), (common, of_mates, of_foes[:, order]))
    assert not torch.allclose(of_foes[:, order], of_foes)
    _, swapped, _ = parts(net(joined(mates[:, [1, 0]], foes, own)))
    torch.testing.assert_close(swapped, of_mates[:, [1, 0]])
    still = built(each=0)
    torch.testing.assert_close(still(joined(mates, foes[:, order], own)), still(seen))


def test_mates_and_foes_with_the_same_numbers_are_told_apart():
    net, seen = built(), torch.randn(5, SEEN)
    mates, foes, own = split(seen)
    foes[:, :2], mates = mates, foes[:, :2].clone()
    assert not torch.allclose(parts(net(joined(mates, foes, own)))[0], parts(net(seen))[0])


def test_who_is_not_there_is_neither_seen_nor_counted():
    """Whatever else changes, nobody hears of a unit of zeros, and nothing is said of it; two alike count twice."""
    net, seen = built(), torch.randn(5, SEEN)
    mates, foes, own = split(seen)
    foes[:, 1:] = 0.0
    common, _, of_foes = parts(net(joined(mates, foes, own)))
    assert torch.equal(of_foes[:, 1:], torch.zeros_like(of_foes[:, 1:]))
    apart = foes.clone()
    apart[:, [0, 3]] = foes[:, [3, 0]]
    torch.testing.assert_close(parts(net(joined(mates, apart, own)))[0], common)
    twice = foes.clone()
    twice[:, 3] = foes[:, 0]
    assert not torch.allclose(parts(net(joined(mates, twice, own)))[0], common)


def test_nobody_at_all_is_finite_and_so_are_gradients():
    net = built()
    seen = torch.zeros(3, SEEN, requires_grad=True)
    net(seen).sum().backward()
    assert seen.grad.isfinite().all() and all(each.grad.isfinite().all() for each in net.parameters())


def test_scales_are_applied():
    plain = Agent("a", "agents", 0, SEEN, Discrete((5,)), "agents", listings=(MATES, replace(FOES, scale=())))
    net, other = built(), Units(plain, Team((plain,), SEEN), size=SIZE, heads=2, each=EACH)
    other.load_state_dict(net.state_dict())
    mates, foes, own = split(torch.randn(5, SEEN))
    small = foes * torch.tensor(FOES.scale)
    torch.testing.assert_close(net(joined(mates, foes, own)), other(joined(mates, small, own)))


def test_policies_and_critics_have_it_in_front():
    """A state of the task's own lists units as well, and in whichever order they stand it is worth the same."""
    listings = (Listing("mates", 0, 2, 4), Listing("foes", 8, 3, 4))
    team = Team((AGENT,), 20, state_shape=(20,), state_listings=listings)
    value = StateValue(AGENT, team, hidden=[8], encoder=Encoding(Units, {"size": 8, "each": 0}))
    state = torch.randn(4, 20)
    turned = torch.cat([state[:, 4:8], state[:, :4], state[:, 16:], state[:, 8:16]], -1)
    torch.testing.assert_close(value.value(turned)["value"], value.value(state)["value"])
    assert StateEncoder(Encoding(Units, {"size": 8, "each": 0}), team).encoders[0].nobody is not None
    policy = CategoricalPolicy(AGENT, TEAM, hidden=[8], encoder=Encoding(Units, {"size": 8}))
    assert policy.greedy(torch.randn(4, SEEN)).shape == (4, 1)


def test_what_does_not_fit_is_refused():
    plain = replace(AGENT, listings=())
    with pytest.raises(
        RecipeError, match=r"^agent 'a' sees 20 numbers, and its task does not say where they list unit"
    ):
        Units(plain, Team((plain,), SEEN))
    with pytest.raises(RecipeError, match=r"^size = 8 does not divide into heads = 3; write a divisor of it\.$"):
        built(heads=3)
    with pytest.raises(
        RecipeError, match=r"^agent 'a' lists 'foes' from 6 to 24: listings are not empty, lie one behin"
    ):
        replace(AGENT, listings=(MATES, replace(FOES, count=6)))
    with pytest.raises(RecipeError, match=r"^the state lists 'mates' from 0 to 6: listings"):
        replace(TEAM, state_listings=(MATES,))
    with pytest.raises(
        RecipeError, match=r"^agent 'a' lists 'mates' with 3 numbers each and 1 scales; give as many\.$"
    ):
        replace(AGENT, listings=(replace(MATES, scale=(1.0,)), FOES))
