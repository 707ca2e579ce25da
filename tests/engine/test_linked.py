"""From a recipe to modules: who shares what, which lanes run, and what a program and its store do."""

import sys
import types
from dataclasses import replace

import pytest
import torch
from choosing import chooses
from jaxtyping import Float
from tensordict import TensorDict
from torch import Tensor

from hetrl import catalog, keys
from hetrl.component import Component
from hetrl.engine.link import link
from hetrl.engine.objective import total_loss
from hetrl.engine.phase import PhaseRunner
from hetrl.engine.rehearsal import team_batch
from hetrl.engine.store import Store
from hetrl.engine.turns import foldable, sharing_agents
from hetrl.engine.turns import lanes as lanes_of
from hetrl.errors import RecipeError, RunError
from hetrl.recipe.check import check
from hetrl.recipe.read import load
from hetrl.recipe.shipped import shipped
from hetrl.team import Agent, Box, Discrete, Team

ARM, LEG = Box((-1.0,), (1.0,)), Box((-1.0, -1.0), (1.0, 1.0))
A0, A1 = (Agent(f"a{i}", "arms", i, 4, ARM, "arms") for i in range(2))
B0 = Agent("b0", "legs", 0, 6, LEG, "legs")
TEAM = Team((A0, B0, A1), 14)
"""Two layout groups, and a team order that is neither's."""
ALIKE = Team((A0, A1, replace(A0, name="a2", index=2)), 12)
SIZE = (4, 3)


def linked(name="happo", *overrides, team=TEAM):
    return link(load(name, *overrides), team)


def filled(team, **values):
    """Return the store of a random batch."""
    batch = team_batch(team, *SIZE)
    for value in batch.values(True, True):
        if value.is_floating_point():
            value.normal_()
    for key, value in values.items():
        batch[key] = value
    return Store(team, batch)


# ----- who shares what


@pytest.mark.parametrize(
    ("per", "expected"), [("agent", ["a0", "b0", "a1"]), ("group", ["arms", "legs"]), ("team", ["team"])]
)
def test_modules_by_sharing(per, expected):
    net = linked("happo", f"nets.actor.per={per}", team=ALIKE if per == "team" else TEAM).nets["actor"]
    assert list(net) == expected
    agents = ALIKE.agents if per == "team" else TEAM.agents
    assert len({id(net.of((agent,))) for agent in agents}) == len(expected)
    if per == "group":
        assert net.of((A0,)) is net.of((A1,)) is not net.of((B0,))


def test_sharing_groups_of_the_task():
    """Agents of one layout group may be split, and then only the grouped ones share."""
    found = linked("happo", "nets.actor.per=group", "task.groups={x: [a0, a2], y: [a1]}", team=ALIKE)
    actors = found.nets["actor"]
    assert sorted(actors) == ["x", "y"]
    assert actors.of((found.team["a0"],)) is actors.of((found.team["a2"],)) is not actors.of((found.team["a1"],))


@pytest.mark.parametrize(
    ("groups", "text"),
    [
        ("{x: [a0, a1], y: [b1]}", "^task.groups.y: no agent 'b1'. Nearest: "),
        ("{x: [a0, a1]}", r"^task.groups: agents \['b0'\] are in no group; name every agent once.$"),
        ("{x: [a0, a1], y: [b0, a0]}", "^task.groups: agent 'a0' is in both 'x' and 'y'; keep one.$"),
        ("{x: [a0, b0], y: [a1]}", "^task.groups.x: its agents differ in observation size or action space, "),
        ("{x: [a0, a0], y: [a1], z: [b0]}", "^task.groups: agent 'a0' is "),
    ],
)
def test_wrong_groups(groups, text):
    with pytest.raises(RecipeError, match=text):
        linked("happo", f"task.groups={groups}")


@pytest.mark.parametrize("name", [name for name in shipped() if not name.startswith("task/")])
def test_every_shipped_recipe_links(name):
    one_choice = Team(tuple(replace(agent, action=Discrete((3,))) for agent in ALIKE.agents), 12)
    team = one_choice if chooses(load(name)) else ALIKE
    assert linked(name, team=team).plan.recipe.name == name


