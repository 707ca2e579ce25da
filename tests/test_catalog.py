"""Names, kinds, and installed packages."""

from importlib.metadata import EntryPoint

import pytest
import torch

from hetrl import catalog
from hetrl.errors import RecipeError
from hetrl.loss.entropy_bonus import EntropyBonus


@pytest.fixture
def install(monkeypatch):
    """Return a function that makes packages provide entries: kind, name, value."""

    def provide(*entries):
        points = [EntryPoint(name, value, f"hetrl.{kind}") for kind, name, value in entries]
        monkeypatch.setattr(catalog, "entry_points", lambda group: [point for point in points if point.group == group])
        catalog.installed.cache_clear()

    yield provide
    monkeypatch.undo()
    catalog.installed.cache_clear()


@pytest.mark.parametrize("name", catalog.BUILT_IN)
def test_every_entry_resolves_and_has_a_summary(name):
    assert catalog.resolve(name, name.split("/")[0]).__name__
    summary = catalog.summary(name)
    assert summary.endswith(".") and "\n" not in summary


def test_names_by_kind():
    losses = [name for name in catalog.BUILT_IN if name.startswith("loss/")]
    assert catalog.names("loss") == sorted(losses) and "loss/clipped_surrogate" in losses
    assert set(catalog.BUILT_IN) <= set(catalog.names())
    with pytest.raises(RecipeError, match=r"no kind 'losses'. Nearest: 'loss'."):
        catalog.names("losses")


@pytest.mark.parametrize(
    ("name", "kind", "text"),
    [
        ("loss/entropy_bonuss", None, "no entry 'loss/entropy_bonuss' in the catalog. Nearest: 'loss/entropy_bonus'."),
        ("entropy_bonus", "loss", "no entry 'entropy_bonus' in the catalog. Nearest: 'loss/entropy_bonus'."),
        ("hetrl.loss.entropy_bonus:EntropyBonus", "loss", "It looks like an import path, and a recipe may only choose"),
        ("os.system", None, "no entry 'os.system' in the catalog. It looks like an import path"),
        ("net/state_value", "loss", "'net/state_value' cannot stand here; use one of loss/"),
        ("net/state_value", ("loss", "weight"), "use one of loss/..., weight/..."),
        (3, "loss", "no entry '3' in the catalog."),
        (None, None, "no entry 'None' in the catalog."),
        (["a"], None, "no entry"),
    ],
)
def test_names_that_are_not_there(name, kind, text):
    with pytest.raises(RecipeError, match=text):
        catalog.resolve(name, kind)


def test_nearest_is_of_the_kind_asked_for():
    with pytest.raises(RecipeError) as caught:
        catalog.resolve("loss/fixed", "loss")
    assert "order/fixed" not in str(caught.value)


def test_a_component_by_name():
    loss = catalog.component("loss/entropy_bonus", coef=0.5).compute(torch.ones(1))["loss"]
    assert loss.item() == -0.5
    with pytest.raises(RecipeError, match=r"^loss/entropy_bonus has no argument 'coeff'. Nearest: 'coef'.$"):
        catalog.component("loss/entropy_bonus", coeff=0.5)
    with pytest.raises(RecipeError, match=r"^loss/entropy_bonus: coef = -1.0: "):
        catalog.component("loss/entropy_bonus", coef=-1.0)
    for name in ("net/state_value", "optim/adam", "data/on_policy"):
        with pytest.raises(RecipeError, match=f"'{name}' is not a component"):
            catalog.component(name)


def test_installed_entries(install):
    install(("loss", "vendor.bonus", "hetrl.loss.entropy_bonus:EntropyBonus"))
    assert "loss/vendor.bonus" in catalog.names("loss")
    assert catalog.resolve("loss/vendor.bonus", "loss") is EntropyBonus
    with pytest.raises(RecipeError, match=r"Nearest: 'loss/vendor.bonus'"):
        catalog.resolve("loss/vendor.bonu", "loss")


def test_listing_does_not_import_what_is_installed(install):
    install(("loss", "vendor.broken", "no_such_package.module:Thing"))
    assert "loss/vendor.broken" in catalog.names()
    with pytest.raises(
        RecipeError,
        match=r"^'loss/vendor.broken' \(no_such_package.module:Thing\) is installed but does not import: Module",
    ):
        catalog.resolve("loss/vendor.broken")


@pytest.mark.parametrize(
    "entries",
    [
        [("loss", "entropy_bonus", "vendor:Thing")],
        [("loss", "vendor.x", "vendor:Thing"), ("loss", "vendor.x", "other:Thing")],
    ],
)
def test_two_packages_cannot_provide_one_name(install, entries):
    install(*entries)
    with pytest.raises(
        RecipeError, match=r"is provided twice \((vendor|other):Thing is one of them\); uninstall one package."
    ):
        catalog.names()
