import math

import pytest
import torch
from jaxtyping import TypeCheckError
from torch import nn
from torch.nn.functional import one_hot
from torch.utils.flop_counter import FlopCounterMode

from hetrl.errors import RecipeError
from hetrl.net.joint_q import EnsembleMLP, JointQ
from hetrl.team import Agent, Box, Discrete, Team

STEERS = Agent("a", "steers", 0, 4, Box((-1.0, 0.0), (1.0, 5.0)), "steers")
CHOOSES = Agent("b", "chooses", 0, 3, Discrete((3,)), "chooses")
SEVERAL = Agent("c", "several", 0, 2, Discrete((2, 4)), "several")
TEAM = Team((STEERS, CHOOSES, SEVERAL), state_size=5)
SIZE = 5 + 2 + 3 + 6


def net(team=TEAM, **arguments):
    return JointQ(team.agents[0], team, **arguments).double()


def batch(*shape):
    """Return a state and everybody's action, as stored: integers where discrete."""
    choices = [torch.randint(0, options, (*shape, 1)) for options in (3, 2, 4)]
    action = (torch.randn(*shape, 2).double(), choices[0], torch.cat(choices[1:], -1))
    return torch.randn(*shape, 5).double(), action


def encoded(action):
    """Return the same actions as a policy proposes them, one-hot where discrete."""
    steered, chosen, several = action
    parts = one_hot(several[..., 0], 2), one_hot(several[..., 1], 4)
    return steered, one_hot(chosen[..., 0], 3).double(), torch.cat(parts, -1).double()


def separate(body, member, activation):
    """Return the plain network that has a member's weights."""
    layers: list[nn.Module] = []
    for weight, bias in zip(body.weights, body.biases, strict=True):
        linear = nn.Linear(*weight.shape[1:]).double()
        with torch.no_grad():
            linear.weight.copy_(weight[member].T)
            linear.bias.copy_(bias[member, 0])
        layers += [linear, activation]
    return nn.Sequential(*layers[:-1])


@pytest.mark.parametrize(("activation", "module"), [("relu", nn.ReLU()), ("tanh", nn.Tanh())])
@pytest.mark.parametrize("shape", [(7,), (4, 3), ()], ids=str)
def test_an_ensemble_is_its_members_side_by_side(activation, module, shape):
    """One batched call gives what separate networks with the same weights give, gradients included."""
    q = net(hidden=[8, 6], activation=activation, ensemble=3)
    state, action = batch(*shape)
    found = q.q(state, action)["q"]
    given = torch.cat([state, *encoded(action)], -1)
    members = [separate(q.body, member, module) for member in range(3)]
    expected = torch.stack([member(given).squeeze(-1) for member in members])
    assert found.shape == (3, *shape)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    found.square().sum().backward()
    expected.square().sum().backward()
    for layer, (weight, bias) in enumerate(zip(q.body.weights, q.body.biases, strict=True)):
        linears = [member[2 * layer] for member in members]
        torch.testing.assert_close(weight.grad, torch.stack([linear.weight.grad.T for linear in linears]))
        torch.testing.assert_close(bias.grad[:, 0], torch.stack([linear.bias.grad for linear in linears]))


def test_by_hand():
    """Two members without hidden layers: 2 s + a - 1 and s - 3 a, of s = 1 and a = 0.5: 1.5 and -0.5."""
    team = Team((Agent("a", "agents", 0, 1, Box((-1.0,), (1.0,)), "agents"),), state_size=1)
    q = net(team, hidden=[], ensemble=2)
    with torch.no_grad():
        q.body.weights[0].copy_(torch.tensor([[[2.0], [1.0]], [[1.0], [-3.0]]]))
        q.body.biases[0].copy_(torch.tensor([[[-1.0]], [[0.0]]]))
    given = torch.tensor([[1.0]]).double(), (torch.tensor([[0.5]]).double(),)
    assert q.q(*given)["q"].tolist() == [[1.5], [-0.5]]
    assert q.min(*given)["q"].tolist() == [-0.5]
    assert q.mean(*given)["q"].tolist() == [0.5]
    assert q.first(*given)["q"].tolist() == [1.5]


