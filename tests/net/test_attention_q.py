"""The joint action value of a team of any size."""

import math

import pytest
import torch
from tensordict import TensorDict
from torch.nn.functional import one_hot

from hetrl.encoder import Encoding
from hetrl.engine.link import link
from hetrl.engine.phase import PhaseRunner
from hetrl.engine.store import Store
from hetrl.errors import RecipeError
from hetrl.net.attention_q import AttentionQ
from hetrl.net.entities import Entities
from hetrl.network import Network
from hetrl.recipe.read import load
from hetrl.team import Agent, Box, Discrete, Team

BOX = Box((-1.0, 0.0), (1.0, 5.0))
A0, A1 = (Agent(f"a{index}", "steers", index, 4, BOX, "steers") for index in range(2))
B = Agent("b", "several", 0, 2, Discrete((2, 4)), "several")
TEAM = Team((A0, B, A1), state_size=10)
"""Two layout groups, and a team order that is neither's."""
SMALL = {"hidden": [7], "entry": [6], "size": 4, "heads": 2}


def net(team=TEAM, **arguments):
    return AttentionQ(team.agents[0], team, **{**SMALL, **arguments}).double()


def batch(*shape):
    """Return a state, everybody's action as stored and as proposed, and who takes part."""
    state = torch.randn(*shape, 10).double()
    several = torch.cat([torch.randint(0, options, (*shape, 1)) for options in (2, 4)], -1)
    encoded = torch.cat([one_hot(several[..., 0], 2), one_hot(several[..., 1], 4)], -1).double()
    first, last = (torch.randn(*shape, 2).double() for _ in range(2))
    active = tuple(torch.rand(shape) < 0.6 for _ in range(3))
    return state, (first, several, last), (first, encoded, last), active


def plain(body, member, x):
    """Return the output of one member of an ensemble."""
    for layer, (weight, bias) in enumerate(zip(body.weights, body.biases, strict=True)):
        x = (x if layer == 0 else x.relu()) @ weight[member] + bias[member, 0]
    return x


def by_formula(q, state, action, active):
    """Return the value as the docstring has it, agent by agent and head by head."""
    seen, found = state.split([4, 2, 4], -1), []
    for member in range(len(q.body.weights[0])):
        entries = [
            plain(q.entries[group].body, member, torch.cat([seen[place], action[place]], -1))
            for place, group in enumerate((0, 1, 0))
        ]
        pooled = []
        for head in range(3):
            top, low = 0.0, 0.0
            for entry, here in zip(entries, active, strict=True):
                score = entry[..., 4 + head - 1]
                weight = here * ((4 * (score / 4).tanh()).exp() if head else torch.ones_like(score))
                top, low = top + weight.unsqueeze(-1) * entry[..., :4], low + weight
            pooled.append(top / low.clamp(min=1e-9).unsqueeze(-1))
        found.append(plain(q.body, member, torch.cat(pooled, -1)).squeeze(-1))
    return torch.stack(found)


EVERYBODY = (torch.ones(()),) * 3


@pytest.mark.parametrize("shape", [(7,), (4, 3), ()], ids=str)
def test_is_its_formula(shape):
    q = net(ensemble=3)
    state, action, proposal, active = batch(*shape)
    found = q.q(state, action)["q"]
    assert found.shape == (3, *shape)
    torch.testing.assert_close(found, by_formula(q, state, proposal, EVERYBODY))
    torch.testing.assert_close(q.q(state, proposal, active)["q"], by_formula(q, state, proposal, active))
    torch.testing.assert_close(q.min(state, proposal, active)["q"], q.q(state, action, active)["q"].amin(0))
    torch.testing.assert_close(q.first(state, action, active)["q"], q.q(state, action, active)["q"][0])


def alike(n):
    agents = tuple(Agent(f"a{i}", "agents", i, 1, Box((-9.0,), (9.0,)), "agents") for i in range(n))
    return Team(agents, state_size=n)


def test_a_team_of_one_has_nobody_to_sum_up():
    q = net(alike(1))
    state, actions = torch.randn(5, 1).double(), torch.randn(5, 3, 1).double()
    found = q.candidates(state, (actions[:, 0],), actions, 0)["q"]
    each = [q.min(state, (action,))["q"] for action in actions.unbind(1)]
    torch.testing.assert_close(found, torch.stack(each, -1))


