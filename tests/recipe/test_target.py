"""Slow copies of nets: how they follow, what they keep, and how a recipe asks for them."""

import copy
import re

import pytest
import torch
from tensordict import TensorDict
from torch import Tensor

from hetrl import catalog
from hetrl.component import Component
from hetrl.engine.link import link
from hetrl.engine.phase import PhaseRunner
from hetrl.engine.store import Store
from hetrl.errors import RecipeError
from hetrl.recipe.check import check
from hetrl.recipe.read import load
from hetrl.team import Agent, Box, Team

TEAM = Team(tuple(Agent(f"agent_{i}", "agents", i, 4, Box((-1.0,), (2.0,)), "agents") for i in range(3)), 12)
SMALL = ["nets.actor.hidden=[5]", "nets.q.hidden=[6]"]
ROWS = 8


def linked(name="hasac", *overrides):
    return link(load(name, *SMALL, *overrides), TEAM)


def filled():
    """Return the store of a random sample."""

    def numbers(*shape: int) -> Tensor:
        return torch.randn(ROWS, *shape)

    def seen() -> dict:
        return {"agents": {"observation": numbers(3, 4)}, "state": numbers(12)}

    batch = seen() | {
        "next": seen(), "reward": numbers(), "discount": torch.rand(ROWS), "terminated": torch.rand(ROWS) < 0.3,
    }  # fmt: skip
    batch["agents"]["action"] = torch.rand(ROWS, 3, 1) * 3 - 1
    return Store(TEAM, TensorDict(batch, [ROWS]))


def run(found, *phases, store=None):
    """Run some phases once, with one optimiser each for the life of ``found``."""
    runners = found.__dict__.setdefault("runners", {p.name: PhaseRunner(p, found) for p in found.recipe.update})
    store = store or filled()
    for name in phases:
        generator = torch.Generator().manual_seed(0)
        runners[name].run(store, 0.0, generator, lambda optimizer, closure: optimizer.step(closure))
    return store


def weights(net):
    return [parameter.detach().clone() for parameter in net.parameters()]


# ----- following


def test_a_copy_starts_as_the_net_itself_and_shares_nothing_with_it():
    found = linked("haddpg")
    for name in ("q", "actor"):
        mine, theirs = list(found.slow[name].parameters()), list(found.nets[name].parameters())
        assert all(torch.equal(*pair) for pair in zip(mine, theirs, strict=True))
        assert not {p.data_ptr() for p in mine} & {p.data_ptr() for p in theirs}
    assert set(found.slow) == {"q", "actor"} and set(linked().slow) == {"q"}


def test_it_follows_by_hand():
    """tau 0.25 from 1 towards 5: 1 + 0.25 * 4 = 2, then 2.75."""
    found = linked("hasac", "nets.q.target.tau=0.25")
    for net, value in ((found.slow["q"], 1.0), (found.nets["q"], 5.0)):
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.fill_(value)
    for expected in (2.0, 2.75):
        found.follow("q")
        assert all((parameter == expected).all() for parameter in found.slow["q"].parameters())
    assert all((parameter == 5.0).all() for parameter in found.nets["q"].parameters())


