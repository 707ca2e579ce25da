import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from hetrl.data.behaviour import Behaviour
from hetrl.errors import RecipeError, RunError
from hetrl.loss.path_kl import PathKL
from hetrl.net.diffusion_policy import DiffusionPolicy, NoisePredictor
from hetrl.ops.diffusion import noised, signal_rates
from hetrl.team import Agent, Box, Team

AGENT = Agent("a", "agents", 0, 3, Box((-1.0, 0.0), (1.0, 10.0)), "agents")
LOW, HIGH = torch.tensor(AGENT.action.low), torch.tensor(AGENT.action.high)


def policy(agent=AGENT, hidden=(16, 16), live=True, **arguments):
    """Return a policy, its last layer large enough (live) that what it predicts makes a difference."""
    net = DiffusionPolicy(agent, Team((agent,), agent.observation_size), hidden=list(hidden), **arguments)
    if live:
        nn.init.orthogonal_(net.body.body.last.weight, 1.0)
    return net


def moved(net, by=0.05):
    """Return a copy of the policy with other parameters."""
    other = policy()
    other.load_state_dict(net.state_dict())
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(by * torch.randn_like(parameter))
    return other


def seen(*shape):
    return torch.randn(*shape, AGENT.observation_size)


def exact(net, mean, std):
    """Put in place of the network the exact noise predictor of unit actions N(mean, std^2)."""
    rates = net.rates.double()

    def predict(x, time):
        rate = rates[time].unsqueeze(-1) if isinstance(time, torch.Tensor) else rates[time]
        return ((x - rate.sqrt() * mean) * (1 - rate).sqrt() / (rate * std**2 + 1 - rate)).to(x.dtype)

    net.body.given = lambda observation: predict
    return net


# ----- the network


@pytest.mark.parametrize("hidden", [[], [8], [8, 6, 4]])
def test_the_predictor_is_the_network_of_everything_side_by_side(hidden):
    """Splitting the first layer is only a way of working it out: point, observation and embedded step. What would be
    right of normal actions is added."""
    rates = signal_rates("cosine", 20)
    net = NoisePredictor(2, 3, rates, hidden, "mish").double()
    nn.init.normal_(net.body.last.weight)
    observation, point = seen(4, 1).double(), torch.randn(4, 5, 2).double()
    time = torch.randint(1, 21, (4, 5))
    angle = time.unsqueeze(-1) / 10_000 ** (torch.arange(16) / 15)
    embedded = net.embedding(torch.cat([angle.sin(), angle.cos()], -1).double())
    expected = torch.cat([point, observation.expand(4, 5, 3), embedded], -1)
    for linear in net.body.layers:
        expected = linear(functional.mish(expected) if linear is not net.body.layers[0] else expected)
    expected = expected + (1 - rates[time]).sqrt().unsqueeze(-1) * point
    predict = net.given(observation)
    torch.testing.assert_close(predict(point, time), expected, rtol=1e-5, atol=1e-5)  # the tables are of floats
    torch.testing.assert_close(predict(point, 7), predict(point, torch.full((4, 5), 7)))


def test_every_parameter_learns():
    net = policy()
    net.denoise(seen(9), torch.rand(9, 2, 2))["error"].sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in net.parameters())


def test_a_checkpoint_holds_parameters_only():
    net = policy()
    assert set(net.state_dict()) == {name for name, _ in net.named_parameters()}


# ----- drawing


@pytest.mark.parametrize("sampler", ["ancestral", "ddim"])
def test_actions_follow_the_noise_and_stay_within_their_bounds(sampler):
    net, observation = policy(sampler=sampler, n_sample_steps=5), seen(300)
    noise = net.noise((300,), torch.Generator().manual_seed(1))
    assert noise.shape == (300, 5 if sampler == "ancestral" else 1, 2)
    found = net.sample(observation, noise)["proposal"]
    assert torch.equal(found, net.draw(observation, noise))
    assert not torch.equal(found, net.draw(observation, net.noise((300,), torch.Generator().manual_seed(2))))
    assert ((found >= LOW) & (found <= HIGH)).all() and found[:, 1].max() > 1


