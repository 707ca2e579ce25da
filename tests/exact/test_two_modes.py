"""Diffusion policies on two good actions with a valley between, and what the uniform proxy alone does.

All of it is in docs/details/haqo_two_modes.md.
"""

from types import SimpleNamespace

import lightning as L
import pytest
import torch
from exact.two_modes import (
    ANSWERS,
    FASTER,
    MODE,
    N_SWEEPS,
    WAYS,
    WIDTH,
    deterministic,
    drawn,
    masses,
    payoff,
    played,
    recipe,
    train,
    worth,
)

import hetrl
from hetrl.net.chain_policy import ChainPolicy
from hetrl.net.deterministic_policy import DeterministicPolicy
from hetrl.net.diffusion_policy import DiffusionPolicy
from hetrl.net.squashed_gaussian_policy import SquashedGaussianPolicy
from hetrl.team import Agent, Box, Team

GAUSSIANS_BEST = 0.1302


def test_the_payoffs_by_hand():
    """Half a width off a mode is exp(-1 / 8) = 0.8825; the valley is exp(-4.5) = 0.0111."""
    one, other = torch.tensor([-0.6, 0.6, 0.0, 0.7]), torch.tensor([0.6, 0.6, 0.0, 0.6])
    torch.testing.assert_close(payoff("either", one, other), torch.tensor([1, 1, 0.0111, 0.9412]), atol=1e-4, rtol=0)
    torch.testing.assert_close(payoff("same", one, other), torch.tensor([0, 1, 0.0001, 0.8825]), atol=1e-4, rtol=0)
    torch.testing.assert_close(payoff("split", one, other), torch.tensor([1, 0, 0.0001, 0]), atol=1e-4, rtol=0)


def test_the_worth_is_of_all_pairs():
    """Of two agents with half of their draws at either mode, half of the pairs part."""
    actions = torch.tensor([[-0.6, 0.6], [-0.6, 0.6]])
    assert worth("split", actions) == pytest.approx(0.5) and worth("same", actions) == pytest.approx(0.5)


