import math

import pytest
import torch
from torch.nn import functional

import hetrl
from hetrl.engine.store import Store
from hetrl.errors import RecipeError, RunError
from hetrl.net.chain_policy import ChainPolicy
from hetrl.net.squashed_gaussian_policy import SquashedGaussianPolicy
from hetrl.ops.chain import chain, cross_entropy_back
from hetrl.ops.tanh import log_slope, squash
from hetrl.team import Agent, Box, Team

LOW, HIGH = torch.tensor([-0.5, 0.0]), torch.tensor([2.0, 10.0])
AGENT = Agent("a", "agents", 0, 3, Box((-0.5, 0.0), (2.0, 10.0)), "agents")


def policy(agent=AGENT, seed=0, moved=0.0, **values):
    torch.manual_seed(seed)
    net = ChainPolicy(agent, Team((agent,), agent.observation_size), **{"hidden": [16], "step_hidden": [8, 8]} | values)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += moved * torch.randn_like(parameter)
    return net.double()


def seen(*rows):
    return torch.randn(*rows, 3, dtype=torch.float64)


def noise_of(net, *rows):
    return net.noise(rows, torch.Generator().manual_seed(3)).double()


@pytest.mark.parametrize("n_steps", [1, 3, 4])
def test_a_fresh_policys_log_prob_is_that_of_a_standard_normal_behind_tanh(n_steps):
    """Draw by draw, over bounds that are not symmetric."""
    net = policy(n_steps=n_steps)
    out = net.sample(seen(60), noise_of(net, 60))
    plain = SquashedGaussianPolicy(AGENT, Team((AGENT,), 3), hidden=[], std="state_independent", std_map="exp").double()
    with torch.no_grad():
        plain.head.body[0].weight.zero_()
    expected = plain.log_prob(seen(60), out["proposal"])["log_prob"]
    torch.testing.assert_close(out["proposal_log_prob"], expected, rtol=0, atol=1e-6)
    assert out["proposal"].std(0).min() > 0.3  # and it covers the box


def test_a_step_is_an_mlp_of_point_observation_and_step():
    """Side by side, as one network of two parts."""
    net, observation, point = policy(moved=0.3), seen(5), torch.randn(5, 2).double()
    body = net.body
    of_observation, of_point = body.known.layers, body.point.weight
    for k in range(4):
        hot = functional.one_hot(torch.full((5,), k), 4).double()
        x = functional.relu(of_observation[0](observation))
        x = of_observation[1](x) + torch.cat([point, hot], -1) @ of_point.t()
        for linear in body.step.layers:
            x = linear(functional.relu(x))
        shift, raw = x.chunk(2, -1)
        torch.testing.assert_close(body(body.seen(observation)[k], point), (shift, raw.clamp(-20, 2)))


def test_a_proposal_is_the_chains_end_squashed():
    """And the slope of the squashing, of scale 1.25 and 5, is part of its log-prob."""
    net, observation = policy(moved=0.3), seen(7)
    noise = noise_of(net, 7)
    made = net.body.seen(observation)
    x, log_prob = chain(lambda point, k: net.body(made[k], point), net.rates, noise)
    out = net.sample(observation, noise)
    torch.testing.assert_close(out["proposal"], squash(x, LOW, HIGH))
    torch.testing.assert_close(out["proposal_log_prob"], log_prob - log_slope(x) - math.log(1.25 * 5))
    assert ((out["proposal"] > LOW) & (out["proposal"] < HIGH)).all()
    torch.testing.assert_close(net.draw(observation, noise), out["proposal"])


def test_of_one_step_its_mean_is_never_below_that_of_the_log_prob():
    """One step of a random network, in one dimension: the density of u by quadrature over the x_1 that lead to it."""
    line = Agent("a", "agents", 0, 3, Box((-1.0,), (1.0,)), "agents")
    for seed in range(5):
        net = policy(line, seed, moved=0.6, n_steps=1)
        body, observation = net.body, seen(1)
        start = torch.linspace(-7, 7, 2001, dtype=torch.float64).unsqueeze(-1)
        (made,) = body.seen(observation)
        with torch.no_grad():
            shift, raw = body(made.expand(2001, -1), start)
            noise = noise_of(net, 20_000)
            u, score = chain(lambda point, k, body=body, made=made: body(made, point), net.rates, noise)
        means, deviation = math.sqrt(0.3) * start + shift, math.sqrt(0.7) * raw.exp()
        log_share = torch.distributions.Normal(0, 1).log_prob(start) + math.log(14 / 2000)
        each = torch.distributions.Normal(means, deviation).log_prob(u.squeeze(-1))
        gap = score - torch.logsumexp(log_share + each, 0)
        assert gap.mean() > 3 * gap.std() / 20_000**0.5


