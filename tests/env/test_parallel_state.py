"""An environment's own state: what critics see in place of all observations, on-policy, in replay, and in TorchRL."""

import numpy as np
import pytest
import torch
from env.stepped import through_file
from env.worlds import TINY, entry, made, recipe, varied
from gymnasium import spaces
from torchrl.envs.utils import check_env_specs

import hetrl
from hetrl.data.intake import Intake
from hetrl.env.adapter.parallel import Parallel
from hetrl.errors import DivergenceError, RecipeError, RunError
from hetrl.testing import check_env


def counted(self):
    """Three numbers that no agent sees: the step, and two that stay."""
    return np.array([self.t, 7.0, -1.0])


SPACE = spaces.Box(-9, 99, (3,), np.float32)
Known = varied(state=counted, state_space=SPACE)


@pytest.mark.parametrize("cls", [Known, varied(state=counted)])
def test_it_is_used_where_there_is_one(cls):
    env = made(cls, n_envs=2, horizon=3)
    assert (env.team.state_size, env.team.own_state) == (3, True)
    for step in range(3):
        assert env.state(env._observation).tolist() == [[step, 7, -1]] * 2
        moved = env.advance({"agents": torch.zeros(2, 2, 1, dtype=torch.int64)})
        assert env.state(moved.next_observation).tolist() == [[step + 1, 7, -1]] * 2
    assert env.state(moved.observation).tolist() == [[0, 7, -1]] * 2  # of the next episode
    assert env.reset()["state"].shape == (2, 3)
    check_env_specs(env)


def unwritten(self):
    raise NotImplementedError


def test_one_that_is_not_implemented_is_none():
    assert not made(varied(state=unwritten), n_envs=2, horizon=3).team.own_state
    with pytest.raises(RecipeError, match=r"has no state\(\) of its own; write state: observations"):
        made(varied(state=unwritten), n_envs=2, horizon=3, state="own")
    with pytest.raises(NotImplementedError):  # it says what its state looks like, and gives none
        made(varied(state=unwritten, state_space=SPACE), n_envs=2, horizon=3).reset()


def test_it_may_be_left_aside():
    env = made(Known, state="observations")
    assert env.team.state_size == 8 and not env.team.own_state


def test_a_state_that_cannot_be_told_is_the_environments_own_error_with_what_to_do():
    """Some worlds are gone with their episode, and say so of the state as well."""

    def gone(self):
        return [self.t / (5 - self.t)]

    env = made(varied(state=gone), n_envs=1, horizon=9)
    env.start()
    act = {"agents": torch.zeros(1, 2, 1, dtype=torch.int64)}
    with pytest.raises(ZeroDivisionError) as raised:
        for _ in range(9):
            env.advance(act)
    assert "with state: observations in the task, it is not" in " ".join(raised.value.__notes__)


def test_the_contract():
    check_env(entry(varied(state=counted, state_space=SPACE)), horizon=5)


def test_a_state_may_be_an_image_or_any_space_that_gymnasium_flattens():
    image = made(
        varied(
            state=lambda self: np.full((4, 4, 3), 200, np.uint8), state_space=spaces.Box(0, 255, (4, 4, 3), np.uint8)
        )
    )
    assert (image.team.state_shape, image.team.state_dtype) == ((4, 4, 3), torch.uint8)
    assert image.state(image._observation).unique().tolist() == [200]
    parts = spaces.Dict({"hour": spaces.Discrete(3), "place": spaces.Box(-1, 1, (2,))})
    mixed = made(varied(state=lambda self: {"hour": 1, "place": np.ones(2)}, state_space=parts))
    assert mixed.state(mixed._observation).tolist() == [[0, 1, 0, 1, 1]]


def test_one_without_says_so():
    with pytest.raises(
        RecipeError, match=r"^task\.state: Varied has no state\(\) of its own; write state: observations"
    ):
        Parallel(factory=varied(), n_envs=1, horizon=5, state="own")
    # An attribute that is called so, and no method, is none.
    assert not made(varied(state=np.ones(3))).team.own_state


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"state": lambda self: {"x": 1}}, r"gives a dict, and no numbers; give it a state_space, or write state: obs"),
        ({"state": lambda self: None}, r"gives a NoneType, and no numbers"),
        ({"state": lambda self: [[1], [1, 2]]}, r"gives a list, and no numbers"),
        ({"state": counted, "state_space": lambda self: SPACE}, r"^task: state_space of Varied is a function; make it"),
    ],
)
def test_a_state_that_nobody_can_read(words, message):
    with pytest.raises(RecipeError, match=message):
        made(varied(**words))


def test_a_state_that_is_not_of_its_space_or_not_finite():
    with pytest.raises(
        RunError, match=r"environment 0, step 0 of its episode: state\(\) gives \[3\], but its space says \[2\]"
    ):
        made(varied(state=counted, state_space=spaces.Box(0, 1, (2,))))
    env = made(varied(state=lambda self: np.array([0.0, np.nan])), n_envs=2)
    with pytest.raises(DivergenceError, match=r"^task: environment 0 gave a state of nan at a reset"):
        Intake(env.team).start(env._observation)


@pytest.mark.parametrize(("base", "extra"), [
    ("happo", []),
    ("hasac", ["nets.actor={use: net/categorical_policy, hidden: [8]}", "data.warmup=20", "data.batch=8",
               "data.capacity=64", "data.n_step=2", "nets.q.hidden=[8]"]),
])  # fmt: skip
@pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*", "ignore:.*no pre-optimization state.*")
def test_critics_see_it_and_a_run_continues_bit_for_bit(base, extra, tmp_path, monkeypatch):
    from hetrl.runs.run import resume, train

    words = TINY if base == "happo" else ("run.frames=80", "run.eval_every=null", "run.device=cpu")
    made_of = recipe(monkeypatch, Known, *extra, base=base, words=words)
    folder = train(made_of, tmp_path / "run", quiet=True)
    saved = folder.load_checkpoint()["state_dict"]
    critic = next(
        value
        for name, value in saved.items()
        if name.startswith(("linked.nets.value", "linked.nets.q")) and value.ndim > 1
    )
    assert 3 + (6 if base == "hasac" else 0) in critic.shape  # with both one-hot actions, where it sees them
    resumed = resume(folder.path, "run.frames=120", quiet=True).load_checkpoint()["state_dict"]
    whole = train(hetrl.load(made_of, "run.frames=120"), tmp_path / "whole", quiet=True).load_checkpoint()["state_dict"]
    assert all(
        torch.equal(resumed[name], value) if isinstance(value, torch.Tensor) else resumed[name] == value
        for name, value in whole.items()
    )


def test_a_batch_holds_it_before_and_after(monkeypatch):
    """Ten steps an episode: the state counts them, and what a step led to is of the same episode."""
    _, data = hetrl.build(recipe(monkeypatch, Known, "data.frames=60"))
    (batch,) = data.source.collect().samples
    assert batch["state"][:, 0, 0].tolist() == [*range(10), *range(5)]
    assert batch["next", "state"][:, 0, 0].tolist() == [*range(1, 11), *range(1, 6)]
    through_file(data.state_dict())
