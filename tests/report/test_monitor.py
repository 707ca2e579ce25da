"""The bound monitor: its figures where they are known, and that the run does not notice it."""

import pytest
import torch

import hetrl
from hetrl.errors import RunError
from hetrl.report.bound import draw
from hetrl.report.bound_terms import BeforeSweep, measure
from hetrl.report.critic import discount
from hetrl.report.monitor import BoundMonitor
from hetrl.report.rollout import Rollout
from hetrl.runs.csv_table import read
from hetrl.runs.run import resume, train
from hetrl.train.build import build

TINY = ["task.n_envs=2", "task.horizon=9", "nets.actor.hidden=[8]", "nets.q.hidden=[8]", "data.warmup=40",
        "data.batch=8", "run.frames=60", "run.n_eval_episodes=3", "run.device=cpu"]  # fmt: skip
# Lightning's advice for other kinds of training: a short epoch.
pytestmark = pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*")
AGENTS = ("agent_0", "agent_1", "agent_2")


def figures(folder):
    rows = read(folder.metrics)
    return [{name: value for name, value in row.items() if "bound/" not in name} for row in rows if len(row) > 1]


@pytest.mark.parametrize("recipe", ["haqo", "hasac"])
def test_the_run_is_the_same_with_it_and_without(recipe, tmp_path):
    plain = train(hetrl.load(recipe, *TINY), tmp_path / "plain", quiet=True)
    watched = train(hetrl.load(recipe, *TINY), tmp_path / "watched", callbacks=[BoundMonitor(10)], quiet=True)
    assert figures(plain) == [row for row in figures(watched) if len(row) > 1]
    one, other = (folder.load_checkpoint() for folder in (plain, watched))
    assert all(torch.equal(one["state_dict"][name], value) for name, value in other["state_dict"].items()
               if isinstance(value, torch.Tensor))  # fmt: skip
    assert all(torch.equal(one["hetrl"]["global"]["torch"], each["hetrl"]["global"]["torch"]) for each in (one, other))
    measured = [row for row in read(watched.metrics) if "bound/change" in row]
    # The warm-up, 40, has no sweep; of haqo every other sample has one: the second, sixth, and so on.
    assert [row["frames"] for row in measured] == {"haqo": [44, 52, 60], "hasac": [42, 50, 60]}[recipe]
    assert all(row[f"bound/{agent}/kl"] > 0 for row in measured for agent in AGENTS)
    for name in ("kl", "least_eigenvalue", "gain"):
        assert all(f"bound/{agent}/{name}" in row for row in measured for agent in AGENTS)
    for row in measured:
        assert row["bound/gain"] == pytest.approx(sum(row[f"bound/{agent}/gain"] for agent in AGENTS), abs=1e-5)
        assert row["bound/critic_error"] >= abs(row["bound/critic_bias"])
    assert draw(watched.path, tmp_path / "bound.png").stat().st_size > 10_000


def test_a_resumed_run_can_be_watched(tmp_path):
    plain = train(hetrl.load("hasac", *TINY, "run.frames=80"), tmp_path / "plain", quiet=True)
    train(hetrl.load("hasac", *TINY), tmp_path / "watched", callbacks=[BoundMonitor(20)], quiet=True)
    watched = resume(tmp_path / "watched", "run.frames=80", callbacks=[BoundMonitor(10)], quiet=True)
    one, other = (folder.load_checkpoint()["state_dict"] for folder in (plain, watched))
    assert all(torch.equal(one[name], value) for name, value in other.items() if isinstance(value, torch.Tensor))


def linked(recipe, *changes):
    module, _ = build(hetrl.load(recipe, *TINY, *changes))
    return module.linked


@pytest.mark.parametrize("recipe", ["haqo", "hasac"])
def test_where_nothing_has_changed_nothing_is_gained(recipe):
    nets = linked(recipe)
    found = measure(nets, BeforeSweep.of(nets), torch.device("cpu"), 0)
    assert found["change"] == found["change_error"] == found["gain"] == 0
    assert all(found[f"{agent}/kl"] == pytest.approx(0, abs=1e-6) for agent in AGENTS)


