"""How large checkpoints will be is known before there is one."""

import pytest

import hetrl
from hetrl.runs.run import train
from hetrl.train import callbacks
from hetrl.train.checkpoint_size import checkpoint_bytes, large

REPLAY = ["task.n_envs=4", "task.horizon=7", "data.capacity=4000", "data.batch=8", "data.warmup=4000",
          "run.frames=4008", "run.eval_every=null", "run.device=cpu"]  # fmt: skip


@pytest.mark.parametrize(("name", "more"), [("hasac", []), ("omdpg_discrete", [])], ids=["boxes", "choices"])
def test_it_is_about_what_it_becomes(name, more, tmp_path):
    """Within a twentieth of what is written, plus what every checkpoint holds of generators and names."""
    recipe = hetrl.load(name, *REPLAY, *more)
    said = checkpoint_bytes(*recipe.build())
    assert recipe.run.frames > 4000  # there are moments
    folder = train(recipe, tmp_path / "run", quiet=True)
    assert abs(folder.checkpoint.stat().st_size - said) < said / 20 + 100_000
    assert said > 1_000_000


def test_small_ones_are_not_spoken_of_and_unsaved_buffers_do_not_count():
    recipe = hetrl.load("hasac", *REPLAY)
    module, data = recipe.build()
    assert large(module, data) is None
    assert large(module, data, 1_000_000).startswith("A checkpoint will have about 0.0 GiB, and up to three lie on")
    with pytest.warns(UserWarning, match="data.save is false"):
        unsaved = checkpoint_bytes(*hetrl.load("hasac", *REPLAY, "data.save=false").build())
    assert unsaved < checkpoint_bytes(module, data) - 1_000_000


def test_it_is_said_in_one_line_before_training(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(callbacks, "large", lambda module, data: large(module, data, 1))
    train(hetrl.load("hasac", *REPLAY, "data.capacity=100", "data.warmup=40", "run.frames=44"), tmp_path / "run")
    assert capsys.readouterr().out.splitlines()[0].startswith("A checkpoint will have about 0.0 GiB, and up to three")
