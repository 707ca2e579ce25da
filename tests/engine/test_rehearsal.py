"""What is found out before anything is collected: nets whose modes mix the samples of a batch."""

import sys
import types

import pytest
import torch
from choosing import chooses
from torch import nn

from hetrl import catalog
from hetrl.component import Component
from hetrl.engine.link import link
from hetrl.engine.rehearsal import empty_batch, rehearse
from hetrl.errors import RecipeError
from hetrl.network import Network, mode
from hetrl.recipe.read import load
from hetrl.recipe.shipped import shipped
from hetrl.team import Agent, Box, Discrete, Team

BOX = Box((-1.0,), (1.0,))
TEAM = Team(tuple(Agent(f"a{i}", "agents", i, 4, BOX, "agents") for i in range(3)), 12)


class Value(Network):
    """A value of the state, right or wrong in one way."""

    default_mode, default_per = "value", "team"

    def __init__(self, agent, team, *, way: str = "right"):
        super().__init__()
        self.way, self.body, self.norm = way, nn.Linear(team.state_size, 1), nn.BatchNorm1d(team.state_size)

    @mode(reads={"state": "state"}, writes={"value": "value"})
    def value(self, state):
        if self.way == "batch norm":
            state = self.norm(state.flatten(0, -2)).view(state.shape)
        elif self.way == "pools":
            state = state.mean(0, keepdim=True).expand(state.shape)
        value = self.body(state).squeeze(-1)
        if self.way == "one number":
            return {"value": value.mean()}
        if self.way == "one for all":
            return {"value": value.mean().expand(value.shape)}
        if self.way == "draws":
            return {"value": value + torch.randn_like(value)}
        return {"value": value.flip(0) if self.way == "other order" else value}


@pytest.fixture
def recipe(monkeypatch):
    """Return a function that makes a recipe with the net of a package."""
    package = types.ModuleType("toy_package")
    package.Value = Value
    monkeypatch.setitem(sys.modules, "toy_package", package)
    monkeypatch.setitem(catalog.BUILT_IN, "net/toy.value", "toy_package:Value")

    def make(way):
        return load(
            "happo", f"nets.value={{use: net/toy.value, way: {way}}}", "update.critic.prepare=null",
            "update.critic.steps=[{net: value}, {use: loss/huber_value, reads: {value: value, return_: return}}]",
        )  # fmt: skip

    return make


@pytest.mark.parametrize("way", ["right", "draws"])
def test_values_sample_by_sample_pass(recipe, way):
    link(recipe(way), TEAM)


@pytest.mark.parametrize("way", ["batch norm", "pools", "one number", "one for all", "other order"])
def test_what_mixes_samples_is_refused(recipe, way):
    outside = torch.get_rng_state()
    with pytest.raises(RecipeError, match=r"^nets.value: what net/toy.value says in its mode 'value' is not one val"):
        link(recipe(way), TEAM)
    assert torch.equal(torch.get_rng_state(), outside)


class Loss(Component):
    """A loss, right or wrong in one way."""

    reads = {"log_prob": "agent.log_prob", "advantage": "advantage"}
    writes = {"loss": "loss.agent.mine"}

    def __init__(self, *, way: str = "right") -> None:
        super().__init__()
        self.way = way

    def compute(self, log_prob, advantage):
        loss = -log_prob * advantage
        if self.way == "raises":
            raise ValueError("only on real data")
        return {"right": {"loss": loss}, "detached": {"loss": loss.detach()}, "bare": loss, "other": {"lost": loss}}[
            self.way
        ]


@pytest.mark.parametrize(
    ("way", "text"),
    [
        ("detached", "sends no gradient to 'actor', the net that update.actors trains; detach nothing in it"),
        ("bare", "returns a Tensor, and not a dict of loss; return that."),
        ("other", "returns no 'loss', which its table writes; it returns lost."),
        ("right", ""),
        ("raises", ""),
    ],
)
def test_a_loss_of_a_package_is_tried_out(monkeypatch, way, text):
    """Also beside another loss, where the rest would train on in silence; what it cannot bear is left to training."""
    package = types.ModuleType("toy_package")
    package.Loss = Loss
    monkeypatch.setitem(sys.modules, "toy_package", package)
    monkeypatch.setitem(catalog.BUILT_IN, "loss/toy.mine", "toy_package:Loss")
    recipe = load("happo", f"update.actors.steps.clipped_surrogate={{use: loss/toy.mine, way: {way}}}")
    if not text:
        link(recipe, TEAM)
        return
    with pytest.raises(RecipeError, match=rf"^update.actors.steps\[1\] \(loss/toy.mine\) {text}"):
        link(recipe, TEAM)


@pytest.mark.parametrize("name", [name for name in shipped() if not name.startswith("task/")])
def test_every_step_of_every_recipe_finds_its_inputs(name):
    recipe = load(name)
    space = Discrete((3,)) if chooses(recipe) else BOX
    team = Team(tuple(Agent(f"a{i}", "agents", i, 4, space, "agents") for i in range(3)), 12)
    linked = link(recipe, team)
    seen = {scene.step for scene in rehearse(linked, empty_batch(linked))}
    assert seen == {step for phase in recipe.update for step in phase.every_step}
