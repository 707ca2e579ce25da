"""Recipes on teams and data that they were not written for: what links, and what is refused."""

import pytest
import torch

import hetrl
from hetrl import keys
from hetrl.engine.phase import PhaseRunner, run_programs
from hetrl.engine.rows import Rows
from hetrl.engine.store import Store
from hetrl.env.cue_game import CueGame
from hetrl.errors import RecipeError
from hetrl.recipe.check import check
from hetrl.team import Agent, Box, Team

MIXED = (
    "task={use: env/cue_game, n_cues: 3, delay: 2, discrete_agents: 1, continuous_agents: 2, leave: 0.3, n_envs: 24}"
)
SMALL = ["nets.actor.hidden=[8]", "run.eval_every=null", "run.device=cpu"]
# Warnings of vmas itself.
pytestmark = [pytest.mark.filterwarnings("ignore::UserWarning:vmas")]


@pytest.mark.parametrize("name", ["hasac", "masac"])
@pytest.mark.parametrize(
    "changes",
    [
        ["task={use: env/vmas, scenario: simple_adversary, n_envs: 4}"],
        [MIXED, "nets.actor={use: net/mixed_policy, continuous: squashed_gaussian, hidden: [8]}"],
    ],
)
def test_a_joint_temperature_serves_agents_of_any_sizes(name, changes):
    module, _ = hetrl.load(name, *changes, *SMALL, "data.capacity=8000").build()
    assert len(module.linked.nets["alpha_joint"]) == 1


def test_the_joint_target_entropy_follows_the_masks_of_a_mixed_team():
    """While it may only wait, the discrete agent's target is 0.98 log 1 = 0, and the team's is the others', -2."""
    changes = [MIXED, "nets.actor={use: net/mixed_policy, continuous: squashed_gaussian, hidden: [8]}", *SMALL]
    module, data = hetrl.load("hasac", *changes, "data.warmup=240", "data.batch=64", "data.n_step=1").build()
    data.source.collect()
    (sample,) = data.source.collect().samples
    store, generator = Store(module.linked.team, sample), torch.Generator()
    for phase in module.phases[:3]:
        phase.run(store, 0.0, generator, lambda optimizer, closure: optimizer.step(closure))
    waiting = sample["discrete", "action_mask"][:, 0].sum(-1) == 1
    phase = module.phases[3]
    run_programs(phase._outside_turns, store)
    joint = module.linked.nets["alpha_joint"]["team"]
    each = store.read("agents.target_entropy", ())
    found = joint.joint_dual(store.read("joint_log_prob", ()), each)["target_entropy"]
    assert waiting.sum() > 0 and found[waiting].unique().tolist() == [-2.0]


@pytest.mark.parametrize("name", ["happo", "hatrpo"])
def test_what_looks_along_time_is_refused_on_drawn_rows(name):
    with pytest.raises(
        RecipeError, match=r"^update.estimate.steps\[2\] \(estimate/gae\) looks along time, and data/replay"
    ):
        check(hetrl.load(name, "data={use: data/replay, capacity: 10000, batch: 256, warmup: 1280}"))


@pytest.mark.parametrize("change", ["update.actors.epochs=3", "update.actors.minibatches=2"])
def test_a_trust_region_takes_one_step(change):
    with pytest.raises(RecipeError, match=r"optim/trust_region takes one step, on the whole batch"):
        check(hetrl.load("hatrpo", change))


def test_a_step_with_a_state_is_refused_where_it_is_evaluated_several_times():
    with pytest.raises(RecipeError, match=r"^update.actors.steps\[3\] \(loss/kl_penalty\) keeps a state"):
        hetrl.load("happo_penalty", "update.actors.optim={use: optim/trust_region}", "update.actors.epochs=1",
                   "update.actors.minibatches=1", "run.device=cpu").build()  # fmt: skip


@pytest.mark.parametrize("word", ["epochs=3", "minibatches=3", "inactive=count"])
def test_words_without_effect_are_refused(word):
    with pytest.raises(
        RecipeError, match=rf"^update.estimate.{word.split('=')[0]} belongs to a phase that trains a net"
    ):
        check(hetrl.load("happo", f"update.estimate.{word}"))


def test_reading_everybodys_while_writing_ones_own_is_refused():
    tree = hetrl.load("happo").tree
    tree["update"][0]["steps"][3] = {
        "use": "estimate/standardize_jointly",
        "keys": {"advantage": "agent.advantage", "advantages": "agents.advantage"},
    }
    with pytest.raises(RecipeError, match=r"reads everybody's 'agent.advantage' and writes this agent's"):
        check(hetrl.load(tree))