def test_gradients_reach_all_parameters():
    net = policy(moved=0.3)
    out = net.sample(seen(9), noise_of(net, 9))
    (out["proposal"].sum() + out["proposal_log_prob"].sum()).backward()
    assert all(each.grad.abs().sum() > 0 for each in net.parameters())


def test_the_deterministic_action_starts_from_the_latent_and_has_no_noise():
    net, observation = policy(moved=0.3, latent=0.7), seen(4)
    noise = torch.zeros(4, 5, 2, dtype=torch.float64)
    noise[:, 0] = 0.7
    torch.testing.assert_close(net.greedy(observation), net.draw(observation, noise))
    torch.testing.assert_close(net.act(observation)["proposal"], net.greedy(observation))
    assert not torch.allclose(policy(moved=0.3).greedy(observation), net.greedy(observation))


def test_candidates_are_what_sample_draws():
    net, observation = policy(moved=0.3), seen(6)
    noise = noise_of(net, 6, 5)
    found = net.candidates(observation, noise)["candidates"]
    for each in range(5):
        torch.testing.assert_close(found[:, each], net.sample(observation, noise[:, each])["proposal"])
    assert net.candidates(observation, n=3)["candidates"].shape == (6, 3, 2)


def test_sampling_draws_its_own_noise_where_none_is_given():
    net, observation = policy(), seen(50)
    torch.manual_seed(3)
    found = net.sample(observation)
    torch.manual_seed(3)
    expected = net.sample(observation, torch.randn(50, 5, 2, dtype=torch.float64))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_bounds_are_no_state():
    assert not {"low", "high"} & set(policy().state_dict())


LINE = Agent("a", "agents", 0, 3, Box((-0.5,), (2.0,)), "agents")


def test_candidates_around_a_point_count_as_what_it_may_have_been():
    """Under uniform actions, where Q says nothing: the mean of the clean action given its noised point, by quadrature
    over the box. The points of all steps; own, replayed and uniform ones."""
    net = policy(LINE)
    action, own = (-0.5 + 2.5 * torch.rand(300, 1).double() for _ in range(2))
    found = net.around(action, own, n=2000, own=0.3, uniform=0.3)
    share = found["prior"].softmax(-1).unsqueeze(-1)
    grid = -0.5 + 2.5 * (torch.arange(4000).double() + 0.5) / 4000
    u = torch.atanh((grid + 0.5) / 1.25 - 1)
    left = net.steps.double().prod(0)[found["time"]]  # b abar is what the last step took: abar less it is left
    left = net.steps.double()[1][found["time"]] - left
    near = torch.distributions.Normal(left.sqrt().unsqueeze(-1) * u, (1 - left).sqrt().unsqueeze(-1))
    expected = near.log_prob(found["point"]).softmax(-1) @ grid
    apart = (share * found["candidates"]).sum(-2).squeeze(-1) - expected
    assert found["time"].unique().tolist() == [0, 1, 2, 3]
    assert apart.abs().mean() < 0.01 and apart.mean().abs() < 0.002
    assert found["candidates"].min() >= -0.5 and found["candidates"].max() <= 2.0


@pytest.mark.parametrize(("own", "uniform", "place"), [(1.0, 0.0, 1.9), (0.0, 0.0, -0.4), (0.0, 1.0, None)])
def test_points_are_made_of_what_is_asked(own, uniform, place):
    """Of the proposal, of what was done, or of anything in the box."""
    net = policy(LINE)
    action, proposal = torch.full((4000, 1), -0.4).double(), torch.full((4000, 1), 1.9).double()
    found = net.around(action, proposal, n=2, own=own, uniform=uniform)
    left = net.steps.double()[1] * (1 - net.steps.double()[0])
    last = found["time"] == 0
    u = (found["point"][last] / left[0].sqrt()).squeeze(-1)  # of deviation 1 / 3 around where it came from
    if place is None:
        assert u.std() > 0.8
    else:
        assert u.mean().item() == pytest.approx(math.atanh((place + 0.5) / 1.25 - 1), abs=0.05)
        assert u.std().item() == pytest.approx(1 / 3, abs=0.03)


