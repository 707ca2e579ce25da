"""Single ingredients against the reference implementation's numbers, through the components' own ``compute``."""

import itertools

import pytest
import torch

from hetrl.engine.objective import masked_mean, total_loss
from hetrl.estimate.gae import GAE
from hetrl.estimate.standardize import Standardize
from hetrl.loss.clipped_surrogate import ClippedSurrogate
from hetrl.loss.entropy_bonus import EntropyBonus
from hetrl.loss.huber_value import HuberValue
from hetrl.loss.surrogate import Surrogate
from hetrl.net.categorical_policy import CategoricalPolicy
from hetrl.net.gaussian_policy import GaussianPolicy
from hetrl.net.state_value import StateValue
from hetrl.net.value_normalizer import ValueNormalizer
from hetrl.team import Agent, Box, Discrete, Team
from hetrl.weight.importance_factor import ImportanceFactor
from hetrl.weight.unit_factor import UnitFactor

CLOSE = {"rtol": 1e-8, "atol": 1e-10}
ACTIVE = "agent.active"


def close(found, expected):
    torch.testing.assert_close(found.detach(), expected, **CLOSE)


def differs(found, expected):
    assert not torch.allclose(found.detach(), expected, rtol=1e-3)


def flat(array):
    return array.squeeze(-1)


def make(cls, observation_size, action, state_size=1, **arguments):
    agent = Agent("a", "agents", 0, observation_size, action, "agents")
    return cls(agent, Team((agent,), state_size), hidden=[], **arguments).double()


def critic(v, stem="vn"):
    """Return a value network whose statistics are those stored."""
    net = make(StateValue, 1, Box((-1.0,), (1.0,)), normalize=True)
    for buffer, name in (("m1", "running_mean"), ("m2", "running_mean_sq"), ("d", "debiasing_term")):
        getattr(net.normalizer, buffer).copy_(v[f"{stem}_{name}"].squeeze())
    return net


def load(linear, weight, bias):
    with torch.no_grad():
        linear.weight.copy_(weight)
        linear.bias.copy_(bias)


# --------------------------------------------------------------------------- advantages


def episodes(v, proper_time_limits: bool, stem: str = ""):
    """Return reward, next value's predictions and the two flags; without ``ptl`` the reference has ends only."""
    ended = flat(v[f"{stem}masks"][1:]) == 0
    cut = flat(v[f"{stem}bad_masks"][1:]) == 0
    assert not (cut & ~ended).any() and cut.any() and (ended & ~cut).any()
    terminated, truncated = (ended & ~cut, ended & cut) if proper_time_limits else (ended, torch.zeros_like(ended))
    predictions = flat(v[f"{stem}value_preds"]).clone()
    predictions[-1] = flat(v[f"{stem}next_value"])
    return flat(v[f"{stem}rewards"]), predictions, terminated, truncated


def advantages(v, proper_time_limits, lmbda, normalized, stem=""):
    reward, predictions, *ends = episodes(v, proper_time_limits, stem)
    values = critic(v).denormalize(predictions)["value"] if normalized else predictions
    gae = GAE(gamma=v["gamma"].item(), lmbda=lmbda, truncation="discard")
    return gae.compute(reward, values[:-1], values[1:], *ends)


@pytest.mark.parametrize(("ptl", "gae", "vn"), list(itertools.product((0, 1), repeat=3)))
def test_advantages_and_returns(vectors, ptl, gae, vn):
    """Without the trace (gae0) the reference sums rewards, which is lmbda = 1."""
    v = vectors("gae")
    case = f"ptl{ptl}_gae{gae}_vn{vn}"
    out = advantages(v, ptl, v["gae_lambda"].item() if gae else 1.0, vn)
    active = flat(v["active_masks"][:-1]) == 1
    standardized = Standardize(eps=1e-5).compute(out["advantage"], active)["advantage"]
    if not gae and vn:
        # A quirk: the reference leaves the last value in normalised units there. Ours, by definition:
        differs(out["return"], flat(v[f"returns_{case}"]))
        reward, predictions, terminated, truncated = episodes(v, ptl)
        values = critic(v).denormalize(predictions)["value"]
        later = values[-1]
        for t in reversed(range(len(reward))):
            later = reward[t] + v["gamma"] * torch.where(terminated[t], 0.0, later)
            later = torch.where(truncated[t], values[t], later)
            close(out["return"][t], later)
        return
    close(out["return"], flat(v[f"returns_{case}"]))
    close(out["advantage"], flat(v[f"advantages_{case}"]))
    close(standardized, flat(v[f"advantages_norm_{case}"]))


