"""Names, kinds, and installed packages."""

import importlib
import re
import sys

import pytest
import torch

import hetrl
from hetrl import catalog, cli
from hetrl.env import scenarios
from hetrl.errors import RecipeError, RunError
from hetrl.runs.machine import describe_machine


@pytest.fixture
def install(monkeypatch, tmp_path):
    """Return a function that installs a package on a path of its own: its entries by kind and name, and its module."""
    monkeypatch.syspath_prepend(tmp_path)

    def provide(package: str, entries: dict[str, str], code: str = "", version: str = "1.2") -> None:
        info = tmp_path / f"{package}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
        lines = [f"[hetrl.{name.split('/')[0]}]\n{name.split('/')[1]} = {value}\n" for name, value in entries.items()]
        (info / "entry_points.txt").write_text("\n".join(lines))
        (tmp_path / f"{package}.py").write_text(code)
        importlib.invalidate_caches()
        forget()

    def forget() -> None:
        catalog.installed.cache_clear()
        scenarios.installed.cache_clear()
        scenarios._of_name.cache_clear()
        scenarios._loaded.cache_clear()

    yield provide
    forget()
    for path in tmp_path.glob("*.py"):
        sys.modules.pop(path.stem, None)


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


LOSS = """
from jaxtyping import Float
from torch import Tensor
from hetrl.component import Component

class Bonus(Component):
    reads, writes = {"entropy": "agent.entropy"}, {"loss": "loss.agent.bonus"}

    def compute(self, entropy: Float[Tensor, "*batch"]) -> dict[str, Tensor]:
        return {"loss": -entropy}

class Weight(Component):
    reads, writes = {"advantage": "advantage"}, {"factor": "factor"}

    def compute(self, advantage: Float[Tensor, "*batch"]) -> dict[str, Tensor]:
        return {"factor": advantage}

def function():
    pass
"""


def test_a_recipe_that_names_an_installed_entry_imports_it(install):
    install("acme", {"loss/acme.bonus": "acme:Bonus"}, LOSS)
    assert "loss/acme.bonus" in catalog.names("loss")
    hetrl.check(hetrl.load("happo"))
    assert "acme" not in sys.modules
    hetrl.check(hetrl.load("happo", "update.actors.steps.entropy_bonus={use: loss/acme.bonus}"))
    assert catalog.resolve("loss/acme.bonus", "loss") is sys.modules["acme"].Bonus
    with pytest.raises(RecipeError, match=r"Nearest: 'loss/acme.bonus'"):
        catalog.resolve("loss/acme.bonu", "loss")


def test_a_run_keeps_the_version_of_who_brings_its_entries(install):
    install("acme", {"loss/acme.bonus": "acme:Bonus"}, LOSS)
    assert "acme" not in describe_machine(hetrl.load("happo"))["packages"]
    recipe = hetrl.load("happo", "update.actors.steps.entropy_bonus={use: loss/acme.bonus}")
    assert describe_machine(recipe)["packages"]["acme"] == "1.2"


def test_an_override_names_it_by_its_last_word(install):
    install("acme", {"loss/acme.bonus": "acme:Bonus"}, LOSS)
    step = "update.actors.steps.entropy_bonus={use: loss/acme.bonus}"
    recipe = hetrl.load("happo", step, "update.actors.steps.bonus={use: loss/entropy_bonus, coef: 0.5}")
    assert recipe.update[1].steps[-1].use == "loss/entropy_bonus"