def test_tau_1_is_the_net():
    found = linked("hasac", "nets.q.target.tau=1.0")
    run(found, "critic")
    for mine, theirs in zip(found.slow["q"].parameters(), found.nets["q"].parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_a_phase_that_trains_the_net_moves_it_once_and_others_do_not():
    """After the steps: old copy + tau (new net - old copy)."""
    found = linked("hasac", "nets.q.target.tau=0.3", "update.critic.epochs=3")
    before = weights(found.slow["q"])
    store = run(found, "critic")
    now = weights(found.nets["q"])
    expected = [old + 0.3 * (new - old) for old, new in zip(before, now, strict=True)]
    torch.testing.assert_close(weights(found.slow["q"]), expected)
    assert not any(torch.equal(*pair) for pair in zip(before, weights(found.slow["q"]), strict=True))
    copied = weights(found.slow["q"])
    run(found, "actors", "temperature", "joint_temperature", store=store)
    torch.testing.assert_close(weights(found.slow["q"]), copied, rtol=0, atol=0)


def test_every():
    """With ``every: 3`` only the third and the sixth training move it, towards what the net then is."""
    found = linked("hasac", "nets.q.target={tau: 0.5, every: 3}")
    moved = []
    for _ in range(7):
        before = weights(found.slow["q"])
        run(found, "critic")
        after = weights(found.slow["q"])
        moved.append(not torch.equal(before[0], after[0]))
        if moved[-1]:
            now = weights(found.nets["q"])
            torch.testing.assert_close(after, [(a + b) / 2 for a, b in zip(before, now, strict=True)])
    assert moved == [False, False, True, False, False, True, False]


def test_copies_of_every_agents_net_follow_their_own():
    found = linked("haddpg", "nets.actor.target.tau=0.5")
    before = {agent: weights(found.slow["actor"].net[agent]) for agent in TEAM.names}
    run(found, "critic", "actors")
    for agent in TEAM.names:
        now = weights(found.nets["actor"][agent])
        expected = [(a + b) / 2 for a, b in zip(before[agent], now, strict=True)]
        torch.testing.assert_close(weights(found.slow["actor"].net[agent]), expected)


def test_statistics_are_the_nets_own():
    """Buffers are copied, not averaged: targets 1 and 5 have mean 3 and deviation 2 at once."""
    found = linked("hasac", "nets.q.normalize=true")
    net, slow = found.nets["q"].of(()), found.slow["q"].net.of(())
    net.normalize(torch.tensor([1.0, 5.0]))
    assert not torch.equal(slow.normalizer.d, net.normalizer.d)
    found.follow("q")
    for name, buffer in net.normalizer.named_buffers():
        assert torch.equal(getattr(slow.normalizer, name), buffer), name
    net.normalize(torch.tensor([2.0, 2.0]))
    assert not torch.equal(slow.normalizer.m1, net.normalizer.m1)


# ----- no gradient


def test_it_is_never_trained():
    found = linked("haddpg")
    run(found, "critic", "actors")
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in found.slow.parameters())
    optimized = {
        id(parameter)
        for runner in found.runners.values()
        for optimizer in runner.optimizers.values()
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert not optimized & {id(parameter) for parameter in found.slow.parameters()}
    assert optimized == {id(parameter) for parameter in found.nets.parameters()}


def test_a_mode_of_the_copy_is_the_copys_and_its_inputs_may_have_a_gradient():
    found = linked("haddpg")
    with torch.no_grad():
        for parameter in found.slow["q"].parameters():
            parameter.mul_(2)
    store = run(found)
    for agent in TEAM.agents:
        store.write("next.agent.proposal", (agent,), torch.zeros(ROWS, 1))
    program = found.program(found.recipe.phase("critic").before[1:2], ())
    values = program(program.gather(store, ()))
    given = store.read("next.state", ()), store.read("next.agents.proposal", ())
    assert torch.equal(values["next.min_q"], found.slow["q"].net.of(()).min(*given)["q"])
    assert not torch.equal(values["next.min_q"], found.nets["q"].of(()).min(*given)["q"])
    action = [part.clone().requires_grad_() for part in given[1]]
    found.slow["q"].net.of(()).min(given[0], tuple(action))["q"].sum().backward()
    assert all((part.grad != 0).any() for part in action)


def test_programs_keep_copy_and_net_apart():
    planned = check(load("haddpg")).recipe.phase("critic").before
    assert [str(mode) for step in planned[:2] for mode in step.modes] == ["actor.target.act", "q.target.min"]
    assert [str(step) for step in planned[:1]] == ["update.critic.before[0] (actor.target.act)"]


# ----- state


def test_it_is_in_the_state_and_continues_from_there():
    """Weights, statistics and the count towards ``every``: a loaded one moves when the first would have."""
    overrides = ["nets.q.target={tau: 0.5, every: 3}", "nets.q.normalize=true"]
    first, second = linked("hasac", *overrides), linked("hasac", *overrides, "run.seed=1")
    for _ in range(2):
        run(first, "critic")
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert second.slow["q"].get_extra_state() == {"trained": 2}
    for found in (first, second):
        with torch.no_grad():
            for parameter in found.nets["q"].parameters():
                parameter.fill_(1.5)
        before = weights(found.slow["q"])
        found.follow("q")
        expected = [(old + 1.5) / 2 for old in before]
        torch.testing.assert_close(weights(found.slow["q"]), expected)
    torch.testing.assert_close(weights(first.slow["q"]), weights(second.slow["q"]), rtol=0, atol=0)


def test_the_state_survives_a_file(tmp_path):
    """Tensors and primitives only."""
    found = linked("hatd3")
    run(found, "critic")
    torch.save(found.state_dict(), tmp_path / "state")
    state = torch.load(tmp_path / "state", weights_only=True)
    assert {name.split(".")[1] for name in state if name.startswith("slow.")} == {"q", "actor"}
    linked("hatd3").load_state_dict(state)


# ----- recipes


def refused(text, *overrides, name="hasac"):
    with pytest.raises(RecipeError, match=f"^{re.escape(text)}") as caught:
        check(load(name, *overrides), TEAM)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("{tau: 0.0}", "nets.q.target.tau must be greater than 0, not 0.0."),
        ("{tau: 1.5}", "nets.q.target.tau must be less than or equal to 1, not 1.5."),
        ("{tau: .nan}", "nets.q.target.tau must be less than or equal to 1, not nan."),
        ("{tau: fast}", "nets.q.target.tau must be a valid number, not 'fast'."),
        ("{tua: 0.005}", "nets.q.target has no 'tua'. Nearest: 'tau'."),
        ("{tau: 0.005, evry: 2}", "nets.q.target has no 'evry'. Nearest: 'every'."),
        ("{tau: 0.005, every: 0}", "nets.q.target.every must be a whole number above 0, not 0."),
        ("{tau: 0.005, every: 1.5}", "nets.q.target.every must be a whole number above 0, not 1.5."),
        ("{}", "nets.q.target needs 'tau'."),
        ("0.005", "nets.q.target must be a mapping, not 0.005."),
    ],
)
def test_wrong_words_of_a_target(target, text):
    refused(text, f"nets.q.target={target}")


