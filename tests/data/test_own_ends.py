"""Where rewards are each agent's own, its story ends with its own end: hand-worked returns and targets."""

import pytest
import torch
from data.scripted import Waiting, source

from hetrl.engine.program import Program
from hetrl.engine.store import Store
from hetrl.estimate.gae import GAE
from hetrl.estimate.td_target import TDTarget
from hetrl.recipe.step import Step

GAE_KEYS = {word: f"agent.{word}" for word in ("reward", "value", "advantage", "return")}
OWN_GAE = {"use": "estimate/gae", "gamma": 0.99, "lmbda": 1.0, "keys": {**GAE_KEYS, "next_value": "next.agent.value"}}


def script(n_steps, rewards, **changes):
    """Steps in which agents earn ``rewards``; ``changes`` are words of steps: number -> what is said."""
    steps = [{"reward": list(rewards)} for _ in range(n_steps)]
    for word, where in changes.items():
        for step, said in where.items():
            steps[step][word] = said
    return steps


def died(n_steps, at, rewards=(1.0, 1.0)):
    """The first agent dies with step ``at``, earns no more, and is no longer there."""
    steps = script(n_steps, rewards, ended={at: [True, False]})
    for step in range(at, n_steps):
        steps[step]["active"] = [False, True]
    for step in range(at + 1, n_steps):
        steps[step]["reward"] = [0.0, rewards[1]]
    return steps


def stored(steps, n_steps, reward="per_agent", **values):
    """Return the store of a batch ``[T, 1]``, with V = 5 of everybody in every state."""
    made = source("on_policy", steps, n_steps, n_envs=1, reward=reward, **values)
    (batch,) = made.collect().samples
    store = Store(made._env.team, batch)
    for agent in store.team.agents:
        store.write("agent.value", (agent,), torch.full(batch.shape, 5.0))
        store.write("next.agent.value", (agent,), torch.full(batch.shape, 5.0))
    store.write("value", (), torch.full(batch.shape, 5.0))
    store.write("next.value", (), torch.full(batch.shape, 5.0))
    return store


def run(store, tree, together=False):
    """Run a step of a recipe for each agent, or for all of them as one lane."""
    step = Step.parse(tree, "update.test.steps[0]", {})
    step.look_up()
    agents = store.team.agents
    for lane in [agents] if together else [(agent,) for agent in agents]:
        lane = lane if step.per_agent else ()
        Program([step], lambda mode: None, lambda step: step.component(**step.arguments), 0).run(store, lane)
    return step


def returns(store, agent, key="agent.return"):
    return store.read(key, (store.team.agents[agent],)).flatten().tolist()


G = 0.99


@pytest.mark.parametrize("together", [False, True])
def test_who_dies_is_worth_what_it_earned(together):
    """Three steps of reward 1 and then death: 1 + 0.99 + 0.9801 = 2.9701, whatever V says of the steps after it."""
    store = stored(died(10, 2), 10)
    run(store, OWN_GAE, together)
    assert returns(store, 0)[:3] == pytest.approx([2.9701, 1.99, 1.0])
    assert returns(store, 1)[:2] == pytest.approx([(1 - G**10) / (1 - G), (1 - G**9) / (1 - G)])


def test_who_is_cut_off_is_worth_what_its_last_state_promises():
    """Gone after two steps, and no flag: 1 + 0.99 (1 + 0.99 * 5) = 6.8905, and 1 + 0.99 * 5 = 5.95."""
    store = stored(script(5, (1.0, 1.0), active={step: [step < 1, True] for step in range(5)}, ended={}), 5)
    assert "terminated" not in store._stacked
    steps = script(5, (1.0, 1.0), active={step: [step < 1, True] for step in range(5)}, ended={0: [False, False]})
    store = stored(steps, 5)
    run(store, OWN_GAE)
    assert returns(store, 0)[:2] == pytest.approx([6.8905, 5.95])
    assert returns(store, 1)[0] == pytest.approx((1 - G**5) / (1 - G))


def test_who_joins_late_begins_there():
    """Absent for two steps, then two steps of reward 1 to the end of the episode: 1.99 and 1."""
    steps = script(4, (1.0, 1.0), active={0: [False, True]}, ended={3: [False, False]})
    store = stored(steps, 4)
    run(store, OWN_GAE)
    assert returns(store, 0)[2:] == pytest.approx([1.99, 1.0])


