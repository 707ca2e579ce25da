"""The fork: two arms that are equally good, chosen once; the middle and the edges lead through none."""

import math

import pytest
import torch
from env.scenario.scripted import play
from torch import Tensor

import hetrl
from hetrl.env.physique import physique
from hetrl.env.vmas import Vmas
from hetrl.errors import RecipeError

STEPS = 10


def rudders(one, other):
    """Return a script whose boats hold their rudders; numbers, or one for each environment."""

    def script(seen):
        return {
            name: torch.as_tensor(rudder).expand(len(seen[name])).unsqueeze(-1)
            for name, rudder in (("boat_0", one), ("boat_1", other))
        }

    return script


def earned(one, other, n_envs=2, **arguments):
    """Return what the team earns in each environment with these rudders."""
    found, over = play(rudders(one, other), "fork", n_envs=n_envs, horizon=STEPS, **arguments)
    assert over.all()
    return found


def arms(rudder: Tensor) -> Tensor:
    """Return the arm that each rudder leads through, 1 above, -1 below, 0 none: paid with a mate above, below."""
    above, below = (earned(rudder, mate, len(rudder), together=True) for mate in (0.6, -0.6))
    return above - below


@pytest.mark.parametrize(
    ("one", "other", "apart", "together"),
    [
        (0.6, -0.6, 1, 0), (-0.6, 0.6, 1, 0), (0.6, 0.6, 0, 1), (-0.4, -0.8, 0, 1), (0.4, -0.8, 1, 0),
        (0.0, 0.6, 0, 0), (-0.6, 0.2, 0, 0), (0.0, 0.0, 0, 0), (1.0, -0.6, 0, 0), (1.0, 1.0, 0, 0),
    ],
)  # fmt: skip
def test_who_is_paid(one, other, apart, together):
    assert earned(one, other).tolist() == [apart] * 2
    assert earned(one, other, together=True).tolist() == [together] * 2


def test_an_arm_is_a_quarter_of_the_rudders():
    """The bow takes those within 0.35, the banks those beyond 0.85: of 2,000 evenly spread, 500 lead through either."""
    rudder = torch.linspace(-0.9995, 0.9995, 2000)
    arm = arms(rudder)
    assert (arm == 1).sum() == 500 and (arm == -1).sum() == 500
    assert arm.equal(rudder.sign() * ((rudder.abs() > 0.35) & (rudder.abs() < 0.85)))


def test_rudders_all_over_are_paid_once_in_eight():
    """Two draws of all rudders: 2 (1/4)^2, within four standard errors of 20,000 episodes."""
    one, other = 2 * torch.rand(2, 20_000, generator=torch.Generator().manual_seed(0)) - 1
    assert earned(one, other, 20_000).mean().item() == pytest.approx(1 / 8, abs=0.0094)


def test_what_a_shared_policy_can_earn():
    """Both ends equally often are paid every other time; the best Gaussian behind tanh, by quadrature over the
    simulator's own outcomes, 0.142: mean 0, deviation 0.76."""
    ends = torch.tensor([-0.6, 0.6])[torch.randint(2, (2, 20_000), generator=torch.Generator().manual_seed(0))]
    assert earned(*ends, 20_000).mean().item() == pytest.approx(0.5, abs=0.0142)
    u = torch.linspace(-6, 6, 12_001, dtype=torch.float64)
    arm = arms(u.tanh().float())
    mean, deviation = torch.meshgrid(
        torch.linspace(0, 1.2, 25, dtype=torch.float64), torch.linspace(0.1, 3, 146, dtype=torch.float64), indexing="ij"
    )
    density = torch.distributions.Normal(mean.unsqueeze(-1), deviation.unsqueeze(-1)).log_prob(u).exp()
    above, below = ((density * (arm == side)).sum(-1) * (u[1] - u[0]) for side in (1, -1))
    worth = 2 * above * below
    best = worth.argmax()
    assert worth.max().item() == pytest.approx(0.1416, abs=2e-4)
    assert mean.flatten()[best] == 0 and deviation.flatten()[best].item() == pytest.approx(0.76, abs=0.02)


def test_why_there_are_banks():
    """Were all beyond 0.35 paid, a Gaussian of deviation e^2, as wide as HASAC's may be, would earn nearly the half."""
    beyond = torch.distributions.Normal(0.0, math.exp(2)).cdf(-torch.tensor(0.35).atanh())
    assert (2 * beyond**2).item() == pytest.approx(0.461, abs=1e-3)


def test_a_choice_stands():
    """After the first step rudders do nothing: the boats, 0.06 apart from the middle then, end where that leads."""
    env = Vmas(scenario="hetrl/fork", n_envs=2, horizon=STEPS)
    env.start()
    env._simulate({"agents": torch.tensor([[[0.6], [-0.6]]]).expand(2, 2, 1)})
    for _ in range(STEPS - 1):
        seen, reward, over, _ = env._simulate({"agents": torch.tensor([[[-1.0], [1.0]]]).expand(2, 2, 1)})
    torch.testing.assert_close(seen["agents"][0], torch.tensor([[1.0, 0.6, 2.0, 0.6], [1.0, -0.6, 2.0, -0.6]]))
    assert over.all() and reward["agents"].eq(1).all()