def test_drawing_makes_its_own_noise_where_none_is_given():
    net, observation = policy(n_steps=6), seen(50)
    torch.manual_seed(3)
    found = net.sample(observation)["proposal"]
    torch.manual_seed(3)
    assert torch.equal(net.sample(observation, torch.randn(50, 6, 2))["proposal"], found)
    torch.manual_seed(3)
    found = net.candidates(observation, n=7)["candidates"]
    torch.manual_seed(3)
    assert torch.equal(net.candidates(observation, torch.randn(50, 7, 6, 2))["candidates"], found)


def test_each_candidate_is_a_sample():
    net, observation, noise = policy(n_steps=6), seen(4, 3), torch.randn(4, 3, 5, 6, 2)
    found = net.candidates(observation, noise)["candidates"]
    assert found.shape == (4, 3, 5, 2)
    for place in range(5):
        one = net.sample(observation, noise[:, :, place])["proposal"]
        torch.testing.assert_close(found[:, :, place], one, rtol=1e-4, atol=1e-4)


def test_an_exact_predictor_gives_its_distribution():
    """Unit actions N(0.2, 0.1^2) over bounds -1 to 1 and 0 to 10: means 0.2 and 6, deviations 0.1 and 0.5, in 500 steps
    less 4% (see the tests of the chain)."""
    net = exact(policy(n_steps=500), 0.2, 0.1)
    found = net.sample(seen(4000))["proposal"]
    torch.testing.assert_close(found.mean(0), torch.tensor([0.2, 6.0]), rtol=0.01, atol=0)
    torch.testing.assert_close(found.std(0), torch.tensor([0.096, 0.48]), rtol=0.04, atol=0)


def test_the_deterministic_action_is_the_quantile_of_its_latent():
    """With N(0.2, 0.1^2) from latent 0 the mean; from 1 one deviation above it."""
    for latent in (0.0, 1.0):
        net = exact(policy(n_steps=500, latent=latent), 0.2, 0.1)
        unit = torch.full((5, 2), 0.2 + 0.1 * latent)
        torch.testing.assert_close(net.greedy(seen(5)), LOW + (HIGH - LOW) * (1 + unit) / 2, rtol=0.01, atol=0.01)


@pytest.mark.parametrize("sampler", ["ancestral", "ddim"])
def test_the_deterministic_action_draws_nothing(sampler):
    net, observation = policy(sampler=sampler), seen(8)
    state = torch.get_rng_state()
    found = net.act(observation)["proposal"]
    assert torch.equal(net.greedy(observation), found) and torch.equal(torch.get_rng_state(), state)
    direct = policy(sampler="ddim")
    direct.load_state_dict(net.state_dict())
    torch.testing.assert_close(direct.draw(observation, torch.zeros(8, 1, 2)), found)


def test_a_fresh_policy_covers_the_box():
    """No more at either end than the 16% that N(0, 1) has beyond 1, and all tenths of the box at least half of their
    share; the deterministic action is near the middle."""
    net = policy(live=False)
    unit = (net.sample(seen(5000))["proposal"] - LOW) * 2 / (HIGH - LOW) - 1
    ends = [(unit <= -0.999).float().mean().item(), (unit >= 0.999).float().mean().item()]
    assert max(ends) < 0.16
    assert torch.histc(unit, 10, -1, 1).min() > 0.05 * unit.numel()
    assert ((net.greedy(seen(100)) - LOW) * 2 / (HIGH - LOW) - 1).abs().max() < 0.5


def test_agents_of_a_layout_act_in_one_batched_call():
    agents = tuple(Agent(f"a{i}", "agents", i, 3, AGENT.action, "agents") for i in range(3))
    nets = {agent.name: policy(agent, n_sample_steps=4) for agent in agents}
    together = Behaviour(Team(agents, 9), lambda lane: nets[lane[0].name])
    observation = seen(7, 3)
    found = together.explore({"agents": observation}, {}, torch.Generator().manual_seed(1))["agents"]
    noise = nets["a0"].noise((7, 3), torch.Generator().manual_seed(1))
    for index, net in enumerate(nets.values()):
        torch.testing.assert_close(found[:, index], net.draw(observation[:, index], noise[:, index]))
    greedy = together.greedy({"agents": observation}, {})["agents"]
    torch.testing.assert_close(greedy[:, 1], nets["a1"].greedy(observation[:, 1]))


# ----- denoising


