"""The checker: every mistake it knows, in the words it uses."""

import re
import sys
import types
from dataclasses import replace

import pytest

from hetrl import catalog
from hetrl.component import Component
from hetrl.errors import RecipeError
from hetrl.recipe.check import check
from hetrl.recipe.read import load
from hetrl.team import Agent, Box, Discrete, Team

ARM, LEG = Box((-1.0,), (1.0,)), Box((-1.0, -1.0), (1.0, 1.0))
ALIKE = Team(tuple(Agent(f"agent_{i}", "agents", i, 4, ARM, "agents") for i in range(3)), 12)
MIXED = Team((*ALIKE.agents[:2], Agent("agent_2", "walkers", 0, 6, LEG, "walkers")), 14)
CHOOSING = Team(tuple(replace(agent, action=Discrete((3, 2))) for agent in ALIKE.agents), 12)


def refused(text, *overrides, team=None, recipe="happo", provided=None):
    with pytest.raises(RecipeError, match=f"^{text}") as caught:
        check(load(recipe, *overrides), team, provided)
    assert "\n" not in str(caught.value)


def late(step):
    """Return the override that adds one more phase to happo, of one step."""
    phases = [dict(phase) for phase in load("happo").tree["update"]]
    return load("happo").tree | {"update": [*phases, {"phase": "late", "steps": [step]}]}


def literal(*texts):
    return [(override, re.escape(text)) for override, text in texts]