def test_the_seed_decides_the_weights_and_the_order():
    def weights(seed):
        return torch.cat([p.flatten() for p in linked("happo", f"run.seed={seed}").parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))
    outside = torch.get_rng_state()
    orders = [linked("happo", f"run.seed={seed}").orders["actors"] for seed in (1, 1, 2)]
    drawn = [[order.compute(torch.arange(9))["round"].tolist() for _ in range(3)] for order in orders]
    assert drawn[0] == drawn[1] != drawn[2]
    assert torch.equal(torch.get_rng_state(), outside)


def test_an_error_while_building_says_where():
    with pytest.raises(
        RecipeError, match=r"^nets.actor \(net/gaussian_policy\): initial_std = 1.0 must be below max_std"
    ):
        linked("happo", "nets.actor.std_map=sigmoid")


# ----- turns and lanes


def turns(found, agents):
    return [tuple(agent.name for agent in each) for each in sharing_agents(found.nets["actor"], agents)]


def lanes(found, agents, section, phase="actors"):
    steps = found.recipe.phase(phase).stages[section]
    return [tuple(agent.name for agent in lane) for lane in lanes_of(found, agents, steps)]


def test_those_who_share_the_trained_module_take_one_turn():
    assert turns(linked(), TEAM.agents) == [("a0",), ("b0",), ("a1",)]
    assert turns(linked("happo", "nets.actor.per=group"), TEAM.agents) == [("a0", "a1"), ("b0",)]
    assert turns(linked("mappo", team=ALIKE), ALIKE.agents[::-1]) == [("a0", "a1", "a2")]


def test_no_two_turns_of_a_phase_log_under_one_label():
    """A round of half a sharing group is no round of the group."""
    found = linked("happo", "nets.actor.per=group")
    runner = PhaseRunner(found.recipe.phase("actors"), found)
    rounds = [TEAM.agents, (A0, A1), (A0,), (B0,)]
    labels = [[turn.label for turn in runner._turns.of(agents)] for agents in rounds]
    assert labels == [["arms/", "b0/"], ["arms/"], ["a0/"], ["b0/"]]
    alike = linked("mappo", team=ALIKE)
    runner = PhaseRunner(alike.recipe.phase("actors"), alike)
    assert [runner._turns.of(agents)[0].label for agents in (ALIKE.agents, ALIKE.agents[:2])] == ["arms/", "a0+a1/"]


def test_in_a_turn_nothing_but_its_own_parameters_has_a_gradient():
    found, store, moved = linked(), filled(TEAM), []

    def note(optimizer, closure):
        moved.append({id(each) for each in found.parameters() if each.requires_grad})
        assert moved[-1] == {id(each) for group in optimizer.param_groups for each in group["params"]}
        optimizer.step(closure)

    for phase in found.recipe.update[:2]:
        PhaseRunner(phase, found).run(store, 0.0, torch.Generator(), note)
    assert len(set(map(frozenset, moved))) == len(TEAM)
    assert not any(each.requires_grad for each in found.parameters())


def test_agents_that_share_run_as_one_lane_unless_they_hand_on_a_team_value():
    found = linked("happo", "nets.actor.per=group")
    assert lanes(found, (A0, A1), "steps") == [("a0", "a1")]
    assert lanes(found, (A0, A1), "prepare") == [("a0", "a1")]
    # `factor` is the team's: one agent after another
    assert lanes(found, (A0, A1), "after") == [("a0",), ("a1",)]
    assert lanes(found, (A0, B0), "steps") == [("a0",), ("b0",)]


def test_what_can_be_folded_into_one_lane():
    actors = load("happo").phase("actors")
    assert foldable(actors.steps) and not foldable(actors.after)


def objective(found, lane, store, phase="actors"):
    program = found.program(found.recipe.phase(phase).steps, lane)
    return program(program.gather(store, lane))