def test_the_error_is_that_of_the_noise_it_is_given():
    """Where no noise is predicted, ||eps||^2: here 4 + 9 = 13 and 1, averaged 7."""
    net = policy()
    net.body.given = lambda observation: lambda x, time: torch.zeros_like(x)
    noise = torch.tensor([[[[2.0, 3.0], [1.0, 0.0]]]])
    out = net.denoise(seen(1), torch.rand(1, 1, 2), torch.tensor([[[4, 20]]]), noise)
    assert out["error"].tolist() == [[7]]


def test_an_exact_predictor_has_the_error_that_is_left():
    """Of a known action, the predictor of a point mass there leaves none; bounds are taken off before."""
    net = exact(policy(), torch.tensor([0.5, -0.6]), 0.0)
    chosen = torch.tensor([[[0.5, 2.0]]]).expand(6, 3, 2)  # 2.0 of 0 to 10 is -0.6
    assert net.denoise(seen(6), chosen, n=4)["error"].abs().max() < 1e-6
    assert net.denoise(seen(6), chosen + 0.1, n=4)["error"].min() > 0


def test_the_point_is_the_noised_action():
    net, asked = policy(), {}
    net.body.given = lambda observation: lambda x, time: asked.update(x=x, time=time) or torch.zeros_like(x)
    time, noise = torch.randint(1, 21, (4, 2, 3)), torch.randn(4, 2, 3, 2)
    chosen = LOW + (HIGH - LOW) * torch.rand(4, 2, 2)
    net.denoise(seen(4), chosen, time, noise)
    unit = ((chosen - LOW) * 2 / (HIGH - LOW) - 1).unsqueeze(-2).expand(4, 2, 3, 2)
    expected = noised(unit, noise, signal_rates("cosine", 20).float()[time])
    torch.testing.assert_close(asked["x"], expected)
    assert torch.equal(asked["time"], time)


def test_its_draws_cover_all_steps_alike_and_can_be_used_again():
    net, chosen = policy(), torch.rand(500, 2, 2)
    draws = net.denoising_draws(chosen, n=10)
    counts = draws["time"].flatten().bincount(minlength=21)
    assert counts[0] == 0 and len(counts) == 21
    assert (counts[1:] - 500).abs().max() < 5 * 500**0.5
    assert draws["noise"].shape == (500, 2, 10, 2) and draws["noise"].std().item() == pytest.approx(1, abs=0.03)
    observation = seen(500)
    once, again = (net.denoise(observation, chosen, **draws)["error"] for _ in range(2))
    assert once.shape == (500, 2) and torch.equal(once, again)  # a likelihood ratio of exactly 1
    assert not torch.equal(net.denoise(observation, chosen)["error"], net.denoise(observation, chosen)["error"])


def test_uniform_errors_are_those_of_uniform_actions():
    """A predictor of the point mass in the middle is off by sqrt(abar / (1 - abar)) times the unit action: its mean
    square over t and actions, two dimensions of 1/3 each."""
    net = exact(policy(n_steps=5), 0.0, 0.0)
    rates = signal_rates("cosine", 5)[1:]
    found = net.denoise_uniform(seen(4000), n=3)["error"]
    assert found.shape == (4000, 3)
    assert found.mean().item() == pytest.approx((rates / (1 - rates)).mean().item() * 2 / 3, rel=0.05)


def test_trained_on_uniform_actions_alone_a_collapsed_policy_covers_the_box_again():
    """First it learns one action, then uniform ones only: every quarter of each dimension has at least a third of
    its share, and the least eigenvalue of the covariance is at least half of the uniform's 1/12.

    A chain of 20 steps, even of the exact predictor, has 15% less variance than the uniform.
    """
    net, observation = policy(hidden=[64, 64], live=False), torch.zeros(128, 3)
    optimizer = torch.optim.Adam(net.parameters(), 2e-3)

    def train(error):
        for _ in range(200):
            optimizer.zero_grad()
            error()["error"].mean().backward()
            optimizer.step()
        with torch.no_grad():
            return (net.sample(torch.zeros(4000, 3))["proposal"] - LOW) / (HIGH - LOW)

    one = torch.tensor([0.5, 2.0]).expand(128, 4, 2)
    assert train(lambda: net.denoise(observation, one)).std(0).max() < 0.1
    unit = train(lambda: net.denoise_uniform(observation, n=4))
    for dim in range(2):
        share = torch.histc(unit[:, dim], 4, 0, 1) / 4000
        assert (share > 0.25 / 3).all(), share
    assert torch.linalg.eigvalsh(unit.T.cov()).min() > 0.5 / 12


