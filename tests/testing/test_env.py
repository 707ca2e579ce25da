"""The check of environments notices what breaks collection, TorchRL and resuming, in one line."""

import pytest
import torch

from hetrl.arguments import Count, Seed
from hetrl.env.cue_game import CueGame
from hetrl.env.team_env import TeamEnv
from hetrl.team import Box, Team
from hetrl.testing import check_env


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
