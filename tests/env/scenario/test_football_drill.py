"""The football drills: an attack that passes scores, everything else is over with 0."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from hetrl.env.vmas import Vmas
from hetrl.errors import RecipeError

DRILLS = ("pass_and_shoot", "run_pass_and_shoot", "three_against_one")


def make(drill="pass_and_shoot", n_envs=128, **arguments):
    env = Vmas(scenario=f"hetrl/{drill}", n_envs=n_envs, **arguments)
    env.start()
    return env


def still(env: Vmas) -> Tensor:
    return torch.zeros(env.n_envs, len(env.team), 4)


def angle(way: Tensor) -> Tensor:
    return torch.atan2(way[..., 1], way[..., 0])


def attack(env: Vmas, power: float | None, free: tuple[float, float] | None = None, lead: float = 0.0) -> Tensor:
    """Return actions ``[N, n, 4]`` of an attack: the carrier passes to the free one, who shoots past the keeper.

    Args:
        env: the drill.
        power: of the pass [action]; None keeps the ball, and the carrier shoots.
        free: where the receiver waits, by default where it starts.
        lead: how far before the receiver the pass goes [unit].
    """
    scenario = env._simulator.scenario
    players, ball, carrier = scenario.blue_agents, scenario.ball.state, scenario.carrier
    places, speeds = (torch.stack([getattr(p.state, word) for p in players], 1) for word in ("pos", "vel"))
    faces, turns = (torch.cat([getattr(p.state, word) for p in players], 1) for word in ("rot", "ang_vel"))
    receiver, count = 1 if carrier == 0 else 0, len(players)
    gaps = torch.linalg.vector_norm(places - ball.pos.unsqueeze(1), dim=-1)
    soon = ball.pos + 0.3 * ball.vel

    passing = torch.zeros(env.n_envs, dtype=torch.bool)
    nearest = torch.linalg.vector_norm(places - soon.unsqueeze(1), dim=-1)
    if power is not None:
        passing = (gaps[:, carrier] < 0.13) & (env._steps < 40)
        nearest = nearest + one_hot(torch.tensor(carrier), count)  # having passed, the carrier leaves the ball alone
    at_ball = one_hot(torch.where(passing, carrier, nearest.argmin(-1)), count).bool()

    posts = torch.tensor([-0.08, 0.08])
    share = (1.45 - ball.pos[:, :1]) / (1.5 - ball.pos[:, :1]).clamp(min=0.05)
    crossing = ball.pos[:, 1:] + share * (posts - ball.pos[:, 1:])
    keeper = scenario.keeper.state
    post = posts[(crossing - keeper.pos[:, 1:] - 0.3 * keeper.vel[:, 1:]).abs().argmax(-1)]
    goal = torch.stack([torch.full_like(post, 1.5), post], -1)
    target = torch.where(passing.unsqueeze(-1), places[:, receiver] + torch.tensor([lead, 0.0]), goal)

    aim = angle(target - ball.pos)
    behind = torch.where(passing.unsqueeze(-1), ball.pos, soon) - 0.055 * torch.stack([aim.cos(), aim.sin()], -1)
    homes = torch.tensor(scenario.attackers).expand(env.n_envs, -1, 2).clone()
    homes[:, receiver] = homes[:, receiver] if free is None else torch.tensor(free)
    push = 40 * (torch.where(at_ball.unsqueeze(-1), behind.unsqueeze(1), homes) - places - speeds)
    off = torch.remainder(torch.where(at_ball, aim.unsqueeze(1), 0.0) - faces + torch.pi, 2 * torch.pi) - torch.pi
    kick = torch.where(passing, power or 0.0, 1.0).unsqueeze(1) * (at_ball & (off.abs() < 0.12) & (gaps < 0.08))
    return torch.cat([push.clamp(-1, 1), torch.stack([(6 * off - 2 * turns).clamp(-1, 1), kick], -1)], -1)


PASSES = {
    "pass_and_shoot": {"power": 0.15},
    "run_pass_and_shoot": {"power": 0.15, "free": (0.85, 0.1), "lead": -0.1},
    "three_against_one": {"power": 0.12},
}


def play(env: Vmas, policy) -> tuple[Tensor, Tensor]:
    """Return the returns of one episode in each environment, and which of them terminated."""
    returns, running = torch.zeros(env.n_envs), torch.ones(env.n_envs, dtype=torch.bool)
    terminated = torch.zeros_like(running)
    while running.any():
        moved = env.advance({"agents": policy(env)})
        returns += torch.where(running, moved.reward["agents"].mean(-1), 0.0)
        terminated |= running & moved.terminated
        running &= ~(moved.terminated | moved.truncated)
    return returns, terminated


def put(env: Vmas, ball=(1.2, 0.0), far=True):
    """Place the ball, and the opponents out of its way."""
    scenario = env._simulator.scenario
    scenario.ball.set_pos(torch.tensor(ball), batch_index=None)
    for index, opponent in enumerate(scenario.red_agents if far else []):
        opponent.set_pos(torch.tensor([-1.0, -0.5 + index]), batch_index=None)


# ----- who plays


@pytest.mark.parametrize("drill", DRILLS)
def test_the_opponents_move_and_are_none_of_the_team(drill):
    env = make(drill, n_envs=16)
    world = env._simulator.world
    count = 3 if drill == "three_against_one" else 2
    assert [agent.name for agent in env.team.agents] == [f"agent_blue_{index}" for index in range(count)]
    assert [agent.name for agent in world.agents][count:] == ["keeper", "defender", "Ball"]
    keeper, defender = world.agents[count : count + 2]
    before, ball = [player.state.pos.clone() for player in (keeper, defender)], env._simulator.scenario.ball.state.pos
    gap = torch.linalg.vector_norm(defender.state.pos - ball, dim=-1)
    for _ in range(3):
        env.advance({"agents": still(env)})
    for player, place in zip((keeper, defender), before, strict=True):
        assert (player.state.pos - place).abs().sum(-1).min() > 1e-4
    assert (torch.linalg.vector_norm(defender.state.pos - ball, dim=-1) < gap).all()


@pytest.mark.parametrize("drill", DRILLS)
def test_the_carrier_starts_with_the_ball_before_it(drill):
    env = make(drill, n_envs=32)
    scenario = env._simulator.scenario
    carrier = scenario.blue_agents[scenario.carrier].state
    way = scenario.ball.state.pos - carrier.pos
    assert torch.linalg.vector_norm(way, dim=-1) == pytest.approx(0.05, abs=1e-6)
    assert angle(way) == pytest.approx(scenario.facing, abs=1e-4)
    assert (carrier.pos[:, 0].amax() - carrier.pos[:, 0].amin()) > 0.02  # every environment starts elsewhere


def test_one_environment_starts_again_alone():
    env = make("run_pass_and_shoot", n_envs=4, shaping=1.0)
    simulator = env._simulator
    for _ in range(4):
        env.advance({"agents": attack(env, **PASSES["run_pass_and_shoot"])})
    before = [body.state.pos.clone() for body in simulator.world.agents]
    potential, start = simulator.scenario._potential.clone(), simulator.scenario._start_distance.clone()
    simulator.scenario.env_reset_world_at(2)
    others = [0, 1, 3]
    for body, place in zip(simulator.world.agents, before, strict=True):
        assert torch.equal(body.state.pos[others], place[others]) and not torch.equal(body.state.pos[2], place[2])
    assert torch.equal(simulator.scenario._potential[others], potential[others])
    assert simulator.scenario._potential[2] == 0 != simulator.scenario._start_distance[2] - start[2]
    assert torch.equal(simulator.scenario._start_distance[others], start[others])


# ----- what is worth something


@pytest.mark.parametrize(
    ("drill", "rate", "alone", "shaping"),
    [
        ("pass_and_shoot", 0.95, 0.05, 0.5),
        ("run_pass_and_shoot", 0.9, 0.05, 2.0),
        ("three_against_one", 0.6, 0.65, 0.0),
    ],
)
def test_passing_scores_and_standing_still_does_not(drill, rate, alone, shaping):
    """A third of the environments each: pass and shoot, shoot alone, stand still."""

    def policy(env):
        return torch.cat([part(env)[rows] for part, rows in zip(parts, rows_of, strict=True)])

    parts = [lambda env: attack(env, **PASSES[drill]), lambda env: attack(env, None), still]
    rows_of = [slice(0, 100), slice(100, 200), slice(200, 300)]
    returns, terminated = play(make(drill, n_envs=300, shaping=shaping), policy)
    goals = returns.round()
    assert returns[terminated] == pytest.approx(goals[terminated], abs=1e-5) and {*goals.tolist()} == {0.0, 1.0}
    rates = [(goals * terminated)[rows].mean().item() for rows in rows_of]
    assert rates[0] > rate and rates[1] < alone and rates[2] == 0
    assert terminated[rows_of[2]].all()


@pytest.mark.parametrize(("speed", "goal"), [(0.5, 0.0), (0.05, 1.0)])
def test_the_keeper_runs_to_where_the_shot_crosses_its_line(speed, goal):
    """A shot along y = 0.1, with two seconds to go."""
    env = make(n_envs=2, keeper_speed=speed, spread=0.0, shaping=0.0)
    put(env, (1.0, 0.1), far=False)
    scenario = env._simulator.scenario
    scenario.chaser.set_pos(torch.tensor([-1.0, 0.5]), batch_index=None)
    scenario.ball.set_vel(torch.tensor([0.35, 0.0]), batch_index=None)
    returns, terminated = play(env, still)
    assert terminated.all() and returns.tolist() == [goal] * 2


def test_progress_counts_while_the_ball_is_in_play():
    """From 1 unit to 0.4 before the goal: 0.5 (1 - 0.4). Further away than at the start is worth nothing."""
    env = make(n_envs=2)
    scenario = env._simulator.scenario
    scenario._start_distance = torch.full((2,), 1.0)
    goal = 1.51
    for x, worth in ((goal - 0.4, 0.3), (goal - 1.0, -0.3), (goal - 1.5, 0.0), (goal - 0.8, 0.1)):
        put(env, (x, 0.0))
        scenario._judge()
        assert scenario._earned.tolist() == pytest.approx([worth] * 2, abs=1e-5) and not scenario.done().any()


@pytest.mark.parametrize(
    ("ball", "goal", "over"),
    [
        ((1.52, 0.0), 1, True),
        ((1.52, 0.17), 1, True),
        ((1.505, 0.0), 0, False),
        ((1.49, 0.2), 0, True),
        ((1.52, 0.2), 0, True),
        ((1.47, 0.2), 0, False),
        ((0.5, 0.71), 0, True),
        ((0.5, -0.71), 0, True),
        ((0.5, 0.69), 0, False),
    ],
)
def test_where_the_ball_is_decides(ball, goal, over):
    env = make(n_envs=2, shaping=0.0)
    put(env, ball)
    scenario = env._simulator.scenario
    assert scenario.reward(scenario.blue_agents[0]).tolist() == [goal] * 2
    assert scenario.done().tolist() == [over] * 2


@pytest.mark.parametrize("opponent", [0, 1])
def test_an_opponents_touch_ends_it(opponent):
    env = make(n_envs=2, shaping=0.0)
    put(env)
    scenario = env._simulator.scenario
    scenario.red_agents[opponent].set_pos(torch.tensor([1.2, 0.049]), batch_index=1)
    scenario._judge()
    assert scenario.done().tolist() == [False, True] and not scenario._earned.any()


# ----- continuing, and wrong arguments


def test_continues_bit_for_bit(tmp_path):
    env, other = (make("three_against_one", n_envs=8, horizon=12, seed=seed) for seed in range(2))
    steps = [
        lambda env=env: env.advance({"agents": attack(env, **PASSES["three_against_one"])}) for env in (env, other)
    ]
    for _ in range(15):  # through resets
        steps[0]()
    torch.save(env.state_dict(), tmp_path / "state.pt")
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for _ in range(10):
        one, two = (step() for step in steps)
        assert torch.equal(one.observation["agents"], two.observation["agents"])
        assert torch.equal(one.reward["agents"], two.reward["agents"])
        assert torch.equal(one.terminated, two.terminated)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"keeper_sped": 1.0},
            "task.keeper_sped: scenario 'hetrl/pass_and_shoot' has no such argument. Nearest: 'keep",
        ),
        ({"shaping": -1.0}, "shaping = -1.0: Input should be greater than or equal to 0"),
        ({"defender_speed": 0.0}, "defender_speed = 0.0: Input should be greater than 0"),
    ],
)
def test_refuses_wrong_arguments(arguments, message):
    with pytest.raises(RecipeError, match=message):
        Vmas(scenario="hetrl/pass_and_shoot", n_envs=2, **arguments)
