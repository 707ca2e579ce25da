import math
from contextlib import nullcontext

import pytest
import torch
from tensordict import TensorDict
from torch import nn

import hetrl
from hetrl.engine.link import link
from hetrl.engine.phase import PhaseRunner
from hetrl.engine.store import Store
from hetrl.errors import RecipeError
from hetrl.optim.trust_region import TrustRegion, conjugate_gradient
from hetrl.team import Agent, Discrete, Team
from hetrl.testing.pretended_device import pretended_device, watched


def bowl(parameters, slope, curvature, offset=0.0):
    """Return the closure of loss = -slope.x and KL = x.curvature.x / 2 + offset around the point where it is made."""
    old = torch.cat([p.detach().flatten() for p in parameters])

    def closure():
        x = torch.cat([p.flatten() for p in parameters])
        loss, kl = -(slope * x).sum(), 0.5 * ((x - old) ** 2 * curvature).sum() + offset
        if torch.is_grad_enabled():
            for p, g in zip(parameters, torch.autograd.grad(loss, parameters, retain_graph=True), strict=True):
                p.grad = g
        return loss, {"agent.kl": kl}

    return closure


def test_by_hand():
    """Slope (3, 4) on curvature (1, 4), no damping: direction (3, 1), x.Hx = 9 + 4 = 13, radius 0.5: length
    sqrt(1 / 13). The KL would be the radius itself, and 0.001 more here, so the first try is refused; 0.8 of it has
    KL 0.321."""
    parameters = [nn.Parameter(torch.zeros(1, dtype=torch.float64)) for _ in range(2)]
    optimizer = TrustRegion(radius=0.5, damping=0.0).optimizer(parameters)
    optimizer.step(bowl(parameters, torch.tensor([3.0, 4.0]), torch.tensor([1.0, 4.0]), 0.001))
    assert [p.item() for p in parameters] == pytest.approx([0.8 * 3 / math.sqrt(13), 0.8 / math.sqrt(13)])
    gain = 0.8 * math.sqrt(13)
    figures = {name: value.item() for name, value in optimizer.figures.items()}
    assert figures == pytest.approx({"kl": 0.321, "gain": gain, "expected_gain": gain, "step": 0.8, "radius": 0.5})


def test_damping_keeps_the_step_inside():
    """(H + 0.1) x = g makes the step shorter than the ball, so the first try is taken."""
    parameters = [nn.Parameter(torch.zeros(2, dtype=torch.float64))]
    optimizer = TrustRegion(radius=0.02).optimizer(parameters)
    optimizer.step(bowl(parameters, torch.tensor([3.0, 4.0]), torch.tensor([1.0, 4.0])))
    assert optimizer.figures["step"].item() == 1 and 0.015 < optimizer.figures["kl"].item() < 0.02


def test_on_a_gpu_nothing_waits_and_the_same_try_is_taken():
    """All tries are made there; the first that keeps what it promises is the one that a CPU stops at."""
    ends = []
    for device in ("cpu", "cuda"):
        with pretended_device() if device == "cuda" else nullcontext(), watched() as ledger:
            parameters = [nn.Parameter(torch.zeros(1, device=device)) for _ in range(2)]
            slope, curvature = (torch.tensor(each, device=device) for each in ([3.0, 4.0], [1.0, 4.0]))
            closure = bowl(parameters, slope, curvature, 0.001)
            optimizer = TrustRegion(radius=0.5, damping=0.0).optimizer(parameters)
            ledger.waits.clear()  # of the two copies
            optimizer.step(closure)
            assert not ledger.waits and not ledger.mixed, "\n".join(map(str, {**ledger.waits, **ledger.mixed}))
            figures = {name: value.item() for name, value in optimizer.figures.items()}
            ends.append([*(p.item() for p in parameters), *figures.values()])
    assert ends[1] == pytest.approx(ends[0], rel=1e-6) and figures["step"] == pytest.approx(0.8)


def test_a_step_without_gain_is_taken_back():
    """The loss grows in every direction: nothing moves, and the figures say so."""
    parameters = [nn.Parameter(torch.tensor([1.0, -1.0], dtype=torch.float64))]
    inner = bowl(parameters, torch.tensor([1.0, 1.0]), torch.ones(2))

    def closure():
        loss, means = inner()
        return (loss if torch.is_grad_enabled() else loss + 100), means

    optimizer = TrustRegion().optimizer(parameters)
    optimizer.step(closure)
    assert parameters[0].tolist() == [1, -1]
    assert {name: value.item() for name, value in optimizer.figures.items()} == {
        "kl": 0, "gain": 0, "expected_gain": 0, "step": 0, "radius": 0.01,
    }  # fmt: skip


def test_no_gradient_no_step():
    parameters = [nn.Parameter(torch.ones(2))]
    optimizer = TrustRegion().optimizer(parameters)
    optimizer.step(bowl(parameters, torch.zeros(2), torch.ones(2)))
    assert parameters[0].tolist() == [1, 1] and optimizer.figures["step"] == 0