@pytest.mark.parametrize("groups", ["", "{x: [a0, a2], y: [a1]}"])
def test_a_folded_lane_says_what_its_agents_say(groups):
    """Loss and gradient of one lane of several agents are those of single lanes, pooled; also where a lane is only a
    part of its layout group.
    """
    more = [f"task.groups={groups}"] if groups else []
    found = linked("happo", "nets.actor.per=group", *more, team=ALIKE).double()
    team = found.team
    lane = (team["a0"], team["a2"]) if groups else team.agents
    batch = {"advantage": torch.randn(SIZE), "factor": torch.rand(SIZE)}
    store = filled(team, **batch)
    for agent in lane:
        store.write("agent.old_log_prob", (agent,), torch.randn(SIZE))
    store = doubled(store)
    weights = list(found.nets["actor"].of(lane).parameters())
    results = []
    for split in ([lane], [(agent,) for agent in lane]):
        loss, _ = total_loss([[objective(found, each, store) for each in split]], "agent.active")
        results.append((loss, *torch.autograd.grad(loss, weights)))
    assert objective(found, lane, store)["agent.log_prob"].shape == (*SIZE, len(lane))
    torch.testing.assert_close(results[0], results[1])


def doubled(store):
    """Make every number of a store float64."""
    for values in (store._team, store._agent, store._stacked):
        for key, value in values.items():
            values[key] = value.double() if value.is_floating_point() else value
    return store


class Own(Component):
    """An advantage for each agent: 1, 3 and 2 times the team's."""

    reads = {"place": "agent.place", "advantage": "advantage"}
    writes = {"own": "agent.advantage"}

    def compute(self, place, advantage):
        return {"own": advantage * [1.0, 3.0, 2.0][place]}


class Greatest(Component):
    """First whose advantage is greatest."""

    reads = {"who": "members", "advantage": "agents.advantage"}
    writes = {"round": "round"}

    def compute(self, who, advantage):
        score = torch.stack([each.mean() for each in advantage])
        return {"round": score.argsort(descending=True).argsort()[who]}


def test_an_order_may_read_what_earlier_phases_have_written(register):
    register("order/greatest", Greatest)
    greatest = ["update.actors.order.use=order/greatest", "update.actors.epochs=1", "update.actors.minibatches=1"]
    with pytest.raises(RecipeError, match=r"^update.actors.order \(order/greatest\) reads 'agents.advantage', and "):
        linked("happo", *greatest)
    tree = load("happo", *greatest).tree
    register("estimate/own", Own, "own_package")
    tree["update"][0]["steps"].append({"use": "estimate/own"})
    found = link(load(tree), TEAM)
    store = filled(TEAM)
    runners = [PhaseRunner(phase, found) for phase in found.recipe.update]
    runners[0].run(store, 0.0, torch.Generator(), None)
    store.write("advantage", (), torch.ones(SIZE))
    for agent, times in zip(TEAM.agents, (1.0, 3.0, 2.0), strict=True):
        store.write("agent.advantage", (agent,), torch.full(SIZE, times))
    assert runners[1]._turns.rounds(store) == [(B0,), (A1,), (A0,)]
    runners[1].run(store, 0.0, torch.Generator(), lambda optimizer, closure: optimizer.step(closure))


class Odd(Component):
    """Rounds that are none, in one way or another."""

    reads = {"members": "members"}
    writes = {"round": "round"}

    def __init__(self, *, way: str = "holes") -> None:
        super().__init__()
        self.way = way

    def compute(self, members):
        n = len(members)
        rounds = {"holes": 2 * torch.arange(n), "from 1": 1 + torch.arange(n), "floats": torch.arange(n).float(),
                  "few": torch.arange(n - 1), "right": torch.arange(n)}  # fmt: skip
        return {"round": rounds[self.way]}


