"""The check of environments notices what breaks collection, TorchRL and resuming, in one line."""

import re

import numpy as np
import pytest
import torch
from env.forage import Forage

import hetrl
from hetrl import catalog
from hetrl.arguments import Count, Seed
from hetrl.env.cue_game import CueGame
from hetrl.env.team_env import TeamEnv
from hetrl.team import Box, Team
from hetrl.testing import check_env
from hetrl.testing.docstring import TO_FILL_IN


class Walk(TeamEnv):
    """Two agents on a line, who are drawn to a start and earn what they move.

    Args:
        n_envs: environments in the batch.
        horizon: steps in an episode.
        seed: of the starts.
        device: where they live.
    """

    def __init__(self, *, n_envs: Count = 2, horizon: Count = 3, seed: Seed = 0, device: str = "cpu") -> None:
        super().__init__(n_envs=n_envs, horizon=horizon, reward="mean", device=device)
        self.team = Team.of(["one", "two"], [1, 1], [Box((-1.0,), (1.0,))] * 2)
        self._place = torch.zeros(n_envs, 2, 1)
        self._generator = torch.Generator().manual_seed(seed)
        self._make_specs()

    def _observe(self):
        self._observation = {"agents": self._place.clone()}
        return self._observation

    def start(self):
        self._place = torch.rand(self.n_envs, 2, 1, generator=self._generator)
        self._steps = torch.zeros_like(self._steps)
        return self._observe()

    def _simulate(self, actions):
        moved = actions["agents"].clamp(-1, 1)
        self._place, self._steps = self._place + moved, self._steps + 1
        ended = torch.zeros(self.n_envs, dtype=torch.bool)
        return self._observe(), {"agents": moved.squeeze(-1)}, ended, self._steps >= self.horizon

    def _reset_rows(self, rows):
        drawn = torch.rand(len(rows), 2, 1, generator=self._generator)
        self._place = self._place.index_copy(0, rows, drawn)
        self._steps = self._steps.index_fill(0, rows, 0)
        return self._observe()

    def seed(self, seed):
        self._generator.manual_seed(seed)

    def state_dict(self, *_, **__):
        return {"place": self._place.clone(), "steps": self._steps.clone(), "generator": self._generator.get_state()}

    def load_state_dict(self, state, *_, **__):
        self._place, self._steps = state["place"].clone(), state["steps"].clone()
        self._generator.set_state(state["generator"])
        self._observe()


def moved_by(change):
    """Return a step whose outcome is changed."""

    def simulate(self, actions):
        return change(*Walk._simulate(self, actions))

    return simulate


def everybody(self, rows):
    return self.start()


def unseeded(self):
    self._place = torch.rand(self.n_envs, 2, 1)
    return self._observe()


def half_a_state(self, *_, **__):
    return {**Walk.state_dict(self), "steps": torch.zeros_like(self._steps)}


def test_a_sound_environment_passes():
    check_env(Walk)
    check_env(Walk, horizon=1)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"_simulate": moved_by(lambda o, r, t, c: (o, {"agents": r["agents"].mean(-1)}, t, c))},
         r"TorchRL's check_env_specs refuses it|the reward of 'agents' is torch.float32 \[3\], not"),
        ({"_simulate": moved_by(lambda o, r, t, c: (o, r, c, c))}, "a step is both terminated and truncated"),
        ({"_simulate": moved_by(lambda o, r, t, c: (o, {"agents": r["agents"] / 0}, t, c))}, "'agents' is not finite"),
        ({"_reset_rows": everybody}, "what 'agents' sees is another thing where no episode ended|a reset of one"),
        ({"start": unseeded}, "begins otherwise with the same seed"),
        ({"seed": lambda self, seed: None}, "begins otherwise after the same seed|check_env_specs"),
        ({"state_dict": half_a_state}, "goes on otherwise where its state_dict was loaded"),
        ({"state_dict": lambda self, *_, **__: {}}, r"its state_dict does not load: KeyError: 'place'"),
        ({"state_dict": lambda self, *_, **__: {"x": Walk}}, "its state_dict does not load again; keep tensors and"),
        ({"provides": staticmethod(lambda arguments: ["state"])}, r"provides\(\) tells \['state'\], and a step writes"),
        ({"_observe": lambda self: {"agents": self._place.double()}}, "TorchRL's check_env_specs refuses it: "),
        ({"start": lambda self: {"other": self._place}}, "TorchRL's|start.. has the groups .'other'., and its team"),
        ({"masks": property(lambda self: {"open": {}})}, r"its masks have the word \['open'\]; there are action_mask"),
    ],
)  # fmt: skip
def test_notices_what_breaks_an_environment(changed, problem):
    cls = type("Broken", (Walk,), {"__doc__": Walk.__doc__, **changed})
    with pytest.raises(AssertionError, match=f"^Broken: .*({problem})") as caught:
        check_env(cls, horizon=3)
    assert "\n" not in str(caught.value)