def test_indices_and_one_hot_actions_are_the_same():
    q = net(hidden=[8])
    state, action = batch(9)
    stored, proposed = (q.q(state, each)["q"] for each in (action, encoded(action)))
    assert torch.equal(stored, proposed)
    mixed = (action[0], encoded(action)[1], action[2])  # one agent's proposal among replayed actions
    assert torch.equal(q.q(state, mixed)["q"], stored)


def test_actions_stand_in_team_order():
    """The input is state, then agent by agent; every entry of it counts."""
    q = net(hidden=[], ensemble=1)
    with torch.no_grad():
        q.body.weights[0].copy_(torch.arange(SIZE).double().view(1, SIZE, 1))
        q.body.biases[0].zero_()
    state, action = torch.zeros(1, 5).double(), (torch.tensor([[1.0, 10.0]]).double(), torch.tensor([[2]]))
    several = torch.tensor([[0, 3]])
    # 5 * 1 + 6 * 10, then option 2 of those at 7, 8, 9, then 10 and, of 12 to 15, the last
    assert q.q(state, (*action, several))["q"].item() == 5 + 60 + 9 + 10 + 15


def test_a_proposal_gets_a_gradient_and_a_replayed_index_none():
    q = net(hidden=[8])
    state, action = batch(6)
    proposal = encoded(action)[1].requires_grad_()
    q.min(state, (action[0], proposal, action[2]))["q"].sum().backward()
    assert proposal.grad.shape == (6, 3) and (proposal.grad != 0).any()


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("trained", [False, True])
def test_one_live_action_gets_its_columns_of_the_gradient(place, trained):
    """Where only one part of the input has a gradient, its own and the parameters' are those of the whole input."""
    q = net(hidden=[8, 6], ensemble=3).requires_grad_(trained)
    state, action = batch(4, 3)
    parts = [state, *encoded(action)]
    whole = [part.clone().requires_grad_() for part in parts]
    parts[1 + place].requires_grad_()
    found, expected = (q.q(given[0], tuple(given[1:]))["q"] for given in (parts, whole))
    torch.testing.assert_close(found, expected)
    wanted = list(q.parameters()) if trained else []
    found = torch.autograd.grad(found.square().sum(), [parts[1 + place], *wanted])
    expected = torch.autograd.grad(expected.square().sum(), [whole[1 + place], *wanted])
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("mode", ["min", "first"])
def test_rows_that_do_not_count_may_be_left_out(mode, monkeypatch):
    """Where the least member counts, or the first, each member goes back through its own rows only; and nobody notices.

    The sweep's turns share the first layer, so the second of them has moved from the first.
    """
    q = net(hidden=[8, 6], ensemble=3).requires_grad_(False)
    state, action = batch(40)
    parts = [*encoded(action)]
    with q.settled():
        for place in range(3):
            parts[place] = torch.rand_like(parts[place]).requires_grad_()
            found = []
            for large in (0, 2**30):
                monkeypatch.setattr("hetrl.net.joint_q._LARGE", large)
                value = getattr(q, mode)(state, tuple(parts))["q"]
                found.append((value.detach(), *torch.autograd.grad(value.square().sum(), parts[place])))
            whole = [state.clone(), *(part.detach().clone().requires_grad_() for part in parts)]
            expected = getattr(q, mode)(whole[0], tuple(whole[1:]))["q"]
            found.append((expected.detach(), *torch.autograd.grad(expected.square().sum(), whole[1 + place])))
            torch.testing.assert_close(found[0], found[1])
            torch.testing.assert_close(found[0], found[2])
            parts[place] = torch.rand_like(parts[place])  # its answer, which later turns see


def test_batched_products_give_what_one_member_after_the_other_gives():
    """The first is how a GPU runs the members."""
    body, x = net(hidden=[8, 6], ensemble=3).body, torch.randn(7, SIZE).double()
    together = body._batched(x.expand(3, -1, -1), (*body.weights, *body.biases))
    for member in range(3):
        own = [parameter[member] for parameter in (*body.weights, *body.biases)]
        torch.testing.assert_close(body._member(x, own, sparse=False), together[member])