@pytest.mark.parametrize(
    ("way", "numbers"), [("holes", "0, 2, 4"), ("from 1", "1, 2, 3"), ("floats", "0.0, 1.0, 2.0"), ("few", "0, 1")]
)
def test_rounds_that_are_none_are_refused_in_one_line(register, way, numbers):
    register("order/odd", Odd)
    order = f"update.actors.order={{use: order/odd, of: agent, way: {way}}}"
    text = rf"^update.actors.order \(order/odd\): the rounds of 3 members are \[{numbers}\]; give one whole number for"
    with pytest.raises(RecipeError, match=text):
        linked("happo", order)
    found = linked("happo", "update.actors.order={use: order/odd, of: agent, way: right}")
    found.orders["actors"].way = way
    with pytest.raises(RecipeError, match=text):
        PhaseRunner(found.recipe.phase("actors"), found)._turns.rounds(filled(TEAM))


def test_an_order_of_agents_puts_no_groups_in_order(register):
    """Its tuple has a value for each agent, and the members are the groups."""
    register("order/greatest", Greatest)
    register("estimate/own", Own, "own_package")
    tree = load("happo", "update.actors.order={use: order/greatest, of: group}").tree
    tree["update"][0]["steps"].append({"use": "estimate/own"})
    found = link(load(tree), ALIKE)
    store = filled(ALIKE)
    for agent in ALIKE.agents:
        store.write("agent.advantage", (agent,), torch.ones(SIZE))
    runner = PhaseRunner(found.recipe.phase("actors"), found)
    found.orders["actors"].compute = lambda who, advantage: {"round": torch.arange(len(advantage))}
    with pytest.raises(
        RecipeError, match=r"^update.actors.order \(order/greatest\): the rounds of 1 member are \[0, 1"
    ):
        runner._turns.rounds(store)


# ----- the store


def test_what_was_promised_and_not_given_is_one_line():
    with pytest.raises(RunError, match=r"^'bonus' is not in the batch; whoever provides\(\) it, the task or"):
        filled(TEAM).read("bonus", ())
    with pytest.raises(RunError, match=r"^'agent.bonus' is not in the batch"):
        filled(TEAM).read("agent.bonus", (A0,))


def test_store_reads_what_was_collected():
    store = filled(TEAM)
    stacked = store._stacked["arms", "observation"]
    assert stacked.shape == (*SIZE, 2, 4)
    assert torch.equal(store.read("agent.observation", (A1,)), stacked[:, :, 1])
    assert store.read("agent.observation", (A0, A1)) is stacked
    assert torch.equal(store.read("agent.observation", (A1, A0)), stacked.flip(2))
    assert store.read("agent.observation", (A1,)).data_ptr() == stacked[:, :, 1].data_ptr()  # a view
    following = store.read("next.agent.observation", (B0,))
    assert torch.equal(following, store._stacked["legs", "next.observation"][:, :, 0])
    assert store.read("next.state", ()).shape == (*SIZE, 14)


def test_store_gives_all_agents_in_team_order():
    store = filled(TEAM)
    everyone = store.read("agents.observation", (A1,))
    assert [value.shape[-1] for value in everyone] == [4, 6, 4]
    assert all(
        torch.equal(value, store.read("agent.observation", (agent,)))
        for value, agent in zip(everyone, TEAM.agents, strict=True)
    )


def test_store_expands_team_values_to_a_lane():
    store = filled(TEAM)
    reward = store.read("reward", (A0,))
    assert reward.shape == SIZE
    several = store.read("reward", (A0, A1))
    assert several.shape == (*SIZE, 2) and torch.equal(several[..., 1], reward)
    assert several.data_ptr() == reward.data_ptr()  # a view
    assert store.read("state", (A0, A1)).shape == (*SIZE, 2, 14)


def test_store_writes_to_a_lane():
    store = filled(TEAM)
    store.write("agent.score", (A0, A1), torch.stack([torch.zeros(SIZE), torch.ones(SIZE)], 2))
    assert store.read("agent.score", (A0,)).unique().tolist() == [0.0]
    assert store.read("agent.score", (A1,)).unique().tolist() == [1.0]
    assert store.has("agent.score", (A0, A1)) and not store.has("agent.score", (B0,))
    assert not store.has("agents.score", (A0,))
    store.write("agent.score", (B0,), torch.full(SIZE, 2.0))
    assert store.has("agents.score", (A0,))
    assert [value.unique().item() for value in store.read("agents.score", (A0,))] == [0.0, 2.0, 1.0]
    store.write("total", (B0,), torch.full(SIZE, 5.0))
    assert store.read("total", ()).unique().tolist() == [5.0]


