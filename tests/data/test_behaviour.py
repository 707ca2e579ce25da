"""Acting with the best of several draws."""

import torch

import hetrl
from hetrl.data.behaviour import Behaviour, BestOf
from hetrl.env.vmas import Vmas
from hetrl.train.build import build

TINY = ["task.n_envs=2", "nets.actor.hidden=[8]", "nets.q.hidden=[8]", "data.warmup=20", "data.batch=8"]


def acting(n):
    env = Vmas(scenario="balance", n_envs=5, horizon=5)
    linked = hetrl.link(hetrl.load("happo", "nets.actor.hidden=[8]"), env.team)
    behaviour = Behaviour(linked.team, linked.policy)

    def value(state, action):
        assert state.shape == (5 * n, linked.team.state_size)
        return {"q": sum(each[..., 0] for each in action)}

    return env, behaviour, BestOf(behaviour, linked.team, value, n)


def test_takes_the_best_joint_draw_of_each_environment():
    env, behaviour, best = acting(4)
    seen = env.start()
    found = best.explore(seen, {}, torch.Generator().manual_seed(1))["agents"]
    drawn = behaviour.explore({"agents": seen["agents"].repeat_interleave(4, 0)}, {}, torch.Generator().manual_seed(1))[
        "agents"
    ].view(5, 4, 3, 2)
    worth = drawn[..., 0].sum(-1)
    assert found.shape == (5, 3, 2)
    for row in range(5):
        assert torch.equal(found[row], drawn[row, worth[row].argmax()])
    assert len(set(worth.argmax(-1).tolist())) > 1


def test_with_one_draw_it_is_the_policies():
    env, behaviour, best = acting(1)
    seen = env.start()
    found, plain = (each.explore(seen, {}, torch.Generator().manual_seed(1)) for each in (best, behaviour))
    assert torch.equal(found["agents"], plain["agents"])


def test_a_recipe_acts_with_it_while_training_and_without_in_evaluation():
    module, data = build(hetrl.load("haqo", *TINY))
    assert isinstance(data.source._behaviour, BestOf) and data.source._behaviour.n == 4
    assert isinstance(module.evaluation._behaviour, Behaviour)
    _, data = build(hetrl.load("haqo", *TINY, "data.n_candidates=1"))
    assert isinstance(data.source._behaviour, Behaviour)
