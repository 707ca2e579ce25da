"""What comes back of a run: for who acts, only the policies have to fit."""

import pytest
import torch
from policy_kinds import run_of

from hetrl.errors import RunError
from hetrl.runs.restored import restored, restored_actors
from hetrl.runs.run import evaluate_run

pytestmark = pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*")


def test_a_larger_team_is_served_by_a_policy_that_is_shared():
    """The critic's state grows with the team, and nobody asks the critic."""
    run = run_of("shared")
    with pytest.raises(RunError, match=r"was trained with other networks .* the weight nets\.value\."):
        restored(run.path, "task.n_agents=5")
    recipe, linked, env = restored_actors(run.path, "task.n_agents=5")
    assert len(linked.team) == len(env.team) == 5 and recipe.task.arguments["n_agents"] == 5
    saved = restored(run.path)[1].state_dict()
    found = linked.state_dict()
    policy = [name for name in saved if name.startswith("nets.actor.")]
    assert policy and all(torch.equal(saved[name], found[name]) for name in policy)
    episodes = evaluate_run(run.path, "task.n_agents=5", n_episodes=2)
    assert episodes.returns.shape == (2,) and set(episodes.agent_returns) == {f"agent_{i}" for i in range(5)}


def test_agents_without_a_policy_of_their_own_are_named():
    run = run_of("gaussian")
    message = (
        rf"^{run.path}: it has no policy for 'agent_2', only for agent_0, agent_1; agents that were not there in "
        r"training need a policy that is shared, per: group or per: team\.$"
    )
    with pytest.raises(RunError, match=message):
        evaluate_run(run.path, "task.n_agents=3")


def test_some_of_the_agents_will_do():
    """Those who are left have the policies that they had."""
    _, fewer, _ = restored_actors(run_of("mixed").path, "task.discrete_agents=1")
    _, whole, _ = restored_actors(run_of("mixed").path)
    assert fewer.team.names == ("discrete_0",) and len(whole.team) == 2
    for name, value in fewer.nets["actor"].state_dict().items():
        assert torch.equal(value, whole.nets["actor"].state_dict()[name])


def test_a_policy_that_does_not_fit_says_for_whom_and_why():
    run = run_of("mixed")
    message = (
        r"the policy of 'discrete_0', which sees \d+ and does discrete\[\d+\] here, was trained as another network: "
        r"the weight .* is \[\d+, \d+\] of torch.float32, not \[\d+, \d+\]"
    )
    with pytest.raises(RunError, match=message):
        evaluate_run(run.path, "task.n_cues=5")


def test_drawn_actions_differ_and_repeat():
    run = run_of("gaussian")
    plain, drawn, again = (evaluate_run(run.path, stochastic=how).returns for how in (False, True, True))
    assert torch.equal(drawn, again) and not torch.equal(plain, drawn)
    assert not torch.equal(evaluate_run(run.path, "run.seed=5", stochastic=True).returns, drawn)


def test_statistics_of_observations_come_with_the_policies():
    """A larger team reads with those of its layout group; the critic's state, which grows, has no say in it."""
    run = run_of("normalized")
    saved = restored(run.path)[1].statistics
    found = restored_actors(run.path, "task.n_agents=4")[1].statistics
    assert torch.equal(found.get_buffer("agents:mean"), saved.get_buffer("agents:mean")) and saved.begun
    seen = torch.randn(3, 16)
    assert torch.equal(found.standardized("agents", seen), saved.standardized("agents", seen))
    assert not torch.equal(found.standardized("agents", seen), seen)