def test_counting_inactive_rows_counts_them_though_a_step_reads_the_mask(monkeypatch):
    """kl_penalty reads ``agent.active`` for itself; the phase's means must not take it up where they are to count."""
    seen = []
    for inactive in ("skip", "count"):
        module, data = hetrl.load(
            "happo_penalty", MIXED, "nets.actor.use=net/mixed_policy", f"update.actors.inactive={inactive}",
            "data.frames=144", *SMALL,
        ).build()  # fmt: skip
        (sample,) = data.source.collect().samples
        store = Store(module.linked.team, sample)
        module.phases[0].run(store, 0.0, torch.Generator(), None)
        (turn,) = module.phases[1]._turns.of(module.linked.team.agents[:1])
        run_programs(turn.programs["prepare"], store)
        ((lane, program),) = turn.lanes
        inputs = Rows.of(program, lane, store).split([144])[0]
        _, means = turn.objective([dict(inputs)])
        expected = program(dict(inputs))["loss.agent.surrogate"]
        active = inputs[keys.ACTIVE]
        assert 0 < active.sum() < active.numel()
        seen.append(means["loss.agent.surrogate"].item())
        torch.testing.assert_close(means["loss.agent.surrogate"],
                                   expected[active].mean() if inactive == "skip" else expected.mean())  # fmt: skip
    assert seen[0] != seen[1]


def test_who_has_no_mask_takes_part():
    """One group of a team may drop out and the other not; the mask of a lane over both is then 1 for the other."""
    box = Box((-1.0,), (1.0,))
    team = Team((Agent("x", "x", 0, 2, box, "x"), Agent("y", "y", 0, 2, box, "y")), 4)
    from tensordict import TensorDict

    active = torch.tensor([True, False, True])
    store = Store(
        team, TensorDict({"x": {"active": active.unsqueeze(1)}, "y": {"observation": torch.zeros(3, 1, 2)}}, [3])
    )

    class Nothing:
        reads, nets = {}, {}

    both = Rows.of(Nothing(), team.agents, store).split([3])[0][keys.ACTIVE]
    assert both.tolist() == [[True, True], [False, True], [True, True]]
    assert keys.ACTIVE not in Rows.of(Nothing(), team.agents[1:], store).split([3])[0]


def test_unbounded_actions_are_refused():
    agent = Agent("a", "agents", 0, 2, Box((float("-inf"),), (float("inf"),)), "agents")
    from hetrl.net.deterministic_policy import DeterministicPolicy
    from hetrl.net.squashed_gaussian_policy import SquashedGaussianPolicy

    for cls in (DeterministicPolicy, SquashedGaussianPolicy):
        with pytest.raises(RecipeError, match="agent 'a' has an action without bounds; use net/gaussian_policy"):
            cls(agent, Team((agent,), 2))


def test_random_steps_draw_the_same_numbers_at_every_try():
    """The entropy of a squashed policy is estimated with fresh noise; two evaluations of one step must agree."""
    module, data = hetrl.load(
        "hatrpo", "task={use: env/cue_game, n_cues: 3, delay: 0, discrete_agents: 0, continuous_agents: 2, n_envs: 16}",
        "nets.actor={use: net/squashed_gaussian_policy, hidden: [8]}", "data.frames=64", "run.eval_every=null",
        "run.device=cpu",
    ).build()  # fmt: skip
    tree = module.recipe.tree
    tree["update"][1]["steps"].append({"use": "loss/entropy_bonus", "coef": 1.0})
    module, data = hetrl.load(tree).build()
    (sample,) = data.source.collect().samples
    store = Store(module.linked.team, sample)
    module.phases[0].run(store, 0.0, torch.Generator(), None)
    losses = []

    def step(optimizer, closure):
        before = [p.detach().clone() for p in optimizer.param_groups[0]["params"]]

        def still():
            with torch.no_grad():
                for p, value in zip(optimizer.param_groups[0]["params"], before, strict=True):
                    p.copy_(value)
            loss, means = closure()
            losses.append(loss.item())
            return loss, means

        optimizer.step(still)

    runner: PhaseRunner = module.phases[1]
    runner.run(store, 0.0, torch.Generator(), step)
    assert len(losses) >= 4
    tries = 11  # the first evaluation and ten refused tries for each agent: nothing is gained by standing still
    assert len(set(losses[:tries])) == 1


def test_cue_game_is_what_these_tests_think():
    env = CueGame(n_envs=4, n_cues=3, delay=2, discrete_agents=1, continuous_agents=2, leave=0.3)
    assert set(env.team.layout) == {"discrete", "continuous"}
