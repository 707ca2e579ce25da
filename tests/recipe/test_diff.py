"""Differences of recipes: what they do, not how they are written."""

import io
from pathlib import Path

import pytest
from rich.console import Console

import hetrl
from hetrl import cli
from hetrl.errors import HetrlError
from hetrl.recipe.diff import Difference, differences, recipe_of, show_differences
from hetrl.recipe.shipped import shipped


def text(one, other, names=("one", "other")):
    console = Console(width=150, file=io.StringIO())
    console.print(show_differences(one, other, names))
    return console.file.getvalue()


def test_hasac_and_masac_differ_by_one_line():
    found = differences(hetrl.load("hasac"), hetrl.load("masac"))
    assert found == [Difference("actors", "order", "order/random_permutation", "order/simultaneous")]
    printed = text(hetrl.load("hasac"), hetrl.load("masac"), ("hasac", "masac"))
    assert len(printed.splitlines()) == 6
    assert "1 difference. The same: task, nets, data, critic, temperature, joint_temperature." in printed
    assert "mine [/x] [bold]" in text(hetrl.load("hasac"), hetrl.load("masac"), ("hasac", "mine [/x] [bold]"))


def test_mappo_is_happo_without_order_and_factor():
    found = differences(hetrl.load("happo"), hetrl.load("mappo"))
    assert [(each.section, each.what, each.one, each.other) for each in found] == [
        ("nets", "actor per", "agent", "team"),
        ("actors", "order", "order/random_permutation", "order/simultaneous"),
        ("actors", "after", "net actor.log_prob", "-"),
        ("actors", "after", "weight/importance_factor", "-"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "override",
    [
        "update.actors.steps.clipped_surrogate={use: loss/clipped_surrogate}",  # 0.2 is what it is by default
        "update.actors.epochs=5",
        "nets.actor.per=agent",
        "update.critic.prepare={}",
        "about=another text",
    ],
)
def test_what_is_only_written_differently_is_no_difference(override):
    if override.startswith("update.critic.prepare"):
        override = "update.critic.prepare.0={net: value.normalized, writes: {normalized_value: old_normalized_value}}"
    one, other = hetrl.load("happo"), hetrl.load("happo", override)
    assert differences(one, other) == []
    assert text(one, other) == "one and other do the same.\n"


@pytest.mark.parametrize(
    ("override", "difference"),
    [
        ("task.horizon=200", ("task", "horizon", "100", "200")),
        ("task.groups={a: [agent_0], b: [agent_1, agent_2]}",
         ("task", "groups", "-", "a=['agent_0'], b=['agent_1', 'agent_2']")),
        ("nets.actor.activation=relu", ("nets", "actor activation", "tanh", "relu")),
        ("data.frames=3200", ("data", "frames", "6400", "3200")),
        ("update.actors.minibatches=8", ("actors", "minibatches", "4", "8")),
        ("update.actors.optim.lr=1e-3", ("actors", "optim lr", "0.0005", "0.001")),
        ("update.actors.steps.clipped_surrogate.clip=0.1",
         ("actors", "steps: loss/clipped_surrogate clip", "0.2", "0.1")),
        ("update.actors.steps.1={use: loss/surrogate}",
         ("actors", "steps", "loss/clipped_surrogate\n  clip=0.2", "loss/surrogate")),
        ("run.seed=3", ("run", "seed", "0", "3")),
    ],
    ids=lambda value: value.split("=")[0] if isinstance(value, str) else "",
)  # fmt: skip
def test_every_part_is_compared(override, difference):
    one, other = hetrl.load("happo"), hetrl.load("happo", override)
    assert differences(one, other) == [Difference(*difference)]
    section, what, mine, theirs = difference
    assert differences(other, one) == [Difference(section, what, theirs, mine)]


def test_a_key_bound_to_another_place_is_named():
    other = hetrl.load("hasac", "update.actors.steps.1={net: q.min, reads: {action: agents.action}}")
    (found,) = differences(hetrl.load("hasac"), other)
    assert found == Difference("actors", "steps: net q.min reads action", "agents.proposal", "agents.action")


def test_a_phase_of_one_alone_is_outlined():
    found = {each.section: each for each in differences(hetrl.load("hasac"), hetrl.load("haddpg"))}
    assert found["temperature"] == Difference(
        "temperature", "phase",
        "train alpha, agents by order/simultaneous\noptim optim/adam\n  lr=0.003\n"
        "epochs=1, minibatches=1, every=1, inactive=skip\nsteps: net alpha.dual\nsteps: loss/temperature", "-",
    )  # fmt: skip
    joint = found["joint_temperature"].one
    assert "before: estimate/joint_log_prob" in joint
    assert "target_entropy=target_entropy, loss=loss.temperature}" in joint


def leaves(tree, where=""):
    """Yield the place of every number of a recipe, and its value."""
    places = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for word, value in places:
        if isinstance(value, (dict, list)) and not isinstance(value, str):
            yield from leaves(value, f"{where}{word}.")
        elif isinstance(value, (int, float)) and word != "hetrl":
            yield f"{where}{word}", value


NUMBERS = [(name, *leaf) for name in ("happo", "hasac", "haqo") for leaf in leaves(hetrl.load(name).tree)]


@pytest.mark.parametrize(("name", "place", "value"), NUMBERS, ids=lambda each: str(each))
def test_no_number_of_a_recipe_changes_unseen(name, place, value):
    """Every number and every true or false, changed alone, is one difference that tells the old value and the new."""
    before = hetrl.load(name)
    for new in (not value,) if isinstance(value, bool) else (value * 2, value / 2, value + 1, 0.5, 1):
        if new == value or (isinstance(value, int) and not isinstance(value, bool) and new != int(new)):
            continue
        new = new if isinstance(value, (bool, float)) else int(new)
        if place.split(".")[-1].isdigit() and "hidden" in place:
            place, new = place.rsplit(".", 1)[0], [new]
        try:
            after = hetrl.load(name, f"{place}={str(new).lower()}")
            found = differences(before, after)
        except HetrlError:  # out of its range, or at odds with another word
            continue
        assert len(found) == 1 and str(new) in found[0].other and differences(after, before)
        return
    pytest.fail(f"no other value of {place} can be had")


@pytest.mark.parametrize(("one", "other"), [("hasac", "haddpg"), ("happo", "hatrpo"), ("happo", "haqo")])
def test_what_only_one_of_them_has_is_said_whole(one, other):
    recipes = hetrl.load(one), hetrl.load(other)
    said = "\n".join(f"{each.one}\n{each.other}" for each in differences(*recipes))
    for mine, theirs in (recipes, recipes[::-1]):
        for phase in mine.update:
            if phase.name in {each.name for each in theirs.update}:
                continue
            parts = [*phase.every_step, *([] if phase.optim is None else [phase.optim])]
            for word, value in (item for part in parts for item in part.arguments.items()):
                assert f"{word}={value}" in said
            assert all(step.title in said for step in phase.every_step)


@pytest.mark.parametrize("name", [name for name in shipped() if not name.startswith("task/")])
def test_a_recipe_is_like_itself(name):
    assert differences(hetrl.load(name), hetrl.load(name)) == []


@pytest.mark.parametrize(
    ("one", "other"), [("happo", "hatrpo"), ("happo", "haa2c"), ("hasac", "haddpg"), ("haddpg", "omdpg")]
)
def test_relatives_fit_one_screen(one, other):
    assert len(text(hetrl.load(one), hetrl.load(other)).splitlines()) < 50


def test_a_folder_stands_for_its_recipe(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    for folder, file, seed in (("run", "recipe.yaml", 1), ("seeds", "seeds.yaml", 2)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / file).write_text(hetrl.load("happo", f"run.seed={seed}").yaml())
        assert recipe_of(str(tmp_path / folder)) == str(tmp_path / folder / file)
    assert recipe_of("happo") == "happo"
    monkeypatch.chdir(tmp_path)
    cli.app(["diff", "run", "seeds", "update.actors.epochs=9"], standalone_mode=False)
    printed = capsys.readouterr().out
    assert "seeds update.actors.epochs=9" in printed and "2 differences." in printed
    assert [line.split("│")[1:-1] for line in printed.splitlines() if "epochs " in line]
    assert Path("run").is_dir()


def test_nets_that_are_trained_together_are_listed_in_the_order_of_the_nets():
    """In which order a recipe names them, or whether one stands in a list, is no difference."""
    assert not differences(hetrl.load("qmix"), hetrl.load("qmix", "update.values.train=[mixer, utility]"))
    assert not differences(hetrl.load("happo"), hetrl.load("happo", "update.critic.train=[value]"))
    own = "{use: net/mixer, hidden: [8]}"
    steps = "update.values.steps=[{net: utility.chosen}, {net: mixer}, {net: two, writes: {q: q_two}}, " \
            "{use: loss/single_td}, {use: loss/single_td, reads: {q: q_two}, writes: {loss: loss.two}}]"  # fmt: skip
    three = hetrl.load("qmix", f"nets.two={own}", "update.values.train=[two, mixer, utility]", steps)
    found = differences(hetrl.load("qmix"), three)
    assert Difference("values", "train", "utility, mixer", "utility, mixer, two") in found