def test_no_two_numbers_are_promised_where_it_says_so():
    check_env(type("Loose", (Walk,), {"__doc__": Walk.__doc__, "start": unseeded}), exact=False)


def test_a_mask_leaves_an_option():
    def closed(self):
        return {"action_mask": {"discrete": torch.zeros(self.n_envs, 2, 3, dtype=torch.bool)}}

    cls = type("Broken", (CueGame,), {"__doc__": CueGame.__doc__, "masks": property(closed)})
    with pytest.raises(AssertionError, match=r"action_mask of 'discrete' leaves no option to somebody|check_env_specs"):
        check_env(cls)


def test_arguments_are_checked_and_explained():
    with pytest.raises(AssertionError, match=r"^env/matrix_game: the arguments are refused: RecipeError: env/"):
        check_env("env/matrix_game")
    with pytest.raises(AssertionError, match=r"^Bare: the docstring has no line that starts with 'Args:'"):
        check_env(type("Bare", (Walk,), {"__doc__": "Bare."}))


# ----- what is not written for hetrl


def own(**changed):
    """Return a forage with some of it changed."""
    return type("Mine", (Forage,), {"__doc__": "Mine.", **changed})


def luck(self, seed=None, options=None):
    return Forage.reset(self, None)


def test_an_environment_of_ones_own_is_checked_by_its_name(monkeypatch):
    monkeypatch.setattr(catalog, "REGISTERED", dict(catalog.REGISTERED))
    monkeypatch.setattr(catalog, "REGISTRATIONS", dict(catalog.REGISTRATIONS))
    hetrl.register("env/my.checked", Forage)
    check_env("env/my.checked", {"horizon": 4, "width": 2})
    check_env("env/my.checked", {"horizon": 9}, workers=2)
    with pytest.raises(AssertionError, match=r"^env/my.checked: the arguments are refused: .*task.widht.*'width'"):
        check_env("env/my.checked", {"horizon": 4, "widht": 2})
    with pytest.raises(AssertionError, match=r"^env/my.checked: it does not build with .*task.horizon: Forage has no"):
        check_env("env/my.checked")


def test_or_as_a_class_or_as_what_makes_one():
    check_env(own(), horizon=4)
    check_env(lambda: Forage(width=2), {"horizon": 4})
    with pytest.raises(AssertionError, match=r"^3: it is a int, and no environment; give"):
        check_env(3)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        (
            {"reset": luck},
            "begins otherwise with the same seed|does not load: .*does not repeat an episode",
        ),
        ({"_seen": lambda self: {agent: np.zeros(1) for agent in self.agents}}, "has an observation of"),
        ({"__doc__": f"{TO_FILL_IN} this."}, f"the docstring has a place to fill in: '{TO_FILL_IN} this.'"),
    ],
)
def test_what_breaks_it_is_a_line(changed, problem):
    with pytest.raises(AssertionError, match=f"^Mine: .*({problem})") as caught:
        check_env(own(**changed), horizon=4)
    assert "\n" not in str(caught.value)


def test_what_does_not_repeat_itself_is_not_asked_to():
    check_env(own(reset=luck), horizon=4, repeats=False)


def test_every_environment_is_closed_and_can_be_begun_again():
    opened = []

    def begun(self, *arguments, **words):
        Forage.__init__(self, *arguments, **words)
        opened.append(self)

    check_env(own(__init__=begun, close=lambda self: opened.remove(self)), horizon=4)
    assert not opened

    def gone(self, seed=None, options=None):
        if opened:
            raise ValueError("it is gone")
        return Forage.reset(self, seed)

    with pytest.raises(AssertionError, match=re.escape("Mine: start() failed: ValueError: it is gone")):
        check_env(own(reset=gone, close=lambda self: opened.append(self)), horizon=4)