@pytest.mark.parametrize(
    ("override", "text"),
    literal(
        # names
        ("task.use=env/vmass", "task: no entry 'env/vmass' in the catalog. Nearest: 'env/vmas'."),
        ("data.use=data/onpolicy", "data: no entry 'data/onpolicy' in the catalog. Nearest: 'data/on_policy'."),
        ("nets.actor.use=net/gausian_policy",
         "nets.actor: no entry 'net/gausian_policy' in the catalog. Nearest: 'net/gaussian_policy'."),
        ("update.actors.steps.clipped_surrogate.use=loss/cliped_surrogate",
         "update.actors.steps[1]: no entry 'loss/cliped_surrogate' in the catalog. Nearest: 'loss/clipped_surrogate'."),
        ("update.actors.optim.use=optim/adamm", "update.actors.optim: no entry 'optim/adamm' in the catalog."),
        ("update.actors.order.use=order/randompermutation",
         "update.actors.order: no entry 'order/randompermutation' in the catalog. Nearest: "
         "'order/random_permutation'."),
        ("update.actors.train=acter", "update.actors.train: no net 'acter'. Nearest: 'actor'."),
        ("update.estimate.steps.0.net=valu", "update.estimate.steps[0] (valu): no net 'valu'. Nearest: 'value'."),
        ("update.actors.steps.0.net=actor.logprob", "update.actors.steps[0] (actor.logprob): net 'actor' "
         "(net/gaussian_policy) has no mode 'logprob'. Nearest: 'log_prob'."),
        ("update.actors.steps.0.net=actor", "update.actors.steps[0] (actor): say which mode of 'actor'."),
        ("data.policy=actr", "data.policy: no policy 'actr' under nets. Nearest: 'actor'."),
        ("data.policy=value", "data.policy: no policy 'value' under nets."),
        # names of another kind, and import paths
        ("nets.actor.use=loss/clipped_surrogate",
         "nets.actor: 'loss/clipped_surrogate' cannot stand here; use one of net/"),
        ("update.actors.order.use=loss/entropy_bonus", "update.actors.order: 'loss/entropy_bonus' cannot stand here;"),
        ("update.actors.steps.1.use=order/fixed", "update.actors.steps[1]: 'order/fixed' cannot stand here;"),
        ("update.actors.optim.use=torch.optim.Adam", "update.actors.optim: no entry 'torch.optim.Adam' in the catalog. "
         "It looks like an import path, and a recipe may only choose catalog names."),
        ("nets.actor.use=os:system", "nets.actor: no entry 'os:system' in the catalog. It looks like an import path"),
        ("update.actors.steps.1.use=hetrl.loss.clipped_surrogate:ClippedSurrogate",
         "update.actors.steps[1]: no entry 'hetrl.loss.clipped_surrogate:ClippedSurrogate' in the "
         "catalog. It looks like"),
        # the task's own names
        ("task.scenario=balence", "task.scenario: no VMAS scenario 'balence'. Nearest: 'balance'."),
        ("task.n_agent=3", "task.n_agent: scenario 'balance' has no such argument. Nearest: 'n_agents'."),
        # arguments
        ("nets.actor.hiden=[4]", "nets.actor: net/gaussian_policy has no argument 'hiden'. Nearest: 'hidden'."),
        ("nets.actor.hidden=[4, a]", "nets.actor: net/gaussian_policy: hidden[1] = 'a': "),
        ("nets.actor.hidden=[0]", "nets.actor: net/gaussian_policy: hidden[0] = 0: "),
        ("nets.actor.hidden=4", "nets.actor: net/gaussian_policy: hidden = 4: "),
        ("update.actors.steps.clipped_surrogate.clipp=1",
         "update.actors.steps[1]: loss/clipped_surrogate has no argument 'clipp'. Nearest: 'clip'."),
        ("update.actors.steps.clipped_surrogate.clip=-1",
         "update.actors.steps[1]: loss/clipped_surrogate: clip = -1: "),
        ("update.actors.steps.clipped_surrogate.clip='0.2'",
         "update.actors.steps[1]: loss/clipped_surrogate: clip = '0.2': "),
        ("update.actors.steps.clipped_surrogate.clip=.nan",
         "update.actors.steps[1]: loss/clipped_surrogate: clip: nan is not a finite number."),
        ("update.actors.steps.clipped_surrogate.clip={linear: [0.2, -1.0]}",
         "update.actors.steps[1]: loss/clipped_surrogate: clip = -1.0: "),
        ("update.actors.steps.clipped_surrogate.clip={liner: [0.2, 0.1]}",
         "update.actors.steps[1]: loss/clipped_surrogate: clip: 'liner' is no schedule;"),
        ("update.actors.steps.0={net: actor.log_prob, x: 3}", "update.actors.steps[0] (actor.log_prob): "
         "actor.log_prob has no argument 'x'."),
        ("update.estimate.steps.gae.gamma=1.5", "update.estimate.steps[2]: estimate/gae: gamma = 1.5: "),
        ("update.actors.optim.lrr=1", "update.actors.optim: optim/adam has no argument 'lrr'. Nearest: 'lr'."),
        ("update.actors.optim.lr=-1.0", "update.actors.optim: optim/adam: lr = -1.0: "),
        ("update.actors.order.seed=3", "update.actors.order: order/random_permutation has no argument 'seed'."),
        ("data.frames=6400.5", "data: data/on_policy: frames = 6400.5: "),
        ("data={use: data/on_policy}", "data: data/on_policy needs the argument 'frames'."),
        ("task.reward=medium", "task: env/vmas: reward = 'medium': "),
        ("task.n_envs=many", "task: env/vmas: n_envs = 'many': "),
        # keys
        ("update.actors.steps.clipped_surrogate.keys={advantages: x}",
         "update.actors.steps[1] (loss/clipped_surrogate): no role 'advantages'. Nearest: 'advantage'."),
        ("update.actors.steps.clipped_surrogate.keys={advantage: a..b}",
         "update.actors.steps[1] (loss/clipped_surrogate): 'a..b' is not a key; write words joined by dots"),
        ("update.actors.steps.clipped_surrogate.writes={advantage: a}",
         "update.actors.steps[1] (loss/clipped_surrogate): no role 'advantage'."),
        ("update.actors.steps.clipped_surrogate.reads={advantage: advantag}",
         "update.actors.steps[1] (loss/clipped_surrogate) reads 'advantag', and nothing before it writes that. "
         "Nearest: 'advantage'."),
        ("update.actors.prepare=[]", "update.actors.steps[1] (loss/clipped_surrogate) reads 'agent.old_log_prob', and "
         "nothing before it writes that. Nearest: 'agent.log_prob'."),
        ("update.estimate.steps.0.at=next",
         "update.estimate.steps[2] (estimate/gae) reads 'value', and nothing before it writes that. Nearest: "),
        ("task.reward=per_agent",
         "update.estimate.steps[2] (estimate/gae) reads 'reward', and nothing before it writes "
         "that. Nearest: 'agent.reward'."),
        ("update.estimate.steps.standardize.reads={active: agent.active}",
         "update.estimate.steps[3] (estimate/standardize) reads 'agent.active', and nothing before it writes that."),
        ("update.estimate.steps.0={net: actor.log_prob, keys: {log_prob: log_prob}}",
         "update.estimate.steps[0] (actor.log_prob): net 'actor' is per: agent but writes the team's "
         "'log_prob'; rename "
         "it, keys: {log_prob: agent.log_prob}."),
        # gradients
        ("update.critic.train=actor",
         "update.critic.steps[2] (loss/huber_value) does not depend on 'actor', the net that "
         "update.critic trains; none of normalized_value, normalized_return, old_normalized_value is computed by it"),
        ("update.actors.steps.0={net: value.value}",
         "update.actors.steps[1] (loss/clipped_surrogate) does not depend on 'actor', the net that "
         "update.actors trains;"),
        ("update.actors.steps.0=null",
         "update.actors.steps[0] (loss/clipped_surrogate) does not depend on 'actor', the net that update.actors "
         "trains; none of agent.log_prob, agent.old_log_prob, advantage, factor is computed by it in these steps. "
         "Write {net: actor.log_prob} before it."),
        ("update.actors.steps=[{net: actor.log_prob}]",
         "update.actors trains 'actor' but no step writes a loss; add a loss/... step."),
        ("update.actors.steps.2={use: loss/clipped_surrogate}",
         "update.actors.steps[2] (loss/clipped_surrogate) writes 'loss.agent.surrogate' a second time; "
         "rename one, keys: "),
        # order and train against each other
        ("update.critic.prepare=[{net: actor.act}]",
         "update.critic.prepare[0] (actor.act) is about one agent, but update.critic has no agent in "
         "turn; add order: {use: order/random_permutation, of: agent}, or write train: [value] to train everybody at "
         "once."),
        # nets trained together
        ("update.critic.train=[value,actr]", "update.critic.train: no net 'actr'. Nearest: 'actor'."),
        ("update.critic.train=[value,value]", "update.critic.train names 'value' twice; once is enough."),
        ("update.critic.train=[]", "update.critic.train must be the name of a net, or a list of names, not []."),
        ("update.critic.train=[value,3]",
         "update.critic.train must be the name of a net, or a list of names, not ['value', 3]."),
        ("update.critic.train=[value,actor]",
         "update.critic trains 'actor' too, and none of its losses (loss.value) depends on it; add one that does, or "
         "write train: [value]."),
        ("update.actors.train=[value,actor]",
         "update.actors trains 'actor' per: agent and 'value' per: team in turns: what several agents share would be "
         "moved in the turns of each, with moments of its own; share them alike, or drop order, which trains everybody "
         "at once."),
        *[(f"update.estimate.{word}={value}",
           f"update.estimate.{word} belongs to a phase that trains a net; add train: or drop it.")
          for word, value in (("order", "{use: order/fixed, of: agent}"), ("optim", "{use: optim/adam}"),
                              *((section, "[{net: value}]") for section in ("before", "prepare", "after")))],
        ("update.2={phase: critic, train: value, steps: [{net: value}]}",
         "update.critic trains 'value' and needs optim: {use: optim/adam}."),
        # nets
        ("nets.spare={use: net/state_value}", "nets.spare: no step uses net 'spare'; use it or drop it."),
        ("nets.spare={use: net/gaussian_policy}", "data: 2 nets can act (actor, spare); say which, policy: name."),
    ),
)  # fmt: skip
def test_says_where_what_and_what_to_do(override, text):
    refused(text, override)


