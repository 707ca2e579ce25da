"""Whole on-policy iterations of the reference implementation, through the linked program itself.

The recipes are those a user would write; what differs from the shipped ones is what the reference does otherwise: it
drops truncated steps, standardises per agent, takes the ratio in the loss against the rollout, and counts inactive rows
in the mean KL.
"""

import pytest
import torch
from tensordict import TensorDict

import hetrl
from hetrl.engine.link import link
from hetrl.engine.phase import PhaseRunner
from hetrl.engine.store import Store
from hetrl.net.state_value import StateValue
from hetrl.team import Agent, Box, Discrete, Team

CLOSE = {"rtol": 1e-8, "atol": 1e-10}


def recipe(v, *, order: dict, per: str, kind: str) -> dict:
    """Return the recipe of a file: which surrogate (``clip``, ``plain``, ``trust_region``), whose factor, and so on."""
    optim = {"use": "optim/adam", "max_grad_norm": v["max_grad_norm"].item(), "eps": v["adam_eps"].item()}
    clip = v["clip_param"].item()
    own_value = v["rewards"].dim() == 4  # a value, a reward and a state for each agent
    policy = {"use": "net/categorical_policy"}
    if "available_actions0" not in v:
        policy = {"use": "net/gaussian_policy", "std_map": "sigmoid", "initial_std": 0.25,
                  "max_std": v["std_y_coef"].item()}  # fmt: skip
    surrogate = {"use": "loss/clipped_surrogate", "clip": clip} if kind == "clip" else {"use": "loss/surrogate"}
    standardize = (
        {"use": "estimate/standardize_jointly"}
        if own_value
        else {
            "use": "estimate/standardize",
            "reads": {"active": "agent.active"},
            "writes": {"advantage": "agent.advantage"},
        }
    )
    actors = {
        "phase": "actors", "train": "actor", "order": {**order, "of": "agent"},
        "prepare": [
            standardize,
            {"net": "actor.log_prob", "keys": {"log_prob": "agent.old_turn_log_prob"}},
        ],
        "steps": [{"net": "actor.log_prob"}, {**surrogate, "keys": {"advantage": "agent.advantage"}}],
        "after": [
            {"net": "actor.log_prob"},
            {"use": "weight/importance_factor", "reads": {"old_log_prob": "agent.old_turn_log_prob"}},
        ],
    }  # fmt: skip
    if kind == "trust_region":
        actors["optim"] = {
            "use": "optim/trust_region", "radius": v["kl_threshold"].item(), "accept_ratio": v["accept_ratio"].item(),
            "backtracks": v["ls_step"].item(), "shrink": v["backtrack_coeff"].item(), "inactive": "count",
        }  # fmt: skip
        actors["prepare"].append({"net": "actor.distribution", "keys": {"distribution": "agent.old_distribution"}})
        actors["steps"].append({"net": "actor.kl"})
    else:
        actors |= {"optim": optim | {"lr": v["lr"].item()}, "epochs": v["actor_epochs"].item()}
        actors["steps"].append({"use": "loss/entropy_bonus", "coef": v["entropy_coef"].item()})
    critic = {
        "phase": "critic", "train": "value", "epochs": v["critic_epoch"].item(),
        "optim": optim | {"lr": v["critic_lr"].item()},
        "steps": [
            {"net": "value.normalize"},
            {"net": "value.normalized"},
            {"use": "loss/huber_value", "delta": v["huber_delta"].item(), "clip": clip},
        ],
    }  # fmt: skip
    estimate = {
        "phase": "estimate",
        "steps": [
            {"net": "value.denormalize"},
            {"net": "value.denormalize", "at": "next"},
            {"use": "estimate/gae", "gamma": v["gamma"].item(), "lmbda": v["gae_lambda"].item(),
             "truncation": "discard"},
        ],
    }  # fmt: skip
    if own_value:
        critic |= {"inactive": "count", "order": {"use": "order/simultaneous", "of": "agent"}}
        for step in (*estimate["steps"], *critic["steps"]):
            step["keys"] = of_agent(step)
        estimate["steps"][2]["keys"]["advantage"] = "agent.raw_advantage"
    shape = {"reads": {"advantage": "terminated"}} if own_value else {}
    estimate["steps"].append({"use": "weight/unit_factor", **shape})
    return {
        "hetrl": 2,
        "task": {"use": "env/vmas", "scenario": "balance"},
        "nets": {
            "actor": {**policy, "per": per, "hidden": []},
            "value": {"use": "net/state_value", "per": "team", "hidden": [], "normalize": True},
        },
        "data": {"use": "data/on_policy", "frames": 64},
        "update": [estimate, actors, critic],
        "run": {"frames": 1},
    }


def of_agent(step: dict) -> dict:
    """Return the renames that make the team's keys of a step the agent's."""
    if "use" in step:
        table = hetrl.component(step["use"]).table
    else:
        table = StateValue.modes[step["net"].split(".")[1]]
    next_ = "next." if step.get("at") else ""
    words = {"normalized_value", "old_normalized_value", "value", "normalized_return", "return", "state", "reward",
             "advantage", "next.value"}  # fmt: skip
    return {
        role: f"next.agent.{key.removeprefix('next.')}" if next_ or key.startswith("next.") else f"agent.{key}"
        for role, key in {**table.reads, **table.writes}.items()
        if key in words
    }


PROVIDED = ["agent.observation", "agent.action", "agent.active", "agent.action_mask", "agent.old_log_prob",
            "terminated", "truncated"]  # fmt: skip
VALUED = ["state", "reward", "normalized_value", "next.normalized_value", "old_normalized_value"]


