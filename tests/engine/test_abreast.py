"""Turns of one round as one program: what they come to one after the other."""

import pytest
import torch
from tensordict import TensorDict

import hetrl
from hetrl.engine import abreast
from hetrl.engine.link import link
from hetrl.engine.phase import PhaseRunner
from hetrl.engine.store import Store
from hetrl.errors import RecipeError
from hetrl.optim.adam import Led
from hetrl.runs.csv_table import read
from hetrl.runs.run import resume, train
from hetrl.team import Agent, Box, Discrete, Team

ROWS, SEEN = 24, 3
MOST = {"gaussian": 1.1, "categorical": 0.75, "masked": 1.3}
"""Norms of gradients that some agents exceed."""
BLOCKS = "update.actors.order={use: order/blocks, of: agent, size: 10}"
AT_ONCE = "update.actors.order={use: order/simultaneous, of: agent}"
CUES = "task={use: env/cue_game, delay: 2, discrete_agents: 11, leave: 0.3, n_envs: 8}"
LATER = ["next.state", "next.agent.observation", "reward", "terminated", "truncated"]
CATEGORICAL = "nets.actor={use: net/categorical_policy, hidden: [8]}"


@pytest.fixture(autouse=True)
def exact():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture
def steps(monkeypatch):
    """How many optimisers each step has led."""
    led = []
    move = Led.move
    monkeypatch.setattr(Led, "move", lambda self: led.append(len(self._counts)) or move(self))
    return led