def test_what_one_policy_for_both_can_earn_where_they_have_to_part():
    """Seeing the same. What is earned is at most E e(a_1, -0.6) e(a_2, 0.6) + E e(a_1, 0.6) e(a_2, -0.6), so 2 f g for
    one policy, with f + g at most 1: 0.5, which half of the draws at either mode reach. One action earns nothing. Of
    a Gaussian behind tanh the best has mean 0 and deviation 0.79, found on a grid of both."""
    grid = torch.linspace(-1, 1, 2001)
    assert payoff("split", grid, grid).max() < 2e-4
    z = torch.linspace(-8, 8, 2001, dtype=torch.float64)
    share = (-0.5 * z.square()).softmax(-1)
    mean = torch.linspace(-1.5, 1.5, 31, dtype=torch.float64).view(-1, 1, 1)
    actions = torch.tanh(mean + torch.linspace(0.01, 3.0, 300, dtype=torch.float64).view(-1, 1) * z)
    low, high = ((share * (-(actions - place).square() / (2 * WIDTH**2)).exp()).sum(-1) for place in (-MODE, MODE))
    best = 2 * low * high
    assert best.max().item() == pytest.approx(GAUSSIANS_BEST, abs=5e-4)
    assert mean.flatten()[best.argmax() // 300].abs() < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize(("name", "least", "most"), [("chain_hasac", 0.42, 0.5), ("hasac", 0.1, 0.15)])
def test_agents_of_one_network_part_if_it_can_hold_two_actions(name, least, most):
    """With a learned critic, as the recipes are shipped. A Gaussian ends at its best, about 0.13."""
    actions = drawn(train(recipe(name, "split", False, 1000, "nets.actor.per=team")))
    assert least < worth("split", actions) < most


@pytest.mark.slow
@pytest.mark.parametrize(("name", "least", "most"), [("haqo_soft", 0.2, 0.5), ("chain_hasac", 0.0, 0.1)])
def test_two_equally_good_actions_with_a_learned_critic(name, least, most):
    """The lesser one's share of an agent's draws, critic and temperature learned, as the recipes are shipped: noise
    estimation keeps both, and a gradient through a chain one."""
    lesser = masses(drawn(train(recipe(name, "either", False, 1000))))[:, [0, 2]].amin(-1)
    assert ((lesser >= least) & (lesser < most)).all()


@pytest.mark.parametrize(
    ("policy", "varies"), [(ChainPolicy, True), (DiffusionPolicy, True), (SquashedGaussianPolicy, True),
                           (DeterministicPolicy, False)]
)  # fmt: skip
def test_what_is_drawn_varies_whatever_a_policy_can_say_of_it(policy, varies):
    """Also of one that has no log-prob of given actions; a deterministic one's noise is left out."""
    agent = Agent("a", "agents", 0, 1, Box((-1.0,), (1.0,)), "agents")
    team = Team((agent,), 1)
    linked = SimpleNamespace(team=team, policy=lambda agents: policy(agent, team, hidden=[8]))
    actions = drawn(SimpleNamespace(linked=linked), 64)
    assert actions.shape == (1, 64)
    assert (actions.std() > 0.1) == varies and (varies or actions.std() == 0)


@pytest.mark.slow
def test_it_learns_both_modes_where_its_candidates_have_both():
    """Two agents, either mode as good as the other. Each agent has 0.3 of its actions and more within 0.3 of either
    mode, and fewer in the valley than at the lesser mode; uniform actions have 0.3 everywhere."""
    shares = masses(played("HAQO, candidates from anywhere", "either", seed=0))
    lesser, valley = shares[:, [0, 2]].amin(-1), shares[:, 1]
    assert (lesser > 0.3).all() and (lesser > valley + 0.05).all()


@pytest.mark.slow
@pytest.mark.parametrize("way", ["HASAC", "HADDPG"])
def test_a_policy_of_one_mode_has_one_or_fills_the_valley(way):
    shares = masses(played(way, "either", seed=0))
    lesser, valley = shares[:, [0, 2]].amin(-1), shares[:, 1]
    assert ((lesser < 0.05) | (valley > 0.25)).all()


@pytest.mark.slow
def test_agents_that_must_agree_do_if_they_answer_what_the_others_would_do():
    """Only the two pairs of equal modes are worth anything. Both agents have 0.8 of their actions and more at one of
    them; where they answer each other's draws, each has 0.3 and more at both."""
    answers, draws = (
        masses(drawn(train(recipe("haqo", "same", True, N_SWEEPS, *FASTER, *more)))) for more in (ANSWERS, ())
    )
    assert (answers[:, 0] > 0.8).all() or (answers[:, 2] > 0.8).all()
    assert (draws[:, [0, 2]] > 0.3).all()


# ----- the uniform proxy


class Watch(L.Callback):
    """Looks at what the policies draw, every so many sweeps."""

    def __init__(self, every):
        self.every, self.seen, self.count = every, [], 0

    def on_train_start(self, trainer, pl_module):
        self.seen.append(drawn(pl_module))

    def on_train_batch_end(self, trainer, pl_module, *_):
        self.count += 1
        if self.count % self.every == 0:
            self.seen.append(drawn(pl_module))


def farthest(actions):
    """The greatest difference of an empirical distribution from the uniform one of -1 to 1, ``[..., count]``."""
    ordered, count = actions.sort(-1).values, actions.shape[-1]
    upto = (1 + ordered) / 2
    steps = torch.arange(count + 1) / count
    return torch.maximum((upto - steps[:-1]).abs(), (steps[1:] - upto).abs()).amax(-1)


def alone():
    """Return the recipe's actors' phase with no loss but the proxy."""
    tree = recipe("haqo", "either", True, 400, *FASTER, "update.actors.optim.lr={linear: [2e-3, 0.0]}").tree
    (actors,) = tree["update"]
    actors |= {"before": [], "prepare": [], "after": []}
    actors["steps"] = [{"net": "actor.denoise_uniform", "n": 4}, {"use": "loss/uniform_entropy", "coef": 1.0}]
    del tree["nets"]["q"], tree["nets"]["actor"]["target"], tree["data"]["n_candidates"]
    return hetrl.load(tree)


@pytest.mark.slow
def test_the_proxy_alone_makes_the_actions_uniform():
    """Of 4,096 actions the empirical distribution comes within 0.1 of the uniform one, for each agent. By chance alone
    that of uniform actions is 0.021 away in one case of twenty; a fresh policy is more than 0.12 away: N(0, 1) puts
    16% on either end."""
    watch = Watch(400)
    train(alone(), watch)
    fresh, trained = (farthest(actions) for actions in watch.seen)
    assert (fresh > 0.12).all() and (trained < 0.1).all()


@pytest.mark.slow
def test_the_proxy_keeps_the_covariance_from_collapsing():
    """With coef 0.2 a sixth of what is learned is uniform, of variance 1/3: at least half of 1/18 is left at any time.
    Without, what is left at the end is less than half of that floor. One number has one eigenvalue, its variance."""
    floor = 1 / 36
    for coef, holds in ((0.2, True), (0.0, False)):
        watch = Watch(50)
        overrides = (*FASTER, f"update.actors.steps.uniform_entropy.coef={coef}")
        train(recipe("haqo", "either", True, 300, *overrides), watch)
        variance = torch.stack(watch.seen).var(-1)
        assert (variance > floor).all() if holds else (variance[-1] < floor / 2).all()


def test_every_way_checks():
    """All that the picture trains links."""
    for name, anywhere, overrides in WAYS.values():
        assert recipe(name, "same", True, 1, *overrides, anywhere=anywhere).update


def test_the_latent_takes_a_side():
    """A fresh policy is about N(0, 1) in the box: its deterministic action follows the latent, both agents alike."""
    module = train(recipe("haqo", "same", True, 1, *FASTER))
    low, high = deterministic(module, -1.0), deterministic(module, 1.0)
    assert all(action < -0.3 for action in low) and all(action > 0.3 for action in high)
