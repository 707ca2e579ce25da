"""Nets trained together in whole runs: as apart where they share no loss; saved, resumed, taken over."""

import pytest
import torch

import hetrl
from hetrl.errors import RecipeError, RunError
from hetrl.runs import run as runs
from hetrl.runs.folder import Folder
from hetrl.runs.regroup import regroup
from hetrl.train.inherit import inherit

GAME = "task={use: env/tabular_game, n_states: 3, n_actions: [2, 2], n_envs: 4, horizon: 7}"
TINY = [
    GAME, "nets.actor.use=net/categorical_policy", "nets.actor.hidden=[8]", "nets.value.hidden=[8]", "data.frames=28",
    "run.eval_every=null", "run.device=cpu",
]  # fmt: skip
VALUE = "{net: value.normalize}, {net: value.normalized}, {use: loss/huber_value, delta: 10}"
TOGETHER = [
    "update.actors.train=[actor,value]", "update.actors.order=null", "update.actors.after=null", "update.critic=null",
    f"update.actors.steps=[{{net: actor.log_prob}}, {{use: loss/clipped_surrogate}}, {VALUE}]",
]  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*")


def ran(folder, *changes, frames=56):
    return runs.train(hetrl.load("happo", *TINY, f"run.frames={frames}", *changes), folder, quiet=True)


