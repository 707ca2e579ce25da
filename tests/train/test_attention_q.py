"""A critic that does not grow with the team, in recipes that were made for another."""

import lightning as L
import pytest
import torch

import hetrl

SMALL = [
    "nets.q.use=net/attention_q", "nets.q.hidden=[16]", "nets.actor.hidden=[8]", "run.frames=48", "run.eval_every=null",
    "data.warmup=16", "data.batch=16", "run.device=cpu", "data.capacity=1000",
]  # fmt: skip
SEVERAL = ["task={use: env/vmas, scenario: balance, n_agents: 4, n_envs: 4, horizon: 10, actions: discrete}"]
LEAVE = ["task={use: env/cue_game, delay: 2, discrete_agents: 4, continuous_agents: 0, leave: 0.3, n_envs: 4}"]
STEER = ["task={use: env/vmas, scenario: balance, n_agents: 4, n_envs: 4, horizon: 10}"]
UNLIKE = ["task={use: env/cue_game, delay: 2, discrete_agents: 1, continuous_agents: 2, leave: 0.3, n_envs: 4}"]
QUIET = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}


@pytest.mark.parametrize(
    ("recipe", "changes"),
    [
        ("hasac", STEER),
        ("omdpg", [*STEER, "update.actors.every=1"]),
        ("haqo", [*STEER, "update.actors.every=1"]),
        ("matd3", [*STEER, "update.actors.every=1"]),
        ("hasac_battle", SEVERAL),
        ("hasac_battle", LEAVE),
        ("omdpg_discrete", [*SEVERAL, "update.actors.every=1"]),
        ("hasac", [*UNLIKE, "nets.actor={use: net/mixed_policy, continuous: squashed_gaussian}"]),
    ],
    ids=["hasac", "omdpg", "haqo", "matd3", "discrete", "leaving", "omdpg_discrete", "unlike"],
)
def test_it_takes_the_place_of_another_critic(recipe, changes):
    """Every net moves, and stays finite."""
    module, data = hetrl.load(recipe, *changes, *SMALL).build()
    nets = module.linked.nets
    before = {name: [each.clone() for each in nets[name].parameters()] for name in ("actor", "q")}
    L.Trainer(max_epochs=1, enable_checkpointing=False, log_every_n_steps=1, **QUIET).fit(module, data)
    for name, parameters in before.items():
        now = list(nets[name].parameters())
        assert all(each.isfinite().all() for each in now)
        assert any(not torch.equal(old, new) for old, new in zip(parameters, now, strict=True))
