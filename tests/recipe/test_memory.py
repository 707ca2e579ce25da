"""What the checker says of recurrent nets."""

import io
import re

import pytest
from rich.console import Console

import hetrl
from hetrl.engine.show import show
from hetrl.env.cue_game import CueGame
from hetrl.errors import RecipeError
from hetrl.recipe.check import check


def test_links():
    assert set(hetrl.check(hetrl.load("recurrent_happo")).recipe.nets) == {"actor", "value"}


@pytest.mark.parametrize("net", ["actor: {use: net/mixed_policy}", "value: {use: net/state_value}"])
def test_one_net_may_do_without(net):
    name, _, use = net.partition(": ")
    check(hetrl.load("recurrent_happo", f"nets.{name}={use}"))


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (["data.frames=3904"], "nets.actor: chunk = 20 does not divide the 61 steps of a batch in each environment "
         "(data.frames / task.n_envs); nearest: data.frames = 3840."),
        (["nets.value.chunk=40"], "nets.value: chunk = 40 does not divide the 60 steps"),
        (["task.n_envs=32", "nets.value.chunk=7"], "nets.value: chunk = 7 does not divide the 120 steps"),
        (["nets.value.per=agent"],
         "nets.value: a recurrent net that does not act is one for the team; write per: team."),
        (["nets.spare={use: net/recurrent_value, chunk: 20}"],
         "nets.spare: collection carries one 'memory', and 'value' has it; drop one of the two."),
        (["nets.spare={use: net/recurrent_policy, chunk: 20}", "data.policy=actor"],
         "nets.spare: only the net that acts, 'actor', has its memory collected; make it the same."),
        (["nets.actor.memory=0"], "nets.actor: net/recurrent_policy: memory = 0"),
        (["update.actors.prepare.0.at=next"],
         "update.actors.prepare[0] (actor.log_prob) reads 'next.agent.action', and nothing before it writes that."),
    ],
)  # fmt: skip
def test_says_where_what_and_what_to_do(overrides, text):
    with pytest.raises(RecipeError, match=f"^{re.escape(text)}"):
        check(hetrl.load("recurrent_happo", *overrides))


def test_nets_of_one_phase_have_the_same_chunk():
    recipe = hetrl.load(
        "recurrent_happo", "nets.value.chunk=10", "nets.value.normalize=false",
        "update.critic.steps.0={net: actor.log_prob}",
        "update.critic.order={use: order/fixed, of: agent, order: [0, 1, 2]}",
    )  # fmt: skip
    text = r"^update\.critic: the nets of its steps are unrolled in different chunks \(actor: 20, value: 10\); make"
    with pytest.raises(RecipeError, match=text):
        check(recipe)


def test_other_nets_may_have_another():
    check(hetrl.load("recurrent_happo", "nets.value.chunk=10"))


def test_keys_from_elsewhere_need_the_memory_too():
    provided = ["agent.observation", "agent.action", "state", "reward", "terminated", "truncated", "next.state"]
    provided += ["memory", "next.memory", "is_init", "next.is_init"]
    with pytest.raises(RecipeError, match=r"\(actor.log_prob\) reads 'agent.memory', and nothing before it writes"):
        check(hetrl.load("recurrent_happo"), provided=provided)
    check(hetrl.load("recurrent_happo"), provided=[*provided, "agent.memory"])


def test_printed_with_shapes():
    console = Console(width=250, file=io.StringIO())
    team = CueGame(n_cues=3, delay=10, discrete_agents=2, continuous_agents=1).team
    console.print(show(hetrl.load("recurrent_happo", "nets.value.memory=48"), team))
    found = console.file.getvalue()
    for words in ("agent.memory [B, 64]", "next.memory [B, 48]", "is_init [B]", "agent.log_prob [B]", "chunk=20"):
        assert words in found
