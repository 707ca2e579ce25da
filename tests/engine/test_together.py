"""Nets trained together: one loss, one optimiser, one gradient through agents' steps and the team's."""

import copy

import pytest
import torch
from jaxtyping import Float
from tensordict import TensorDict
from torch import Tensor, nn

import hetrl
from hetrl import catalog
from hetrl.component import Component
from hetrl.engine.link import link
from hetrl.engine.phase import PhaseRunner
from hetrl.engine.store import Store
from hetrl.network import Network, mode
from hetrl.team import Agent, Box, Team

WAY = Box((-1.0,), (1.0,))
A0, A1 = (Agent(f"a{i}", "arms", i, 3, WAY, "arms") for i in range(2))
B0 = Agent("b0", "legs", 0, 4, WAY, "legs")
TEAM = Team((A0, B0, A1), 10)
"""Two layout groups, and a team order that is neither's."""
ROWS, RATE, MOST = 12, 0.01, 0.05


class Utility(Network):
    """What an agent's own action is worth to it, u(o, a)."""

    default_mode = "chosen"

    def __init__(self, agent: Agent, team: Team, *, hidden: int = 4) -> None:
        super().__init__()
        self.inside, self.last = nn.Linear(agent.observation_size + 1, hidden), nn.Linear(hidden, 1)

    @mode(
        reads={"observation": "agent.observation", "action": "agent.action"}, writes={"utility": "agent.chosen_utility"}
    )
    def chosen(
        self, observation: Float[Tensor, "*batch size"], action: Float[Tensor, "*batch one"]
    ) -> dict[str, Float[Tensor, "*batch"]]:
        """Return ``utility``."""
        inside = self.inside(torch.cat([observation, action], -1)).tanh()
        return {"utility": self.last(inside).squeeze(-1)}


class Mixer(Network):
    """A weight of the state for each utility."""

    default_mode = "mix"
    default_per = "team"

    def __init__(self, agent: Agent, team: Team) -> None:
        super().__init__()
        self.weigh = nn.Linear(team.state_size, len(team))

    @mode(reads={"state": "state", "utility": "agents.chosen_utility"}, writes={"q": "q_total"})
    def mix(
        self, state: Float[Tensor, "*batch size"], utility: tuple[Float[Tensor, "*batch"], ...]
    ) -> dict[str, Float[Tensor, "*batch"]]:
        """Return ``q``."""
        return {"q": (self.weigh(state) * torch.stack(utility, -1)).sum(-1)}


class Square(Component):
    """Squared distance of two numbers."""

    reads = {"one": "q_total", "other": "target"}
    writes = {"loss": "loss.square"}

    def compute(self, one: Float[Tensor, "*batch"], other: Float[Tensor, "*batch"]) -> dict[str, Tensor]:
        """Return ``loss``."""
        return {"loss": (one - other).square()}


class Joined(Component):
    """What everybody is worth, less what one is."""

    reads = {"own": "agent.chosen_utility", "whole": "agents.chosen_utility", "team": "q_total"}
    writes = {"rest": "agent.rest"}

    def compute(
        self,
        own: Float[Tensor, "*batch"],
        whole: tuple[Float[Tensor, "*batch"], ...],
        team: Float[Tensor, "*batch"],
    ) -> dict[str, Tensor]:
        """Return ``rest``."""
        return {"rest": sum(whole) * team - own}


@pytest.fixture(autouse=True)
def parts(monkeypatch):
    for word in ("REGISTERED", "REGISTRATIONS"):
        monkeypatch.setattr(catalog, word, {})
    for name, part in {"net/my.utility": Utility, "net/my.mixer": Mixer, "loss/my.square": Square,
                       "estimate/my.joined": Joined}.items():  # fmt: skip
        hetrl.register(name, part)


STEPS = [{"net": "utility"}, {"net": "mixer"}, {"use": "loss/my.square"}]
OWN_LOSS = {"use": "loss/my.square", "keys": {"one": "agent.chosen_utility", "loss": "loss.agent.own"}}


def recipe(steps=STEPS, per="agent", train=("utility", "mixer"), **words):
    tree = hetrl.load("happo").tree
    nets = {"utility": {"use": "net/my.utility", "per": per}, "mixer": {"use": "net/my.mixer"}}
    trained = {"phase": "worth", "train": list(train), "steps": list(steps),
               "optim": {"use": "optim/adam", "lr": RATE, "max_grad_norm": MOST}, **words}  # fmt: skip
    actors = {"phase": "actors", "train": "actor", "order": {"use": "order/simultaneous", "of": "agent"},
              "optim": {"use": "optim/adam"},
              "steps": [{"net": "actor.log_prob"}, {"use": "loss/entropy_bonus"}]}  # fmt: skip
    used = {name: net for name, net in nets.items() if name in train}
    return hetrl.load({**tree, "nets": {"actor": tree["nets"]["actor"], **used}, "update": [trained, actors]})


def batch(team, **more):
    made = {group: {"observation": torch.randn(ROWS, len(agents), agents[0].observation_size),
                    "action": torch.rand(ROWS, len(agents), 1)} for group, agents in team.layout.items()}  # fmt: skip
    for group, value in more.pop("groups", {}).items():
        made[group] |= value
    return TensorDict({**made, "state": torch.randn(ROWS, team.state_size), "target": torch.randn(ROWS), **more},
                      [ROWS])  # fmt: skip


GIVEN = ["agent.observation", "agent.action", "agent.active", "state", "target"]


def linked(team=TEAM, **words):
    return link(recipe(**words), team, GIVEN)