def test_gain_kl_and_eigenvalue_of_a_known_change():
    """Squashed Gaussians of deviation e^-1, means 0, of which one agent's moves to 0.1: KL 0.1^2 / (2 e^-2) = 0.0369
    for each of two dimensions. The critic counts that agent's first action 3 times and nothing else, so that its gain
    is 3 times how much tanh(0.1 + u) exceeds tanh(u), whatever the order, and the others' is 0."""
    nets = linked("hasac")
    with torch.no_grad():
        for parameter in nets.parameters():
            parameter.zero_()
        for agent in nets.team.agents:
            nets.policy((agent,)).head.body.last.bias[2:] = -1.0 if agent.name else 0.0
    before = BeforeSweep.of(nets)
    with torch.no_grad():
        nets.policy((nets.team.agents[1],)).head.body.last.bias[:2] = 0.1
    critic = nets.nets["q"].of(())
    critic.q = lambda state, action: {"q": 3 * action[1][..., 0].expand(2, *action[1].shape[:-1])}
    found = measure(nets, before, torch.device("cpu"), 0)
    assert [found[f"{agent}/kl"] for agent in AGENTS] == pytest.approx([0, 2 * 0.01 / (2 * torch.e**-2), 0], abs=1e-4)
    u = torch.randn(200_000) / torch.e
    expected = 3 * ((0.1 + u).tanh() - u.tanh()).mean().item()
    assert found["agent_1/gain"] == found["gain"] == pytest.approx(expected, rel=0.05)
    assert found["agent_0/gain"] == found["agent_2/gain"] == 0
    variance = u.tanh().var().item()  # the lesser of two sampled eigenvalues is below it
    assert 0.6 * variance < found["agent_0/least_eigenvalue"] < variance
    assert found["critic_spread"] == 0


def test_the_bias_is_against_discounted_returns():
    """Rewards 1, 1, 1 and then cut, gamma 0.5, the value everywhere 4: returns 2.25, 2.5 and 3 where 4 stands for the
    rest. Terminated: 1.75, 1.5 and 1."""
    team = linked("hasac").team
    seen = {"agents": torch.zeros(3, 1, 3, team.agents[0].observation_size)}
    end = (torch.zeros(1, team.state_size), ())
    for terminated, returns in ((False, [2.25, 2.5, 3.0]), (True, [1.75, 1.5, 1.0])):
        rollout = Rollout(seen, {}, {"agents": torch.zeros(3, 1, 3, 2)}, torch.ones(3, 1),
                           torch.ones(3, 1, dtype=torch.bool), torch.tensor([terminated]), end)  # fmt: skip
        found = rollout.bias(team, lambda state, action: torch.full((2, *state.shape[:-1]), 4.0), 0.5)
        assert found["critic_bias"].item() == pytest.approx(4 - sum(returns) / 3)
        assert found["critic_error"] == found["critic_bias"] and found["critic_spread"] == 0


def test_the_discount_is_the_critics():
    """Written or left to its default, in the data or in a step, whichever phase that is in."""
    assert discount(hetrl.load("haqo", "data.gamma=0.9")) == 0.9
    assert discount(hetrl.load("happo", "update.estimate.steps.gae.gamma=0.8")) == 0.8
    silent = hetrl.load("happo").tree
    silent["update"][0]["steps"] = [{"use": "estimate/gae"}]
    assert discount(hetrl.load(silent)) == 0.99
    silent["update"][0]["steps"] = [{"net": "value"}]
    with pytest.raises(RunError, match=r"^the bound monitor .* neither data/on_policy nor a step .* takes a gamma"):
        discount(hetrl.load(silent))


def test_recurrent_policies_are_refused(tmp_path):
    recipe = hetrl.load("recurrent_happo", "run.frames=400", "run.device=cpu")
    with pytest.raises(RunError, match=r"^the bound monitor measures policies without a memory"):
        train(recipe, tmp_path / "run", callbacks=[BoundMonitor(100)], quiet=True)


def test_refuses_what_it_could_not_measure(tmp_path):
    for every in (0, -5, 2.5):
        with pytest.raises(RunError, match=r"^the bound monitor measures after every so many frames"):
            BoundMonitor(every)
    with pytest.raises(RunError, match=r"^the bound monitor needs run.n_eval_episodes of 2 or more"):
        train(
            hetrl.load("haqo", *TINY, "run.n_eval_episodes=1"),
            tmp_path / "run",
            callbacks=[BoundMonitor(10)],
            quiet=True,
        )


def test_a_run_without_it_has_no_page(tmp_path):
    (tmp_path / "metrics.csv").write_text("frames,return\n1,2\n")
    with pytest.raises(RunError, match="has no figures of the bound; train with --monitor"):
        draw(tmp_path, tmp_path / "page.png")
