"""Minibatches: which rows they hold, and whole chunks of time where a net is recurrent."""

import pytest
import torch

import hetrl
from hetrl.engine.link import link
from hetrl.engine.phase import PhaseRunner
from hetrl.engine.rehearsal import team_batch
from hetrl.engine.rows import Rows, minibatches
from hetrl.engine.store import Store
from hetrl.errors import RecipeError, RunError
from hetrl.team import Agent, Box, Discrete, Team

TEAM = Team(tuple(Agent(f"a{i}", "agents", i, 3, Discrete((3,)), "agents") for i in range(2)), 6)
T, N, CHUNK, H = 6, 4, 3, 5


def cut(rows, start, end):
    return rows.split([start, end - start, rows.count - end])[1]


def parts(recurrent: bool, per: str = "team", **changes):
    """Return a linked recipe and a store whose values say where they come from: 100 t + 10 environment + agent."""
    nets = {
        True: f"{{actor: {{use: net/recurrent_policy, per: {per}, hidden: [4], memory: {H}, chunk: {CHUNK}}}, "
        f"value: {{use: net/recurrent_value, hidden: [4], memory: {H}, chunk: {CHUNK}}}}}",
        False: f"{{actor: {{use: net/categorical_policy, per: {per}, hidden: [4]}}, value: {{use: net/state_value}}}}",
    }[recurrent]
    overrides = [f"update.actors.{word}={value}" for word, value in changes.items()]
    linked = link(hetrl.load("recurrent_happo", f"nets={nets}", "task.n_envs=4", "data.frames=24", *overrides), TEAM)
    batch = team_batch(TEAM, T, N)
    place = (100.0 * torch.arange(T).view(T, 1) + 10 * torch.arange(N)).unsqueeze(-1)
    batch["agents", "observation"] = (place + torch.arange(2)).unsqueeze(-1).repeat(1, 1, 1, 3)
    batch["agents", "memory"] = (place + torch.arange(2)).unsqueeze(-1).repeat(1, 1, 1, H) / 1000
    batch["advantage"] = place.squeeze(-1)
    batch["factor"] = torch.ones(T, N)
    batch["agents", "old_log_prob"] = torch.zeros(T, N, 2)
    batch["is_init"] = place.squeeze(-1) == 120.0
    return linked, Store(TEAM, batch)


def rows_of(linked, store, lane):
    return Rows.of(linked.program(linked.recipe.phase("actors").steps, lane), lane, store)


def test_single_rows_time_first():
    linked, store = parts(recurrent=False)
    rows = rows_of(linked, store, TEAM.agents)
    assert (rows.count, rows.cut.entries) == (T * N, "rows")
    part = cut(rows, 5, 9)
    assert part["advantage"].shape == (4, 2)
    assert part["advantage"][:, 0].tolist() == part["advantage"][:, 1].tolist() == [110, 120, 130, 200]
    assert part["agent.observation"][0, :, 0].tolist() == [110, 111]