def test_by_hand():
    """The docstring's example: z = a, the mean field alone, and nothing behind it."""
    q = net(alike(3), hidden=[], entry=[], size=1, heads=0, ensemble=1)
    with torch.no_grad():
        for body, weight in ((q.entries[0].body, [[[0.0], [1.0]]]), (q.body, [[[1.0]]])):
            body.weights[0].copy_(torch.tensor(weight))
            body.biases[0].zero_()
    state, action = torch.zeros(1, 3).double(), [torch.tensor([[value]]).double() for value in (1.0, 2.0, 6.0)]
    out = (torch.tensor([True]), torch.tensor([True]), torch.tensor([False]))
    assert q.min(state, tuple(action))["q"].item() == 3
    assert q.min(state, tuple(action), out)["q"].item() == 1.5
    assert q.min(state, tuple(action), (~out[0],) * 3)["q"].item() == 0  # nobody: not a number otherwise


def test_a_head_by_hand():
    """A score of 4 tanh(1) weighs e^3.046 = 21.03 times as much as 0: (21.03 x 5 + 1 x 0) / 22.03 = 4.773."""
    q = net(alike(2), hidden=[], entry=[], size=1, heads=1, ensemble=1)
    with torch.no_grad():
        q.entries[0].body.weights[0].copy_(torch.tensor([[[0.0, 1.0], [1.0, 0.0]]]))  # z = a, and the score is o
        q.entries[0].body.biases[0].zero_()
        q.body.weights[0].copy_(torch.tensor([[[0.0], [1.0]]]))  # of the mean field, and of the head
        q.body.biases[0].zero_()
    given = torch.tensor([[4.0, 0.0]]).double(), (torch.tensor([[5.0]]).double(), torch.tensor([[0.0]]).double())
    weight = math.exp(4 * math.tanh(1))
    assert q.min(*given)["q"].item() == pytest.approx(5 * weight / (weight + 1)) == pytest.approx(4.773, abs=1e-3)


def test_who_is_out_does_not_count():
    q = net()
    state, action, _, active = batch(9)
    other, another, _, _ = batch(9)
    mixed = [
        torch.where(here.unsqueeze(-1), mine, theirs)
        for here, mine, theirs in zip(active, action, another, strict=True)
    ]
    seen = [
        torch.where(here.unsqueeze(-1), mine, theirs)
        for here, mine, theirs in zip(active, state.split([4, 2, 4], -1), other.split([4, 2, 4], -1), strict=True)
    ]
    torch.testing.assert_close(q.q(torch.cat(seen, -1), tuple(mixed), active), q.q(state, action, active))
    assert not torch.allclose(q.q(state, action)["q"], q.q(state, action, active)["q"])


def test_agents_of_a_layout_group_can_change_places():
    q = net()
    state, (first, several, last), _, _ = batch(9)
    seen = state.split([4, 2, 4], -1)
    torch.testing.assert_close(
        q.q(torch.cat(seen[::-1], -1), (last, several, first)), q.q(state, (first, several, last))
    )


def test_parameters_do_not_grow_with_the_team():
    sizes = {n: sum(each.numel() for each in AttentionQ(alike(n).agents[0], alike(n)).parameters()) for n in (3, 300)}
    assert sizes[3] == sizes[300]


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_turn_gives_what_everybody_at_once_gives(place, trained, masks):
    """Where one action has a gradient, in a sweep: values and gradients are those of all entries."""
    q = net(ensemble=3).requires_grad_(trained)
    state, _, parts, active = batch(4, 3)
    active = active if masks else None
    parts = list(parts)
    with q.settled():
        for turn in (2, place, 1):
            parts[turn] = torch.rand_like(parts[turn]).requires_grad_()
            whole = [part.detach().clone().requires_grad_() for part in parts]
            found, expected = (q.q(state, tuple(given), active)["q"] for given in (parts, whole))
            torch.testing.assert_close(found, expected)
            wanted = list(q.parameters()) if trained else []
            found = torch.autograd.grad(found.square().sum(), [parts[turn], *wanted])
            expected = torch.autograd.grad(expected.square().sum(), [whole[turn], *wanted])
            torch.testing.assert_close(found, expected)
            parts[turn] = torch.rand_like(parts[turn])  # its answer, which later turns see


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_candidates_are_judged_one_by_one(place, trained, masks):
    q = net(normalize=True).requires_grad_(trained)
    q.normalize(torch.tensor([1.0, 5.0]).double())
    state, action, proposal, active = batch(4, 2)
    several = torch.randn(4, 2, 5, proposal[place].shape[-1]).double()
    given = active if masks else None
    with q.settled():
        for others in (action, proposal):
            found = q.candidates(state, others, several, place, given)["q"]
            joint = [(*others[:place], several[..., k, :], *others[place + 1 :]) for k in range(5)]
            expected = torch.stack([q.min(state, each, given)["q"] for each in joint], -1)
            torch.testing.assert_close(found, expected)