@pytest.mark.parametrize(
    ("override", "word"), [("task.n_envs=0", "n_envs"), ("task.horizon=0", "horizon"), ("task.seed=3", "task.seed")]
)
def test_a_task_out_of_range_is_found_before_it_is_built(override, word):
    refused(f".*{word}", override)


@pytest.mark.parametrize(
    "override",
    ["nets.actor.initial_std={linear: [1.0, 0.1]}", "update.actors.optim.weight_decay={linear: [0.1, 0.01]}"],
)
def test_a_schedule_that_nothing_follows_is_refused(override):
    """Only components' arguments and the learning rate change over a run; elsewhere the ramp would be lost silently."""
    place, _, word = override.split("=")[0].rpartition(".")
    refused(f"{place}.*{word}", override)


def test_a_phase_that_runs_less_often_than_its_readers():
    """``advantage`` exists in every second batch only; in the first one that skips it the run dies of a KeyError."""
    refused(r"update.actors.steps\[1\] .*'advantage'.*every", "update.estimate.every=2")


def test_a_loss_that_depends_on_the_net_by_name_only():
    """``normalize`` has no parameters: with the value of before the phase, nothing has a gradient."""
    refused(
        r"update.critic.steps\[2\] \(loss/huber_value\) does not depend", "update.critic.steps.2.keys={value: value}"
    )