def equal(one, other):
    """Say whether two trees of tensors and primitives are the same, bit for bit."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def test_what_shares_no_loss_is_trained_as_apart(tmp_path):
    """One step on the whole batch, no clipping: two optimisers or one over both move every weight alike."""
    once = ["nets.actor.per=team", "update.actors.epochs=2", "update.actors.minibatches=1",
            "update.actors.optim.max_grad_norm=null"]  # fmt: skip
    apart = [*once, "update.actors.order={use: order/simultaneous, of: agent}", "update.critic.epochs=2",
             "update.critic.minibatches=1", "update.critic.optim.max_grad_norm=null",
             "update.actors.steps=[{net: actor.log_prob}, {use: loss/clipped_surrogate}]", "update.actors.after=null",
             "update.critic.prepare=null", f"update.critic.steps=[{VALUE}]"]  # fmt: skip
    one, other = (
        ran(tmp_path / name, *changes).load_checkpoint()["state_dict"]
        for name, changes in (("apart", apart), ("together", [*TOGETHER, *once]))
    )
    assert equal(one, other)


def test_a_resumed_run_goes_on_bit_for_bit_and_is_taken_over_with_its_moments(tmp_path):
    whole = ran(tmp_path / "whole", *TOGETHER).load_checkpoint()
    half = ran(tmp_path / "half", *TOGETHER, frames=28)
    before = half.load_checkpoint()
    assert len(before["optimizer_states"]) == 1
    module, _ = hetrl.load("happo", *TINY, *TOGETHER, "run.frames=56").build()
    report = inherit(module, before, half.tree(), optimizers=True)
    assert report.optimizers == ["actors.team"]
    assert equal(module.phases[1].optimizers["team"].state_dict()["state"], before["optimizer_states"][0]["state"])
    runs.resume(tmp_path / "half", "run.frames=56", quiet=True)
    after = Folder(tmp_path / "half").load_checkpoint()
    for part in ("state_dict", "optimizer_states", "Collection"):
        assert equal(after[part], whole[part]), part


def test_moments_of_nets_that_were_trained_apart_are_not_taken_over(tmp_path):
    apart = ran(tmp_path / "apart", frames=28)
    module, _ = hetrl.load("happo", *TINY, *TOGETHER, "run.frames=56").build()
    report = inherit(module, apart.load_checkpoint(), apart.tree(), optimizers=True)
    assert (set(report.loaded), report.optimizers) == ({"actor", "value"}, [])


def test_agents_that_were_trained_at_once_are_not_regrouped(tmp_path):
    ran(tmp_path / "run", *TOGETHER, frames=28)
    with pytest.raises(RunError, match=r"^update.actors trains all agents' modules with one optimiser, whose moments "):
        regroup(tmp_path / "run", {"both": ["agent_0", "agent_1"]}, {"both": "agent_0"}, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_in_turns_each_agents_modules_have_an_optimiser(tmp_path):
    """Two policies for each agent, one of which acts: a turn trains both of its agent's, and nobody else's."""
    other = "{use: net/categorical_policy, hidden: [8], per: agent}"
    steps = ("[{net: actor.log_prob}, {use: loss/clipped_surrogate}, {net: other.log_prob, writes: "
             "{log_prob: agent.other, entropy: agent.other_entropy}}, {use: loss/surrogate, keys: {log_prob: "
             "agent.other, loss: loss.agent.other}}]")  # fmt: skip
    folder = ran(tmp_path / "run", f"nets.other={other}", "data.policy=actor", "update.actors.train=[other,actor]",
                 f"update.actors.steps={steps}", frames=28)  # fmt: skip
    module, _ = hetrl.load(folder.tree()).build()
    phase = module.phases[1]
    assert list(phase.optimizers) == ["agent_0", "agent_1"]
    for agent in module.linked.team.agents:
        own = [*module.linked.nets["actor"].of((agent,)).parameters(),
               *module.linked.nets["other"].of((agent,)).parameters()]  # fmt: skip
        held = phase.optimizers[agent.name].param_groups[0]["params"]
        assert [id(each) for each in held] == [id(each) for each in own]
    with pytest.raises(RecipeError, match=r"^update.actors trains 'actor' per: agent and 'value' per: team in turns: "):
        hetrl.check(hetrl.load("happo", "update.actors.train=[actor,value]"))


def test_slow_copies_of_all_of_them_follow(tmp_path):
    """tau = 1: after the phase each is its net."""
    kl = ("{net: actor.log_prob}, {use: loss/clipped_surrogate}, {net: value.target.normalized, keys: "
          "{normalized_value: slow_value}}, {net: actor.target.log_prob, writes: {log_prob: agent.slow, entropy: "
          "agent.slow_entropy}}")  # fmt: skip
    folder = ran(tmp_path / "run", *TOGETHER, "nets.actor.target={tau: 1.0}", "nets.value.target={tau: 1.0}",
                 f"update.actors.steps=[{kl}, {VALUE}]", frames=28)  # fmt: skip
    weights = folder.load_checkpoint()["state_dict"]
    for net in ("actor", "value"):
        found = {name: value for name, value in weights.items() if name.startswith(f"linked.nets.{net}.")}
        assert found
        for name, value in found.items():
            assert value.equal(weights[name.replace(f"nets.{net}.", f"slow.{net}.net.")])


def test_the_commands_say_it(hetrl):
    changes = [*TINY, *TOGETHER]
    code, printed = hetrl("show", "happo", *changes)
    assert code == 0 and "actors: train actor, value, at once, 5 epochs, 4 minibatches" in printed
    code, printed = hetrl("check", "happo", *changes)
    assert code == 0, printed


def test_a_trust_region_around_everybody(tmp_path):
    """All agents' shared policy at once moves as in one turn of them all: the mean KL is over all their samples."""
    found = []
    for name, changes in (("turn", []), ("list", ["update.actors.train=[actor]", "update.actors.order=null"])):
        recipe = hetrl.load("hatrpo", *TINY, "nets.actor.per=team", "update.actors.order.use=order/simultaneous",
                            "update.actors.after=null", "run.frames=28", *changes)  # fmt: skip
        folder = runs.train(recipe, tmp_path / name, quiet=True)
        found.append(folder.load_checkpoint()["state_dict"])
    assert found[0].keys() == found[1].keys()
    start = recipe.build()[0].state_dict()
    for name, value in found[0].items():
        if name.startswith("linked.nets.actor."):
            assert not value.equal(start[name])
            torch.testing.assert_close(found[1][name], value, rtol=1e-3, atol=1e-4)