def test_normalised_values():
    """Targets 1 and 5 have mean 3 and deviation 2: an output x is worth 2 x + 3."""
    q = net(normalize=True)
    target = q.normalize(torch.tensor([1.0, 5.0]).double())["target"]
    torch.testing.assert_close(target, torch.tensor([-1.0, 1.0]).double())
    state, action, _, active = batch(5)
    own = q.normalized(state, action, active)["q"]
    torch.testing.assert_close(q.q(state, action, active)["q"], 2 * own + 3)
    torch.testing.assert_close(q.normalized_min(state, action, active)["q"], own.amin(0))
    assert torch.equal(net().normalize(target)["target"], target)


def test_an_encoder_stands_in_front_of_every_entry():
    team = alike(4)
    seeing = Team(tuple(agent.seeing(5) for agent in team.agents), 20)
    q = net(seeing, encoder=Encoding(Entities, {"own": 1, "entity": 2, "size": 8, "heads": 2}))
    state, action = torch.randn(6, 20).double(), tuple(torch.randn(6, 1).double() for _ in range(4))
    value = q.min(state, action)["q"]
    turned = state.view(6, 4, 5)[..., [0, 3, 4, 1, 2]].flatten(1)  # the order of entities does not matter
    torch.testing.assert_close(q.min(turned, action)["q"], value)


def test_a_state_of_another_kind_is_refused():
    with pytest.raises(RecipeError, match=r"not everybody's observation side by side.*use net/joint_q\."):
        net(Team(TEAM.agents, 10, state_from=tuple((0, entry) for entry in range(4))))


# ----- in recipes


def sample(n, rows=8):
    random = torch.Generator().manual_seed(0)

    def numbers(*shape):
        return torch.randn(rows, *shape, generator=random)

    def seen():
        return {"agents": {"observation": numbers(n, 4)}, "state": numbers(4 * n)}

    found = seen() | {
        "next": seen(), "reward": numbers(), "discount": torch.full([rows], 0.9),
        "terminated": torch.zeros(rows, dtype=torch.bool),
    }  # fmt: skip
    found["agents"]["action"] = numbers(n, 1).clamp(-1, 2)
    return found


def after_two_updates(*changes, recipe="hasac", n=5):
    team = Team(tuple(Agent(f"a{i}", "agents", i, 4, Box((-1.0,), (2.0,)), "agents") for i in range(n)), 4 * n)
    torch.manual_seed(0)
    small = ["nets.actor.hidden=[5]", "nets.q.hidden=[6]", "update.critic.optim.lr=0.1"]
    linked = link(load(recipe, "nets.q.use=net/attention_q", *small, *changes), team)
    runners = [PhaseRunner(phase, linked) for phase in linked.recipe.update]
    store = Store(team, TensorDict(sample(n), [8]))
    for _ in range(2):
        for runner in runners:
            runner.run(store, 0.0, torch.Generator().manual_seed(0), lambda optimizer, closure: optimizer.step(closure))
    return torch.cat([parameter.flatten() for parameter in linked.nets.parameters()])


@pytest.mark.parametrize("recipe", ["hasac", "omdpg", "matd3"])
def test_what_it_keeps_through_a_sweep_changes_no_number(recipe, monkeypatch):
    """And a sweep sums everybody up once, not in every turn."""
    sums, own = [], AttentionQ._sum
    monkeypatch.setattr(AttentionQ, "_sum", lambda *given, **named: sums.append(1) or own(*given, **named))
    kept, calls = after_two_updates(recipe=recipe), len(sums)
    monkeypatch.setattr(AttentionQ, "settled", Network.settled)
    torch.testing.assert_close(kept, after_two_updates(recipe=recipe), rtol=1e-4, atol=1e-5)
    assert len(sums) - calls == calls + 2 * 4