def test_truncated_steps_are_bootstrapped_where_the_reference_discards_them(vectors):
    """Ours by default. The reference never stores the state an episode was cut at, so it cannot; here it is made up."""
    v = vectors("gae")
    reward, values, terminated, truncated = episodes(v, True)
    after = torch.where(truncated, torch.full_like(reward, 3.0), values[1:])
    gae = GAE(gamma=v["gamma"].item(), lmbda=v["gae_lambda"].item())
    found = gae.compute(reward, values[:-1], after, terminated, truncated)["advantage"]
    close(found[truncated], (reward + 3 * v["gamma"] - values[:-1])[truncated])
    assert (flat(v["advantages_ptl1_gae1_vn0"])[truncated] == 0).all()


def test_an_agent_dimension_is_one_more_batch_dimension(vectors):
    v = vectors("gae")
    out = advantages(v, True, v["gae_lambda"].item(), True, "fp_")
    close(out["return"], flat(v["fp_returns"]))
    close(out["advantage"], flat(v["fp_advantages"]))
    active = flat(v["fp_active_masks"][:-1]) == 1
    close(Standardize(eps=1e-5).compute(out["advantage"], active)["advantage"], flat(v["fp_advantages_norm"]))


# --------------------------------------------------------------------------- value normalisation and loss


def statistics(normalizer):
    return {
        "running_mean": normalizer.m1.squeeze(),
        "running_mean_sq": normalizer.m2.squeeze(),
        "debiasing_term": normalizer.d.squeeze(),
    }


def test_value_normalisation(vectors):
    v = vectors("valuenorm")
    net = make(StateValue, 1, Box((-1.0,), (1.0,)), normalize=True)
    assert net.normalizer.beta == v["beta"].item()
    query = flat(v["query"])
    close(net.denormalize(query)["value"], flat(v["denormalize_before_any_update"]))
    close(net.normalizer.normalize(query), flat(v["normalize_before_any_update"]))
    for k in range(3):
        normalized = net.normalize(flat(v[f"batch{k}"]))["normalized_return"]
        for name, value in statistics(net.normalizer).items():
            close(value, v[f"after{k}_{name}"].squeeze())
        close(net.normalizer.normalize(query), flat(v[f"after{k}_normalize"]))
        close(net.denormalize(query)["value"], flat(v[f"after{k}_denormalize"]))
        mean, var = v[f"after{k}_mean"], v[f"after{k}_var"]
        close(normalized, (flat(v[f"batch{k}"]) - mean) / var.sqrt())


def test_value_normalisation_by_element(vectors):
    v = vectors("valuenorm")
    normalizer = ValueNormalizer(beta=v["beta"].item(), per_element=True).double()
    query = flat(v["per_query"])
    close(normalizer.denormalize(query), flat(v["per_denormalize_before_any_update"]))
    close(normalizer.normalize(query), flat(v["per_normalize_before_any_update"]))
    for k in range(3):
        normalizer.update(flat(v[f"per_batch{k}"]))
        for name, value in statistics(normalizer).items():
            close(value, v[f"per_after{k}_{name}"].squeeze())
        close(normalizer.normalize(query), flat(v[f"per_after{k}_normalize"]))
        close(normalizer.denormalize(query), flat(v[f"per_after{k}_denormalize"]))