def test_an_order_for_another_number_of_agents():
    refused(r"update.actors.order \(order/fixed\): order \[0, 1\] is no permutation",
            "update.actors.order={use: order/fixed, of: agent, order: [0, 1]}", team=ALIKE)  # fmt: skip


def test_a_net_that_nobody_trains():
    phases = load("happo").tree["update"]
    recipe = load("happo").tree | {"update": phases[:2]}
    refused("nets.value: no phase trains net 'value'; add a phase with train: value.", recipe=recipe)


def test_no_net_can_act():
    recipe = load("happo").tree | {"nets": {"value": {"use": "net/state_value"}}}
    refused(r"data: 0 nets can act \(\); say which", recipe=recipe)


def test_a_key_gone_stale():
    """``value`` was computed before the critic's phase changed the net."""
    refused(
        r"update.late.steps\[0\] \(weight/unit_factor\) reads 'value', which is stale: update.critic has "
        r"trained the net since",
        recipe=late({"use": "weight/unit_factor", "reads": {"advantage": "value"}}),
    )


def test_a_stale_key_that_says_so_or_was_written_again_is_fine():
    check(load(late({"use": "weight/unit_factor", "reads": {"advantage": "old_normalized_value"}})))
    phases = late({"net": "value.value"})
    phases["update"][-1]["steps"].append({"use": "weight/unit_factor", "reads": {"advantage": "value"}})
    check(load(phases))


def test_a_key_dropped_after_its_steps():
    refused(
        r"update.late.steps\[0\] \(weight/unit_factor\) reads 'normalized_return', which update.critic "
        r"wrote in its steps; "
        "what steps write is dropped after the turn",
        recipe=late({"use": "weight/unit_factor", "reads": {"advantage": "normalized_return"}}),
    )
    refused(
        r"update.critic.after\[0\] \(weight/unit_factor\) reads 'normalized_return', which update.critic "
        r"wrote in its steps",
        "update.critic.after=[{use: weight/unit_factor, reads: {advantage: normalized_return}}]",
    )


def test_the_order_of_phases_matters():
    phases = load("happo").tree["update"]
    refused(
        r"update.actors.steps\[1\] \(loss/clipped_surrogate\) reads 'advantage', and nothing before it writes that",
        recipe=load("happo").tree | {"update": [phases[1], phases[0], phases[2]]},
    )


@pytest.mark.parametrize(
    ("name", "override", "writers"),
    [
        ("haqo", "update.actors.prepare.0=null", r"'agent.candidates', .* \{net: actor.candidates\} would\.$"),
        ("omdpg", "update.actors.steps.optimal_marginal_q.completion=refine", r"\{net: actor.candidates\} would\.$"),
        ("omdpg", "update.critic.before.0=null",
         r"'next.agents.proposal', .* \{net: actor.act, at: next\} or .*/best_candidate, at: next\} would"),
        ("happo", "update.estimate.steps.gae=null", r"'advantage', .* \{use: estimate/gae\} would\.$"),
    ],
)  # fmt: skip
def test_says_which_steps_write_what_is_missing(name, override, writers):
    refused(f".* reads .*{writers}", recipe=load(name, override).tree)