def flat(array):
    return array.squeeze(-1)


def batch(v, team: Team) -> TensorDict:
    steps, envs = v["rewards"].shape[:2]
    own_value = v["rewards"].dim() == 4
    ended, cut = flat(v["masks"][1:]) == 0, flat(v["bad_masks"][1:]) == 0
    values = flat(v["value_preds"])
    valued = {
        "state": v["share_obs"][:-1], "reward": flat(v["rewards"]), "normalized_value": values[:-1],
        "old_normalized_value": values[:-1],
    }  # fmt: skip
    if own_value:  # all agents' episodes end together
        ended, cut = ended[..., 0], cut[..., 0]
    data = {"terminated": ended & ~cut, "truncated": ended & cut, "next": {}}
    if not own_value:
        data |= {**valued, "next": {"normalized_value": values[1:]}}
    for group, agents in team.layout.items():
        index = [team.agents.index(agent) for agent in agents]
        data[group] = {
            "observation": torch.stack([v[f"obs{i}"][:-1] for i in index], 2),
            "action": torch.stack([v[f"actions{i}"] for i in index], 2),
            "active": torch.stack([flat(v[f"active_masks{i}"][:-1]) == 1 for i in index], 2),
            "old_log_prob": torch.stack([v[f"rollout_logp{i}"].sum(-1) for i in index], 2),
        }
        if "available_actions0" in v:
            data[group]["action"] = data[group]["action"].long()
            data[group]["action_mask"] = torch.stack([v[f"available_actions{i}"][:-1] == 1 for i in index], 2)
        if own_value:
            data[group] |= {word: value[:, :, index] for word, value in valued.items()}
            data["next"][group] = {"normalized_value": values[1:][:, :, index]}
    return TensorDict(data, batch_size=(steps, envs))


def make_team(v, groups: list[str]) -> Team:
    agents = []
    for i, group in enumerate(groups):
        if f"available_actions{i}" in v:
            space = Discrete((v[f"available_actions{i}"].shape[-1],))
        else:
            size = v[f"actions{i}"].shape[-1]
            space = Box((-1.0,) * size, (1.0,) * size)
        agents.append(Agent(f"agent_{i}", group, groups[:i].count(group), v[f"obs{i}"].shape[-1], space, group))
    return Team(tuple(agents), v["share_obs"].shape[-1])


def load_actor(module, v, index: int, when: str) -> list[tuple[torch.Tensor, torch.Tensor]]:
    stem = f"actor{index}_{when}_act_action_out"
    if f"{stem}_linear_weight" in v:
        return [
            (module.body[0].weight, v[f"{stem}_linear_weight"]),
            (module.body[0].bias, v[f"{stem}_linear_bias"]),
        ]
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
    "seq_happo_ep_box": (["a", "b", "c"], "agent", True, "clip"),
    "seq_haa2c_ep_box": (["a", "b", "c"], "agent", True, "plain"),
    "seq_hatrpo_ep_box": (["a", "b", "c"], "agent", True, "trust_region"),
    "seq_happo_fp_discrete": (["three", "four", "three"], "agent", True, "clip"),
    "seq_mappo_ep_separate": (["a", "b", "c"], "agent", False, "clip"),
    "seq_mappo_ep_shared": (["agents"] * 3, "team", False, "clip"),
}


@pytest.mark.parametrize("name", CASES)
def test_reproduces_a_whole_iteration(vectors, name):
    v = vectors(name)
    groups, per, sequential, kind = CASES[name]
    team = make_team(v, groups)
    order = {"use": "order/fixed", "order": v["perm"].tolist()} if sequential else {"use": "order/simultaneous"}
    tree = recipe(v, order=order, per=per, kind=kind)
    if not sequential:
        actors = tree["update"][1]
        actors["after"], actors["prepare"] = [], actors["prepare"][:1]
    own_value = v["rewards"].dim() == 4
    valued = [f"next.agent.{key[5:]}" if key.startswith("next.") else f"agent.{key}" for key in VALUED]
    linked = link(hetrl.load(tree), team, [*PROVIDED, *(valued if own_value else VALUED)]).double()
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
        metrics |= PhaseRunner(phase, linked).run(
            store, 0.0, generator, lambda optimizer, closure: optimizer.step(closure)
        )

    returns = torch.stack([store.read("agent.return", (agent,)) for agent in team.agents], -1) if own_value else (
        store.read("return", ()))  # fmt: skip
    torch.testing.assert_close(returns, flat(v["returns"]), **CLOSE)
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
        if kind == "trust_region":
            means = {"kl": v[f"kl{i}"], "gain": v[f"loss_improve{i}"], "expected_gain": v[f"expected_improve{i}"]}
        else:
            means = {"surrogate": v[f"policy_loss{i}"], "grad_norm": v[f"actor_grad_norm{i}"],
                     "entropy_bonus": -v["entropy_coef"] * v[f"dist_entropy{i}"]}  # fmt: skip
        for word, per_epoch in means.items():
            torch.testing.assert_close(metrics[f"{label}/{word}"], per_epoch.mean(), **CLOSE)
    for mine, theirs in load_critic(linked.nets["value"].of(()), v, "after"):
        torch.testing.assert_close(mine.detach(), theirs, **CLOSE)
    critic = "critic/team" if own_value else "critic"
    torch.testing.assert_close(metrics[f"{critic}/value"], v["critic_losses"].mean(), **CLOSE)
    torch.testing.assert_close(metrics[f"{critic}/grad_norm"], v["critic_grad_norms"].mean(), **CLOSE)
