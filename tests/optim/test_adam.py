import copy
import math

import pytest
import torch
from torch import nn

import hetrl
from hetrl import graph
from hetrl.errors import RecipeError
from hetrl.optim.adam import Adam
from hetrl.testing.tape import Tape


def network():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()


def losses(net):
    """Yield the losses of five steps, of very different scales, so that some gradients are clipped and some are not."""
    for scale in (1.0, 100.0, 0.01, 10.0, 1.0):
        x = torch.full((1, 3), scale, dtype=torch.float64)
        yield (net(x) - scale).square().sum()


def taken(optimizer, net, before_step=lambda: None):
    norms = []
    for loss in losses(net):
        optimizer.zero_grad()
        loss.backward()
        norms.append(torch.cat([p.grad.flatten() for p in net.parameters()]).norm().item())
        before_step()
        optimizer.step()
    return norms


@pytest.mark.parametrize("max_grad_norm", [None, 1.0, 1e9])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_equals_torch_over_five_steps(max_grad_norm, weight_decay):
    mine, theirs = network(), network()
    ours = Adam(lr=0.01, max_grad_norm=max_grad_norm, beta1=0.8, beta2=0.99, eps=1e-4, weight_decay=weight_decay)
    optimizer = ours.optimizer(list(mine.parameters()))
    kind = torch.optim.AdamW if weight_decay else torch.optim.Adam
    reference = kind(theirs.parameters(), lr=0.01, betas=(0.8, 0.99), eps=1e-4, weight_decay=weight_decay)

    def clip():
        if max_grad_norm is not None:
            nn.utils.clip_grad_norm_(theirs.parameters(), max_grad_norm)

    seen = []
    norms = taken(reference, theirs, clip)
    taken(optimizer, mine, lambda: seen.append(optimizer))
    for left, right in zip(mine.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-14)
    assert optimizer.figures["grad_norm"].item() == pytest.approx(norms[-1])
    if max_grad_norm == 1.0:
        assert max(norms) > 1


def test_one_step_by_hand():
    """The first step of Adam is lr g / (|g| + eps): with g 3, lr 0.1 and eps 1 it is 0.1 * 3 / 4 = 0.075."""
    parameter = nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
    optimizer = Adam(lr=0.1, eps=1.0).optimizer([parameter])
    parameter.grad = torch.tensor([3.0], dtype=torch.float64)
    optimizer.step()
    assert parameter.item() == pytest.approx(0.925)
    assert optimizer.figures["grad_norm"].item() == pytest.approx(3.0)


def test_clipping_by_hand():
    """(3, 4) has norm 5; clipped to 1 it is (0.6, 0.8) and with eps 1 the steps are 0.1 * 0.6 / 1.6 and 0.1 *
    0.8 / 1.8.
    """
    parameters = [nn.Parameter(torch.zeros(1, dtype=torch.float64)) for _ in range(2)]
    optimizer = Adam(lr=0.1, eps=1.0, max_grad_norm=1.0).optimizer(parameters)
    for parameter, gradient in zip(parameters, (3.0, 4.0), strict=True):
        parameter.grad = torch.tensor([gradient], dtype=torch.float64)
    optimizer.step()
    assert [p.item() for p in parameters] == pytest.approx([-0.0375, -0.08 / 1.8], abs=1e-6)
    assert optimizer.figures["grad_norm"].item() == pytest.approx(5.0)


def test_a_nan_gradient_is_not_hidden():
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = Adam(max_grad_norm=1.0).optimizer([parameter])
    parameter.grad = torch.tensor([float("nan")])
    optimizer.step()
    assert optimizer.figures["grad_norm"].isnan() and parameter.isnan()


def test_state_dict_resumes_exactly():
    whole, half, rest = network(), network(), network()
    optimizer = Adam(lr=0.01).optimizer(list(whole.parameters()))
    taken(optimizer, whole)
    taken(optimizer, whole)
    first = Adam(lr=0.01).optimizer(list(half.parameters()))
    taken(first, half)
    second = Adam(lr=0.01).optimizer(list(rest.parameters()))
    for _ in range(3):  # it has gathered tensors, of another history, that the loaded state replaces
        taken(second, rest)
    rest.load_state_dict(half.state_dict())
    second.load_state_dict(first.state_dict())
    taken(second, rest)
    for left, right in zip(whole.parameters(), rest.parameters(), strict=True):
        assert torch.equal(left, right)


