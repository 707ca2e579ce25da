"""A start that fails leaves no folder that stands in the way of the next one."""

import errno
import sys
from pathlib import Path

import lightning as L
import pytest

import hetrl
from hetrl.errors import DependencyError, DivergenceError, RunError
from hetrl.runs import run as runs
from hetrl.runs.folder import Folder, default_folder
from hetrl.runs.seeds import train_seeds

TINY = [
    "task={use: env/tabular_game, n_states: 3, n_actions: [2, 2], n_envs: 4, horizon: 7}",
    "nets.actor.use=net/categorical_policy", "nets.actor.hidden=[8]", "nets.value.hidden=[8]", "data.frames=40",
    "run.frames=80", "run.eval_every=40", "run.n_eval_episodes=3", "run.device=cpu",
]  # fmt: skip


class Fails(L.Callback):
    """Raises where it is told to."""

    def __init__(self, error, hook):
        self._error = error
        setattr(self, hook, self._fail)

    def _fail(self, *given, **named):
        raise self._error


def without_wandb(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    return {"wandb": "mine"}


def full_disk(monkeypatch):
    from hetrl.runs import folder

    def full(path, text):
        raise RunError(f"{path} cannot be written: {OSError(errno.ENOSPC, 'no space')}")

    monkeypatch.setattr(folder, "replace_text", full)
    return {}


def raises(error, hook):
    return lambda monkeypatch: {"callbacks": [Fails(error, hook)]}


@pytest.mark.parametrize(
    ("arrange", "error"),
    [
        (without_wandb, DependencyError),
        (full_disk, RunError),
        (raises(KeyboardInterrupt(), "on_fit_start"), SystemExit),  # Lightning makes that of it
        (raises(DivergenceError("no"), "on_train_batch_start"), DivergenceError),
        (raises(ValueError("no"), "on_train_batch_end"), ValueError),
        (raises(RuntimeError("no"), "setup"), RuntimeError),
    ],
    ids=["wandb", "disk", "ctrl_c", "first batch", "first update", "setup"],
)
def test_nothing_is_left_and_the_next_start_works(tmp_path, monkeypatch, arrange, error):
    recipe, path = hetrl.load("happo", *TINY), tmp_path / "run"
    with monkeypatch.context() as patch, pytest.raises(error):
        runs.train(recipe, path, quiet=True, **arrange(patch))
    assert not path.exists()
    assert runs.train(recipe, path, quiet=True).frames_saved() == 80


def test_a_folder_that_was_there_stays_and_what_was_in_it_too(tmp_path):
    path = tmp_path / "run"
    path.mkdir()
    with pytest.raises(ValueError, match="no"):
        runs.train(hetrl.load("happo", *TINY), path, callbacks=[Fails(ValueError("no"), "setup")], quiet=True)
    assert list(path.iterdir()) == []
    (path / "mine.txt").write_text("notes", encoding="utf-8")
    with pytest.raises(RunError, match=r"run exists and is no run; choose another --folder\.$"):
        runs.train(hetrl.load("happo", *TINY), path, quiet=True)
    assert [each.name for each in path.iterdir()] == ["mine.txt"]


def test_what_was_trained_stays(tmp_path):
    class Later(L.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if pl_module.frames:
                raise ValueError("later")

    path = tmp_path / "run"
    with pytest.raises(ValueError, match="later"):
        runs.train(hetrl.load("happo", *TINY, "run.checkpoint_every=40"), path, callbacks=[Later()], quiet=True)
    assert Folder(path).frames_saved() == 40
    with pytest.raises(RunError, match="holds this run already; continue it with --resume"):
        runs.train(hetrl.load("happo", *TINY, "run.checkpoint_every=40"), path, quiet=True)
    assert runs.resume(path, quiet=True).frames_saved() == 80


def test_the_next_folder_has_the_same_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = hetrl.load("happo", *TINY)
    name = default_folder(recipe)
    with pytest.raises(ValueError, match="no"):
        runs.train(recipe, callbacks=[Fails(ValueError("no"), "setup")], quiet=True)
    assert default_folder(recipe) == name == Path("runs") / "happo_tabular_game_seed0"


def test_seeds_of_which_none_was_trained_make_room(tmp_path, monkeypatch):
    from hetrl.runs import seeds

    def broken(words, wandb):
        return [sys.executable, "-c", "raise SystemExit('no simulator here')"]

    with monkeypatch.context() as patch:
        patch.setattr(seeds, "command_line", broken)
        outcome = train_seeds(hetrl.load("happo", *TINY), 2, tmp_path / "five")
    assert set(outcome.failed) == {0, 1}
    again = train_seeds(hetrl.load("happo", *TINY, "data.frames=80"), 1, tmp_path / "five")
    assert again.done == [0] and set(again.folder.runs) == {0}
    with pytest.raises(RunError, match="holds seeds already"):
        train_seeds(hetrl.load("happo", *TINY), 1, tmp_path / "five")