@pytest.mark.parametrize("trained", [False, True])
def test_values_are_those_of_the_weights_as_they_are_now(trained):
    """A step of any optimiser counts at once, also of one that leaves no trace in a tensor's version."""
    q = net(hidden=[8]).requires_grad_(trained)
    state, action = batch(6)
    action = (action[0].requires_grad_(), *action[1:])
    before = q.q(state, action)["q"]
    with torch.no_grad():
        for parameter in q.parameters():
            parameter.data.mul_(2)
    after = q.q(state, action)["q"]
    fresh = net(hidden=[8])
    fresh.load_state_dict(q.state_dict())
    torch.testing.assert_close(after, fresh.q(state, action)["q"])
    assert not torch.allclose(after, before)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_candidates_are_judged_one_by_one(place):
    """Each in the place of the agent's own action, among the others' as they are, stored or proposed."""
    q = net(hidden=[8], normalize=True)
    q.normalize(torch.tensor([1.0, 5.0]).double())
    state, action = batch(4, 2)
    several = torch.randn(4, 2, 5, encoded(action)[place].shape[-1]).double()
    for others in (action, encoded(action)):
        found = q.candidates(state, others, several, place)["q"]
        joint = [(*others[:place], several[..., k, :], *others[place + 1 :]) for k in range(5)]
        torch.testing.assert_close(found, torch.stack([q.min(state, each)["q"] for each in joint], -1))


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("live", [True, False], ids=["with a gradient", "without"])
def test_candidates_share_what_is_no_part_of_them(place, live):
    """What the first layer makes of the state and the others' actions is made once; values and gradients are exact."""
    q = net(hidden=[8, 6], ensemble=3).requires_grad_(False)
    state, action = batch(10)
    others = encoded(action)
    several = torch.randn(10, 7, others[place].shape[-1]).double().requires_grad_(live)
    with FlopCounterMode(display=False) as counted:
        found = q.candidates(state, others, several, place)["q"]
    wide = [*(part.unsqueeze(-2).repeat(1, 7, 1) for part in (state, *others))]
    wide[1 + place] = several
    expected = q.min(wide[0], tuple(wide[1:]))["q"]
    torch.testing.assert_close(found, expected)
    if live:
        found, expected = (torch.autograd.grad(each.square().sum(), several)[0] for each in (found, expected))
        torch.testing.assert_close(found, expected)
    once, own = 3 * 10 * SIZE * 8, 3 * 70 * (several.shape[-1] * 8 + 8 * 6 + 6)
    assert counted.get_total_flops() == 2 * (once + own)


def test_candidates_of_a_sweep_see_what_others_answered():
    """Values kept from turn to turn, also of candidates, are those of the actions as they are now."""
    q = net(hidden=[8, 6], ensemble=3).requires_grad_(False)
    state, action = batch(10)
    parts = [*encoded(action)]
    with q.settled():
        for place in (0, 1, 2, 0):
            several = torch.rand(10, 7, parts[place].shape[-1]).double()
            found = q.candidates(state, tuple(parts), several, place)["q"]
            wide = [*(part.unsqueeze(-2).repeat(1, 7, 1) for part in (state, *parts))]
            wide[1 + place] = several
            torch.testing.assert_close(found, q.min(wide[0], tuple(wide[1:]))["q"])
            parts[place] = torch.rand_like(parts[place])  # its answer, which later turns see


def test_the_least_and_the_first_of_the_members():
    q = net(hidden=[8], ensemble=4)
    state, action = batch(50)
    every = q.q(state, action)["q"]
    assert torch.equal(q.min(state, action)["q"], every.min(0).values)
    assert torch.equal(q.first(state, action)["q"], every[0])
    assert (every.argmin(0) != 0).any()