def test_a_target_mode_of_a_net_without_a_target():
    refused(
        "update.critic.before[2] (q.target.min): net 'q' has no slow copy; give it one, nets.q.target: {tau: 0.005}.",
        "nets.q.target=null",
    )
    refused("update.actors.before[0] (alpha.target): net 'alpha' has no slow copy;",
            "update.actors.before.0.net=alpha.target")  # fmt: skip


def test_a_target_mode_that_is_not_there():
    refused(
        "update.critic.before[2] (q.target.mim): net 'q' (net/joint_q) has no mode 'mim'. Nearest: 'min'.",
        "update.critic.before.2.net=q.target.mim",
    )
    refused("update.critic.before[0] (actor.target): say which mode of 'actor'.",
            "update.critic.before.0.net=actor.target", name="haddpg")  # fmt: skip


def test_target_alone_is_the_copys_default_mode():
    read = "at: next, reads: {action: next.agents.proposal}"
    plan = check(load("haddpg", f"update.critic.before.1={{net: q.target, {read}}}",
                      "update.critic.before.2={net: q.target.min, at: next, reads: {action: next.agents.proposal}}",
                      f"update.critic.steps=[{{net: q.target, {read}}}, {{net: q}}, {{use: loss/td, reads: "
                      "{target: reward}}]"), TEAM)  # fmt: skip
    assert [str(step.mode) for step in plan.recipe.phase("critic").before] == [
        "actor.target.act", "q.target.q", "q.target.min",
    ]  # fmt: skip
    assert plan.recipe.phase("critic").steps[0].table.writes == {"q": "next.q"}


def test_a_copy_that_no_step_uses():
    refused(
        "nets.alpha.target: no step uses the slow copy of 'alpha'; use it or drop it.",
        "nets.alpha.target={tau: 0.1}",
    )


def test_a_loss_of_the_copy_does_not_depend_on_the_net():
    refused(
        "update.critic.steps[1] (loss/td) does not depend on 'q', the net that update.critic trains;",
        "update.critic.steps=[{net: q.target}, {use: loss/td}]",
    )


class Ask(Component):
    """The square of what a called network says."""

    reads = {"state": "state", "action": "agents.action"}
    writes = {"loss": "loss.ask"}
    calls = {"q": "q.first"}

    def compute(self, state, action, q):
        return {"loss": q(state, action)["q"].square()}


@pytest.fixture
def ask(monkeypatch):
    monkeypatch.setitem(catalog.BUILT_IN, "loss/ask", f"{__name__}:Ask")


def test_a_component_may_call_the_copy(ask):
    """It has no gradient for the net, so alone it is no loss; beside one that has, it is that of the copy."""
    step = "{use: loss/ask, keys: {q: q.target.first}}"
    refused("update.critic.steps[0] (loss/ask) does not depend on 'q'", f"update.critic.steps=[{step}]")
    step = "{use: loss/ask, keys: {q: q.first}}"
    found = linked("hasac", f"update.critic.steps=[{step}]")
    program, store = found.program(found.recipe.phase("critic").steps, ()), filled()
    values = program(program.gather(store, ()))
    given = store.read("state", ()), store.read("agents.action", ())
    torch.testing.assert_close(values["loss.ask"], found.nets["q"].of(()).first(*given)["q"].square())


def test_what_the_copy_wrote_is_stale_once_the_net_was_trained():
    """The copy has moved too."""
    phases = load("hasac").tree["update"]
    late = {"phase": "late", "steps": [{"use": "weight/unit_factor", "reads": {"advantage": "next.min_q"}}]}
    with pytest.raises(RecipeError, match=r"^update.late.steps\[0\] .*'next.min_q', which is stale: update.critic has"):
        check(load(load("hasac").tree | {"update": [*phases, late]}))


# ----- nets that stay as they are


def test_a_fixed_net_needs_no_phase():
    tree = load("hasac").tree
    without = {**tree, "update": tree["update"][:2]}
    with pytest.raises(RecipeError, match=r"^nets.alpha: no phase trains net 'alpha'; add a phase with train: alpha."):
        check(load(without), TEAM)
    fixed = ["nets.alpha.fixed=true", "nets.alpha_joint.fixed=true"]
    found = link(load(without, *SMALL, *fixed), TEAM)
    store = run(found, "critic", "actors")
    assert store.read("agent.alpha", TEAM.agents[:1]).unique().tolist() == pytest.approx([0.01])
    assert not list(found.nets["alpha"].parameters())


def test_a_fixed_net_has_nothing_to_train():
    refused(
        "update.temperature trains 'alpha', and nets.alpha says that it stays as it is; drop one.",
        "nets.alpha.fixed=true",
    )