def test_no_credit_flows_over_an_absence():
    """Two lives in one episode: steps 0 and 1 earn 1 each and end it, steps 3 and 4 are another that earns 100."""
    steps = script(5, (1.0, 0.0), active={1: [False, True], 2: [True, True]}, ended={1: [True, False]})
    for step in (3, 4):
        steps[step]["reward"] = [100.0, 0.0]
    store = stored(steps, 5)
    run(store, OWN_GAE)
    found = returns(store, 0)
    assert found[:2] == pytest.approx([1.99, 1.0]) and found[3:] == pytest.approx([199.0, 100.0])


def test_who_is_back_at_once_has_a_new_life():
    """Died with step 0 and is there again in step 1, so that no mask ever says that it was gone."""
    store = stored(script(3, (1.0, 1.0), ended={0: [True, False]}), 3)
    run(store, OWN_GAE)
    assert returns(store, 0) == pytest.approx([1.0, 1.99, 1.0])
    assert returns(store, 1) == pytest.approx([2.9701, 1.99, 1.0])


def test_an_end_of_the_episode_is_everybodys():
    """Terminated: nobody has a flag of its own in the last step. Cut: a value follows, but not for who has died."""
    whole = script(2, (1.0, 1.0), ended={0: [False, False]})
    store = stored(whole, 2)
    run(store, OWN_GAE)
    assert returns(store, 0) == pytest.approx([1.99, 1.0])
    store = stored(died(2, 1), 2, cut=True)
    run(store, OWN_GAE)
    assert returns(store, 0) == pytest.approx([1.99, 1.0])
    assert returns(store, 1) == pytest.approx([1 + G * (1 + G * 5), 1 + G * 5])


def test_a_team_goes_on_without_its_dead():
    """With the team's reward the episode's end rules: 0.5 (1 + 1) twice, then 0.5 (0 + 1) twice."""
    store = stored(died(4, 1), 4, "mean")
    step = run(store, {"use": "estimate/gae", "gamma": 0.99, "lmbda": 1.0})
    assert step.table.reads["terminated"] == "terminated"
    expected = 1 + G * (1 + G * (0.5 + G * 0.5))
    assert store.read("return", ()).flatten()[0].item() == pytest.approx(expected)


def test_where_nothing_tells_of_agents_the_episode_does():
    """No own ends: the same tensors as the team's, and the same numbers as before."""
    store = stored(script(3, (1.0, 1.0)), 3)
    agents = store.team.agents
    assert store.has("agent.terminated", agents) and not store.has("agent.done", agents)
    assert torch.equal(store.read("agent.terminated", agents[:1]), store.read("terminated", ()))
    assert store.read("agent.truncated", agents).shape == (3, 1, 2)
    run(store, OWN_GAE)
    assert returns(store, 0) == pytest.approx([2.9701, 1.99, 1.0])


def test_a_recipe_may_name_the_end_itself():
    tree = {**OWN_GAE, "keys": {**OWN_GAE["keys"], "terminated": "terminated"}}
    table = Step.parse(tree, "update.test.steps[0]", {}).table
    assert (table.reads["terminated"], table.reads["truncated"]) == ("terminated", "agent.truncated")
    soft = {"use": "estimate/soft_td_target", "keys": {"reward": "agent.reward", "target": "agent.target"}}
    assert Step.parse(soft, "update.test.steps[0]", {}).table.reads["terminated"] == "agent.terminated"
    own = {"use": "estimate/standardize", "keys": {"advantage": "agent.advantage"}}
    assert Step.parse(own, "update.test.steps[0]", {}).table.reads["active"] == "agent.active"
    assert "active" in Step.parse(own, "update.test.steps[0]", {}).table.optional
    assert GAE().in_keys[3] == "terminated" and TDTarget().wire().in_keys[2] == "terminated"


# ----- memories


class Counting(Waiting):
    """Remembers how many steps it has seen."""

    def blank(self, observations):
        return {name: torch.zeros((*seen.shape[:2], 1)) for name, seen in observations.items()}

    def remember(self, observations, memories):
        return {name: memory + 1 for name, memory in memories.items()}


