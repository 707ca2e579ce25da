import pytest
import torch
from torch import nn

from hetrl.errors import RecipeError
from hetrl.net.entities import Entities
from hetrl.team import Box, Team

OWN, ENTITY = 2, 3


def built(seen, **arguments):
    team = Team.of(["a"], [seen], [Box((-1.0,), (1.0,))])
    return Entities(team.agents[0], team, **{"own": OWN, "entity": ENTITY, "size": 8, "hidden": [8], **arguments})


def test_the_docstrings_numbers():
    """Own 1, entities 2 and 4, z_j = e_j: 1 and the mean 3; with 2 and nobody, 1 and 2; with nobody at all, 1 and 0."""
    net = built(3, own=1, entity=1, size=1, hidden=[], pool="mean")
    with torch.no_grad():
        net.body[0].weight.copy_(torch.tensor([[0.0, 1.0]]))
    found = net.encode(torch.tensor([[1.0, 2.0, 4.0], [1.0, 2.0, 0.0], [1.0, 0.0, 0.0]]))["features"]
    assert found.tolist() == [[1.0, 3.0], [1.0, 2.0], [1.0, 0.0]] and net.features == 2


def test_attention_by_hand():
    """Scores 0 and log 3 weigh the values 2 and 4 with 1/4 and 3/4: 3.5."""
    net = built(3, own=1, entity=1, size=1, hidden=[], heads=1)
    with torch.no_grad():
        net.body[0].weight.copy_(torch.tensor([[0.0, 1.0]]))
        net.query[0].weight.fill_(1.0)
        net.key[0].weight.fill_(torch.tensor(3.0).log() / 2)
        net.key[0].bias.fill_(-torch.tensor(3.0).log())
        net.value[0].weight.fill_(1.0)
    found = net.encode(torch.tensor([[1.0, 2.0, 4.0]]))["features"]
    torch.testing.assert_close(found, torch.tensor([[1.0, 3.5]]))


@pytest.mark.parametrize("pool", ["attention", "mean"])
def test_the_order_of_entities_and_zeros_behind_them_change_nothing(pool):
    """Four in any order; and two of them, with absent ones around, are those two alone, with the same weights."""
    net = built(OWN + 4 * ENTITY, pool=pool, heads=2)
    own, entities = torch.randn(6, OWN), torch.randn(6, 4, ENTITY)
    whole = net.encode(torch.cat([own, entities.flatten(1)], -1))["features"]
    turned = net.encode(torch.cat([own, entities[:, [2, 0, 3, 1]].flatten(1)], -1))["features"]
    torch.testing.assert_close(whole, turned)
    few = built(OWN + 2 * ENTITY, pool=pool, heads=2)
    few.load_state_dict(net.state_dict())
    some = entities.clone()
    some[:, [0, 2]] = 0.0
    padded = net.encode(torch.cat([own, some.flatten(1)], -1))["features"]
    alone = few.encode(torch.cat([own, entities[:, [1, 3]].flatten(1)], -1))["features"]
    torch.testing.assert_close(padded, alone)
    assert not torch.allclose(padded, whole)


def test_nobody_there_is_finite_and_so_is_its_gradient():
    net = built(OWN + 2 * ENTITY)
    seen = torch.cat([torch.ones(2, OWN), torch.zeros(2, 2 * ENTITY)], -1).requires_grad_()
    found = net.encode(seen)["features"]
    assert torch.equal(found[:, OWN:], torch.zeros(2, 8))
    found.sum().backward()
    assert seen.grad.isfinite().all()


def test_without_numbers_of_ones_own_the_query_is_learned():
    net = built(2 * ENTITY, own=0)
    assert isinstance(net.query.value, nn.Parameter)
    assert net.encode(torch.randn(4, 5, 2 * ENTITY))["features"].shape == (4, 5, 8)


@pytest.mark.parametrize(
    ("size", "arguments", "message"),
    [
        (10, {}, "^agent 'a' sees 10 numbers; less own = 2 that leaves 8, which do not divide into entities of entity"),
        (2, {}, "that leaves 0, which do not divide"),
        (8, {"heads": 3}, "^size = 8 does not divide into heads = 3"),
    ],
)
def test_what_does_not_divide_is_refused(size, arguments, message):
    with pytest.raises(RecipeError, match=message):
        built(size, **arguments)