# ----- paths


def test_a_path_is_the_chain_that_ends_in_the_sample():
    net, observation, noise = policy(n_steps=6), seen(4), torch.randn(4, 6, 2)
    out = net.path(observation, noise)
    assert [out[role].shape for role in ("path", "mean", "std")] == [(4, 6, 2), (4, 6, 2), (4, 6)]
    assert torch.equal(out["path"][:, 0], noise[:, 0])
    for step in range(1, 6):
        drawn = out["mean"][:, step - 1] + out["std"][:, step - 1, None] * noise[:, step]
        torch.testing.assert_close(out["path"][:, step], drawn)
    action = LOW + (HIGH - LOW) * (1 + out["mean"][:, -1]) / 2
    torch.testing.assert_close(action, net.sample(observation, noise)["proposal"])
    assert out["std"][0, -1] == 0 and (out["std"][0, :-1] > 0).all()


def test_the_path_of_a_sampler_without_noise_is_the_ancestral_one():
    net, noise, observation = policy(n_sample_steps=5), torch.randn(4, 5, 2), seen(4)
    direct = policy(sampler="ddim", n_sample_steps=5)
    direct.load_state_dict(net.state_dict())
    torch.testing.assert_close(direct.path(observation, noise), net.path(observation, noise))
    assert direct.path(observation)["path"].shape == (4, 5, 2)


def test_at_equal_parameters_the_drift_is_0_and_so_is_its_gradient():
    net, observation = policy(), seen(6)
    with torch.no_grad():
        out = net.path(observation)
    error = net.path_error(observation, out["path"], out["mean"], out["place"])["error"]
    assert error.shape == (6, 20, 2) and error.abs().max() < 1e-5
    loss = PathKL().compute(error, out["std"])["loss"].sum()
    assert loss < 1e-6
    slopes = torch.autograd.grad(loss, list(net.parameters()))
    assert max(slope.abs().max() for slope in slopes) < 1e-2  # beside the next test's
    other = moved(net)
    drift = other.path_error(observation, out["path"], out["mean"], out["place"])["error"]
    loss = PathKL().compute(drift, out["std"])["loss"].sum()
    assert loss > 0.1 and max(s.abs().max() for s in torch.autograd.grad(loss, list(other.parameters()))) > 1


def test_the_drift_is_the_difference_of_the_means():
    """Step by step along the same points, the old mean and the one that another policy has there."""
    net, observation = policy(n_steps=6), seen(4)
    other = policy(n_steps=6)
    out = net.path(observation)
    found = other.path_error(observation, out["path"], out["mean"], out["place"])["error"]
    predict = other.body.given(observation)
    for index, step in enumerate(other.ancestral):
        point = out["path"][:, index]
        mean = step.mean(point, predict(point, step.time))
        torch.testing.assert_close(found[:, index], mean - out["mean"][:, index], rtol=1e-4, atol=1e-5)


def test_steps_drawn_from_a_path_have_its_drift_on_average():
    """One or three steps of S = 6, their squares over 2 std^2 added up: the mean over 20,000 draws is that of all."""
    net, observation = policy(n_steps=6), seen(1)
    other, noise = policy(n_steps=6), torch.randn(1, 6, 2)

    def drift(out, observation):
        error = other.path_error(observation, out["path"], out["mean"], out["place"])["error"]
        return (error.square().sum(-1) / (2 * out["std"].clamp(min=0.1).square())).sum(-1)

    with torch.no_grad():
        whole = drift(net.path(observation, noise), observation)
        many, again = observation.expand(20_000, -1), noise.expand(20_000, -1, -1)
        for n in (1, 3):
            out = net.path(many, again, n=n)
            assert out["place"].shape == out["std"].shape == (20_000, n)
            found = drift(out, many)
            assert found.mean().item() == pytest.approx(whole.item(), abs=5 * found.std().item() / 20_000**0.5)