def test_store_prefers_what_was_written_to_what_was_collected():
    store = filled(TEAM)
    store.write("agent.action", (A1,), torch.full((*SIZE, 1), 9.0))
    both = store.read("agent.action", (A0, A1))
    assert (both[:, :, 1] == 9).all()
    assert torch.equal(both[:, :, 0], store._stacked["arms", "action"][:, :, 0])


def test_store_takes_values_kept_by_agent():
    batch = TensorDict({"a0": {"score": torch.zeros(SIZE)}, "next": {"a0": {"score": torch.ones(SIZE)}}}, SIZE)
    store = Store(TEAM, batch)
    assert store.read("agent.score", (A0,)).sum() == 0
    assert store.read("next.agent.score", (A0,)).mean() == 1


# ----- programs


@pytest.fixture
def register(monkeypatch):
    """Return a function that puts a class into the catalog for one test."""

    def put(name, cls, package="toy_package"):
        module = types.ModuleType(package)
        module.Toy = cls
        monkeypatch.setitem(sys.modules, package, module)
        monkeypatch.setitem(catalog.BUILT_IN, name, f"{package}:Toy")

    return put


class Spread(Component):
    """Distance of this agent's log-prob from everyone's."""

    reads = {"mine": "agent.log_prob", "all": "agents.log_prob"}
    writes = {"loss": "loss.agent.spread"}

    def compute(self, mine: Float[Tensor, "*batch"], all: tuple[Tensor, ...]) -> dict[str, Tensor]:
        Spread.seen.append((mine, all))
        return {"loss": sum((mine.detach() - other) ** 2 for other in all)}


def test_agents_role_sees_the_fresh_value_of_the_agent_in_turn(register):
    """Others' values are the stored ones; one's own is what the program has just written, gradient included."""
    register("loss/spread", Spread)
    Spread.seen = []
    found = linked("happo", "update.actors.steps=[{net: actor.log_prob}, {use: loss/spread}]",
                   "update.actors.before=[{net: actor.log_prob}]", "update.actors.after=[]")  # fmt: skip
    store = filled(TEAM, advantage=torch.randn(SIZE))
    for number, agent in enumerate(TEAM.agents):
        store.write("agent.log_prob", (agent,), torch.full(SIZE, float(number)))
    for place, agent in enumerate(TEAM.agents):
        program = found.program(found.recipe.phase("actors").steps, (agent,))
        program(program.gather(store, (agent,)))
        mine, everyone = Spread.seen.pop()
        assert everyone[place] is mine and mine.requires_grad
        others = [value.unique().tolist() for at, value in enumerate(everyone) if at != place]
        assert others == [[float(at)] for at in range(3) if at != place]
    assert lanes(found, (A0, A1), "steps") == [("a0",), ("a1",)]


def test_agents_role_works_through_a_phase(register):
    register("loss/spread", Spread)
    Spread.seen = []
    found = linked("happo", "update.actors.steps=[{net: actor.log_prob}, {use: loss/spread}]", "nets.actor.hidden=[]",
                   "update.actors.before=[{net: actor.log_prob}]", "update.actors.epochs=1",
                   "update.actors.minibatches=2", "update.actors.order={use: order/fixed, of: agent}")  # fmt: skip
    Spread.seen = []  # what was tried out before does not count
    store = filled(TEAM, advantage=torch.randn(SIZE), factor=torch.ones(SIZE))
    runner = PhaseRunner(found.recipe.update[1], found)
    runner.run(store, 0.0, torch.Generator().manual_seed(0), lambda optimizer, closure: optimizer.step(closure))
    for (mine, everyone), place in zip(Spread.seen, [0, 0, 1, 1, 2, 2], strict=True):
        assert everyone[place] is mine
    assert all(mine.shape == other.shape == (6,) for mine, everyone in Spread.seen for other in everyone)