def test_keys_from_elsewhere():
    """Batches that are not this task's: without their list the task's own is taken, with it only that."""
    plan = check(load("happo"))
    assert plan.policy == "actor" and plan.per == {"actor": "agent", "value": "team"}
    refused(
        r"update.estimate.steps\[0\] \(value.value\) reads 'state', and nothing before it writes", provided=["reward"]
    )
    refused(r"update.estimate.steps\[0\] \(value.value\) reads 'state', .*Nearest: 'states'.", provided=["states"])


# ----- against a team


@pytest.mark.parametrize("team", [ALIKE, MIXED])
def test_continuous_policies_serve_any_sizes(team):
    check(load("happo"), team)


def test_discrete_policies():
    check(load("happo", "nets.actor.use=net/categorical_policy"), CHOOSING)


def test_categorical_and_continuous_do_not_mix():
    refused(
        r"nets.actor: net/gaussian_policy serves box actions, but agent 'agent_0' has discrete\[3, 2\]; "
        r"for these agents there is net/categorical_policy\.",
        team=CHOOSING,
    )
    refused(
        r"nets.actor: net/categorical_policy serves discrete actions, but agent 'agent_0' has continuous\[1\]; "
        r"for these agents there is net/gaussian_policy\.",
        "nets.actor.use=net/categorical_policy",
        team=ALIKE,
    )


def test_one_policy_for_agents_of_different_sizes():
    check(load("mappo"), ALIKE)
    refused(
        r"nets.actor: per: team needs agents of equal sizes and bounds, .*\(.* observes .*\); use nets.actor",
        recipe="mappo",
        team=MIXED,
    )
    check(load("mappo", "nets.actor.per=group"), MIXED)


def test_a_clipped_value_loss_needs_the_old_value():
    refused(
        r"update.critic.steps\[2\] \(loss/huber_value\) reads 'old_normalized_value', and nothing before it writes",
        "update.critic.prepare=[]",
    )


def test_an_agents_value_does_not_become_the_teams_by_being_last():
    refused(
        r"update.estimate.steps\[2\] \(estimate/gae\) runs for each agent but writes the team's 'advantage'",
        "update.estimate.steps.gae.reads={reward: agent.reward}",
    )


def test_what_looks_along_time_is_no_step_of_shuffled_rows():
    refused(
        r"update.critic.steps\[0\] \(estimate/gae\) looks along time",
        "update.critic.steps=[{use: estimate/gae}, {net: value.normalize}, {net: value.normalized}, "
        "{use: loss/huber_value}]",
    )


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("update.actors.train=3", "update.actors.train must be the name of a net"),
        ("update.actors.phase=a.b", "update.*phase: 'a.b' is no name"),
        ("task.groups={a: [0, 1, 2]}", "task.groups.a must be a list of agents' names"),
        ("data.frames=650", "data.frames = 650 must be a multiple of task.n_envs = 64; nearest: 640."),
    ],
)
def test_shapes_of_the_sections(override, text):
    refused(text, override)


@pytest.mark.parametrize("taken", ["values", "training", "forward", "keys"])
def test_a_net_whose_name_torch_needs(taken):
    tree = load("happo").tree
    nets = {taken if name == "value" else name: net for name, net in tree["nets"].items()}
    with pytest.raises(RecipeError, match=rf"^nets.{taken}: torch has another use for the name '{taken}'"):
        check(load({**tree, "nets": nets}))


class Consensus(Component):
    """How far everybody's log-probs are apart, where they are known."""

    reads = {"advantage": "advantage", "log_prob": "agents.log_prob"}
    writes = {"spread": "spread"}

    def compute(self, advantage, log_prob=None):
        raise NotImplementedError


