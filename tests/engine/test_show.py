"""What ``hetrl show`` prints."""

import io
import re
from dataclasses import replace

import pytest
import torch
from choosing import chooses
from rich.console import Console

from hetrl.engine.rehearsal import team_batch
from hetrl.engine.show import show
from hetrl.errors import RecipeError
from hetrl.recipe.read import load
from hetrl.recipe.shipped import shipped
from hetrl.team import Agent, Box, Discrete, Team

ARM, LEG = Box((-1.0,), (1.0,)), Box((-1.0, -1.0), (1.0, 1.0))
ALIKE = Team(tuple(Agent(f"a{i}", "agents", i, 4, ARM, "agents") for i in range(3)), 12)
MIXED = Team((*ALIKE.agents[:2], Agent("walker", "walkers", 0, 6, LEG, "walkers")), 14)
CHOOSING = Team(tuple(replace(agent, action=Discrete((3, 2))) for agent in ALIKE.agents), 12)


def text(recipe, team=None, width=250):
    console = Console(width=width, file=io.StringIO())
    console.print(show(recipe, team))
    return console.file.getvalue()


def test_the_program():
    found = text(load("happo"))
    for words in (
        "HAPPO. Kuba et al. 2022",
        "actor (acts)",
        "estimate: no gradient",
        "actors: train actor, agents by order/random_permutation, 5 epochs, 4 minibatches",
        "critic: train value, at once, 5 epochs, 4 minibatches",
        "loss/clipped_surrogate",
        "clip=0.2",
        "loss.agent.surrogate",
        "net value.normalized",
        "next.value",
    ):
        assert words in found
    assert found.index("estimate:") < found.index("actors:") < found.index("critic:")
    assert "[B" not in found


def row(found, *words):
    return next(line for line in found.splitlines() if all(word in line for word in words))


def test_shapes_of_a_team():
    found = text(load("happo"), ALIKE)
    for key, shape in (
        ("agent.observation", "[B, 4]"),
        ("agent.action", "[B, 1]"),
        ("agent.log_prob", "[B]"),
        ("state", "[B, 12]"),
        ("advantage", "[B]"),
        ("factor", "[B]"),
    ):
        assert f"{key} {shape}" in found
    assert "team, state [12]" in found
    assert row(found, "a1", "agents", "[4]", "continuous[1]")


def test_shapes_of_other_teams():
    assert row(text(load("happo"), MIXED), "walker", "walkers", "[6]", "continuous[2]")
    found = text(load("happo", "nets.actor.use=net/categorical_policy"), CHOOSING)
    assert "agent.action [B, 2]" in found and "discrete[3, 2]" in found


@pytest.mark.parametrize("name", [name for name in shipped() if not name.startswith("task/")])
def test_every_shipped_recipe_prints(name):
    discrete = chooses(load(name))
    one_choice = Team(tuple(replace(agent, action=Discrete((3,))) for agent in ALIKE.agents), 12)
    found = text(load(name), one_choice if discrete else ALIKE)
    assert all(f"{phase.name}: " in found for phase in load(name).update)


def test_what_every_says():
    assert "every 2" in text(load("happo", "update.critic.every=2"))
    assert "every" not in text(load("happo"))


def test_a_recipe_that_does_not_link_is_not_printed():
    with pytest.raises(RecipeError, match="no role 'x'"):
        show(load("happo", "update.actors.steps.0.keys={x: y}"))
    with pytest.raises(RecipeError, match="serves box actions"):
        show(load("happo"), CHOOSING)


def test_an_empty_batch_has_what_collection_delivers():
    """The same keys, shapes and types as the first batch of a real task."""
    recipe = load("happo", "task.n_envs=2", "task.horizon=5", "data.frames=10", "nets.actor.hidden=[4]")
    module, collection = recipe.build()
    real = collection.source.rollout()
    made = team_batch(module.linked.team, 5, 2)
    leaves = [{key: (value.shape, value.dtype) for key, value in each.items(True, True)} for each in (real, made)]
    assert leaves[0] == leaves[1]
    assert isinstance(made["state"], torch.Tensor)


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("name", ["happo", "hasac", "omdpg"])
def test_names_are_whole_however_narrow_the_terminal(name, width):
    """What a wide terminal shows as words, a narrow one does, and no more."""

    def words(width):
        found = re.split(r"[\s,]+", re.sub(r"[│┃┏┳┡━╇└─┴┓┩┘]", " ", text(load(name), ALIKE, width=width)))
        return {word for word in found if re.search(r"[a-z]", word)}

    assert words(width) <= words(300) and words(300) - words(width) <= {"step", "is", "agent"}  # titles of columns
    assert max(map(len, text(load(name), ALIKE, width=width).splitlines())) <= width


def test_one_epoch_and_the_members_of_an_ensemble():
    assert (
        "critic: train value, at once, 1 epoch, 1 minibatch "
        in text(load("happo", "update.critic.epochs=1", "update.critic.minibatches=1")) + " "
    )
    assert re.search(r"\bq \[2, B\]", text(load("hasac"), ALIKE))