@pytest.mark.parametrize("n", [1, 3])
def test_all_errors_of_one_pass_are_those_of_three(n):
    net, observation, chosen = policy(n_sample_steps=5), seen(7), LOW + (HIGH - LOW) * torch.rand(7, 2, 2)
    other = moved(net)
    out = net.path(observation, n=2)
    path = (out["path"], out["mean"], out["place"])
    torch.manual_seed(5)
    found = other.denoise_all(observation, chosen, *path, n=n, n_uniform=3)
    torch.manual_seed(5)
    time, noise = other._steps(chosen, (7, 2 * n)), torch.randn(7, 2 * n, 2)
    one = other.denoise(observation, chosen, time.view(7, 2, n), noise.view(7, 2, n, 2))["error"]
    torch.testing.assert_close(found["error"], one)
    torch.testing.assert_close(found["uniform_error"], other.denoise_uniform(observation, n=3)["error"])
    torch.testing.assert_close(found["path_error"], other.path_error(observation, *path)["error"])


@pytest.mark.parametrize("sampler", ["ancestral", "multistep"])
def test_many_rows_are_worked_on_in_parts(sampler, monkeypatch):
    """Whatever fits in a cache, and also where the last part is smaller, the actions are the same."""
    net, observation = policy(sampler=sampler, n_sample_steps=4), seen(50)
    noise = torch.randn(50, 3, net.n_draws, 2)
    whole = net.candidates(observation, noise)["candidates"]
    parts = []
    given = net.body.given
    monkeypatch.setattr(net.body, "given", lambda seen: parts.append(len(seen)) or given(seen))
    net._rows = 24
    torch.testing.assert_close(net.candidates(observation, noise)["candidates"], whole)
    assert parts == [8] * 6 + [2]
    assert net.sample(observation[:5], noise[:5, 0])["proposal"].shape == (5, 2) and parts[-1] == 5


def test_no_rows_are_drawn_for():
    assert policy().draw(seen(0), torch.zeros(0, 20, 2)).shape == (0, 2)


def test_whole_numbers_for_bounds_are_as_good():
    """They once made a schedule of whole numbers, which is all noise."""
    whole = policy(Agent("a", "agents", 0, 3, Box((-1, 0), (1, 10)), "agents"))
    assert torch.equal(whole.rates, policy().rates) and whole.low.dtype == torch.float32


# ----- proposals around a noised point


def around(n_rows=20_000, **arguments):
    """Return a policy, and what it makes of one replayed and one own action, all rows alike."""
    net = policy(schedule="linear")
    action = torch.tensor([0.5, 2.0]).expand(n_rows, 2)
    return net, action, net.around(action, torch.tensor([-0.4, 9.0]).expand(n_rows, 2), **arguments)


@pytest.mark.parametrize(
    ("shares", "mean"),
    [({"own": 0.0, "uniform": 0.0}, (0.5, -0.6)), ({"own": 1.0, "uniform": 0.0}, (-0.4, 0.8)),
     ({"own": 0.0, "uniform": 1.0}, (0.0, 0.0)), ({"own": 0.5, "uniform": 0.25}, (-0.075, 0.25))],
)  # fmt: skip
def test_points_are_noised_replayed_own_and_uniform_actions(shares, mean):
    """sqrt(abar) of the mean action of the three, scaled to -1 to 1; 2 and 9 of 0 to 10 are -0.6 and 0.8."""
    net, _, out = around(n=1, **shares)
    signal = net.rates[out["time"]].sqrt().unsqueeze(-1)
    assert out["time"].min() == 1 and out["time"].max() == net.n_steps
    found = (out["point"] * signal).mean(0) / signal.square().mean()
    torch.testing.assert_close(found, torch.tensor(mean), atol=0.03, rtol=0)


def test_candidates_are_what_may_have_led_to_the_point():
    """Normal around x / sqrt(abar), in the box: their mean and variance are those of such a normal on a fine grid."""
    net, _, out = around(n_rows=40, n=4000)
    rate = net.rates[out["time"]].view(-1, 1, 1).double()
    assert ((out["candidates"] >= LOW) & (out["candidates"] <= HIGH)).all()
    unit = net._unit(out["candidates"]).double()
    grid = torch.linspace(-1, 1, 4001, dtype=torch.float64)
    log = -(grid - out["point"].unsqueeze(-1).double() / rate.sqrt()).square() * rate / (2 * (1 - rate))
    share = log.softmax(-1)
    mean = (share * grid).sum(-1)
    variance = (share * (grid - mean.unsqueeze(-1)).square()).sum(-1)
    assert ((unit.mean(1) - mean).abs() < 5 * (variance / 4000).sqrt() + 1e-3).all()
    torch.testing.assert_close(unit.var(1), variance, rtol=0.15, atol=1e-4)


