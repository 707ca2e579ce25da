"""A package of each kind, as ``hetrl new`` writes it: built as a wheel, installed, and used in a recipe.

And a wrong one of each kind: refused in one line where a recipe names it.
"""

import importlib
import re
import sys
import zipfile

import lightning as L
import pytest
import torch
from hatchling.builders.wheel import WheelBuilder

import hetrl
from hetrl import catalog
from hetrl.errors import RecipeError
from hetrl.scaffold.new import STEPS, new

KINDS = list(STEPS)
TINY = ["task.n_envs=2", "task.horizon=4", "data.frames=8", "run.frames=8", "run.eval_every=null", "run.device=cpu",
        "run.threads=null", "nets.actor.hidden=[4]", "nets.value.hidden=[4]", "update.actors.epochs=1",
        "update.actors.minibatches=1", "update.critic.epochs=1", "update.critic.minibatches=1"]  # fmt: skip
WRONG = {
    "loss": ('"loss.agent.some_thing"', '"factor"', "writes no 'loss', as every loss/... does; correct the entry in"),
    "weight": ("(Component)", "", "is no Component, as every weight/... is; correct the entry in its pyproject.toml"),
    "estimate": ('writes = {"advantage": "advantage"}', 'writes = {"advantage": "loss.x"}',
                 "writes 'loss', which makes it loss/..., not estimate/..."),
    "order": ('"members": "members"', '"members": "state"', "does not read 'members', as every order/... does; add"),
    "net": ("def draw(", "def drawn(", "is a Policy without draw(); define it, collection asks for it."),
    "optim": ("def optimizer(", "def optimiser(", "has no method 'optimizer', as every optim/... has; derive it from"),
    "env": ("def step(", "def move(", "has no step() of its own, as every environment of PettingZoo has; define it"),
    "data": ("def attach(", "def bind(", "has no method 'attach', as every data/... has; derive it from"),
}  # fmt: skip
"""What is changed in the part as it is written -> what is said of it."""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Return a function that builds the wheel of a new package, changed first, and installs it; returns its recipe."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)

    def provide(kind: str, old: str = "", new_: str = ""):
        folder = tmp_path / kind
        new(kind, "acme.some_thing", folder)
        code = folder / "acme_some_thing" / "some_thing.py"
        assert old in code.read_text()
        code.write_text(code.read_text().replace(old, new_) if old else code.read_text())
        (wheel,) = WheelBuilder(str(folder)).build(directory=str(tmp_path / "dist"), versions=["standard"])
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
        importlib.invalidate_caches()
        catalog.installed.cache_clear()
        return folder / "some_thing.yaml"

    yield provide
    catalog.installed.cache_clear()
    for name in [name for name in sys.modules if name.startswith("acme_some_thing")]:
        del sys.modules[name]


# Lightning's advice for other kinds of training: a short epoch, and the manual optimisation that we have.
@pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*", "ignore:.*no pre-optimization state.*")
@pytest.mark.parametrize("kind", KINDS)
def test_a_new_package_is_built_installed_and_used(install, kind, tmp_path):
    recipe = hetrl.load(install(kind), *TINY)
    name = f"{kind}/acme.some_thing"
    assert name in catalog.names(kind) and catalog.provider(catalog.installed()[name]) == "acme-some-thing 0.1.0"
    hetrl.check(recipe)
    module, data = recipe.build()
    before = torch.cat([parameter.flatten() for parameter in module.parameters()]).clone()
    L.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path,
    ).fit(module, data)  # fmt: skip
    assert module.frames == 8 and sys.modules["acme_some_thing"].__file__.startswith(str(tmp_path))
    assert not torch.equal(before, torch.cat([parameter.flatten() for parameter in module.parameters()]))


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_one_is_refused_in_one_line(install, kind):
    old, changed, problem = WRONG[kind]
    path = install(kind, old, changed)
    with pytest.raises(RecipeError, match=re.escape(problem)) as caught:
        hetrl.check(hetrl.load(path, *TINY))
    assert f"'{kind}/acme.some_thing' of acme-some-thing 0.1.0 (acme_some_thing.some_thing:" in str(caught.value)
    assert "\n" not in str(caught.value)
