"""Steps that are asked about at the end of a batch alone: one that went wrong leaves no trace."""

import pytest
import torch
from data.scripted import Scripted, Waiting

from hetrl.data.on_policy import OnPolicy
from hetrl.errors import DivergenceError

SCRIPT = [
    {"reward": [1.0, 2.0]}, {"reward": [3.0, 5.0], "info": {"won": 1.0}}, {"reward": [0.5, 7.0], "info": {"won": 0.0}},
]  # fmt: skip


class OnTrust(Scripted):
    """Environments that go wrong at some steps as long as they are trusted."""

    wrong = ()
    """Steps, counted from the first, at which they do."""
    earned = 100.0

    def trust(self):
        self.trusted = not getattr(self, "lost", False)
        return self.trusted

    def held(self):
        held, self.trusted = not getattr(self, "missed", False), False
        self.lost, self.missed = not held, False
        return held

    def _simulate(self, actions):
        observation, reward, *flags = super()._simulate(actions)
        if getattr(self, "trusted", False) and len(self.taken) in self.wrong:
            self.missed = True
            if self.earned is None:
                raise RuntimeError("fell over what it should not have met")
            reward = {"agents": torch.full_like(reward["agents"], self.earned)}
        return observation, reward, *flags


class Drawing(Waiting):
    """Acts at random."""

    def explore(self, observations, action_masks, generator):
        shapes = {name: (*seen.shape[:2], 1) for name, seen in observations.items()}
        return {name: torch.randint(2, shape, generator=generator) for name, shape in shapes.items()}


def batches(env, count=3):
    source = OnPolicy(frames=8)
    source.attach(env, Drawing(), "mean", seed=3)
    found = [source.collect() for _ in range(count)]
    return found, source.state_dict()["generator"]


@pytest.mark.parametrize("earned", [100.0, None, torch.nan], ids=["earns", "raises", "is no number"])
@pytest.mark.parametrize("wrong", [(), (1,), (4,), (6,), (2, 3)])
def test_the_batches_of_environments_that_ask(wrong, earned):
    env = OnTrust(script=SCRIPT, n_envs=2)
    env.wrong, env.earned = wrong, earned
    expected, noise = batches(Scripted(script=SCRIPT, n_envs=2))
    found, ours = batches(env)
    assert torch.equal(noise, ours) and len(env.taken) >= 12
    for plain, own in zip(expected, found, strict=True):
        (left,), (right,) = plain.samples, own.samples
        assert (left == right).all()
        assert (plain.returns, plain.lengths, plain.episodes) == (own.returns, own.lengths, own.episodes)
        assert plain.infos.keys() == own.infos.keys()
        assert all(torch.equal(plain.infos[name], own.infos[name]) for name in plain.infos)


def test_what_fails_without_trust_fails():
    script = [{"reward": [1.0, torch.nan]}, *SCRIPT]
    with pytest.raises(DivergenceError, match="'a_1' a reward of nan at step 1 of its episode"):
        batches(OnTrust(script=script, n_envs=2))