def test_value_normalisation_floor(vectors):
    v = vectors("valuenorm")
    net = make(StateValue, 1, Box((-1.0,), (1.0,)), normalize=True)
    close(net.normalize(flat(v["floor_batch"]))["normalized_return"], flat(v["floor_normalize"]))
    assert v["floor_var"].item() == v["var_floor"].item() == 0.01
    close(net.denormalize(torch.zeros(1, dtype=torch.float64))["value"], v["floor_mean"])


def value_loss(v, delta, clip, net):
    values = flat(v["values"]).clone().requires_grad_()
    returns = flat(v["returns"]) if net is None else net.normalize(flat(v["returns"]))["normalized_return"]
    out = HuberValue(delta=delta, clip=clip).compute(values, returns, flat(v["value_preds_old"]))
    loss, _ = total_loss([[{"loss.value": out["loss"]}]], ACTIVE)
    return loss, torch.autograd.grad(loss, values)[0]


@pytest.mark.parametrize(("huber", "clip", "vn"), list(itertools.product((0, 1), repeat=3)))
def test_value_loss(vectors, huber, clip, vn):
    v = vectors("value_loss")
    net = critic(v) if vn else None
    delta = v["huber_delta"].item() if huber else None
    loss, gradient = value_loss(v, delta, v["clip_param"].item() if clip else None, net)
    close(loss, v[f"loss_huber{huber}_clip{clip}_vn{vn}"])
    close(gradient, flat(v[f"grad_huber{huber}_clip{clip}_vn{vn}"]))
    if net is not None:
        for name, value in statistics(net.normalizer).items():
            close(value, v[f"vn_after_{name}"].squeeze())


def test_value_loss_with_a_small_delta(vectors):
    v = vectors("value_loss")
    loss, gradient = value_loss(v, 1.5, v["clip_param"].item(), None)
    close(loss, v["loss_delta1p5"])
    close(gradient, flat(v["grad_delta1p5"]))


# --------------------------------------------------------------------------- policy losses


def policy_loss(v, masked, log_prob=None):
    """Return the total loss, the surrogate, and the gradients in the log-probs per dimension and the entropy."""
    per_dim = (v["logp_new"] if log_prob is None else log_prob).clone().requires_grad_()
    entropy = v["dist_entropy"].clone().requires_grad_()
    advantage = flat(v["advantages"])
    factor = flat(v["factor"]) if "factor" in v else UnitFactor().compute(advantage)["factor"]
    component = ClippedSurrogate(clip=v["clip_param"].item()) if "clip_param" in v else Surrogate()
    surrogate = component.compute(per_dim.sum(-1), v["logp_old"].sum(-1), advantage, factor)
    bonus = EntropyBonus(coef=v["entropy_coef"].item()).compute(entropy.expand(len(advantage)))
    values = {"loss.agent.surrogate": surrogate["loss"], "loss.agent.bonus": bonus["loss"]}
    if masked:
        values[ACTIVE] = flat(v["active_masks"]) == 1
    loss, means = total_loss([[values]], ACTIVE)
    return loss, means["loss.agent.surrogate"], *torch.autograd.grad(loss, (per_dim, entropy))


def check_policy_loss(v, case, masked, log_prob=None):
    loss, surrogate, per_dim, entropy = policy_loss(v, masked, log_prob)
    close(loss, v[f"total_loss_{case}"])
    close(surrogate, v[f"policy_loss_{case}"])
    close(per_dim, v[f"grad_logp_{case}"])
    close(entropy, v[f"grad_entropy_{case}"])
    close(torch.cat([per_dim.flatten(), entropy.view(1)]).norm(), v[f"grad_norm_{case}"])