def test_how_unlikely_the_step_to_a_single_candidate_is():
    """With one candidate of all the weight: as of that clean point, by the step's own network."""
    net, observation = policy(moved=0.3), seen(8)
    action = LOW + (HIGH - LOW) * torch.rand(8, 2)
    found = net.around(action.double(), action.double(), n=4)
    weight = functional.one_hot(torch.full((8,), 2), 4).double()
    error = net.backward_error(observation, found["point"], found["time"], found["candidates"], weight)["error"]
    made = net.body.seen(observation)
    for row in range(8):
        k = found["time"][row].item()
        shift, raw = net.body(made[k][row], found["point"][row])
        clean = torch.atanh((found["candidates"][row, 2] - LOW) * 2 / (HIGH - LOW) - 1)
        numbers = net.steps.double()[:, k].unsqueeze(-1)
        of_one = cross_entropy_back(shift, raw, found["point"][row], clean, torch.zeros(2).double(), *numbers)
        torch.testing.assert_close(error[row], of_one)


def test_refuses_shares_above_1_and_odd_numbers():
    net = policy(LINE)
    for wrong in ({"own": 0.7, "uniform": 0.5}, {"n": 3}):
        with pytest.raises(RunError, match=r"^around: .* add up to 1 at most, and n = \d+ is even\.$"):
            net.around(torch.zeros(2, 1).double(), torch.zeros(2, 1).double(), **wrong)


def test_refuses_noise_of_another_chain():
    with pytest.raises(RunError, match=r"^the chain takes 5 draws of noise, and there are 4\.$"):
        policy().sample(seen(4), torch.randn(4, 4, 2).double())


def test_refuses_actions_without_bounds():
    free = Agent("a", "agents", 0, 3, Box((-math.inf,), (1.0,)), "agents")
    with pytest.raises(RecipeError, match=r"^agent 'a' has an action without bounds; use net/gaussian_policy\.$"):
        policy(free)


def test_it_stands_where_a_squashed_gaussian_does():
    """One word of a recipe, and it is checked and linked; the rest is that recipe."""
    chain_, gaussian = hetrl.load("chain_hasac").tree, hetrl.load("hasac").tree
    assert {word for word in chain_ if chain_[word] != gaussian[word]} == {"about", "nets"}
    assert {net for net in chain_["nets"] if chain_["nets"][net] != gaussian["nets"][net]} == {"actor"}
    hetrl.check(hetrl.load("masac", "nets.actor={use: net/chain_policy, per: agent}"))


def test_an_actors_phase_moves_the_policies_and_nothing_else():
    """The gradient goes through the critic, the temperature and all steps of the chain, and stays in none but these."""
    words = ["task.n_envs=4", "task.horizon=7", "data.capacity=100", "data.batch=16", "data.warmup=40", "run.frames=44",
             "run.device=cpu"]  # fmt: skip
    module, data = hetrl.load("chain_hasac", *words).build()
    source = data.source
    samples = []
    while not samples:
        samples = list(source.collect().samples)
    store = Store(module.linked.team, samples[0])
    critic, actors = module.phases[:2]
    for phase in (critic, actors, actors):  # at first the last layer is 0, and lets no gradient through
        before = {name: value.clone() for name, value in module.named_parameters()}
        phase.run(store, 0.0, torch.Generator(), lambda optimizer, closure: optimizer.step(closure))
        moved = {name for name, value in module.named_parameters() if not torch.equal(value, before[name])}
    own = {name for name, value in module.named_parameters() if ".actor." in name or "actor" in name.split(".")}
    source.close()
    assert moved <= own
    assert {name.rsplit(".", 1)[0] for name in moved} == {name.rsplit(".", 1)[0] for name in own}