def test_further_choices_add_up():
    """Courses of 0.3 and 0.3 + 0.3: 0.1 (0.3 + 9 0.6) = 0.57 is where a boat ends, and the bow is passed. A third one
    of -1.2 would be for the other side; the course keeps within 1."""
    env = Vmas(scenario="hetrl/fork", n_envs=1, horizon=STEPS, choices=2)
    env.start()
    for _ in range(STEPS):
        seen, *_ = env._simulate({"agents": torch.tensor([[[0.3], [0.9]]])})
    assert seen["agents"][0, 0].tolist() == pytest.approx([1.0, 0.57, 2.0, 0.6])
    assert seen["agents"][0, 1, 1] > 0.85 and seen["agents"][0, 1, 2] == 0  # 0.9, then 1: ashore
    assert earned(0.3, -0.3).tolist() == [0, 0] and earned(0.3, -0.3, choices=2).tolist() == [1, 1]


def test_with_more_choices_the_start_is_not_all_there_is_to_see():
    """One script for both boats: a little noise in the first step, then to the side on which one is. With one choice
    the noise is all, and too little; with three it parts the team every other time."""
    generator = torch.Generator().manual_seed(0)

    def script(seen):
        first = {name: 0.05 * torch.randn(len(own), generator=generator) for name, own in seen.items()}
        return {
            name: torch.where(own[:, 0] < -0.99, first[name], (0.6 * own[:, 1].sign() - own[:, 3])).unsqueeze(-1)
            for name, own in seen.items()
        }

    for choices, paid in ((1, 0.0), (3, 0.5)):
        found, _ = play(script, "fork", n_envs=5000, horizon=STEPS, choices=choices)
        assert found.mean().item() == pytest.approx(paid, abs=0.03)


def test_who_touches_something_stays_there():
    """The island's bow is 0.05 before the boat's middle at x = 0; the bank at 0.85 is reached with 1 after 9 steps."""
    env = Vmas(scenario="hetrl/fork", n_envs=1, horizon=STEPS)
    env.start()
    for _ in range(STEPS):
        seen, reward, *_ = env._simulate({"agents": torch.tensor([[[0.1], [1.0]]])})
    assert seen["agents"][0, 0].tolist() == pytest.approx([0.0, 0.05, 0.0, 0.0], abs=1e-6)
    assert seen["agents"][0, 1].tolist() == pytest.approx([0.8, 0.9, 0.0, 0.0], abs=1e-6)
    assert reward["agents"].eq(0).all()


def test_the_end_pays_and_terminates_and_the_horizon_does_neither():
    for horizon in (STEPS, STEPS + 5):
        env = Vmas(scenario="hetrl/fork", n_envs=3, horizon=horizon)
        env.start()
        for step in range(1, 2 * STEPS + 1):
            moved = env.advance({"agents": torch.tensor([[[0.6], [-0.6]]]).expand(3, 2, 1)})
            ends = step % STEPS == 0
            assert moved.terminated.eq(ends).all() and moved.reward["agents"].eq(float(ends)).all()
            assert not (moved.truncated & ~moved.terminated).any()
    cut = Vmas(scenario="hetrl/fork", n_envs=3, horizon=STEPS - 1)
    assert not cut.rollout(STEPS - 1)["next", "terminated"].any()


def test_boats_are_alike_and_see_the_same_at_the_start():
    env = Vmas(scenario="hetrl/fork", n_envs=3, horizon=STEPS)
    for seed in (0, 1):
        env.seed(seed)
        assert env.start()["agents"].eq(torch.tensor([-1.0, 0.0, 2.0, 0.0])).all()
    assert [agent.observation_size for agent in env.team.agents] == [4, 4]
    assert [agent.action.size for agent in env.team.agents] == [1, 1]
    assert len({physique(agent) for agent in env._simulator.agents}) == 1


def test_vmas_may_reset_one_environment():
    env = Vmas(scenario="hetrl/fork", n_envs=4, horizon=STEPS)
    env.start()
    for _ in range(6):
        env._simulate({"agents": torch.full((4, 2, 1), 0.2)})
    simulator, before = env._simulator, env._observation["agents"].clone()
    simulator.reset_at(2)
    after, others = env._observe(simulator)["agents"], torch.tensor([0, 1, 3])
    assert torch.equal(before[others], after[others])
    assert after[2].tolist() == [[-1.0, 0.0, 2.0, 0.0]] * 2
    for _ in range(4):
        _, _, over, _ = env._simulate({"agents": torch.full((4, 2, 1), 0.5)})
    assert over.tolist() == [True, True, False, True]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"choices": 0}, "choices = 0: Input should be greater than or equal to 1"),
        ({"choices": 6}, "choices = 6: Input should be less than or equal to 5"),
        ({"together": 1}, "together = 1: Input should be a valid boolean"),
    ],
)
def test_arguments_are_checked(argument, message):
    with pytest.raises(RecipeError, match=rf"^task: {message}\.$"):
        Vmas.check_arguments({"scenario": "hetrl/fork", **argument})


def test_its_task_file_is_shipped_and_one_network_serves_both():
    recipe = hetrl.load("chain_hasac", "task=task/fork", "task.n_envs=2", "nets.actor.per=team")
    assert recipe.task.arguments["scenario"] == "hetrl/fork"
    hetrl.check(recipe)
    recipe.build()


@pytest.mark.slow
def test_a_step_is_one_graph():
    """No branch on what is in a tensor, and no mask as an index: nothing waits for a GPU."""
    env = Vmas(scenario="hetrl/fork", n_envs=4, horizon=STEPS)
    env.start()
    env._simulate({"agents": torch.full((4, 2, 1), 0.2)})
    scenario, agents = env._simulator.scenario, env._simulator.agents

    def look():
        scenario.post_step()
        return [scenario.reward(agent) for agent in agents], [scenario.observation(agent) for agent in agents]

    torch.compile(look, fullgraph=True, backend="eager")()