class Ask(Component):
    """The square of what a called network says."""

    reads = {"state": "state"}
    writes = {"loss": "loss.ask"}
    calls = {"value": "value.value"}

    def compute(self, state: Float[Tensor, "*batch size"], value) -> dict[str, Tensor]:
        return {"loss": value(state)["value"].square()}


ASKING = "update.critic.steps=[{use: loss/ask}]"


def test_a_component_that_calls_a_network(register):
    register("loss/ask", Ask)
    found = linked("happo", ASKING, "nets.value.hidden=[]", "update.critic.prepare=[]")
    store, net = filled(TEAM), found.nets["value"].of(())
    values = objective(found, (), store, "critic")
    state = store.read("state", ())
    torch.testing.assert_close(values["loss.ask"], net.value(state)["value"].square())
    gradients = torch.autograd.grad(values["loss.ask"].sum(), list(net.parameters()))
    assert all((gradient != 0).any() for gradient in gradients)
    assert [str(mode) for mode in found.recipe.phase("critic").steps[0].modes] == ["value.value"]


def test_gradients_of_a_called_network_follow_the_phase(register):
    """Called in a phase that trains another net, it stays as it is."""
    register("loss/ask", Ask)
    phases = load("happo").tree["update"]
    phases[1]["steps"].append({"use": "loss/ask", "keys": {"value": "value.normalized", "loss": "loss.agent.ask"}})
    with pytest.raises(RecipeError, match=r"update.actors.steps\[3\] \(loss/ask\) does not depend on 'actor'"):
        check(load(load("happo").tree | {"update": phases}))


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("valu.value", r"update.critic.steps\[0\] \(loss/ask\): calls value = no net 'valu'. Nearest: 'value'."),
        (
            "value.valu",
            r"update.critic.steps\[0\] \(loss/ask\): calls value = net 'value' .* has no mode 'valu'. Nearest: ",
        ),
    ],
)
def test_a_called_network_that_is_not_there(register, target, text):
    register("loss/ask", Ask)
    with pytest.raises(RecipeError, match=text):
        check(load("happo", f"update.critic.steps=[{{use: loss/ask, keys: {{value: {target}}}}}]"))


def test_a_call_of_a_net_alone_is_its_default_mode(register):
    register("loss/ask", Ask)
    found = linked("happo", "update.critic.steps=[{use: loss/ask, keys: {value: value}}]", "update.critic.prepare=[]")
    (step,) = found.recipe.phase("critic").steps
    assert step.table.calls == {"value": "value"}
    assert objective(found, (), filled(TEAM), "critic")["loss.ask"].shape == SIZE


class Counting(Component):
    """How often it ran."""

    reads = {"advantage": "advantage"}
    writes = {"count": "agent.count"}

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(()))

    def compute(self, advantage: Float[Tensor, "*batch"]) -> dict[str, Tensor]:
        self.count += 1
        return {"count": self.count.expand(advantage.shape).clone()}


def test_a_component_with_state_keeps_it_for_each_agent(register):
    register("weight/counting", Counting)
    found = linked("happo", "update.actors.after=[{use: weight/counting}]")
    kept = [found.component(found.recipe.phase("actors").after[0], (agent,)) for agent in TEAM.agents]
    assert len({id(component) for component in kept}) == 3
    store = filled(TEAM, advantage=torch.zeros(SIZE))
    for agent, times in ((A0, 2), (B0, 1)):
        for _ in range(times):
            found.program(found.recipe.phase("actors").after, (agent,)).run(store, (agent,))
    assert store.read("agent.count", (A0,)).unique().item() == 2
    assert store.read("agent.count", (B0,)).unique().item() == 1
    assert sum("count" in name for name in found.state_dict()) == 3


def test_schedules_reach_the_components():
    found = linked("happo", "update.actors.steps.clipped_surrogate.clip={linear: [0.4, 0.2]}")
    clip = found.component(found.recipe.phase("actors").steps[1], (A0,))
    for progress, expected in ((0.0, 0.4), (0.5, 0.3), (2.0, 0.2)):
        found.follow_schedules(progress)
        assert clip.clip.item() == pytest.approx(expected)
    log_prob = torch.log(torch.tensor([1.5]))
    one, zero = torch.ones(1), torch.zeros(1)
    assert clip.compute(log_prob, zero, one, one)["loss"].item() == pytest.approx(-1.2)


