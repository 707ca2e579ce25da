"""A wrong part of any kind is refused in one line when a recipe names it, and hetrl's own are of their kind."""

import re

import pytest
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hetrl import arguments, catalog, network
from hetrl.arguments import Count
from hetrl.component import Component
from hetrl.data.collected import Source
from hetrl.data.environment import Environment
from hetrl.env.team_env import TeamEnv
from hetrl.errors import RecipeError
from hetrl.interface import misfit
from hetrl.network import Network, Policy, mode
from hetrl.optim import Optim, optimizer_of


@pytest.mark.parametrize("name", catalog.BUILT_IN)
def test_built_in_entries_are_of_their_kind(name):
    assert misfit(catalog.resolve(name), name.split("/")[0]) == ""


# ----- orders


class Order(Component):
    reads, writes = {"members": "members"}, {"round": "round"}

    def compute(self, members: Int[Tensor, " n"]) -> dict[str, Tensor]:
        return {"round": members}


class Greedy(Component):
    """It reads the agents' advantages too."""

    reads, writes = {"members": "members", "advantage": "agents.advantage"}, {"round": "round"}

    def compute(self, members: Int[Tensor, " n"], advantage: tuple[Float[Tensor, "*batch"], ...]) -> dict[str, Tensor]:
        return {"round": members}


class OfAnAgent(Component):
    reads, writes = {"members": "members", "advantage": "agent.advantage"}, {"round": "round"}

    def compute(self, members: Int[Tensor, " n"], advantage: Float[Tensor, "*batch"]) -> dict[str, Tensor]:
        return {"round": members}


class NoMembers(Component):
    reads, writes = {"state": "state"}, {"round": "round"}

    def compute(self, state: Tensor) -> dict[str, Tensor]:
        return {"round": state}


class MoreThanRounds(Component):
    reads, writes = {"members": "members"}, {"round": "round", "x": "x"}

    def compute(self, members: Tensor) -> dict[str, Tensor]:
        return {"round": members, "x": members}


class NoCompute(Component):
    reads, writes = {"members": "members"}, {"round": "round"}


# ----- nets


class Net(Network):
    def __init__(self, agent, team, *, size: Count = 1) -> None:
        super().__init__()

    @mode(reads={"state": "state"}, writes={"value": "value"})
    def value(self, state: Tensor) -> dict[str, Tensor]:
        return {"value": state}


class NoMode(Network):
    def __init__(self, agent, team) -> None:
        super().__init__()


class NoDefault(Net):
    default_mode = "valu"


class NoTeam(Net):
    def __init__(self, agent, *, size: Count = 1) -> None:
        super().__init__(agent, None)


class CannotAct(Policy):
    def __init__(self, agent, team) -> None:
        super().__init__()

    act = Net.value

    def noise(self, shape, generator):
        return torch.zeros(*shape, 1)


class Forgetful(Net):
    @classmethod
    def chunk_of(cls, values):
        return 4


# ----- optimisers


class Descent(Optim):
    reads, once = {}, False

    def __init__(self, *, lr: float = 0.1) -> None:
        self.lr, self.constraints = lr, {}

    def optimizer(self, parameters):
        return torch.optim.SGD(parameters, self.lr)


class Alone:
    """It derives from nothing, and has everything."""

    reads, once, constraints = {}, False, {}

    def optimizer(self, parameters):
        return torch.optim.SGD(parameters)


class NoReads(Optim):
    once, constraints = False, {}

    def optimizer(self, parameters):
        return torch.optim.SGD(parameters)


class OnceIsAWord(Descent):
    once = "yes"


class NoConstraints(Optim):
    reads, once = {}, False

    def optimizer(self, parameters):
        return torch.optim.SGD(parameters)


class NoOptimizer(Optim):
    reads, once, constraints = {}, False, {}


class TakesNothing(Descent):
    def optimizer(self):
        return None


class ByPosition(Descent):
    def __init__(self, lr: float = 0.1) -> None:
        super().__init__(lr=lr)


class Untyped(Descent):
    def __init__(self, *, lr=0.1) -> None:
        super().__init__(lr=lr)


class Unresolved(Descent):
    def __init__(self, *, lr: "Nowhere" = 0.1) -> None:
        super().__init__(lr=lr)


# ----- data and environments


class Data(Source):
    in_order = True

    @staticmethod
    def provides(keys):
        return list(keys)

    def attach(self, env, behaviour, reward, seed, critic=None):
        self.device = env.device

    def collect(self): ...
    def n_collections(self, frames): ...
    def state_dict(self): ...
    def load_state_dict(self, state): ...


class NotAttached(Data):
    attach = Source.attach


class OfInstances(Data):
    def provides(self, keys):
        return list(keys)


class NoWordOfTime(Data):
    in_order = None


class NoDevice(Source):
    in_order = True
    provides, collect, n_collections = Data.provides, Data.collect, Data.n_collections
    state_dict, load_state_dict = Data.state_dict, Data.load_state_dict

    def attach(self, env, behaviour, reward, seed, critic=None): ...


class NoCritic(Data):
    def attach(self, env, behaviour):
        self.device = env.device


class World(TeamEnv):
    def __init__(self, *, n_envs: Count = 2, seed: int = 0, device: str = "cpu") -> None: ...