def test_state_is_that_of_torch():
    """A checkpoint can be read by ``torch.optim.Adam``."""
    mine, theirs = network(), network()
    optimizer = Adam(lr=0.01, eps=1e-5).optimizer(list(mine.parameters()))
    taken(optimizer, mine)
    theirs.load_state_dict(mine.state_dict())
    reference = torch.optim.Adam(theirs.parameters(), lr=0.01, eps=1e-5, fused=True)
    reference.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert {int(state["step"]) for state in reference.state.values()} == {5}
    taken(optimizer, mine)
    taken(reference, theirs)
    for left, right in zip(mine.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"lr": -1e-3}, "lr = -0.001"),
        ({"lr": "fast"}, "lr = 'fast'"),
        ({"lr": {"linear": [1e-3, -1.0]}}, "lr = -1.0"),
        ({"lr": {"cosine": [1e-3, 0.0]}}, "lr: 'cosine' is no schedule; write {linear: "),
        ({"max_grad_norm": 0.0}, "max_grad_norm = 0.0"),
        ({"weight_decay": -0.1}, "weight_decay = -0.1"),
        ({"beta1": 1.0}, "beta1 = 1.0"),
        ({"beta2": 1.0}, "beta2 = 1.0"),
    ],
)
def test_refuses_what_is_out_of_range(values, text):
    with pytest.raises(RecipeError, match=f"^optim/adam: {text}"):
        Adam(**values)


def test_refuses_an_unknown_argument():
    with pytest.raises(RecipeError, match=r"optim/adam has no argument 'learning_rate'."):
        Adam(learning_rate=1e-3)


def test_a_linear_learning_rate_follows_the_run():
    """From 1e-3 to 0: 1e-3 at the start, half of it half way, and a first step of almost that size."""
    from tensordict import TensorDict

    from hetrl.engine.link import link
    from hetrl.engine.phase import PhaseRunner
    from hetrl.engine.store import Store
    from hetrl.team import Agent, Box, Team

    recipe = hetrl.load("happo", "update.critic.optim.lr={linear: [1e-3, 0.0]}", "update.critic.epochs=1",
                        "update.critic.minibatches=1", "nets.value.hidden=[]", "nets.actor.hidden=[]")  # fmt: skip
    team = Team((Agent("a", "agents", 0, 2, Box((-1.0,), (1.0,)), "agents"),), 2)
    linked = link(recipe, team).double()
    critic = PhaseRunner(linked.recipe.update[2], linked)
    batch = {"state": torch.randn(4, 2, 2).double(), "return": torch.randn(4, 2).double()}
    bias = linked.nets["value"].of(()).body[0].bias
    for progress, lr in ((0.0, 1e-3), (0.5, 5e-4), (1.0, 0.0)):
        before = bias.item()
        critic.run(
            Store(team, TensorDict(batch, [4, 2])),
            progress,
            torch.Generator(),
            lambda each, closure: each.step(closure),
        )
        (optimizer,) = critic.optimizers.values()
        assert optimizer.param_groups[0]["lr"] == pytest.approx(lr)
        assert math.isclose(abs(bias.item() - before), lr, rel_tol=0.2, abs_tol=1e-12) or progress == 0.5


def test_an_optimiser_that_keeps_no_figures_or_asks_for_nothing_is_one_line():
    from hetrl.engine.objective import Minibatch
    from hetrl.errors import RunError
    from hetrl.optim import figures_of

    plain = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))])
    with pytest.raises(RunError, match=r"^SGD keeps no figures of its step; set self.figures there, \{\} for none.$"):
        figures_of(plain)
    with pytest.raises(RunError, match=r"^the optimiser took a step without calling its closure; step\(closure\) "):
        Minibatch(None, None, [], [], None).figures()


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_a_played_step_is_the_step(weight_decay, monkeypatch):
    """The rate is one that 32 bits hold, since a played step reads it from a tensor, and it changes on the way."""
    monkeypatch.setitem(graph.RECORDERS, "cpu", Tape)
    nets, optimizers, figures = [network(), network()], [], [[], []]
    for net in nets:
        optimizers.append(Adam(lr=0.5, max_grad_norm=1.0, weight_decay=weight_decay).optimizer([*net.parameters()]))
    optimizers[1].play("update.actors")
    for net, optimizer, seen in zip(nets, optimizers, figures, strict=True):
        for number in range(3):
            optimizer.param_groups[0]["lr"] = 2.0**-number
            taken(optimizer, net, lambda optimizer=optimizer, seen=seen: seen.append(getattr(optimizer, "figures", {})))
            if number == 1:
                optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert figures[0] == figures[1] and len({float(each["grad_norm"]) for each in figures[1][1:]}) > 2
    for left, right in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        assert torch.equal(left, right)
    saved = [optimizer.state_dict()["state"] for optimizer in optimizers]
    assert all(torch.equal(saved[0][at][word], saved[1][at][word]) for at in saved[0] for word in saved[0][at])
