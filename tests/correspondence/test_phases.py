"""Whole on-policy iterations of the reference implementation, through the linked program itself.

The recipe below is the one a user would write; what differs from ``recipes/happo.yaml`` is what the reference does
otherwise: it drops truncated steps, standardises per agent, and takes the ratio in the loss against the rollout.
"""

import pytest
import torch
from tensordict import TensorDict

import hetrl
from hetrl.recipe.link import link
from hetrl.recipe.store import Store
from hetrl.team import Agent, Box, Team
from hetrl.train.phase import PhaseRunner

CLOSE = {"rtol": 1e-8, "atol": 1e-10}


def recipe(v, *, order: dict, per: str) -> dict:
    optim = {"use": "optim/adam", "max_grad_norm": v["max_grad_norm"].item(), "eps": v["adam_eps"].item()}
    clip = v["clip_param"].item()
    return {
        "hetrl": 1,
        "task": {"use": "env/vmas", "scenario": "balance"},
        "nets": {
            "actor": {"use": "net/gaussian_policy", "per": per, "hidden": [], "std_map": "sigmoid",
                      "initial_std": 0.25, "max_std": v["std_y_coef"].item()},
            "value": {"use": "net/state_value", "hidden": [], "normalize": True},
        },
        "data": {"use": "data/on_policy", "frames": 64},
        "update": [
            {"phase": "estimate", "steps": [
                {"net": "value.denormalize"},
                {"net": "value.denormalize", "at": "next"},
                {"use": "estimate/gae", "gamma": v["gamma"].item(), "lmbda": v["gae_lambda"].item(),
                 "truncation": "discard"},
                {"use": "weight/unit_factor"},
            ]},
            {"phase": "actors", "train": "actor", "per": "agent", "order": order,
             "epochs": v["actor_epochs"].item(), "optim": optim | {"lr": v["lr"].item()},
             "prepare": [
                 {"use": "estimate/standardize", "reads": {"active": "agent.active"},
                  "writes": {"advantage": "agent.advantage"}},
                 {"net": "actor.log_prob", "keys": {"log_prob": "agent.old_turn_log_prob"}},
             ],
             "steps": [
                 {"net": "actor.log_prob"},
                 {"use": "loss/clipped_surrogate", "clip": clip, "keys": {"advantage": "agent.advantage"}},
                 {"use": "loss/entropy_bonus", "coef": v["entropy_coef"].item()},
             ],
             "after": [
                 {"net": "actor.log_prob"},
                 {"use": "weight/importance_factor", "reads": {"old_log_prob": "agent.old_turn_log_prob"}},
             ]},
            {"phase": "critic", "train": "value", "epochs": v["critic_epoch"].item(),
             "optim": optim | {"lr": v["critic_lr"].item()},
             "steps": [
                 {"net": "value.normalize"},
                 {"net": "value.normalized"},
                 {"use": "loss/huber_value", "delta": v["huber_delta"].item(), "clip": clip},
             ]},
        ],
        "run": {"frames": 1},
    }  # fmt: skip


PROVIDED = [
    "agent.observation", "agent.action", "agent.active", "agent.old_log_prob", "state", "reward", "terminated",
    "truncated", "normalized_value", "next.normalized_value", "old_normalized_value",
]  # fmt: skip


def flat(array):
    return array.squeeze(-1)


def batch(v, team: Team) -> TensorDict:
    steps, envs = v["rewards"].shape[:2]
    ended = flat(v["masks"][1:]) == 0
    cut = flat(v["bad_masks"][1:]) == 0
    values = flat(v["value_preds"])
    data = {
        "state": v["share_obs"][:-1], "reward": flat(v["rewards"]),
        "terminated": ended & ~cut, "truncated": ended & cut,
        "normalized_value": values[:-1], "old_normalized_value": values[:-1],
        "next": {"normalized_value": values[1:]},
    }  # fmt: skip
    for group, agents in team.layout.items():
        index = [team.agents.index(agent) for agent in agents]
        data[group] = {
            "observation": torch.stack([v[f"obs{i}"][:-1] for i in index], 2),
            "action": torch.stack([v[f"actions{i}"] for i in index], 2),
            "active": torch.stack([flat(v[f"active_masks{i}"][:-1]) == 1 for i in index], 2),
            "old_log_prob": torch.stack([v[f"rollout_logp{i}"].sum(-1) for i in index], 2),
        }
    return TensorDict(data, batch_size=(steps, envs))