@pytest.mark.parametrize("lane", [TEAM.agents[:1], TEAM.agents], ids=["alone", "folded"])
def test_chunks_of_time(lane):
    linked, store = parts(recurrent=True)
    rows = rows_of(linked, store, lane)
    assert (rows.count, rows.cut.entries) == (T // CHUNK * N, "chunks of 3 steps")
    part = cut(rows, 3, 6)  # the last of the first three steps, and two of the next three
    agents = (len(lane),) if len(lane) > 1 else ()
    assert part["agent.observation"].shape == (CHUNK, 3, *agents, 3)
    assert part["agent.memory"].shape == (CHUNK, 3, *agents, H)
    assert part["agent.is_init"].shape == part["advantage"].shape == (CHUNK, 3, *agents)
    advantage = part["advantage"].view(CHUNK, 3, -1)[..., 0]
    assert advantage.tolist() == [[30, 300, 310], [130, 400, 410], [230, 500, 510]]
    assert part["agent.observation"].view(CHUNK, 3, -1, 3)[..., 0, 0].tolist() == advantage.tolist()
    assert part["agent.is_init"].sum() == 0 and cut(rows, 0, 3)["agent.is_init"].sum() == len(lane)


def test_an_order_moves_whole_chunks():
    linked, store = parts(recurrent=True)
    rows = rows_of(linked, store, TEAM.agents).ordered(torch.tensor([7, 0, 1, 2, 3, 4, 5, 6]))
    assert cut(rows, 0, 2)["advantage"][..., 0].tolist() == [[330, 0], [430, 100], [530, 200]]


@pytest.mark.parametrize("per", ["agent", "team"])
def test_minibatches_are_a_partition_of_the_chunks(per):
    linked, store = parts(recurrent=True, per=per, epochs=2, minibatches=3)
    rows = [rows_of(linked, store, TEAM.agents[:1])]
    seen = [part[0]["advantage"] for part in minibatches(rows, linked.recipe.update[1], torch.Generator())]
    assert [part.shape for part in seen] == 2 * [(CHUNK, 2), (CHUNK, 3), (CHUNK, 3)]
    for epoch in (seen[:3], seen[3:]):
        assert sorted(torch.cat(epoch, 1).flatten().tolist()) == sorted(store.read("advantage", ()).flatten().tolist())
        assert all((part.diff(dim=0) == 100).all() for part in epoch)


def test_a_turn_on_all_chunks_is_the_same_however_they_are_cut():
    """The gradient of one minibatch of everything, and the mean of those of its halves."""
    linked, store = parts(recurrent=True)
    lane = TEAM.agents
    program = linked.program(linked.recipe.phase("actors").steps, lane)
    parameters = list(linked.policy(lane).parameters())

    def gradient(part):
        loss = program(part)["loss.agent.surrogate"].mean()
        return torch.cat([each.flatten() for each in torch.autograd.grad(loss, parameters)])

    rows = rows_of(linked, store, lane)
    halves = [gradient(cut(rows, start, start + 4)) for start in (0, 4)]
    torch.testing.assert_close(gradient(cut(rows, 0, 8)), sum(halves) / 2, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("recurrent", "words"), [(True, "9 is more than the 8 chunks of 3 steps"), (False, "25 is more than the 24 rows")]
)
def test_more_minibatches_than_there_are(recurrent, words):
    """The checker says it, and so does the phase where a batch comes from elsewhere."""
    with pytest.raises(RecipeError, match=rf"^update.actors.minibatches = {words} of a batch; write at most"):
        parts(recurrent, minibatches=words.split()[0])
    linked, store = parts(recurrent)
    phase = hetrl.load("happo", f"update.actors.minibatches={words.split()[0]}").phase("actors")
    with pytest.raises(RecipeError, match=rf"^update.actors.minibatches = {words} of a batch\.$"):
        next(minibatches([rows_of(linked, store, TEAM.agents)], phase, torch.Generator()))


def test_what_does_not_begin_with_its_rows_is_refused():
    """The members of an ensemble come first, so their values are written in the steps that read them."""
    agents = tuple(Agent(f"a{i}", "agents", i, 4, Box((-1.0,), (1.0,)), "agents") for i in range(2))
    tree = hetrl.load("omdpg", "nets.actor.hidden=[4]", "nets.q.hidden=[4]").tree
    critic = tree["update"][0]
    critic["before"].append(critic["steps"].pop(3))  # q.target of the marginal actions, its members first
    linked = link(hetrl.load(tree), Team(agents, 8))
    batch = team_batch(linked.team, 7, 1).squeeze(1)
    batch["discount"] = torch.ones(7)
    with pytest.raises(RunError, match=r"'target_q_ood' is \[5, 7\], and a batch \[7\]: it does not begin"):
        PhaseRunner(linked.recipe.update[0], linked).run(
            Store(linked.team, batch), 0.0, torch.Generator(), lambda optimizer, closure: optimizer.step(closure)
        )
