"""A PettingZoo environment with deaths, pay for the dead and masks of several choices, registered and trained."""

import lightning as L
import numpy as np
import pytest
import torch
from data.scripted import Waiting
from gymnasium import spaces
from pettingzoo import ParallelEnv
from train.test_learner import QUIET

import hetrl
from hetrl import catalog
from hetrl.data.on_policy import OnPolicy
from hetrl.engine.task import make_env
from hetrl.team import Discrete

SMALL = ["nets.actor={use: net/categorical_policy, hidden: [8]}", "nets.value.hidden=[8]", "run.eval_every=80",
         "run.n_eval_episodes=2", "data.frames=80", "run.frames=160", "run.device=cpu"]  # fmt: skip


class Ten(ParallelEnv):
    """Two agents, ten steps, 1 point a step for each who lives; the second dies with the first step."""

    metadata = {"name": "ten"}
    possible_agents = ["a_0", "a_1"]
    illegal = 0

    def __init__(self, pays: bool = False, tuples: bool = False):
        self.pays, self.tuples = pays, tuples

    def observation_space(self, agent):
        return spaces.Box(0, 1, (4,), np.float32)

    def action_space(self, agent):
        return spaces.MultiDiscrete([3, 4])

    def _told(self, agents):
        self.mask = {agent: [self.rng.random(size) < 0.4 for size in (3, 4)] for agent in agents}
        for parts in self.mask.values():
            for part in parts:
                part[self.rng.integers(len(part))] = True
        return {
            agent: {"action_mask": tuple(parts) if self.tuples else np.concatenate(parts), "won": self.at == 10}
            for agent, parts in self.mask.items()
        }

    def _seen(self, agents):
        return {agent: self.rng.random(4).astype(np.float32) for agent in agents}

    def reset(self, seed=None, options=None):
        self.rng, self.agents, self.at = np.random.default_rng(seed), list(self.possible_agents), 0
        return self._seen(self.agents), self._told(self.agents)

    def step(self, actions):
        for agent, choices in actions.items():
            Ten.illegal += sum(not part[choice] for part, choice in zip(self.mask[agent], choices, strict=True))
        self.at += 1
        there = list(self.agents)
        dead, cut = ({agent: agent == "a_1" and self.at == 1 for agent in there}, dict.fromkeys(there, self.at == 10))
        self.agents = [agent for agent in there if not (dead[agent] or cut[agent])]
        paid = self.possible_agents if self.pays else there
        return self._seen(there), dict.fromkeys(paid, 1.0), dead, cut, self._told(there)


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setattr(catalog, "REGISTERED", dict(catalog.REGISTERED))
    hetrl.register("env/test.ten", Ten)
    Ten.illegal = 0


def fitted(name, *changes):
    recipe = hetrl.load(name, "task={use: env/test.ten, n_envs: 4, horizon: 50}", *SMALL, *changes)
    module, data = hetrl.build(recipe)
    L.Trainer(max_epochs=10, enable_checkpointing=False, log_every_n_steps=1, **QUIET).fit(module, data)
    return module.metrics


@pytest.mark.parametrize(
    ("word", "pays", "earned"),
    [("mean", False, 5.5), ("mean", True, 10.0), ("sum", True, 20.0), ("of_the_living", False, 10.0)],
)
def test_what_the_environment_pays_arrives(word, pays, earned):
    found = fitted("happo", f"task.reward={word}", f"task.pays={pays}".lower())
    assert found["return"] == found["eval/return"] == earned
    own = {} if pays else {"return/a_0": 10.0, "return/a_1": 1.0}
    assert {name: value for name, value in found.items() if name.startswith("return/")} == own
    assert found["info/won"] == found["eval/info/won"] == 1.0


@pytest.mark.parametrize("tuples", ["true", "false"])
def test_masks_of_several_choices_are_believed(tuples):
    fitted("happo", f"task.tuples={tuples}")
    recipe = hetrl.load("happo", f"task={{use: env/test.ten, horizon: 50, tuples: {tuples}}}")
    assert make_env(recipe, "cpu", 0, n_envs=1).team.agents[0].action == Discrete((3, 4))
    assert Ten.illegal == 0


def test_who_died_has_ended():
    recipe = hetrl.load("happo", "task={use: env/test.ten, n_envs: 2, horizon: 50, reward: per_agent}", *SMALL[:2])
    env = make_env(recipe, "cpu", 0, n_envs=2)

    class First(Waiting):
        def explore(self, observations, action_masks, generator):
            mask = action_masks["agents"].split([3, 4], -1)
            return {"agents": torch.stack([part.long().argmax(-1) for part in mask], -1)}

    source = OnPolicy(frames=20)
    source.attach(env, First(), "per_agent", 0)
    (batch,) = source.collect().samples
    assert batch["agents", "terminated"][:, 0].int().T.tolist() == [[0] * 10, [1, *[0] * 9]]
    assert batch["agents", "truncated"][:, 0, 0].int().tolist() == [0] * 9 + [1]
