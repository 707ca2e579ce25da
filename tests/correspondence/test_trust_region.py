"""The reference's trust-region steps, through the linked program: accepted at once, backtracked, rejected, stale."""

import pytest
import torch
from tensordict import TensorDict

import hetrl
from hetrl.engine.link import link
from hetrl.engine.phase import PhaseRunner
from hetrl.engine.store import Store
from hetrl.optim.trust_region import conjugate_gradient
from hetrl.team import Agent, Box, Team

FILES = {"hatrpo_gaussian_sigmoidstd": "sigmoid", "hatrpo_gaussian_expstd": "exp"}
CASES = ["", "bt_", "rej_", "stale_"]


def flat(array):
    return array.squeeze(-1)


def linked_to(v, name: str, case: str = ""):
    """Return the recipe's modules with the file's weights, and the store with its data."""
    seen, acted = v["obs"].shape[-1], v["actions"].shape[-1]
    team = Team((Agent("a", "agents", 0, seen, Box((-1.0,) * acted, (1.0,) * acted), "agents"),), seen)
    tree = {
        "hetrl": 2,
        "task": {"use": "env/vmas", "scenario": "balance"},
        "nets": {"actor": {"use": "net/gaussian_policy", "hidden": [], "std_map": FILES[name], "initial_std": 0.25}},
        "data": {"use": "data/on_policy", "frames": 64},
        "update": [
            {"phase": "actors", "train": "actor", "order": {"use": "order/fixed", "of": "agent", "order": [0]},
             "optim": {"use": "optim/trust_region", "radius": v[f"{case}kl_threshold"].item(),
                       "accept_ratio": v[f"{case}accept_ratio"].item(), "backtracks": v[f"{case}ls_step"].item(),
                       "shrink": v[f"{case}backtrack_coeff"].item(), "cg_steps": v["cg_nsteps"].item(),
                       "damping": v["fvp_damping"].item(), "inactive": "count"},
             "prepare": [{"net": "actor.distribution", "keys": {"distribution": "agent.old_distribution"}}],
             "steps": [{"net": "actor.log_prob"}, {"use": "loss/surrogate"}, {"net": "actor.kl"}]},
        ],
        "run": {"frames": 1},
    }  # fmt: skip
    provided = ["agent.observation", "agent.action", "agent.active", "agent.old_log_prob", "advantage", "factor"]
    linked = link(hetrl.load(tree), team, provided).double()
    old = v["stale_logp_old"] if case == "stale_" else v["logp_old"]
    group = {"observation": v["obs"], "action": v["actions"], "active": flat(v["active_masks"]) == 1,
             "old_log_prob": old.sum(-1)}  # fmt: skip
    data = {"agents": {key: value.unsqueeze(1) for key, value in group.items()},
            "advantage": flat(v["advantages"]), "factor": flat(v["factor"])}  # fmt: skip
    return linked, Store(team, TensorDict(data, [len(v["obs"])]))


def put(linked, vector) -> list[torch.Tensor]:
    parameters = list(linked.nets["actor"].parameters())
    with torch.no_grad():
        for parameter, part in zip(parameters, vector.split([p.numel() for p in parameters]), strict=True):
            parameter.copy_(part.view_as(parameter))
    return parameters


def joined(parts) -> torch.Tensor:
    return torch.cat([part.detach().flatten() for part in parts])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", FILES)
def test_the_whole_step(vectors, name, case):
    v = vectors(name)
    linked, store = linked_to(v, name, case)
    parameters = put(linked, v[f"{case}params_before"])
    tries: list[tuple[torch.Tensor, ...]] = []

    def step(optimizer, closure):
        def watched():
            loss, means = closure()
            if not torch.is_grad_enabled():
                tries.append((joined(parameters), means["agent.kl"], -loss))
            return loss, means

        optimizer.step(watched)

    runner = PhaseRunner(linked.recipe.update[0], linked)
    metrics = runner.run(store, 0.0, torch.Generator(), step)
    close = {"rtol": 1e-7 if case == "bt_" else 1e-8, "atol": 1e-10}
    for word, found in zip(("params", "kl", "surrogate"), zip(*tries, strict=True), strict=True):
        torch.testing.assert_close(torch.stack(found), v[f"{case}trial_{word}"], **close)
    assert len(tries) == v[f"{case}n_trials"].item()
    torch.testing.assert_close(joined(parameters), v[f"{case}params_after"], **close)
    torch.testing.assert_close(-metrics["actors/a/surrogate"], v[f"{case}surrogate_before"], **close)
    if v[f"{case}accepted"]:
        torch.testing.assert_close(metrics["actors/a/kl"], v[f"{case}returned_kl"], **close)
        torch.testing.assert_close(metrics["actors/a/gain"], v[f"{case}returned_loss_improve"], **close)
        torch.testing.assert_close(metrics["actors/a/expected_gain"], v[f"{case}returned_expected_improve"], **close)
        assert metrics["actors/a/step"].item() == pytest.approx(0.8 ** (len(tries) - 1))
    else:  # the reference returns the figures of the last try; nothing moved, so ours are 0
        assert torch.equal(joined(parameters), v[f"{case}params_before"])
        assert metrics["actors/a/kl"] == metrics["actors/a/gain"] == metrics["actors/a/step"] == 0


@pytest.mark.parametrize("name", FILES)
def test_kl_its_curvature_and_the_direction(vectors, name):
    v = vectors(name)
    linked, _ = linked_to(v, name)
    policy = linked.nets["actor"]["a"]
    put(linked, v["kl_params_old"])
    old = policy.distribution(v["obs"])["distribution"].detach()
    put(linked, v["kl_params_new"])
    kl = policy.kl(v["obs"], old)["kl"]
    torch.testing.assert_close(kl, flat(v["kl_per_sample"]), rtol=1e-8, atol=1e-12)

    parameters = put(linked, v["params_before"])
    old = policy.distribution(v["obs"])["distribution"].detach()
    mean = policy.kl(v["obs"], old)["kl"].mean()
    slope = torch.cat([part.flatten() for part in torch.autograd.grad(mean, parameters, create_graph=True)])

    def product(vector):
        return joined(torch.autograd.grad(slope @ vector, parameters, retain_graph=True)) + v["fvp_damping"] * vector

    torch.testing.assert_close(product(v["fvp_vector"]), v["fvp_result"], rtol=1e-8, atol=1e-12)
    direction = conjugate_gradient(product, v["grad"], v["cg_nsteps"].item())
    torch.testing.assert_close(direction, v["cg_direction"], rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(product(direction), v["fvp_of_cg_direction"], rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(0.5 * direction @ product(direction), v["shs"], rtol=1e-8, atol=1e-12)