class Bare:
    """Alone, and it lacks most."""

    def __init__(self, *, n_envs: int = 1, seed: int = 0, device: str = "cpu") -> None:
        self.team = None


class NoSeed(World):
    def __init__(self, *, n_envs: Count = 2, device: str = "cpu") -> None: ...


class NoNumber(World):
    def __init__(self, *, n_envs: Count, seed: int = 0, device: str = "cpu") -> None: ...


class NoStart(Environment):
    def __init__(self, *, n_envs: int = 1, seed: int = 0, device: str = "cpu") -> None:
        self.team, self.masks = None, {}

    @staticmethod
    def provides(arguments):
        return []


SOUND = [("order", Order), ("order", Greedy), ("net", Net), ("optim", Descent), ("optim", Alone), ("data", Data),
         ("env", World)]  # fmt: skip
WRONG = [
    ("order", OfAnAgent, "reads 'agent.advantage', and nobody's turn has come when .*; read 'agents.advantage'"),
    ("order", NoMembers, "does not read 'members', as every order/... does; add {'members': 'members'} to its reads"),
    ("order", MoreThanRounds, "writes .'round', 'x'., and an order writes 'round' alone"),
    ("order", NoCompute, "has no compute; define it, with the roles of reads as its parameters"),
    ("order", Net, "is no Component, as every order/... is"),
    ("order", 3, "is a int, not a class"),
    ("net", NoMode, "has no mode; mark a method with hetrl.network.mode"),
    ("net", NoDefault, "has no mode 'valu', its default_mode; it has value"),
    ("net", NoTeam, r"has a constructor that takes agent by position; write def __init__"),
    ("net", CannotAct, r"is a Policy without draw\(\); define it, collection asks for it"),
    ("net", Forgetful, r"is recurrent \(it has chunk_of\) and has no remember\(\); define it"),
    ("optim", NoReads, "has no attribute 'reads', as every optim/... has; set reads on the class"),
    ("optim", OnceIsAWord, "has once = 'yes' where a bool is meant"),
    ("optim", NoConstraints, "has no attribute 'constraints', as every optim/... has; set self.constraints in __"),
    ("optim", NoOptimizer, "has no method 'optimizer', as every optim/... has; derive it .* and define it"),
    ("optim", TakesNothing, r"has optimizer\(self\), which has to take parameters"),
    ("optim", ByPosition, r"takes 'lr' by position; make its hyperparameters keyword-only, def __in"),
    ("optim", Untyped, "has an argument 'lr' without a type; annotate it, a recipe's value is checked"),
    ("optim", Unresolved, "has annotations in its constructor that do not resolve: NameError"),
    ("data", NotAttached, "has no method 'attach', as every data/... has; derive it from hetrl.data.collected.Source"),
    ("data", OfInstances, "has a method 'provides' of its instances, and the class itself is asked; make it a @static"),
    ("data", NoWordOfTime, "has in_order = None where a bool is meant"),
    ("data", NoDevice, "has no attribute 'device', as every data/... has"),
    ("data", NoCritic, r"has attach\(self, env, behaviour\), which has to take env, behaviour, reward, seed, critic"),
    ("env", Bare, "has no attribute 'masks', as every env/... has; derive it from hetrl.data.environment.Environment"),
    ("env", NoSeed, "has no argument 'seed', which a run fills in; add it to the constructor, keyword-only"),
    ("env", NoNumber, "has no default for 'n_envs'; give it one, so that a recipe can leave it out"),
    ("env", NoStart, "has no method 'start', as every env/... has; derive it"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "cls"), SOUND)
def test_a_sound_part_is_let_through(kind, cls):
    assert misfit(cls, kind) == ""


@pytest.mark.parametrize(("kind", "cls", "problem"), WRONG)
def test_what_a_part_lacks_is_said_in_one_line(kind, cls, problem):
    assert re.match(problem, misfit(cls, kind)), misfit(cls, kind)
    assert "\n" not in misfit(cls, kind)


def test_only_its_own_arguments_are_taken_by_what_has_no_constructor():

    with pytest.raises(RecipeError, match=r"^optim/x has no argument 'lr'\.$"):
        arguments.check(Alone.__init__, {"lr": 0.1}, "optim/x")
    with pytest.raises(RecipeError, match=r"^optim/x has no argument 'lr'\.$"):
        arguments.check(NoConstraints.__init__, {"lr": 0.1}, "optim/x")


def test_what_an_entry_makes_is_an_optimiser_that_says_how_it_differentiates():
    weight = [torch.nn.Parameter(torch.zeros(1))]
    assert isinstance(optimizer_of(catalog.resolve("optim/adam")(), weight, "x"), torch.optim.Adam)
    with pytest.raises(RecipeError, match=r"^here: SGD does not say whether it differentiates twice; give the class "):
        optimizer_of(Descent(), weight, "here")
    with pytest.raises(RecipeError, match=r"^here: optimizer\(\) returns a NoneType, and no torch.optim.Optimizer\.$"):
        optimizer_of(type("Nothing", (Descent,), {"optimizer": lambda self, parameters: None})(), weight, "here")


def test_a_net_keeps_nothing_where_it_does_not_say_so():
    with Net(None, None).settled():
        pass
    assert network.Network.settled is Net.settled