def trained(found, data, compile=False):
    """Run the phase once, and return what it logged."""
    runner = PhaseRunner(found.recipe.phase("worth"), found, compile)
    store = Store(found.team, data)
    return runner.run(store, 0.0, torch.Generator().manual_seed(0), lambda optimizer, closure: optimizer.step(closure))


def by_hand(found, data, loss_of):
    """Return the parameters after a clipped step of Adam, as torch alone takes it, and the gradient's norm."""
    nets = copy.deepcopy(found.nets).requires_grad_(True)
    own = [*nets["utility"].parameters(), *(nets["mixer"].parameters() if "mixer" in nets else ())]
    optimizer = torch.optim.Adam(own, lr=RATE, eps=1e-5)
    loss = loss_of(nets, data)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(own, MOST)
    assert norm > MOST
    optimizer.step()
    return loss.detach(), norm, [parameter.detach() for parameter in own]


def utilities(nets, data, team):
    """Return every agent's, one by one."""
    found = []
    for agent in team.agents:
        seen, action = (data[agent.group, word][:, agent.index] for word in ("observation", "action"))
        found.append(nets["utility"][nets["utility"].owner(agent)].chosen(seen, action)["utility"])
    return tuple(found)


def mixed(nets, data, team=TEAM):
    q = nets["mixer"]["team"].mix(data["state"], utilities(nets, data, team))["q"]
    return (q - data["target"]).square().mean()


@pytest.fixture
def exact():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("per", ["agent", "group"])
def test_one_step_is_that_of_torch_over_all_modules(per):
    found, data = linked(per=per), batch(TEAM)
    loss, norm, expected = by_hand(found, data, mixed)
    logged = trained(found, data)
    close(logged["worth/square"], loss)
    close(logged["worth/grad_norm"], norm)
    close([*found.nets["utility"].parameters(), *found.nets["mixer"].parameters()], expected)


@pytest.mark.usefixtures("exact")
def test_agents_that_share_run_as_one_lane_and_equal_those_that_do_not():
    """The arms share a module: one lane; a step that reads everybody's values splits it, and changes nothing."""
    found, data = linked(per="group"), batch(TEAM)
    apart = linked(per="group", steps=[*STEPS, {"use": "estimate/my.joined"}])
    apart.nets.load_state_dict(found.nets.state_dict())
    lanes = {each: [tuple(a.name for a in lane) for lane, _ in _turn(each).lanes] for each in (found, apart)}
    assert lanes[found] == [("a0", "a1"), ("b0",), ()]
    assert lanes[apart] == [("a0",), ("b0",), ("a1",), ()]
    for each in (found, apart):
        trained(each, data)
    close([*found.nets.parameters()], [*apart.nets.parameters()])


def _turn(found):
    (turn,) = PhaseRunner(found.recipe.phase("worth"), found)._turns.of(())
    return turn


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("per", ["agent", "group"])
def test_agents_losses_are_means_over_all_active_samples_of_all_agents(per):
    """Masks count, and the team's loss is added: its mean is over the rows."""
    active = {"arms": {"active": torch.rand(ROWS, 2) < 0.5}}
    data, found = batch(TEAM, groups=active), linked(per=per, steps=[*STEPS, OWN_LOSS])

    def expected(nets, data):
        each = torch.stack(utilities(nets, data, TEAM), 1)
        ones = torch.ones(ROWS, dtype=torch.bool)
        mask = torch.stack([active["arms"]["active"][:, 0], ones, active["arms"]["active"][:, 1]], 1)
        return (each - data["target"].unsqueeze(1)).square()[mask].mean() + mixed(nets, data)

    loss, _, after = by_hand(found, data, expected)
    logged = trained(found, data)
    close(logged["worth/square"] + logged["worth/own"], loss)
    close([*found.nets["utility"].parameters(), *found.nets["mixer"].parameters()], after)


@pytest.mark.usefixtures("exact")
def test_the_team_s_values_go_back_to_agents_with_their_gradient():
    """Utilities, their mixture, and of both a loss of each agent's: two blocks of agents around the team's."""
    back = {"use": "loss/my.square", "keys": {"one": "agent.rest", "loss": "loss.agent.rest"}}
    found, data = linked(steps=[*STEPS[:2], {"use": "estimate/my.joined"}, back]), batch(TEAM)
    assert [len(block.takes) for block in _turn(found).objective.steps.blocks] == [0, 1, 2]

    def expected(nets, data):
        each = utilities(nets, data, TEAM)
        q = nets["mixer"]["team"].mix(data["state"], each)["q"]
        return torch.stack([(sum(each) * q - own - data["target"]).square() for own in each]).mean()

    loss, _, after = by_hand(found, data, expected)
    close(trained(found, data)["worth/rest"], loss)
    close([*found.nets["utility"].parameters(), *found.nets["mixer"].parameters()], after)


def test_a_list_of_one_shared_net_trains_like_all_agents_in_one_turn():
    """Bit for bit: everybody's lane is the same, whether nobody is in turn or all are."""
    team = Team((A0, A1), 6)
    alone = {"steps": [{"net": "utility"}, OWN_LOSS], "per": "team", "train": ["utility"]}
    one = linked(team, **alone)
    other = linked(team, **alone, order={"use": "order/simultaneous", "of": "agent"})
    data = batch(team, groups={"arms": {"active": torch.rand(ROWS, 2) < 0.5}})
    for each in (one, other):
        trained(each, data)
    for name, value in one.nets.state_dict().items():
        assert value.equal(other.nets.state_dict()[name]), name