def make_team(v, groups: list[str]) -> Team:
    agents = []
    for i, group in enumerate(groups):
        size = v[f"actions{i}"].shape[-1]
        box = Box((-1.0,) * size, (1.0,) * size)
        agents.append(Agent(f"agent_{i}", group, groups[:i].count(group), v[f"obs{i}"].shape[-1], box, group))
    return Team(tuple(agents), v["share_obs"].shape[-1])


def load_actor(module, v, index: int, when: str) -> list[tuple[torch.Tensor, torch.Tensor]]:
    stem = f"actor{index}_{when}_act_action_out"
    return [
        (module.head.raw_std, v[f"{stem}_log_std"]),
        (module.head.body[0].weight, v[f"{stem}_fc_mean_weight"]),
        (module.head.body[0].bias, v[f"{stem}_fc_mean_bias"]),
    ]


def load_critic(module, v, when: str) -> list[tuple[torch.Tensor, torch.Tensor]]:
    last, stem = module.body[0], f"critic_{when}_v_out"
    pairs = [(last.weight, v[f"{stem}_weight"]), (last.bias, v[f"{stem}_bias"])]
    for buffer, name in (("m1", "running_mean"), ("m2", "running_mean_sq"), ("d", "debiasing_term")):
        pairs.append((getattr(module.normalizer, buffer), v[f"vn_{when}_{name}"].reshape(1)))
    return pairs


CASES = {
    "seq_happo_ep_box": (["a", "b", "c"], "agent", True),
    "seq_mappo_ep_separate": (["a", "b", "c"], "agent", False),
    "seq_mappo_ep_shared": (["agents"] * 3, "team", False),
}


@pytest.mark.parametrize("name", CASES)
def test_reproduces_a_whole_iteration(vectors, name):
    v = vectors(name)
    groups, per, sequential = CASES[name]
    team = make_team(v, groups)
    order = {"use": "order/fixed", "order": v["perm"].tolist()} if sequential else {"use": "order/simultaneous"}
    tree = recipe(v, order=order, per=per)
    if not sequential:
        actors = tree["update"][1]
        actors["after"], actors["prepare"] = [], actors["prepare"][:1]
    linked = link(hetrl.load(tree), team, PROVIDED).double()
    actors = linked.nets["actor"]
    n_actors = len(actors)
    with torch.no_grad():
        for i in range(n_actors):
            for mine, theirs in load_actor(actors.of((team.agents[i],)), v, i, "before"):
                mine.copy_(theirs)
        for mine, theirs in load_critic(linked.nets["value"].of(()), v, "before"):
            mine.copy_(theirs)

    store = Store(team, batch(v, team))
    generator = torch.Generator().manual_seed(0)
    metrics = {}
    for phase in linked.recipe.update:
        metrics |= PhaseRunner(phase, linked).run(store, 0.0, generator, lambda optimizer: optimizer.step())

    torch.testing.assert_close(store.read("return", ()), flat(v["returns"]), **CLOSE)
    for i, agent in enumerate(team.agents):
        advantage = store.read("agent.advantage", (agent,))
        torch.testing.assert_close(advantage, flat(v[f"adv_normalised{i}"]), **CLOSE)
    if sequential:
        torch.testing.assert_close(store.read("factor", ()), flat(v["factor_final"]), **CLOSE)
        for i, agent in enumerate(team.agents):
            old, new = v[f"factor_logp_old{i}"].sum(-1), v[f"factor_logp_new{i}"].sum(-1)
            torch.testing.assert_close(store.read("agent.old_turn_log_prob", (agent,)), old, **CLOSE)
            torch.testing.assert_close(store.read("agent.log_prob", (agent,)), new, **CLOSE)
    for i in range(n_actors):
        for mine, theirs in load_actor(actors.of((team.agents[i],)), v, i, "after"):
            torch.testing.assert_close(mine.detach(), theirs, **CLOSE)
        label = f"actors/{f'agent_{i}' if n_actors > 1 else 'agents'}"
        means = {"surrogate": v[f"policy_loss{i}"], "grad_norm": v[f"actor_grad_norm{i}"],
                 "entropy_bonus": -v["entropy_coef"] * v[f"dist_entropy{i}"]}  # fmt: skip
        for word, per_epoch in means.items():
            torch.testing.assert_close(metrics[f"{label}/{word}"], per_epoch.mean(), **CLOSE)
    for mine, theirs in load_critic(linked.nets["value"].of(()), v, "after"):
        torch.testing.assert_close(mine.detach(), theirs, **CLOSE)
    torch.testing.assert_close(metrics["critic/value"], v["critic_losses"].mean(), **CLOSE)
    torch.testing.assert_close(metrics["critic/grad_norm"], v["critic_grad_norms"].mean(), **CLOSE)