@pytest.mark.parametrize("n_steps", [5, 1])
def test_a_life_begins_without_memories(n_steps):
    """The first is back at once after step 0; the second is cut off with step 1, and back from step 4 on."""
    there = {1: [True, False], 2: [True, False], 3: [True, True]}
    made = source("on_policy", script(5, (1.0, 1.0), active=there, ended={0: [True, False]}), n_steps, 1)
    made._behaviour = Counting()
    made._memory = made._behaviour.blank(made._observation)
    batches = [made.rollout() for _ in range(5 // n_steps)]
    other = source("on_policy", script(5, (1.0, 1.0), active=there, ended={0: [True, False]}), n_steps, 1)
    other.load_state_dict(made.state_dict())
    assert {name: value.tolist() for name, value in other._begun.items()} == {"agents": [[True, True]]}
    memory, begins = (torch.cat([batch["agents", word] for batch in batches])[:, 0] for word in ("memory", "is_init"))
    assert memory[..., 0].T.tolist() == [[0, 0, 1, 2, 3], [0, 1, 0, 1, 0]]
    assert begins.int().T.tolist() == [[1, 1, 0, 0, 0], [1, 0, 1, 0, 1]]
    assert torch.cat([batch["is_init"] for batch in batches]).int().flatten().tolist() == [1, 0, 0, 0, 0]


# ----- replay

OWN_TARGET = {
    "use": "estimate/td_target", "keys": {"reward": "agent.reward", "q": "next.agent.q", "target": "agent.target"},
}  # fmt: skip


def drawn(steps, n_step, reward="per_agent", **values):
    """Return the store of all rows of one episode, with Q' = 10 for everybody, and gamma 0.5."""
    made = source("replay", steps, len(steps), 1, reward, {"n_step": n_step, "gamma": 0.5}, **values)
    made.collect()
    batch = made.gather(torch.arange(len(steps)))
    store = Store(made._team, batch)
    for agent in store.team.agents:
        store.write("next.agent.q", (agent,), torch.full(batch.shape, 10.0))
    run(store, OWN_TARGET)
    return store


def test_targets_of_one_step():
    """Alive: 1 + 0.5 * 10 = 6; the step of the death: 1."""
    store = drawn(died(4, 2), 1)
    assert returns(store, 0, "agent.target")[:3] == [6.0, 6.0, 1.0]
    assert returns(store, 1, "agent.target") == [6.0, 6.0, 6.0, 1.0]


def test_targets_of_three_steps():
    """Who dies with step 2: 1 + 0.5 + 0.25, 1 + 0.5, 1. The other: 1.75 + 10 / 8 = 3; 1.75 with the end of step 3."""
    store = drawn(died(4, 2), 3)
    assert returns(store, 0, "agent.target")[:3] == [1.75, 1.5, 1.0]
    assert returns(store, 1, "agent.target") == [3.0, 1.75, 1.5, 1.0]


def test_what_is_earned_after_an_end_is_another_lifes():
    """Died with step 0 and back at once: 1, then 1 + 0.5 + 0.25 as the other has from step 1 on."""
    store = drawn(script(4, (1.0, 1.0), ended={0: [True, False]}), 3)
    assert returns(store, 0, "agent.target") == [1.0, 1.75, 1.5, 1.0]
    assert returns(store, 1, "agent.target") == [3.0, 1.75, 1.5, 1.0]


def test_a_window_stops_where_somebody_is_cut_off():
    """Cut off with step 1: its value follows there, 1 + 0.5 + 0.25 * 10 = 4 from step 0, and 6 from step 1.

    So do the others' from these steps, which is as good a target of theirs.
    """
    steps = script(5, (1.0, 1.0), active={step: [step < 1, True] for step in range(5)}, ended={0: [False, False]})
    store = drawn(steps, 3)
    assert returns(store, 0, "agent.target")[:2] == [4.0, 6.0]
    assert returns(store, 1, "agent.target") == [4.0, 6.0, 1.75, 1.5, 1.0]
    assert store.read("discount", ()).tolist()[:2] == [0.25, 0.5]


def test_a_teams_sums_are_what_they_were():
    """Deaths stop no sum of the team's: 1 + 0.5 + 0.25 * 0.5 of steps 0 to 2, where one of two dies with step 1."""
    for reward, first in (("mean", 1.625), ("sum", 3.25)):
        made = source("replay", died(4, 1), 4, 1, reward, {"n_step": 3, "gamma": 0.5})
        made.collect()
        batch = made.gather(torch.arange(4))
        assert batch["reward"].tolist()[0] == first and batch["discount"].tolist()[0] == 0.125
        assert batch["terminated"].tolist() == [False, True, True, True]


def test_statistics_of_an_own_advantage_are_of_its_own_rows():
    """1 and 3 while it is there, 5 while it is not: mean 2, deviation 1. Who is there all along: 3 and sqrt(8 / 3)."""
    store = stored(died(3, 1), 3)
    for agent in store.team.agents:
        store.write("agent.advantage", (agent,), torch.tensor([[1.0], [3.0], [5.0]]))
    run(store, {"use": "estimate/standardize", "eps": 1e-9, "keys": {"advantage": "agent.advantage"}})
    assert returns(store, 0, "agent.advantage") == pytest.approx([-1.0, 1.0, 3.0])
    assert returns(store, 1, "agent.advantage")[2] == pytest.approx(1.5**0.5)