@pytest.mark.parametrize("size", [1, 3, 8])
def test_conjugate_gradients_solve(size):
    root = torch.randn(size, size, dtype=torch.float64)
    matrix, target = root @ root.T + torch.eye(size), torch.randn(size, dtype=torch.float64)
    found = conjugate_gradient(lambda vector: matrix @ vector, target, 10)
    torch.testing.assert_close(found, torch.linalg.solve(matrix, target), rtol=1e-4, atol=1e-4)
    exact = conjugate_gradient(lambda vector: matrix @ vector, target, 50, tolerance=0.0)
    torch.testing.assert_close(exact, torch.linalg.solve(matrix, target))


def categorical(optim, steps=None):
    """Return a linked phase of one agent who chooses among three, its store, and its metrics after the phase."""
    team = Team((Agent("a", "agents", 0, 1, Discrete((3,)), "agents"),), 1)
    tree = {
        "hetrl": 2,
        "task": {"use": "env/matrix_game", "payoff": "penalty"},
        "data": {"use": "data/on_policy", "frames": 64},
        "nets": {"actor": {"use": "net/categorical_policy", "hidden": [], "initial_probs": [0.6, 0.2, 0.2]}},
        "update": [
            {"phase": "actors", "train": "actor", "order": {"use": "order/random_permutation", "of": "agent"},
             "optim": optim,
             "prepare": [{"net": "actor.distribution", "keys": {"distribution": "agent.old_distribution"}},
                         {"net": "actor.log_prob", "writes": {"log_prob": "agent.old_log_prob",
                                                              "entropy": "agent.old_entropy"}}],
             "steps": steps or [{"net": "actor.log_prob"}, {"use": "loss/surrogate"}, {"net": "actor.kl"}]},
        ],
        "run": {"frames": 1},
    }  # fmt: skip
    provided = ["agent.observation", "agent.action", "advantage", "factor"]
    linked = link(hetrl.load(tree), team, provided).double()
    group = {
        "observation": torch.ones(6, 1, 1, dtype=torch.float64),
        "action": torch.tensor([0, 0, 0, 1, 2, 2]).view(6, 1, 1),
    }
    batch = {"agents": group, "advantage": torch.tensor([-1.0, 0, 1, 2, -2, 1]).double(),
             "factor": torch.tensor([1.0, 2, 1, 0.5, 1, 2]).double()}  # fmt: skip
    return linked, Store(team, TensorDict(batch, [6]))


def run(linked, store, progress=0.0):
    runner = PhaseRunner(linked.recipe.update[0], linked)
    return runner.run(store, progress, torch.Generator(), lambda optimizer, closure: optimizer.step(closure))


def test_the_divergence_of_a_categorical_policy_is_the_true_one():
    """In closed form: the logged KL is sum p_old log(p_old / p), and with its curvature diag(p) - p p' the first step
    is that of a natural gradient worked out here by dense linear algebra."""
    linked, store = categorical({"use": "optim/trust_region", "radius": 1e-3, "damping": 0.05})
    policy = linked.nets["actor"]["a"]
    p = torch.tensor([0.6, 0.2, 0.2], dtype=torch.float64)
    observation = torch.ones(1, 1, dtype=torch.float64)
    before = policy.distribution(observation)["distribution"].detach()[0].log_softmax(-1)
    torch.testing.assert_close(before.exp(), p, rtol=1e-6, atol=1e-6)
    metrics = run(linked, store)
    change = policy.distribution(observation)["distribution"].detach()[0] - before
    after = (before + change).log_softmax(-1)
    torch.testing.assert_close(metrics["actors/a/kl"], (before.exp() * (before - after)).sum(), rtol=1e-9, atol=1e-12)
    # Observation 1 makes the logits weight + bias: the gradient is g for both, the Hessian F in all four blocks.
    p = before.exp()
    action, weight = torch.tensor([0, 0, 0, 1, 2, 2]), store.read("advantage", ()) * store.read("factor", ())
    g = (weight.unsqueeze(-1) * (nn.functional.one_hot(action, 3) - p)).mean(0)
    fisher = torch.diag(p) - torch.outer(p, p)
    g2, f2 = torch.cat([g, g]), torch.cat([torch.cat([fisher, fisher], 1)] * 2) + 0.05 * torch.eye(6)
    x = torch.linalg.solve(f2, g2)
    step = x * (2e-3 / (x @ f2 @ x)).sqrt() * metrics["actors/a/step"]
    torch.testing.assert_close(change, step[:3] + step[3:], rtol=1e-5, atol=1e-8)


def test_a_radius_may_follow_a_schedule():
    linked, store = categorical({"use": "optim/trust_region", "radius": {"linear": [0.01, 0.002]}})
    assert run(linked, store)["actors/a/radius"].item() == pytest.approx(0.01)
    assert run(linked, store, 0.5)["actors/a/radius"].item() == pytest.approx(0.006)


def test_steps_must_compute_the_divergence():
    steps = [{"net": "actor.log_prob"}, {"use": "loss/surrogate"}]
    with pytest.raises(RecipeError, match=r"optim \(optim/trust_region\) reads 'agent.kl', and no step .* actor.kl"):
        categorical({"use": "optim/trust_region"}, steps)


@pytest.mark.parametrize(
    "arguments", [{"radius": 0.0}, {"shrink": 1.0}, {"backtracks": 0}, {"inactive": "drop"}, {"raduis": 0.1}]
)
def test_refuses(arguments):
    with pytest.raises(RecipeError, match="optim/trust_region"):
        TrustRegion(**arguments)