def test_an_optional_role_of_everybody_goes_stale_too(monkeypatch):
    """It is bound where something has written its key, and what was written before the training is of before."""
    package = types.ModuleType("toy_package")
    package.Toy = Consensus
    monkeypatch.setitem(sys.modules, "toy_package", package)
    monkeypatch.setitem(catalog.BUILT_IN, "estimate/consensus", "toy_package:Toy")
    tree = late({"use": "estimate/consensus"})
    check(load(tree))  # the actors' log-probs are of after their training
    tree["update"][1]["before"] = [{"net": "actor.log_prob"}]
    tree["update"][1]["after"] = []
    with pytest.raises(RecipeError, match=r"\(estimate/consensus\) reads 'agents.log_prob', which is stale: upd"):
        check(load(tree))


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("update.critic.before.marginal_action.writes={action: marginal}",
         r"update.critic.before\[4\] \(estimate/marginal_action\): 'action' is a tuple, one value for each agent, and "
         "'marginal' is not; write a key that begins with agents."),
        ("update.critic.before.marginal_action.writes={action: agent.marginal_action}",
         "and 'agent.marginal_action' is not; write a key that begins with agents."),
        ("update.critic.before.td_target.writes={target: agents.target}",
         "'target' is one value, and 'agents.target' is a key of everybody; write one without agents."),
        ("update.critic.steps.0.reads={action: agent.action}", "'action' is a tuple, one value for each agent, and "),
        ("update.critic.before.marginal_action={use: estimate/marginal_action, reads: {kept: agents.turn}}",
         r"update.critic.before\[4\] \(estimate/marginal_action\) reads 'agents.turn', and nothing before it"),
    ],
)  # fmt: skip
def test_what_is_one_value_for_each_agent_stays_so(override, text):
    with pytest.raises(RecipeError, match=text):
        check(load("omdpg", override))


def test_refuses_to_compare_a_policy_with_itself():
    """In a turn of one step the policy still is what it was; a slow copy is not, and nor is it after a first step."""
    live = "update.actors.prepare.4.net=actor.path"
    text = r"update\.actors\.steps\[3\] .*compares 'actor' with .*prepare\[4\] .*net: actor\.target\.path\.$"
    refused(text, live, recipe="haqo")
    check(load("haqo", live, "update.actors.epochs=2"))
    check(load("haqo"))
    refused(".*elbo_clip.* compares 'actor' .* epochs: 2, or", "update.actors.epochs=1", recipe="haqo_clip")


def test_refuses_a_ratio_of_errors_at_other_draws():
    refused(".*elbo_clip.* reads 'agent.denoising_noise', .* {net: actor.denoising_draws} would",
            "update.actors.prepare.4=null", recipe="haqo_clip")  # fmt: skip


@pytest.mark.parametrize(
    ("judge", "said"),
    [
        ("critic.min", "data.judge: no net 'critic'."),
        ("q.least", "data.judge: net 'q' (net/joint_q) has no mode 'least'."),
        ("q.candidates", "data.judge: 'q.candidates' does not value joint actions as they are now; write q.min."),
        ("q.target.min", "data.judge: 'q.target.min' does not value joint actions as they are now; write q.min."),
    ],
)
def test_the_judge_of_candidates_has_to_value_joint_actions(judge, said):
    with pytest.raises(RecipeError, match=re.escape(said)):
        check(load("haqo", f"data.judge={judge}"))


def test_a_phase_with_an_order_is_not_called_like_something_of_torchs():
    refused("update.items: torch has another use for the name 'items'; choose another.$", "update.actors.phase=items")
    check(load("happo", "update.critic.phase=items"))


def test_at_once_no_agent_changes_what_is_the_teams():
    refused(
        r"update.actors.steps\[3\] \(weight/importance_factor\) changes the team's 'factor' agent by agent, and "
        "update.actors trains everybody at once; move it to after, or add an order.",
        "update.actors.train=[actor]", "update.actors.order=null",
        "update.actors.steps=[{net: actor.log_prob}, {use: loss/clipped_surrogate}, {use: loss/entropy_bonus}, "
        "{use: weight/importance_factor}]",
    )  # fmt: skip
    check(load("happo", "update.actors.train=[actor]", "update.actors.order=null"))


def test_in_turns_nobody_sees_what_others_would_write():
    refused(
        r"update.actors.steps\[1\] \(estimate/joint_log_prob\) reads everybody's 'agents.log_prob', and in these steps "
        "the agent in turn alone writes its own; write it in before as well, or drop order from update.actors, which "
        "trains everybody at once.",
        "update.actors.prepare=null",
        "update.actors.steps=[{net: actor.log_prob}, {use: estimate/joint_log_prob, reads: {log_probs: "
        "agents.log_prob}}, {use: loss/surrogate}]",
    )  # fmt: skip