FILES = ["happo_loss", "mappo_loss", "haa2c_loss"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("masked", [0, 1])
def test_policy_loss(vectors, name, masked):
    v = vectors(name)
    assert 0 < flat(v["active_masks"]).sum() < len(v["active_masks"])
    check_policy_loss(v, f"prod_mask{masked}", masked)


@pytest.mark.parametrize("name", FILES)
def test_policy_loss_at_ratio_1(vectors, name):
    v = vectors(name)
    check_policy_loss(v, "ratio1", True, v["logp_old"])


@pytest.mark.parametrize("name", FILES)
def test_ratio_is_the_product_over_dimensions_and_never_their_mean(vectors, name):
    """The reference can average the ratios of an action's dimensions (its ``mean`` arrays). That is no
    importance weight
    of the action, whose probability is the product, so there is no such switch here.
    """
    v = vectors(name)
    ones = torch.ones(len(v["logp_new"]), dtype=torch.float64)
    found = ImportanceFactor().compute(v["logp_new"].sum(-1), v["logp_old"].sum(-1), ones)["factor"]
    close(found, flat(v["imp_weights_prod_mask1"]))
    close(found, (v["logp_new"].exp().prod(-1) / v["logp_old"].exp().prod(-1)))
    differs(found, flat(v["imp_weights_mean_mask1"]))
    for masked in (0, 1):
        differs(policy_loss(v, masked)[1], v[f"policy_loss_mean_mask{masked}"])


# --------------------------------------------------------------------------- policies


def test_gaussian_policy(vectors):
    v = vectors("policy_heads")
    assert v["gauss_std_x_coef"].item() == 1  # it only rescales the raw parameter, and is not offered
    net = make(GaussianPolicy, 4, Box((-1.0,) * 3, (1.0,) * 3), std_map="sigmoid", initial_std=0.25,
               max_std=v["gauss_std_y_coef"].item())  # fmt: skip
    load(net.head.body[0], v["gauss_W"], v["gauss_b"])
    with torch.no_grad():
        net.head.raw_std.copy_(v["gauss_log_std"])
    out = net.log_prob(v["x"], v["gauss_actions"])
    close(out["log_prob"], v["gauss_logp"].sum(-1))
    close(net.act(v["x"])["proposal"], v["gauss_mean"])
    one = torch.ones(9, 3, dtype=torch.float64)
    close(net.sample(v["x"], one)["proposal"], v["gauss_mean"] + v["gauss_std"])
    close(masked_mean(out["entropy"], flat(v["active_masks"]) == 1), v["gauss_entropy_masked"])
    close(masked_mean(out["entropy"], None), v["gauss_entropy_nomask"])


def test_categorical_policy_with_unavailable_actions(vectors):
    v = vectors("policy_heads")
    net = make(CategoricalPolicy, 4, Discrete((5,)))
    load(net.body[0], v["cat_W"], v["cat_b"])
    available = v["cat_available"] == 1
    assert not available.all()
    out = net.log_prob(v["x"], v["cat_actions"].long(), available)
    close(out["log_prob"], flat(v["cat_logp"]))
    every = [net.log_prob(v["x"], torch.full((9, 1), option), available)["log_prob"].exp() for option in range(5)]
    close(torch.stack(every, -1), v["cat_probs"])
    assert (torch.stack(every, -1)[~available] == 0).all()
    close(masked_mean(out["entropy"], flat(v["active_masks"]) == 1), v["cat_entropy_masked"])
    close(masked_mean(out["entropy"], None), v["cat_entropy_nomask"])


def test_multi_discrete_policy(vectors):
    """The reference's mask has no effect on the entropy here (a quirk: masked equals unmasked). Ours has."""
    v = vectors("policy_heads")
    net = make(CategoricalPolicy, 4, Discrete((3, 4)))
    load(net.body[0], torch.cat([v["multi_W0"], v["multi_W1"]]), torch.cat([v["multi_b0"], v["multi_b1"]]))
    out = net.log_prob(v["x"], v["multi_actions"].long())
    close(out["log_prob"], flat(v["multi_logp"]))
    close(masked_mean(out["entropy"], None), v["multi_entropy_nomask"])
    close(v["multi_entropy_masked"], v["multi_entropy_nomask"])
    active = flat(v["active_masks"]) == 1
    close(masked_mean(out["entropy"], active), out["entropy"][active].mean().detach())
    assert masked_mean(out["entropy"], active) != v["multi_entropy_masked"]
