"""Whole off-policy updates of the reference implementation, through the linked program itself.

The recipes are those a user would write, with the stored draws given as keys: a mode's noise comes from a key or, where
nothing writes it, from a generator. What differs from the shipped recipes is what the reference does otherwise: it
learns each temperature from the action that the actor's own step has seen, and its log-probs are densities of the unit
action.
"""

import pytest
import torch
from tensordict import TensorDict

import hetrl
from hetrl.engine.link import link
from hetrl.engine.phase import PhaseRunner
from hetrl.engine.store import Store
from hetrl.team import Agent, Box, Discrete, Team

CLOSE = {"rtol": 1e-8, "atol": 1e-10}
N_AGENTS = 3


def flat(array):
    return array.squeeze(-1)


def update(linked, store, count=1):
    """Run the phases as training does, ``count`` the number of this update; return what they log."""
    runners = linked.__dict__.setdefault("runners", [PhaseRunner(phase, linked) for phase in linked.recipe.update])
    metrics = {}
    for runner in runners:
        if count % runner.phase.every == 0:
            generator = torch.Generator().manual_seed(0)
            metrics |= runner.run(store, 0.0, generator, lambda optimizer, closure: optimizer.step(closure))
    return metrics


def adam(v, lr: str) -> dict:
    return {"use": "optim/adam", "lr": v[lr].item(), "eps": v["adam_eps"].item()}


def order(v, sequential: bool) -> dict:
    use = {"use": "order/fixed", "order": v["perm"].tolist()} if sequential else {"use": "order/simultaneous"}
    return {**use, "of": "agent"}


def tree(v, nets: dict, phases: list) -> dict:
    return {
        "hetrl": 2, "task": {"use": "env/vmas", "scenario": "balance"}, "nets": nets,
        "data": {"use": "data/on_policy", "frames": 64}, "update": phases, "run": {"frames": 1},
    }  # fmt: skip