def test_all_candidates_count_alike_where_none_is_drawn_near_the_proposal():
    assert (around(n_rows=5, n=4)[2]["prior"] == 0).all()


@pytest.mark.parametrize(("near", "width"), [(0.25, 0.1), (0.5, 0.3), (0.75, 2.0)])
def test_candidates_near_the_proposal_are_counted_so_that_means_stay(near, width):
    """With the prior the weighted mean and variance are those of what may have led to the point, on a fine grid; the
    last share of them is around the proposal, at -0.4 and 0.8, and none counts more than 1 / (1 - near)."""
    net, _, out = around(n_rows=30, n=4000, near=near, width=width)
    rate = net.rates[out["time"]].view(-1, 1, 1).double()
    unit, weight = net._unit(out["candidates"]).double(), out["prior"].double().softmax(-1).unsqueeze(-1)
    grid = torch.linspace(-1, 1, 4001, dtype=torch.float64)
    log = -(grid - out["point"].unsqueeze(-1).double() / rate.sqrt()).square() * rate / (2 * (1 - rate))
    mean = (log.softmax(-1) * grid).sum(-1)
    variance = (log.softmax(-1) * (grid - mean.unsqueeze(-1)).square()).sum(-1)
    found = (weight * unit).sum(1)
    n_effective = 1 / weight.square().sum(1)
    assert (n_effective > 4000 * (1 - near) / 2).all()
    assert ((found - mean).abs() < 5 * (variance / n_effective).sqrt() + 1e-3).all()
    torch.testing.assert_close((weight * (unit - found.unsqueeze(1)).square()).sum(1), variance, rtol=0.2, atol=1e-4)
    assert out["prior"].max() <= -math.log(1 - near) + 1e-5
    if width == 0.1:
        close = unit[:, -round(near * 4000) :]
        torch.testing.assert_close(close.mean((0, 1)), torch.tensor([-0.4, 0.8]).double(), atol=0.02, rtol=0)
        assert (close - torch.tensor([-0.4, 0.8])).abs().max() < 0.6


def test_refuses_to_draw_all_candidates_near_the_proposal():
    said = r"^around: near = 0\.9 leaves none of n = 4 candidates to the point; lower one\.$"
    with pytest.raises(RunError, match=said):
        around(n_rows=2, n=4, near=0.9)


def test_a_point_implies_the_noise_that_weighted_candidates_leave():
    """By hand: x = 0.8, abar = 0.64 and candidates 1 and 0 weighed 3/4 and 1/4 leave (0.8 - 0.8 0.75) / 0.6 = 1/3."""
    line = Agent("a", "agents", 0, 3, Box((0.0,), (4.0,)), "agents")
    net = policy(line, n_steps=2)
    net.rates = torch.tensor([1.0, 0.64, 0.001])
    found = net.implied_noise(
        torch.tensor([[0.8]]), torch.tensor([1]), torch.tensor([[[4.0], [2.0]]]), torch.tensor([[0.75, 0.25]])
    )
    torch.testing.assert_close(found["noise"], torch.tensor([[1 / 3]]))


def test_the_predicted_noise_is_the_networks_at_each_points_step():
    net, observation = policy(), seen(6)
    out = net.around(LOW.expand(6, 2), HIGH.expand(6, 2), n=2)
    found = net.predict(observation, out["point"], out["time"])["noise"]
    for row in range(6):
        alone = net.body.given(observation[row])(out["point"][row], out["time"][row])
        torch.testing.assert_close(found[row], alone)