def test_members_differ_from_the_start():
    """Each is drawn as torch draws a linear layer: uniform within 1 / sqrt(inputs)."""
    body = EnsembleMLP([SIZE, 256, 1], "relu", 3)
    for weight, bias, inputs in zip(body.weights, body.biases, (SIZE, 256), strict=True):
        bound = 1 / math.sqrt(inputs)
        assert weight.abs().max() <= bound and bias.abs().max() <= bound
        assert weight.abs().max() > 0.95 * bound
        assert not torch.equal(weight[0], weight[1]) and not torch.equal(weight[1], weight[2])
        spread = weight.flatten(1).std(1) / (bound / math.sqrt(3))
        assert ((spread - 1).abs() < 0.2).all()
    state, action = batch(10)
    every = net().q(state, action)["q"]
    assert (every[0] != every[1]).all()


def test_one_member():
    q = net(ensemble=1)
    state, action = batch(5)
    assert q.q(state, action)["q"].shape == (1, 5)
    assert torch.equal(q.min(state, action)["q"], q.first(state, action)["q"])


# ----- normalised values


def test_without_normalisation_units_are_the_same():
    q = net(hidden=[8])
    state, action = batch(5)
    target = torch.tensor([1.0, 5.0]).double()
    assert torch.equal(q.normalize(target)["target"], target)
    assert torch.equal(q.normalized(state, action)["q"], q.q(state, action)["q"])
    assert torch.equal(q.normalized_min(state, action)["q"], q.min(state, action)["q"])


def test_normalises_after_taking_the_targets_in():
    """Targets 1 and 5 have mean 3 and deviation 2: -1 and 1; an output x is worth 2 x + 3."""
    q = net(hidden=[8], normalize=True)
    state, action = batch(5)
    torch.testing.assert_close(
        q.normalize(torch.tensor([1.0, 5.0]).double())["target"], torch.tensor([-1.0, 1.0]).double()
    )
    own = q.normalized(state, action)["q"]
    torch.testing.assert_close(q.q(state, action)["q"], 2 * own + 3)
    torch.testing.assert_close(q.first(state, action)["q"], 2 * own[0] + 3)
    torch.testing.assert_close(q.min(state, action)["q"], 2 * own.min(0).values + 3)
    torch.testing.assert_close(q.normalized_min(state, action)["q"], own.min(0).values)


def test_looking_changes_no_statistics():
    q = net(normalize=True)
    before = {name: value.clone() for name, value in q.state_dict().items()}
    state, action = batch(4)
    for mode in ("q", "min", "mean", "first", "normalized", "normalized_min"):
        getattr(q, mode)(state, action)
    assert all(torch.equal(value, before[name]) for name, value in q.state_dict().items())


# ----- names and errors


def test_is_one_for_the_team_and_its_plain_mode_is_every_members():
    assert (JointQ.default_per, JointQ.default_mode) == ("team", "q")
    written = {name: set(JointQ.modes[name].writes.values()) for name in JointQ.modes}
    assert written["q"] == {"q"} and written["min"] == {"min_q"} and written["first"] == {"first_q"}
    assert written["mean"] == {"mean_q"}
    assert not JointQ.modes["normalize"].learned and JointQ.modes["normalized"].learned


def test_refuses_another_number_of_actions_or_a_wrong_size():
    state, action = batch(4)
    with pytest.raises(ValueError, match=r"shorter|longer"):
        net().q(state, action[:2])
    with pytest.raises((RuntimeError, TypeCheckError)):
        net().q(state, (action[0][..., :1], *action[1:]))
    with pytest.raises(RuntimeError):
        net().q(state, (action[0], torch.full((4, 1), 3), action[2]))  # there is no option 3


@pytest.mark.parametrize(
    ("values", "text"),
    [({"ensemble": 0}, "ensemble = 0"), ({"hidden": [0]}, r"hidden\[0\] = 0"), ({"activation": "relux"}, "activation")],
)
def test_refuses_wrong_arguments(values, text):
    with pytest.raises(RecipeError, match=f"^JointQ: {text}"):
        JointQ(STEERS, TEAM, **values)