def batch(v, team: Team, prefix: str = "", noises: tuple[str, ...] = ()) -> TensorDict:
    """Return the sampled batch; with a state for each agent, the reference's rows are agents times samples."""
    rows, samples = len(v[f"{prefix}reward"]), v[f"{prefix}obs"].shape[1]

    def tiled(array):
        return torch.cat([array] * (rows // samples))

    def grouped(name):
        return torch.stack([tiled(part) for part in v[f"{prefix}{name}"]], 1)

    def when(observations, state, masks):
        found = {"agents": {"observation": grouped(observations)}, "state": v[f"{prefix}{state}"]}
        if masks in v:
            found["agents"]["action_mask"] = grouped(masks) == 1
        return found

    data = when("obs", "share_obs", "available_actions")
    data |= {
        "next": when("next_obs", "next_share_obs", "next_available_actions"),
        "reward": flat(v[f"{prefix}reward"]), "discount": flat(v[f"{prefix}gamma_n"]),
        "terminated": flat(v[f"{prefix}term"]) == 1, "done": flat(v[f"{prefix}done"]) == 1,
    }  # fmt: skip
    action = grouped("actions")
    discrete = isinstance(team.agents[0].action, Discrete)
    data["agents"] |= {"action": action.long() if discrete else action,
                       "active": flat(grouped("valid_transition")) == 1}  # fmt: skip
    for noise in noises:
        data["agents"][noise] = grouped(noise)
    return TensorDict(data, [rows])


def make_team(v, space, prefix: str = "") -> Team:
    seen = v[f"{prefix}obs"].shape[-1]
    agents = tuple(Agent(f"agent_{i}", "agents", i, seen, space, "agents") for i in range(N_AGENTS))
    return Team(agents, v[f"{prefix}share_obs"].shape[-1])


def critic_pairs(body, v, stem: str, when: str):
    """Pairs of our batched parameters and the reference's, member by member."""
    found = []
    for member, name in enumerate([stem, f"{stem}2"][: len(body.weights[0])]):
        for layer, place in enumerate((0, 2)):
            weight = v[f"{name}_{when}_mlp_mlp_{place}_weight"]
            found.append((body.weights[layer].data[member], weight.T))
            found.append((body.biases[layer].data[member, 0], v[f"{name}_{when}_mlp_mlp_{place}_bias"]))
    return found


def check(pairs, write: bool):
    for mine, theirs in pairs:
        if write:
            mine.copy_(theirs)
        else:
            torch.testing.assert_close(mine, theirs, **CLOSE)


# --------------------------------------------------------------------------- HASAC

NOISES = ("noise_next", "noise_current", "noise_update", "noise_post")
PROVIDED = [
    "agent.observation", "agent.action", "agent.active", "state", "reward", "discount", "terminated", "done",
    "next.agent.observation", "next.state",
]  # fmt: skip


def soft_recipe(v, name: str) -> dict:
    normalized, automatic = bool(v["use_valuenorm"]), bool(v["auto_alpha"])
    discrete = "available_actions" in v

    def sample(noise, **words):
        return {"net": "actor.sample", **words, "reads": {"noise": f"agent.{noise}"}}

    initial = 1.0 if automatic else v["alpha"].item()
    temperature = {"use": "net/temperature", "initial": initial, "fixed": not automatic}
    if discrete:
        actor = {"use": "net/categorical_policy", "hidden": [6], "activation": "relu", "layer_norm": True}
        temperature["target_entropy"] = v["target_entropy"][0].item()
    else:
        actor = {"use": "net/squashed_gaussian_policy", "hidden": [6], "activation": "tanh", "std_map": "clamped_exp",
                 "density": "unit"}  # fmt: skip
    delta = v["huber_delta"].item() if v["use_huber_loss"] else None
    before = [
        {"net": "alpha_joint.joint_alpha"},
        sample("noise_next", at="next"),
        {"net": "q.target.min", "at": "next", "reads": {"action": "next.agents.proposal"}},
        {"use": "estimate/soft_td_target"} | ({"reads": {"terminated": "done"}} if "bootstrap_done" in name else {}),
    ]
    judge, worth = "q.min", {}
    error = [{"net": "q"}, {"use": "loss/td", "delta": delta}]
    if normalized:
        before.append({"net": "q.normalize"})
        judge, worth = "q.normalized_min", {"reads": {"q": "normalized_min_q"}}
        units = {"q": "normalized_q", "target": "normalized_target"}
        error = [{"net": "q.normalized"}, {"use": "loss/td", "delta": delta, "reads": units}]
    masked = "count" if not v["use_policy_active_masks"] else "skip"
    turn = {"proposal": "agent.turn_proposal", "proposal_log_prob": "agent.old_turn_log_prob"}
    joint = {"log_alpha": "log_alpha", "log_prob": "joint_log_prob", "target_entropy": "target_entropy",
             "loss": "loss.temperature"}  # fmt: skip
    phases = [
        {"phase": "critic", "train": "q", "optim": adam(v, "critic_lr"), "before": before, "steps": error},
        {"phase": "actors", "train": "actor", "order": order(v, True), "optim": adam(v, "lr"),
         "inactive": masked,
         "before": [{"net": "alpha"}, sample("noise_current")],
         "prepare": [sample("noise_update", writes=turn)],
         "steps": [sample("noise_update"), {"net": judge, "reads": {"action": "agents.proposal"}},
                   {"use": "loss/soft_policy", **worth}],
         "after": [sample("noise_post")]},
        {"phase": "temperature", "train": "alpha", "order": order(v, False),
         "optim": adam(v, "alpha_lr") if automatic else {}, "inactive": "count",
         "steps": [{"net": "alpha.dual", "reads": {"log_prob": "agent.old_turn_log_prob"}},
                   {"use": "loss/temperature", "reads": {"log_prob": "agent.old_turn_log_prob"}}]},
        {"phase": "joint_temperature", "train": "alpha_joint", "optim": adam(v, "alpha_lr") if automatic else {},
         "before": [{"net": "alpha.dual", "reads": {"log_prob": "agent.old_turn_log_prob"}},
                    {"use": "estimate/joint_log_prob", "reads": {"log_probs": "agents.old_turn_log_prob"}}],
         "steps": [{"net": "alpha_joint.joint_dual"}, {"use": "loss/temperature", "keys": joint}]},
    ]  # fmt: skip
    nets = {
        "actor": actor,
        "q": {"use": "net/joint_q", "hidden": [6], "ensemble": 2, "normalize": normalized,
              "target": {"tau": v["polyak"].item()}},
        "alpha": {**temperature, "per": "agent"},
        "alpha_joint": {**temperature, "per": "team"},
    }  # fmt: skip
    return tree(v, nets, phases if automatic else phases[:2])


def soft_pairs(linked, v, when: str):
    found = critic_pairs(linked.nets["q"]["team"].body, v, "critic", when)
    found += critic_pairs(linked.slow["q"].net["team"].body, v, "target_critic", when)
    for i in range(N_AGENTS):
        policy, stem = linked.nets["actor"][f"agent_{i}"], f"actor{i}_{when}"
        if f"{stem}_base_feature_norm_weight" in v:
            words = ("base_feature_norm", "base_mlp_fc_0", "base_mlp_fc_2", "act_action_out_linear")
            norms, linears = policy.body.norms, policy.body.linears
            for word, module in zip(words, (norms[0], linears[0], norms[1], linears[1]), strict=True):
                found.append((module.weight.data, v[f"{stem}_{word}_weight"]))
                found.append((module.bias.data, v[f"{stem}_{word}_bias"]))
        else:
            first, last = policy.head.body[0], policy.head.body[1]
            for kind in ("weight", "bias"):
                found.append((getattr(first, kind).data, v[f"{stem}_net_mlp_0_{kind}"]))
                both = [v[f"{stem}_{layer}_layer_{kind}"] for layer in ("mu", "log_std")]
                found.append((getattr(last, kind).data, torch.cat(both)))
        alpha = v[f"actor_log_alpha_{when}"][i] if v["auto_alpha"] else v["alpha"].log()
        found.append((linked.nets["alpha"][f"agent_{i}"].x.data, alpha))
    alpha = v[f"critic_log_alpha_{when}"].reshape(()) if v["auto_alpha"] else v["alpha"].log()
    found.append((linked.nets["alpha_joint"]["team"].x.data, alpha))
    if v["use_valuenorm"]:
        for buffer, name in (("m1", "running_mean"), ("m2", "running_mean_sq"), ("d", "debiasing_term")):
            for net in (linked.nets["q"], linked.slow["q"].net):
                found.append((getattr(net["team"].normalizer, buffer), v[f"vn_{when}_{name}"].reshape(1)))
    return found


SOFT = [
    "hasac_ep_box_autoalpha", "hasac_ep_box_valuenorm_huber", "hasac_ep_box_bootstrap_done",
    "hasac_ep_discrete_autoalpha", "hasac_fp_box_mse_masks",
]  # fmt: skip


@pytest.mark.parametrize("name", SOFT)
def test_a_soft_update(vectors, name):
    v = vectors(name)
    size = v["actions"].shape[-1]
    limit = 2.0 if "bootstrap_done" in name else 1.0
    space = Discrete((v["available_actions"].shape[-1],)) if "available_actions" in v else Box(
        (-limit,) * size, (limit,) * size)  # fmt: skip
    team = make_team(v, space)
    masks = ["agent.action_mask", "next.agent.action_mask"] if "available_actions" in v else []
    linked = link(hetrl.load(soft_recipe(v, name)), team, [*PROVIDED, *masks, *(f"agent.{n}" for n in NOISES)]).double()
    check(soft_pairs(linked, v, "before"), write=True)
    store = Store(team, batch(v, team, noises=NOISES))
    metrics = update(linked, store)

    torch.testing.assert_close(
        store.read("normalized_target" if v["use_valuenorm"] else "target", ()), flat(v["q_target"]), **CLOSE
    )
    torch.testing.assert_close(metrics["critic/td"], v["critic_loss"], **CLOSE)
    for i, agent in enumerate(team.agents):
        torch.testing.assert_close(metrics[f"actors/agent_{i}/soft_policy"], v[f"actor_loss{i}"], **CLOSE)
        post = store.read("agent.proposal", (agent,))
        torch.testing.assert_close(post[: len(v[f"action_post{i}"])], v[f"action_post{i}"], **CLOSE)
        if v["auto_alpha"]:
            torch.testing.assert_close(metrics[f"temperature/agent_{i}/temperature"], v[f"alpha_loss{i}"], **CLOSE)
    if v["auto_alpha"]:
        torch.testing.assert_close(metrics["joint_temperature/temperature"], v["critic_alpha_loss"], **CLOSE)
    check(soft_pairs(linked, v, "after"), write=False)


# --------------------------------------------------------------------------- deterministic policies


def deterministic_recipe(v, twin: bool, sequential: bool) -> dict:
    every = int(v["policy_freq"]) if twin else 1
    target = {"tau": v["polyak"].item()}
    act = {"net": "actor.target.act", "at": "next"}
    if twin:
        act = {"net": "actor.target.smoothed", "at": "next", "std": v["policy_noise"].item(),
               "clip": v["noise_clip"].item(), "reads": {"noise": "agent.noise_target"}}  # fmt: skip
    if sequential:
        judged = {"net": "q.first", "reads": {"action": "agents.proposal"}}
        turns = {word: [{"net": "actor.act"}] for word in ("before", "steps", "after")}
        turns["steps"] = [*turns["steps"], judged]
    else:  # the others' actions stay the replayed ones
        turns = {"steps": [{"net": "actor.act", "writes": {"proposal": "agent.action"}}, {"net": "q.first"}]}
    turns["steps"].append({"use": "loss/deterministic_policy"})
    return tree(
        v,
        {
            "actor": {"use": "net/deterministic_policy", "hidden": [6], "target": target},
            "q": {"use": "net/joint_q", "hidden": [6], "ensemble": 2 if twin else 1,
                  "target": target | {"every": every}},
        },
        [
            {"phase": "critic", "train": "q", "optim": adam(v, "critic_lr"),
             "before": [act, {"net": "q.target.min", "at": "next", "reads": {"action": "next.agents.proposal"}},
                        {"use": "estimate/td_target"}],
             "steps": [{"net": "q"}, {"use": "loss/td"}]},
            {"phase": "actors", "train": "actor", "order": order(v, sequential), "every": every,
             "optim": adam(v, "lr"), "inactive": "count", **turns},
        ],
    )  # fmt: skip


def deterministic_pairs(linked, v, when: str):
    found = critic_pairs(linked.nets["q"]["team"].body, v, "critic", when)
    found += critic_pairs(linked.slow["q"].net["team"].body, v, "target_critic", when)
    for i in range(N_AGENTS):
        for stem, net in (("actor", linked.nets["actor"]), ("target_actor", linked.slow["actor"].net)):
            for layer, place in enumerate((0, 2)):
                linear = net[f"agent_{i}"].body[layer]
                found.append((linear.weight.data, v[f"{stem}{i}_{when}_pi_mlp_{place}_weight"]))
                found.append((linear.bias.data, v[f"{stem}{i}_{when}_pi_mlp_{place}_bias"]))
    return found


@pytest.mark.parametrize("name", ["hatd3", "haddpg", "matd3", "maddpg"])
def test_a_deterministic_update(vectors, name):
    v = vectors(name)
    twin, sequential = "td3" in name, name.startswith("ha")
    prefixes = ("u0_", "u1_") if twin else ("",)
    team = make_team(v, Box(tuple(v["action_low"].tolist()), tuple(v["action_high"].tolist())), prefixes[0])
    noises = ("noise_target",) if twin else ()
    provided = [*PROVIDED, *(f"agent.{noise}" for noise in noises)]
    linked = link(hetrl.load(deterministic_recipe(v, twin, sequential)), team, provided).double()
    check(deterministic_pairs(linked, v, "before"), write=True)
    for count, prefix in enumerate(prefixes, 1):
        store = Store(team, batch(v, team, prefix, noises))
        metrics = update(linked, store, count)
        torch.testing.assert_close(store.read("target", ()), flat(v[f"{prefix}q_target"]), **CLOSE)
        torch.testing.assert_close(metrics["critic/td"], v[f"{prefix}critic_loss"], **CLOSE)
        moved = [key for key in metrics if key.endswith("deterministic_policy")]
        assert bool(moved) == bool(v[f"{prefix}did_actor_update"])
        for i in range(N_AGENTS if moved else 0):
            found = metrics[f"actors/agent_{i}/deterministic_policy"]
            torch.testing.assert_close(found, v[f"{prefix}actor_loss{i}"], **CLOSE)
    check(deterministic_pairs(linked, v, "after"), write=False)