@pytest.mark.parametrize(
    ("std", "n", "near", "off"),
    [(0.2, 64, 0.0, 0.1), (0.2, 64, 0.5, 0.1), (0.1, 16, 0.5, 0.1), (0.1, 4, 0.5, 0.15), (0.2, 4, 0.5, 0.15)],
)
def test_the_entropy_of_weights_is_that_of_the_policy_in_the_mean(std, n, near, off):
    """Weights of a normal, points of draws of it: ln(std sqrt(2 pi e)) for each of two dimensions, and ln 5 more in
    units five times as long. Within 0.04 of the formula; the rest is draws, and a bias of few candidates."""
    net = policy(schedule="linear")
    own = torch.stack([std * torch.randn(40_000), 5 + 5 * std * torch.randn(40_000)], -1)
    out = net.around(own, own, n=n, own=1.0, uniform=0.0, near=near)
    weight = (out["prior"] - (net._unit(out["candidates"]) / std).square().sum(-1) / 2).softmax(-1)
    found = net.entropy(out["time"], out["candidates"], weight)
    torch.testing.assert_close(found["log_prob"], -found["entropy"])
    expected = 2 * (math.log(std) + 0.5 * math.log(2 * math.pi * math.e)) + math.log(5)
    spread = found["entropy"].std().item() / 40_000**0.5
    assert spread < 0.035
    assert found["entropy"].mean().item() == pytest.approx(expected, abs=off + 3 * spread)


def test_the_entropy_of_one_point_by_hand():
    """Candidates 1 and -1 weighed evenly have the variance 1 / (1 - 1/2) = 2; of one that counts alone it is none."""
    net = policy(Agent("a", "agents", 0, 3, Box((-1.0,), (1.0,)), "agents"), n_steps=4)
    candidates, even = torch.tensor([[[1.0], [-1.0]]]), torch.tensor([[0.5, 0.5]])
    noise = (1 - net.rates) / net.rates
    of_normal = noise * 0.01 / (noise + 0.01)
    h = 0.5 * ((net.counts * of_normal).sum() + (2 * math.pi * math.e * of_normal[1]).log())
    for time in (1, 3):
        found = net.entropy(torch.tensor([time]), candidates, even)["entropy"]
        expected = h + 4 * net.counts[time] * (2 - of_normal[time]) / 2
        torch.testing.assert_close(found[0], expected + (2 * (2 / of_normal[1]).log() if time == 1 else 0))
    alone = net.entropy(torch.tensor([3]), candidates, torch.tensor([[1.0, 0.0]]))["entropy"]
    torch.testing.assert_close(alone[0], h - 4 * net.counts[3] * of_normal[3] / 2)


def test_refuses_shares_that_are_more_than_everything():
    with pytest.raises(
        RunError, match=r"^around: own = 0\.9 and uniform = 0\.2 are more than 1 together; lower one\.$"
    ):
        around(n_rows=2, own=0.9, uniform=0.2)


# ----- refusals


def test_refuses_noise_of_another_chain():
    net, observation = policy(n_steps=6), seen(4)
    direct = policy(n_steps=6, sampler="ddim")
    for draw in (
        lambda: net.sample(observation, torch.randn(4, 1, 2)),
        lambda: net.path(observation, torch.randn(4, 7, 2)),
    ):
        with pytest.raises(RunError, match=r"^the chain takes 6 draws of noise, and there are [17]\.$"):
            draw()
    with pytest.raises(RunError, match=r"^the chain takes 1 draws of noise, and there are 6\.$"):
        direct.draw(observation, torch.randn(4, 6, 2))


def test_refuses_half_of_what_was_drawn():
    net, observation = policy(), seen(4)
    chosen = net.candidates(observation, n=2)["candidates"]
    with pytest.raises(RunError, match="steps and noises belong together"):
        net.denoise(observation, chosen, noise=torch.randn(4, 2, 3, 2))


def test_refuses_actions_without_bounds():
    free = Agent("a", "agents", 0, 1, Box((-math.inf,), (1.0,)), "agents")
    with pytest.raises(RecipeError, match=r"^agent 'a' has an action without bounds; use net/gaussian_policy\.$"):
        policy(free)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"n_steps": 0}, r"^DiffusionPolicy: n_steps = 0"),
        ({"n_steps": 4, "n_sample_steps": 5}, r"^n_sample_steps = 5 is more than n_steps = 4; lower it\.$"),
        ({"schedule": "cosin"}, r"^DiffusionPolicy: schedule = 'cosin'"),
        ({"spacing": "odd"}, r"^DiffusionPolicy: spacing = 'odd'"),
        ({"sampler": "ddpm"}, r"^DiffusionPolicy: sampler = 'ddpm'"),
    ],
)
def test_refuses_wrong_arguments(values, text):
    with pytest.raises(RecipeError, match=text):
        policy(**values)