def test_listing_names_packages_and_imports_none(install, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    install("acme", {"loss/acme.bonus": "acme:Bonus", "weight/acme.odd": "nowhere.at_all:Odd"}, "raise SystemExit(1)")
    for kind, line in (("loss", r"loss/acme\.bonus +acme 1\.2"), ("weight", r"weight/acme\.odd +acme 1\.2")):
        monkeypatch.setattr(sys, "argv", ["hetrl", "list", kind])
        with pytest.raises(SystemExit):
            cli.main()
        assert re.search(line, capsys.readouterr().out)
    assert "acme" not in sys.modules


@pytest.mark.parametrize(
    ("entry", "value", "code", "problem"),
    [
        (
            "loss/acme.bonus",
            "acme:Bonus",
            "import no_such_module",
            "does not import: ModuleNotFoundError: No module",
        ),
        (
            "loss/acme.bonus",
            "acme:Bonus",
            "raise ValueError('a\\nb')",
            "does not import: ValueError: a Repair that",
        ),
        ("loss/acme.bonus", "acme:Bonsu", LOSS, "does not import: AttributeError: .* uninstall it."),
        (
            "loss/acme.bonus",
            "acme:function",
            LOSS,
            "is a function, not a class; correct the entry in its",
        ),
        ("loss/acme.bonus", "acme:Component", LOSS, "writes no 'loss', as every loss/... does; correct"),
        ("loss/acme.bonus", "acme:Tensor", LOSS, "is no Component, as every loss/... is"),
        ("net/acme.bonus", "acme:Bonus", LOSS, "is no Network, as every net/... is"),
        (
            "weight/acme.bonus",
            "acme:Bonus",
            LOSS,
            "writes 'loss', which makes it loss/..., not weight/...; correct",
        ),
        ("loss/acme.weight", "acme:Weight", LOSS, "writes no 'loss', as every loss/... does; correct"),
        ("order/acme.weight", "acme:Weight", LOSS, "writes no 'round', as every order/... does; correct"),
        (
            "optim/acme.bonus",
            "acme:Bonus",
            LOSS,
            "has no attribute 'once', as every optim/... has; derive it from hetrl",
        ),
        ("data/acme.bonus", "acme:Bonus", LOSS, "has no attribute 'in_order', as every data/... has; derive it from"),
        ("env/acme.bonus", "acme:Bonus", LOSS, "has no attribute 'team', as every env/... has; derive it from hetrl"),
    ],
)
def test_what_does_not_load_is_said_in_one_line(install, entry, value, code, problem):
    install("acme", {entry: value}, code)
    with pytest.raises(RecipeError, match=rf"^'{entry}' of acme 1\.2 \({value}\) {problem}") as caught:
        catalog.resolve(entry)
    assert "\n" not in str(caught.value)


def test_a_recipe_says_which_of_its_sections_names_what_does_not_fit(install):
    places = {"env/acme.bonus": "task", "data/acme.bonus": "data", "optim/acme.bonus": "update.actors.optim",
              "net/acme.bonus": "nets.value", "order/acme.bonus": "update.actors.order"}  # fmt: skip
    install("acme", dict.fromkeys(places, "acme:Bonus"), LOSS)
    for name, where in places.items():
        with pytest.raises(RecipeError, match=rf"^{where}: '{name}' of acme 1.2 \(acme:Bonus\) ") as caught:
            hetrl.check(hetrl.load("happo", f"{where}.use={name}" if "order" in name else f"{where}={{use: {name}}}"))
        assert "\n" not in str(caught.value)


def test_a_recipe_says_which_of_its_steps_does_not_load(install):
    install("acme", {"loss/acme.bonus": "acme:Bonus"}, "import no_such_module")
    recipe = hetrl.load("happo", "update.actors.steps.entropy_bonus={use: loss/acme.bonus}")
    with pytest.raises(RecipeError, match=r"^update.actors.steps\[2\].*: 'loss/acme.bonus' of acme 1.2 .* does not im"):
        hetrl.check(recipe)


@pytest.mark.parametrize(
    ("packages", "problem"),
    [
        ({"acme": "loss/entropy_bonus"}, "'loss/entropy_bonus' is hetrl's own, and acme 1.2 claims it too; uninstall"),
        ({"acme": "loss/x.y", "best": "loss/x.y"},
         "'loss/x.y' is provided twice, by (acme|best) 1.2 and by (acme|best) 1.2; uninstall one of them."),
        ({"acme": "loss/bonus"}, "'loss/bonus' of acme 1.2 names no vendor; call it 'vendor.bonus' in its pyproject"),
        ({"acme": "losses/acme.bonus"}, "acme 1.2 offers 'acme.bonus' under 'hetrl.losses', and there is no kind "
         "'losses'. Nearest: 'loss'. Correct its pyproject.toml, or uninstall it."),
    ],
)  # fmt: skip
def test_claims_that_are_refused_spoil_nothing_else(install, monkeypatch, capsys, packages, problem):
    """The name alone is unusable: a recipe that names it is told why, and ``hetrl list`` shows it."""
    for package, name in packages.items():
        install(package, {name: f"{package}:Bonus"}, LOSS)
    install("sound", {"loss/sound.bonus": "sound:Bonus"}, LOSS)
    name = next(iter(packages.values()))
    assert list(catalog.unusable()) == [name] and re.match(problem, catalog.unusable()[name])
    assert "\n" not in catalog.unusable()[name]
    assert catalog.resolve("loss/sound.bonus", "loss") is sys.modules["sound"].Bonus
    assert catalog.resolve("loss/entropy_bonus").__module__ == "hetrl.loss.entropy_bonus"  # ours stays ours
    if name not in catalog.BUILT_IN:
        assert name not in catalog.names()
        with pytest.raises(RecipeError, match=f"^{problem}"):
            catalog.resolve(name, "loss")
    hetrl.check(hetrl.load("happo"))
    monkeypatch.setattr(sys, "argv", ["hetrl", "list"])
    monkeypatch.setenv("COLUMNS", "400")
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    printed = capsys.readouterr().out
    assert not exit_.value.code and re.search(rf"^ *{name} +unusable: {problem}", printed, re.MULTILINE)
    assert "loss/sound.bonus" in printed


# ----- registered by this process


@pytest.fixture
def registered(monkeypatch):
    for owner, name in ((catalog, "REGISTERED"), (catalog, "REGISTRATIONS"), (scenarios, "REGISTERED")):
        monkeypatch.setattr(owner, name, {})
    return hetrl.register


def world(earned=1.0):
    """Return a class of environments in which every step earns the same."""
    from hetrl.env.matrix_game import MatrixGame

    class World(MatrixGame):
        def __init__(self, *, n_envs: int = 4, seed: int = 0, device: str = "cpu") -> None:
            super().__init__(payoff="penalty", n_envs=n_envs, seed=seed, device=device)

        @classmethod
        def check_arguments(cls, arguments):
            pass

        def _simulate(self, actions):
            seen, reward, *ends = super()._simulate(actions)
            return seen, {group: torch.full_like(each, earned) for group, each in reward.items()}, *ends

    return World


def test_what_is_trained_saved_evaluated_and_resumed_is_one(registered, tmp_path):
    """The class stands under a name, and everything finds it by that name alone."""
    from hetrl.runs.run import evaluate_run, resume, train

    registered("env/my.world", world(7.0))
    recipe = hetrl.load("happo", "task={use: env/my.world, n_envs: 4}", "nets.actor.use=net/categorical_policy",
                        "data.frames=8", "run.frames=16", "run.eval_every=8", "run.n_eval_episodes=2",
                        "update.actors.minibatches=1", "update.critic.minibatches=1")  # fmt: skip
    run = train(recipe, tmp_path / "run", quiet=True)
    assert "use: env/my.world" in run.recipe.read_text()
    assert evaluate_run(run.path).returns.tolist() == [7.0, 7.0]
    resume(run.path, "run.frames=24", quiet=True)
    catalog.REGISTERED.clear()
    with pytest.raises(RunError, match=r"uses 'env/my.world', and nothing has registered it here; this run used parts"):
        evaluate_run(run.path)
    with pytest.raises(RecipeError, match=r"^task: no entry 'env/my.world' in the catalog.* It may be in a file of y"):
        hetrl.check(recipe)


def test_what_cannot_be_registered(registered, install):
    from hetrl.env import matrix_game

    registered("env/my.world", world())
    registered("env/my.world", world())  # a cell that is run again
    install("acme", {"loss/acme.bonus": "acme:Bonus"}, LOSS)
    for name, part, problem in [
        ("envs/my.world", world(), "'envs/my.world': no kind 'envs'. Nearest: 'env'. Write kind/vendor.name."),
        ("env/world", world(), "'env/world' names no vendor; write env/vendor.name, such as 'env/my.world'."),
        ("env/hetrl.world", world(), "'env/hetrl.world' names no vendor; "),
        ("env/my.", world(), "'env/my.' names no vendor; "),
        (3, world(), "'3': no kind '3'."),
        ("env/my.world", int, "'env/my.world' is no environment: int has no reset() and no step(); give a PettingZoo "),
        ("env/my.world", matrix_game.MatrixGame, "'env/my.world' is registered already, as world.<locals>.World; ch"),
        ("loss/my.other", world, "'loss/my.other' is a function, not a class; correct it."),
        ("loss/my.world", world(), "'loss/my.world' is no Component, as every loss/... is; correct it."),
        ("loss/acme.bonus", world(), "'loss/acme.bonus' is there already, from acme 1.2; choose another name."),
    ]:
        with pytest.raises(RecipeError, match=f"^{re.escape(problem)}") as caught:
            registered(name, part)
        assert "\n" not in str(caught.value)
    assert list(catalog.REGISTERED) == ["env/my.world"]
    assert "env/my.world" in catalog.names("env")
