"""An installed package brings environments, scenarios, recipes and task sections, under names with its own word."""

import importlib
import re
import sys
from pathlib import Path

import pytest

import hetrl
from hetrl import catalog, cli
from hetrl.env import scenarios
from hetrl.errors import RecipeError
from hetrl.recipe import packaged
from hetrl.runs import folder
from hetrl.runs.machine import describe_machine

TESTS = Path(__file__).parent.parent
TINY = ["run.device=cpu", "data.frames=20", "run.frames=40"]
RECIPE = hetrl.load("happo").yaml()
CACHES = (catalog.installed, scenarios.installed, scenarios._of_name, scenarios._loaded, packaged.packaged)


@pytest.fixture
def install(monkeypatch, tmp_path):
    """Return a function that installs a package of two modules and a folder of recipes, and its entry points."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")

    def provide(name="acme", entries="", recipes=True):
        info = tmp_path / f"{name}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(entries)
        package = tmp_path / f"{name}_marl"
        package.mkdir()
        (package / "__init__.py").write_text("")
        for module in ("forage", "dock"):
            (package / f"{module}.py").write_text((TESTS / "env" / f"{module}.py").read_text())
        if recipes:
            (package / "recipes" / "task").mkdir(parents=True)
            (package / "recipes" / "fast.yaml").write_text(RECIPE.replace("about: HAPPO", "about: Fast. HAPPO"))
            section = "# A field to forage.\nuse: env/acme.forage\nn_envs: 2\nhorizon: 10\nwidth: 4\n"
            (package / "recipes" / "task" / "field.yaml").write_text(section)
        importlib.invalidate_caches()
        forget()

    def forget():
        for each in CACHES:
            each.cache_clear()

    yield provide
    forget()
    for name in [name for name in sys.modules if name.startswith(("acme_marl", "best_marl"))]:
        del sys.modules[name]


ALL = """[hetrl.env]
acme.forage = acme_marl.forage:Forage
[hetrl.scenario]
acme.dock = acme_marl.dock:Dock
[hetrl.recipe]
acme = acme_marl.recipes
"""


@pytest.fixture
def listed(monkeypatch, capsys):
    def call(kind):
        monkeypatch.setattr(sys, "argv", ["hetrl", "list", kind])
        with pytest.raises(SystemExit) as left:
            cli.main()
        assert not left.value.code
        return capsys.readouterr().out

    return call


def test_a_package_brings_them_all(install, listed):
    install(entries=ALL)
    assert re.search(r"acme\.fast +Fast\. HAPPO.* \(acme 1\.2\)", listed("recipe"))
    assert re.search(r"task/acme\.field +A field to forage\. \(acme 1\.2\)", listed("task"))
    assert re.search(r"env/acme\.forage +acme 1\.2", listed("env"))
    assert "acme_marl" not in sys.modules
    assert re.search(r"acme\.dock +n_agents, pull", listed("scenario"))


def test_its_recipe_is_built_on_its_task(install):
    install(entries=ALL)
    actor = "nets.actor={use: net/categorical_policy, hidden: [8]}"
    recipe = hetrl.load("acme.fast", "task=task/acme.field", actor, *TINY)
    assert recipe.name == "acme.fast" and recipe.task.name == "env/acme.forage"
    assert folder.default_folder(recipe).name == "acme.fast_acme.forage_seed0"
    module, _ = hetrl.build(recipe)
    assert [agent.observation_size for agent in module.linked.team.agents] == [4, 4]
    assert describe_machine(recipe)["packages"]["acme"] == "1.2"
    with pytest.raises(RecipeError, match=r"^task.widht: 'acme.forage' has no such argument. Nearest: 'width'."):
        hetrl.check(hetrl.load(recipe, "task.widht=3"))


def test_its_scenario_is_a_scenario(install):
    install(entries=ALL)
    recipe = hetrl.load("happo", "task={use: env/vmas, scenario: acme.dock, n_envs: 2, n_agents: 3}", *TINY)
    module, _ = hetrl.build(recipe)
    assert len(module.linked.team) == 3
    assert describe_machine(recipe)["packages"]["acme"] == "1.2"
    with pytest.raises(RecipeError, match=r"^task.n_agent: 'acme.dock' has no such argument. Nearest: 'n_agents'."):
        hetrl.check(hetrl.load(recipe, "task={use: env/vmas, scenario: acme.dock, n_agent: 3}"))


def test_names_near_to_a_packages(install):
    install(entries=ALL)
    with pytest.raises(RecipeError, match=r"^no recipe 'acme.fasd' is shipped, and there is no such file. Nearest: "):
        hetrl.load("acme.fasd")
    with pytest.raises(RecipeError, match=r"Nearest: 'task/acme.field'"):
        hetrl.load("happo", "task=task/acme.feld")
    with pytest.raises(RecipeError, match=r"^'scenario/acme.dock' is there already, from acme 1.2; choose another"):
        hetrl.register("scenario/acme.dock", object)


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ("[hetrl.recipe]\nacme = acme_marl.nowhere\n",
         "acme 1.2 says that its recipes are in acme_marl.nowhere, and there is no such folder; repair it."),
        ("[hetrl.recipe]\nacme.fast = acme_marl.recipes\n",
         "recipes of acme 1.2 are called 'acme.fast'; write one word of its own in its pyproject.toml."),
        ("[hetrl.recipe]\nhetrl = acme_marl.recipes\n",
         "recipes of acme 1.2 are called 'hetrl'; write one word of its own in its pyproject.toml."),
    ],
)  # fmt: skip
def test_recipes_that_cannot_be_used_are_listed_so(install, listed, entries, problem):
    install(entries=entries)
    assert f"unusable: {problem}" in listed("recipe") and not packaged.packaged()
    assert "happo" in packaged.recipes()


def test_two_packages_of_one_word(install, listed):
    install(entries="[hetrl.recipe]\nacme = acme_marl.recipes\n")
    install("best", entries="[hetrl.recipe]\nacme = best_marl.recipes\n")
    assert re.search(r"unusable: recipes of 'acme' are provided twice, by (acme|best) 1.2 and by", listed("recipe"))
    assert not packaged.packaged()


@pytest.mark.parametrize(
    ("entries", "name", "problem"),
    [
        ("[hetrl.env]\nacme.forage = acme_marl.forage:np\n", "env/acme.forage",
         "is a module, and no environment; give a PettingZoo ParallelEnv"),
        ("[hetrl.env]\nacme.forage = acme_marl.dock:Dock\n", "env/acme.forage",
         "is no environment: Dock has no reset() and no step(); give a PettingZoo ParallelEnv"),
        ("[hetrl.env]\nacme.forage = acme_marl.nowhere:Dock\n", "env/acme.forage", "does not import: ModuleNotFound"),
    ],
)  # fmt: skip
def test_environments_that_cannot_be_used(install, entries, name, problem):
    install(entries=entries)
    with pytest.raises(RecipeError, match=rf"^'{name}' of acme 1.2 \(acme_marl.*\) {re.escape(problem)}") as caught:
        catalog.resolve(name)
    assert "\n" not in str(caught.value)


def test_a_scenario_that_cannot_be_used(install):
    install(entries="[hetrl.scenario]\nacme.dock = acme_marl.forage:Forage\n")
    with pytest.raises(RecipeError, match=r"^'scenario/acme.dock' of acme 1.2 .* has no make_world\(\), as every"):
        hetrl.check(hetrl.load("happo", "task={use: env/vmas, scenario: acme.dock}"))
