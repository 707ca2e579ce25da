"""``hetrl show`` of a part."""

import io
import re

import pytest
from rich.console import Console

from hetrl import arguments, catalog, cli, glossary
from hetrl.component import Component
from hetrl.env.scenarios import scenarios
from hetrl.errors import RecipeError
from hetrl.report.part import describe
from hetrl.report.quantity import describe_quantity, quantities


def printed(name, width=80):
    console = Console(width=width, file=io.StringIO())
    console.print(describe(name))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_a_loss():
    lines = printed("loss/huber_value", 100)
    assert lines[0].startswith("loss/huber_value: Huber error of the value, optionally clipped")
    assert "  max(h(y - v), h(y - v_old - clip(v - v_old, -c, c))), h = Huber(delta)" in lines
    text = " ".join(" ".join(lines).split())
    for words in (
        "delta number > 0 or null, by default 10.0: where the Huber function turns linear [normalised reward]",
        "coef number ≥ 0 or a schedule, by default 1.0: weight of the loss [1], 0 or more.",
        "reads value normalized_value, [B], normalised reward: V(s) in the units",
        "reads old_value old_normalized_value, where something writes it, [B]",
        "writes loss loss.value",
        "source Yu et al. 2022, arXiv:2103.01955",
        "differs nothing.",
        "used in a2po, haa2c, haa2c_mujoco, happo,",
        "code hetrl.loss.huber_value.HuberValue",
    ):
        assert words in text


def test_a_net_has_modes_and_an_environment_its_words():
    text = "\n".join(printed("net/gaussian_policy", 120))
    assert "mode log_prob, where a step names none:" in text or "mode log_prob:" in text
    assert "actions  continuous" in text and "per      agent, unless the recipe says otherwise" in text
    text = "\n".join(printed("env/vmas", 120))
    assert "any other    the scenario's own arguments" in text and "seed" not in text.split("more")[0]


def test_a_scenario():
    text = "\n".join(printed("scenario/hetrl/gate", 120))
    assert "difference  number ≥ 0 ≤ 1, by default 1.0: how different the bodies are" in text
    assert "recipe  task: {use: env/vmas, scenario: hetrl/gate}" in text
    assert "  lidar_range" in printed("scenario/navigation")
    for name in scenarios():
        assert describe(f"scenario/{name}").lists["arguments"] is not None


@pytest.mark.parametrize("name", catalog.BUILT_IN)
def test_every_part_is_told_whole(name):
    """Its arguments and its keys, at a width at which nothing is cut."""
    entry, words = catalog.resolve(name), " ".join(printed(name, 50)).split()
    for argument in arguments.parameters(entry.__init__):
        assert argument in words or (name.startswith("env/") and argument in ("seed", "device"))
    if issubclass(entry, Component):
        assert {*entry.reads.values(), *entry.writes.values()} <= {word.strip(",:") for word in words}


@pytest.mark.parametrize("asked", ["factor", "agent.factor", "next.old_factor"])
def test_a_quantity(asked, capsys):
    cli.app(["show", asked], standalone_mode=False)
    text = " ".join(capsys.readouterr().out.split())
    assert text.startswith("factor: product of the ratios of the agents already updated in this sweep quantity shape")
    assert "shape [B] unit ratio forms factor written by weight/importance_factor, weight/unit_factor read by" in text
    assert "loss/clipped_surrogate, loss/surrogate" in text


@pytest.mark.parametrize("word", ["next", "next.next", "agent", "agents", "loss.td", "agent.", "happo/", "a" * 5000])
def test_what_is_no_quantity(word):
    assert quantities(word) == []


def test_a_quantity_by_its_last_word_and_with_its_forms(capsys):
    cli.app(["show", "active"], standalone_mode=False)
    assert "  shape    [B], bool" in capsys.readouterr().out
    cli.app(["show", "marginal_q"], standalone_mode=False)
    text = capsys.readouterr().out
    assert text.startswith("agent.marginal_q: ") and "  shape       [B] or [B, K]" in text
    cli.app(["show", "agent.log_prob"], standalone_mode=False)
    assert "  forms       agent.log_prob, agent.old_log_prob" in capsys.readouterr().out
    cli.app(["show", "agent.kl"], standalone_mode=False)
    assert "optim/trust_region" in capsys.readouterr().out
    cli.app(["show", "observation"], standalone_mode=False)
    assert "  written by  collection" in capsys.readouterr().out


@pytest.mark.parametrize("key", [key for group in glossary.WORDS.values() for key in group])
def test_every_quantity_stands_alone(key):
    """Its meaning does not lean on the line above it in a table."""
    found = describe_quantity(key)
    assert quantities(key) == [key] and found.prose[0]
    assert not re.match(r"(the same|that of|those|their|its|likewise)\b", found.prose[0])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["factor", "run.seed=1"], "'factor' is a quantity, and changes such as 'run.seed=1' are made to a recipe."),
        (["loss/hubber_value"], "no entry 'loss/hubber_value' in the catalog. Nearest: 'loss/huber_value'."),
        (["huber_value"], "no recipe 'huber_value'; of the part, write hetrl show loss/huber_value."),
        (["scenario/navigatio"], "no scenario 'navigatio'. Nearest: 'navigation'."),
        (["loss/td", "run.seed=1"], "'loss/td' is a part, and changes such as 'run.seed=1' are made to a recipe."),
        (["hapo"], "no recipe 'hapo' is shipped, and there is no such file. Nearest: 'happo'."),
    ],
)
def test_what_is_no_part(words, message):
    with pytest.raises(RecipeError) as error:
        cli.app(["show", *words], standalone_mode=False)
    assert str(error.value) == message