def test_a_schedule_may_end_before_the_run():
    found = linked("happo", "update.actors.steps.clipped_surrogate.clip={linear: [0.4, 0.2], until: 0.25}")
    clip = found.component(found.recipe.phase("actors").steps[1], (A0,))
    for progress, expected in ((0.0, 0.4), (0.125, 0.3), (0.25, 0.2), (1.0, 0.2)):
        found.follow_schedules(progress)
        assert clip.clip.item() == pytest.approx(expected)


def test_a_schedule_reaches_the_loss():
    """A scheduled argument is a 0-d tensor wherever a component hands it on."""
    found = linked("happo", "update.critic.steps.huber_value.coef={linear: [2.0, 1.0]}")
    found.follow_schedules(1.0)
    huber = found.component(found.recipe.phase("critic").steps[2], ())
    loss = huber.compute(torch.zeros(1), torch.full((1,), 3.0), torch.zeros(1))
    assert loss["loss"].item() == pytest.approx(1.0 * 3**2 / 2)


def test_steps_outputs_are_logged_and_not_stored():
    found = linked("happo")
    store = filled(TEAM, advantage=torch.randn(SIZE), factor=torch.ones(SIZE))
    store.write("agent.old_log_prob", (A0,), torch.zeros(SIZE))
    program = found.program(found.recipe.phase("actors").steps, (A0,))
    left = program(program.gather(store, (A0,)))
    assert {key for key in left if keys.is_output(key)} == {
        "loss.agent.surrogate", "log.agent.clipped", "loss.agent.entropy_bonus",
    }  # fmt: skip
    program.run(store, (A0,))
    assert not store.has("loss.agent.surrogate", (A0,))
    assert store.has("agent.log_prob", (A0,)) and not store.has("agent.log_prob", (A1,))


def test_optional_roles_are_bound_where_written():
    """``active`` of standardize: without it all rows count, with it only the active ones."""
    found = linked("happo")
    advantage = torch.tensor([1.0, 3.0, 100.0])
    batch = TensorDict({"advantage": advantage, "active": torch.tensor([True, True, False])}, [3])
    program = found.program(found.recipe.phase("estimate").steps[3:4], ())
    store = Store(TEAM, batch)
    assert program.reads == {"advantage": False, "active": True}
    program.run(store, ())
    torch.testing.assert_close(store.read("advantage", ()), torch.tensor([-1.0, 1.0, 98.0]), rtol=1e-4, atol=1e-4)
    store = Store(TEAM, batch.exclude("active"))
    program.run(store, ())
    torch.testing.assert_close(store.read("advantage", ()).mean(), torch.tensor(0.0), rtol=0, atol=1e-5)


# ----- a real task


@pytest.mark.parametrize(
    ("actions", "net"), [("continuous", "gaussian_policy"), ("multi_discrete", "categorical_policy")]
)
def test_links_against_a_real_task(actions, net):
    recipe = load("happo", "task.n_envs=2", "task.horizon=5", f"task.actions={actions}", f"nets.actor.use=net/{net}",
                  "nets.actor.hidden=[4]", "data.frames=10")  # fmt: skip
    module, _ = recipe.build()
    kind = Box if actions == "continuous" else Discrete
    assert [type(agent.action) for agent in module.linked.team.agents] == [kind] * 3
    if actions != "continuous":
        with pytest.raises(RecipeError, match="serves box actions"):
            load("happo", "task.n_envs=2", "task.horizon=5", f"task.actions={actions}").build()


def test_a_real_task_knows_its_agents():
    recipe = load(
        "happo", "task.n_envs=2", "task.horizon=5", "data.frames=10", "task.groups={x: [agent_0], y: [agnt_1]}"
    )
    with pytest.raises(RecipeError, match=r"task.groups.y: no agent 'agnt_1'. Nearest: 'agent_"):
        recipe.build()