def team(n_agents=12, discrete=False, groups=1):
    acts = Discrete((3,)) if discrete else Box((-1.0, -1.0), (1.0, 1.0))
    places = [(f"group_{i % groups}", i // groups) for i in range(n_agents)]
    return Team(
        tuple(Agent(f"a{i}", group, place, SEEN, acts, group) for i, (group, place) in enumerate(places)),
        SEEN * n_agents,
    )


def batch(members, masked=False):
    """Rows of everybody, some of which are far from the others, so that some gradients are clipped."""
    random = torch.Generator().manual_seed(0)

    def numbers(*shape):
        return torch.randn(ROWS, *shape, generator=random)

    values = {
        "state": numbers(members.state_size),
        "advantage": numbers(),
        "factor": numbers().exp(),
        "return": numbers(),
    }
    for group, agents in members.layout.items():
        own = {"observation": numbers(len(agents), SEEN) * torch.arange(1.0, len(agents) + 1).unsqueeze(-1)}
        if isinstance(agents[0].action, Discrete):
            own["action"] = torch.randint(3, (ROWS, len(agents), 1), generator=random)
            own["action_mask"] = torch.ones(ROWS, len(agents), 3, dtype=torch.bool)
            own["action_mask"][..., 2] = own["action"][..., 0] == 2
        else:
            own["action"] = numbers(len(agents), 2)
        if masked:
            own["active"] = torch.rand(ROWS, len(agents), generator=random) < 0.7
        values[group] = own
    return TensorDict(values, [ROWS])


def trained(monkeypatch, least, *words, recipe="happo", phase="actors", members=None, data=None, updates=3):
    """Return the weights, the optimisers' states, and what was logged of some updates."""
    monkeypatch.setattr(abreast, "LEAST", least)
    members = members or team()
    data = batch(members) if data is None else data
    torch.manual_seed(0)
    provided = {".".join(["agent", key[-1]]) if isinstance(key, tuple) else key for key in data.keys(True, True)}
    found = link(hetrl.load(recipe, *words), members, [*provided, *LATER])
    runner = PhaseRunner(found.recipe.phase(phase), found)
    draws, logged = torch.Generator().manual_seed(0), []
    for _ in range(updates):
        logged.append(runner.run(Store(members, data), 0.0, draws, lambda each, closure: each.step(closure)))
    states = {name: each.state_dict() for name, each in runner.optimizers.items()}
    return found.nets.state_dict(), states, logged


SMALL = ["nets.actor.hidden=[8, 6]", "update.actors.steps.entropy_bonus.coef=0.01", "update.actors.epochs=2",
         "update.actors.minibatches=3"]  # fmt: skip


@pytest.mark.parametrize("order", [BLOCKS, AT_ONCE], ids=["blocks", "at once"])
@pytest.mark.parametrize("kind", ["gaussian", "categorical", "masked"])
def test_equals_one_turn_after_the_other(monkeypatch, steps, order, kind):
    """Weights, moments, counts and figures, with clips of everybody's own; blocks leave a round of two behind."""
    members = team(discrete=kind == "categorical")
    data = batch(members, masked=kind == "masked")
    words = [*SMALL, order, f"update.actors.optim.max_grad_norm={MOST[kind]}", "update.actors.optim.weight_decay=0.1"]
    words += [CATEGORICAL] if kind == "categorical" else []
    one = trained(monkeypatch, 99, *words, members=members, data=data)
    assert not steps
    other = trained(monkeypatch, 8, *words, members=members, data=data)
    assert steps == [10 if order == BLOCKS else 12] * (3 * 6)
    torch.testing.assert_close(other, one, rtol=1e-9, atol=1e-11)
    norms = torch.stack([value for name, value in one[2][0].items() if name.endswith("grad_norm")])
    assert 0 < (norms > MOST[kind]).sum() < 12


def test_whoever_cannot_goes_one_after_the_other(monkeypatch, steps):
    """Agents of two layouts, agents who share, networks that draw, and few: nothing is led, bit for bit."""
    two = team(groups=2)
    shared = [*SMALL, "nets.actor.per=group", AT_ONCE]
    for words, members in (([*SMALL, AT_ONCE], two), (shared, team()), ([*SMALL, AT_ONCE], team(7))):
        one, other = (trained(monkeypatch, least, *words, members=members) for least in (99, 8))
        torch.testing.assert_close(other, one, rtol=0, atol=0)
    assert not steps


def test_networks_that_keep_statistics_go_one_after_the_other(monkeypatch, steps):
    """Everybody's value is in units of its own, here even where the steps only read them."""
    loss = (
        "{use: loss/huber_value, reads: {value: agent.value, return_: agent.return}, writes: {loss: loss.agent.value}}"
    )
    words = ["nets.value.hidden=[8]", "update.critic.prepare=[{net: value.normalize}]",
             f"update.critic.steps=[{{net: value}}, {loss}]"]  # fmt: skip
    members = team(8)
    data = batch(members)
    data["group_0", "return"] = torch.randn(ROWS, 8) * torch.arange(1.0, 9.0)
    given = {"recipe": "ippo", "phase": "critic", "members": members, "data": data}
    one, other = (trained(monkeypatch, least, *words, **given) for least in (99, 8))
    torch.testing.assert_close(other, one, rtol=0, atol=0)
    assert not steps


def test_steps_that_draw_go_one_after_the_other(monkeypatch, steps):
    """So everybody's draws are those that they would be."""
    drawing = "[{net: actor.sample}, {use: loss/deterministic_policy, reads: {q: agent.proposal}}]"
    words = ["nets.actor.hidden=[8]", AT_ONCE, f"update.actors.steps={drawing}"]
    one, other = (trained(monkeypatch, least, *words, updates=1) for least in (99, 8))
    torch.testing.assert_close(other, one, rtol=0, atol=0)
    assert not steps


def test_critics_and_temperatures_go_abreast(monkeypatch, steps):
    """Numbers without dimensions among them; actors that ask a critic do not."""
    members, words = team(8), ["nets.actor.hidden=[8]", "nets.q.hidden=[8]"]
    torch.manual_seed(0)

    def seen():
        return {"group_0": {"observation": torch.randn(ROWS, 8, SEEN)}, "state": torch.randn(ROWS, 8 * SEEN)}

    values = {**seen(), "next": seen(), "reward": torch.randn(ROWS), "discount": torch.ones(ROWS)}
    values["group_0"]["action"] = torch.rand(ROWS, 8, 2)
    data = TensorDict({**values, "terminated": torch.zeros(ROWS, dtype=torch.bool)}, [ROWS])
    found = {}
    for least in (99, 8):
        monkeypatch.setattr(abreast, "LEAST", least)
        linked = link(hetrl.load("isac", *words), members)
        torch.manual_seed(0)
        store = Store(members, data)
        for phase in linked.recipe.update:
            PhaseRunner(phase, linked).run(store, 0.0, torch.Generator(), lambda each, closure: each.step(closure))
        found[least] = linked.nets.state_dict()
    assert steps == [8, 8]  # critics and temperatures
    torch.testing.assert_close(found[8], found[99], rtol=1e-9, atol=1e-11)


def test_a_parameter_that_no_loss_reaches_is_refused(monkeypatch, steps):
    words = [*SMALL, AT_ONCE, "update.actors.steps=[{net: actor.log_prob}, {use: loss/entropy_bonus, coef: 0.1}]"]
    for least in (99, 8):
        with pytest.raises(RecipeError, match=r"update.actors: no loss reaches 'head.body.0.weight' of net 'actor'"):
            trained(monkeypatch, least, *words)
    assert not steps


@pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*")
def test_a_run_goes_on_to_the_last_digit(tmp_path, steps):
    words = [
        "run.device=cpu",
        "run.eval_every=null",
        CUES,
        CATEGORICAL,
        BLOCKS,
        "data.frames=48",
        "nets.value.hidden=[8]",
    ]
    whole = train(hetrl.load("happo", *words, "run.frames=240"), tmp_path / "whole", quiet=True)
    assert set(steps) == {10}
    train(hetrl.load("happo", *words, "run.frames=96"), tmp_path / "half", quiet=True)
    half = resume(tmp_path / "half", "run.frames=240", quiet=True)
    late = [[row for row in read(folder.metrics) if row["frames"] > 96] for folder in (whole, half)]
    assert len(late[0]) == 3 and late[0] == late[1]
