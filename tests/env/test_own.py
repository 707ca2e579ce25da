"""Environments and scenarios that are not hetrl's, by name: as classes, as functions, with words of their own."""

import re
from dataclasses import replace
from functools import partial

import gymnasium
import pytest
import torch
from env.catch import Catch
from env.dock import Dock
from env.forage import Forage
from vmas.simulator.scenario import BaseScenario

import hetrl
from hetrl import arguments, catalog, signature
from hetrl.env import scenarios
from hetrl.env.adapter import own
from hetrl.env.scenarios import scenario_arguments
from hetrl.env.vmas import Vmas
from hetrl.errors import RecipeError, RunError
from hetrl.runs.folder import default_folder, task_name
from hetrl.runs.run import evaluate_run, resume, train

TINY = ["run.device=cpu", "run.n_eval_episodes=2", "data.frames=20", "run.frames=40", "run.eval_every=20",
        "update.actors.epochs=1", "update.critic.epochs=1", "update.actors.minibatches=1",
        "update.critic.minibatches=1", "nets.value.hidden=[8]"]  # fmt: skip
DISCRETE = "nets.actor={use: net/categorical_policy, hidden: [8]}"


@pytest.fixture(autouse=True)
def register(monkeypatch):
    for owner, name in ((catalog, "REGISTERED"), (catalog, "REGISTRATIONS"), (scenarios, "REGISTERED")):
        monkeypatch.setattr(owner, name, {})
    return hetrl.register


def forage(*words, **more):
    """Return a small recipe of env/my.forage with some words in its task."""
    task = ", ".join(["use: env/my.forage", "n_envs: 2", "horizon: 10", *words])
    return hetrl.load("happo", f"task={{{task}}}", DISCRETE, *TINY)


def dock(*changes):
    return hetrl.load("happo", "task={use: env/vmas, scenario: my.dock, n_envs: 2, horizon: 10}",
                      "nets.actor.hidden=[8]", *TINY, *changes)  # fmt: skip


# ----- an environment


@pytest.mark.parametrize("made_by", [Forage, lambda width=3, **rest: Forage(width, **rest), partial(Forage, pay=2.0)])
def test_a_class_or_a_function_is_trained_evaluated_and_resumed_by_its_name(register, made_by, tmp_path):
    register("env/my.forage", made_by)
    recipe = forage("width: 4")
    run = train(recipe, tmp_path / "run", quiet=True)
    assert "use: env/my.forage" in run.recipe.read_text() and "width: 4" in run.recipe.read_text()
    paid = 2.0 if isinstance(made_by, partial) else 1.0
    assert evaluate_run(run.path).returns.tolist() == [5 * paid] * 2
    whole = train(hetrl.load(recipe, "run.frames=60"), tmp_path / "whole", quiet=True)
    resume(run.path, "run.frames=60", quiet=True)
    one, other = (each.load_checkpoint()["state_dict"] for each in (whole, run))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_what_it_is_called(register):
    register("env/my.forage", Forage)
    recipe = forage("kind: small")
    assert default_folder(recipe).name == "happo_my.forage_seed0"
    assert task_name({"use": "env/my.forage", "name": "other", "scenario": "x"}) == "my.forage"
    assert catalog.summary("env/my.forage") == "Two agents who earn ``pay`` a step."
    register("env/my.other", lambda: Forage())
    assert catalog.summary("env/my.other") == f"<lambda> of {__name__}."


def test_arguments_come_as_they_are_annotated_and_are_the_environments_to_change(register):
    seen = []
    register("env/my.forage", lambda sizes: seen.append(sizes) or Forage())
    list(forage("sizes: [1, 2]").build())
    assert seen[0] == [1, 2] and type(seen[0]) is list
    seen[0].append(3)
    assert seen[-1] == [1, 2]
    register("env/my.typed", Forage)
    env = catalog.resolve("env/my.typed")(sizes=[3, 4], pay=2, n_envs=1, horizon=5)
    simulator = env._simulators.all[0].env
    assert (simulator.sizes, simulator.pay) == ((3, 4), 2.0) and isinstance(simulator.pay, float)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("widht: 4", r"task.widht: 'my.forage' has no such argument. Nearest: 'width'."),
        ("n_env: 4", r"task.n_env: 'my.forage' has no such argument. Nearest: 'n_envs'."),
        ("width: wide", r"task.width = 'wide': Input should be a valid integer"),
        ("width: 1.5", r"task.width = 1.5: Input should be a valid integer"),
        ("width: true", r"task.width = True: Input should be a valid integer."),
        ("sizes: [1, 2, 3]", r"task.sizes = .1, 2, 3.: Tuple should have at most 2 items"),
        ("sizes: [1, x]", r"task.sizes.1. = 'x': Input should be a valid integer"),
        ("width: 0", r"task: 'my.forage' cannot be made with {'width': 0}: ValueError: a width of 0 \(forage.py, line "
                     r"\d+\). Change those arguments, or the environment."),
        ("seed: 3", r"task.seed: set run.seed instead"),
        ("reward: best", r"task: env/my.forage: reward = 'best': Input should be 'mean'"),
    ],
)  # fmt: skip
def test_wrong_words_are_one_line_before_anything_is_written(register, words, problem, tmp_path):
    register("env/my.forage", Forage)
    with pytest.raises(RecipeError, match=f"^{problem}") as caught:
        train(forage(words), tmp_path / "run", quiet=True)
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()


def test_a_word_that_is_needed_and_missing(register):
    register("env/my.forage", lambda width: Forage(width))
    with pytest.raises(RecipeError, match=r"^task.width is missing: 'my.forage' needs it; write task.width=...$"):
        hetrl.check(forage())


def test_a_horizon_is_needed_where_the_environment_has_none(register):
    register("env/my.forage", Forage)
    with pytest.raises(
        RecipeError,
        match=r"^task \(env/my.forage\): task.horizon: Forage has no max_cycles; write after how many steps",
    ):
        hetrl.build(hetrl.load(forage().tree | {"task": {"use": "env/my.forage", "n_envs": 2}}))


def test_a_function_whose_product_is_nothing_known(register, tmp_path):
    register("env/my.forage", lambda: None)
    with pytest.raises(
        RecipeError, match=r"^task: 'my.forage' makes a NoneType, and no environment; it has to make a P"
    ):
        train(forage(), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("made_by", [lambda seed: Forage(), lambda n_envs: Forage()])
def test_a_function_that_needs_what_no_recipe_says(register, made_by):
    register("env/my.forage", made_by)
    with pytest.raises(RecipeError, match=r"^task: 'my.forage' needs '(seed|n_envs)', which no recipe says; give it a"):
        hetrl.check(forage())


def test_what_a_function_makes_is_looked_at_once_and_closed(register):
    made, closed = [], []

    class Counted(Forage):
        def close(self):
            closed.append(self)

    def counted(width: int = 3):
        made.append(Counted(width))
        return made[-1]

    register("env/my.forage", counted)
    cls = catalog.resolve("env/my.forage")
    cls(n_envs=2, horizon=5)
    assert len(made) == 3 and closed == made[:1]
    cls(n_envs=2, horizon=5)
    assert len(made) == 5


class NoStep:
    def reset(self, seed=None): ...
    def observation_space(self, agent): ...
    def action_space(self, agent): ...


class Inherits(Forage):
    from pettingzoo import ParallelEnv

    step = ParallelEnv.step


class NeedsSeed(Forage):
    def __init__(self, seed):
        super().__init__()


@pytest.mark.parametrize(
    ("part", "problem"),
    [
        (int, "is no environment: int has no reset() and no step(); give a PettingZoo ParallelEnv or a "),
        (3, "is a int, and no environment; give a PettingZoo ParallelEnv"),
        (Forage(), "is a Forage that is made already; give its class, or a function that makes one."),
        (gymnasium.Env, "is an environment of one agent, as gymnasium has them; give a PettingZoo"),
        (NoStep, "has no step(), as every environment of PettingZoo has; define it."),
        (Inherits, "has no step() of its own, as every environment of PettingZoo has; define it."),
        (lambda horizon=3: 0, "takes 'horizon', and that is a word of every task; call it otherwise, or give a func"),
        (lambda groups=3: 0, "takes 'groups', and that is a word of every task; call it otherwise, or give a func"),
        (NeedsSeed, "needs 'seed', which a run settles (run.seed); give it a default."),
    ],
)
def test_what_is_no_environment(register, part, problem):
    with pytest.raises(RecipeError, match=f"^'env/my.forage' {re.escape(problem)}") as caught:
        register("env/my.forage", part)
    assert "\n" not in str(caught.value) and not catalog.REGISTERED


def test_a_seed_with_a_default_stays_the_environments(register):
    register("env/my.forage", lambda seed=7, device="cpu": Forage(pay=float(seed)))
    env = catalog.resolve("env/my.forage")(n_envs=1, horizon=5, seed=3)
    assert env._simulators.all[0].env.pay == 7.0


# ----- names, twice


def cell(text, **names):
    """Run a notebook's cell, which belongs to ``__main__``."""
    names |= {"__name__": "__main__", "hetrl": hetrl, "Forage": Forage}
    exec(text, names)
    return names


def test_a_cell_may_be_run_again_also_with_a_changed_class(register):
    text = "class World(Forage):\n  pay_ = {}\nhetrl.register('env/my.forage', World)"
    first, second = (cell(text.format(number))["World"] for number in (1, 2))
    assert first is not second and catalog.resolve("env/my.forage").made_by == (second,)
    cell("hetrl.register('env/my.other', lambda: Forage())")
    cell("\nhetrl.register('env/my.other', lambda: Forage(4))")
    assert catalog.REGISTRATIONS["env/my.other"].file is None


def test_another_part_of_a_name_is_refused(register):
    register("env/my.forage", Forage)
    register("env/my.forage", Forage)
    for other in (Inherits.__mro__[0], lambda: Forage()):
        with pytest.raises(RecipeError, match=r"^'env/my.forage' "):
            register("env/my.forage", other)
    register("env/my.two", lambda: Forage())
    with pytest.raises(RecipeError, match=r"^'env/my.two' is registered already, as .*<lambda>; choose another name.$"):
        register("env/my.two", lambda: Forage(4))


def test_who_registered_a_name_is_known(register):
    register("env/my.forage", Forage)
    assert catalog.REGISTRATIONS["env/my.forage"].file.name == "test_own.py"
    assert not catalog.REGISTRATIONS["env/my.forage"].script


# ----- what would be another task than the one that is saved


def test_a_function_is_no_word_of_a_recipe(register):
    recipe = forage_of_mpe = hetrl.load("happo", "task=task/mpe_spread")
    changed = replace(recipe.task, arguments={"factory": Forage, "n_envs": 4, "horizon": 50})
    with pytest.raises(RecipeError, match=r"hetrl.register\('env/my.world', World\)\.$"):
        replace(recipe, task=changed)
    with pytest.raises(RecipeError, match=r"^task.factory: .* gets a name first: hetrl.register\('env/my.world', Wo"):
        hetrl.load({**forage_of_mpe.tree, "task": {"use": "env/pettingzoo", "factory": Forage}})


# ----- a scenario


def test_a_scenario_is_trained_evaluated_and_resumed_by_its_name(register, tmp_path):
    register("scenario/my.dock", Dock)
    recipe = dock("task.n_agents=3", "task.pull=2.0")
    run = train(recipe, tmp_path / "run", quiet=True)
    assert "scenario: my.dock" in run.recipe.read_text() and default_folder(recipe).name == "happo_my.dock_seed0"
    assert evaluate_run(run.path).returns.shape == (2,)
    whole = train(hetrl.load(recipe, "run.frames=60"), tmp_path / "whole", quiet=True)
    resume(run.path, "run.frames=60", quiet=True)
    one, other = (each.load_checkpoint()["state_dict"] for each in (whole, run))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    scenarios.REGISTERED.clear()
    with pytest.raises(RunError, match=r"uses 'scenario/my.dock', and nothing has registered it here; this run used"):
        evaluate_run(run.path)
    with pytest.raises(RecipeError, match=r"task.scenario: no VMAS scenario 'my.dock'.* --parts FILE, or in a package"):
        hetrl.check(recipe)


@pytest.mark.parametrize(
    ("method", "given", "words"),
    [
        (
            "reward",
            torch.zeros(()),
            r"its reward of 'agent_0' is a tensor \[\] of torch.float32; with two environments",
        ),
        (
            "reward",
            torch.zeros(1),
            r"its reward of 'agent_0' is a tensor \[1\] of torch.float32; with two environments",
        ),
        (
            "reward",
            torch.zeros(2, 2),
            r"is a tensor \[2, 2\] of torch.float32; .* it has to be a tensor \[2\], one for",
        ),
        ("reward", 1.0, "its reward of 'agent_0' is a float; with two environments"),
        (
            "observation",
            torch.zeros(4),
            r"its observation of 'agent_0' is a tensor \[4\] of .* a tensor \[2, F\], one for",
        ),
        (
            "done",
            torch.zeros(2),
            r"its done\(\) is a tensor \[2\] of torch.float32; .* a tensor \[2\] of bools, one for",
        ),
    ],
)
def test_a_scenario_that_gives_something_else_is_refused_before_it_is_used(register, method, given, words):
    register("scenario/my.dock", type("Odd", (Dock,), {method: lambda self, *agent: given}))
    with pytest.raises(RecipeError, match=f"scenario 'my.dock': .*{words}"):
        dock().build()


def test_a_scenarios_arguments_are_those_of_make_world_and_of_its_kwargs(register):
    register("scenario/my.dock", Dock)
    assert scenario_arguments("my.dock") == {"n_agents", "pull"}

    class Further(Dock):
        def make_world(self, batch_dim, device, **kwargs):
            self.far = kwargs.pop("far", 1)
            return super().make_world(batch_dim, device, **kwargs)

    register("scenario/my.further", Further)
    assert scenario_arguments("my.further") == {"n_agents", "pull", "far"}
    made = cell("class Notebook(Dock):\n  def make_world(self, b, d, **kw): return super().make_world(b, d, **kw)",
                Dock=Dock)["Notebook"]  # fmt: skip
    register("scenario/my.notebook", made)
    assert scenario_arguments("my.notebook") is None
    assert Vmas(scenario="my.notebook", n_envs=1, n_agents=3).team.sizes.startswith("3 agents")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("task.n_agent=3", "task.n_agent: 'my.dock' has no such argument. Nearest: 'n_agents'."),
        ("task.horizn=3", "task.horizn: 'my.dock' has no such argument. Nearest: 'horizon'."),
        ("task.n_agents=many", "task.n_agents = 'many': Input should be a valid integer"),
        ("task.pull=strong", "task: scenario 'my.dock' cannot be built with .*: ValueError: .* \\(dock.py, line \\d+\\)"
                             ". Change those arguments, or the scenario."),
        ("task.scenario=my.dok", "task.scenario: no VMAS scenario 'my.dok'. Nearest: 'my.dock'. It may be in a file"),
    ],
)  # fmt: skip
def test_wrong_words_of_a_scenario(register, change, problem, tmp_path):
    register("scenario/my.dock", Dock)
    with pytest.raises(RecipeError, match=f"^(task .env/vmas.: )?{problem}") as caught:
        train(dock(change), tmp_path / "run", quiet=True)
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()


class NoWorld(BaseScenario):
    def reset_world_at(self, env_index=None): ...
    def observation(self, agent): ...
    def reward(self, agent): ...


class Alone:
    make_world, reset_world_at = Dock.make_world, Dock.reset_world_at
    observation, reward = Dock.observation, Dock.reward


class TakesNothing(Dock):
    def make_world(self): ...


class Takes(Dock):
    def make_world(self, batch_dim, device, max_steps=3): ...


class Clashes(Dock):
    def make_world(self, batch_dim, device, horizon=3): ...


@pytest.mark.parametrize(
    ("part", "problem"),
    [
        (NoWorld, "has no make_world(), as every scenario of VMAS has; define it."),
        (Alone, "is no scenario of VMAS; derive it from vmas.simulator.scenario.BaseScenario."),
        (Dock(), "is a Dock, not a class; give the scenario's class."),
        (TakesNothing, "has make_world(self), which has to take batch_dim, device; correct it."),
        (Takes, "has an argument 'max_steps' of make_world, which VMAS takes for itself; call it otherwise."),
    ],
)
def test_what_is_no_scenario(register, part, problem):
    with pytest.raises(RecipeError, match=f"^'scenario/my.dock' {re.escape(problem)}$"):
        register("scenario/my.dock", part)
    assert not scenarios.REGISTERED


def test_a_scenario_whose_argument_is_a_word_of_every_task(register):
    register("scenario/my.dock", Clashes)
    with pytest.raises(RecipeError, match=r"^task.scenario: 'my.dock' takes 'horizon' in make_world, and that is a w"):
        hetrl.check(dock())


def test_words_that_never_reach_an_environment(register):
    """As the recipe reads them."""
    register("env/my.forage", Forage)
    recipe = forage("groups: {all: [ann, bob]}", "normalize_observations: true")
    assert set(recipe.tree["task"]) - set(recipe.task.arguments) == set(signature.OF_EVERY_TASK)
    with pytest.raises(RecipeError, match=r"Nearest: 'normalize_observations'"):
        hetrl.check(forage("normalise_observations: true"))
    with pytest.raises(RecipeError, match=r"^'env/my.other' takes 'normalize_observations', and that is a word of"):
        register("env/my.other", lambda normalize_observations=True: Forage())


def test_its_words_are_those_of_its_adapters():
    words = set(own._words((own.PARALLEL,)))
    assert {"n_envs", "horizon", "reward", "seed", "device"} <= words and "factory" not in words


# ----- an EnvBase of TorchRL


@pytest.mark.parametrize("made_by", [Catch, lambda speed=0.1, n_envs=1: Catch(speed, n_envs), partial(Catch, 0.1)])
def test_an_env_base_is_trained_evaluated_and_resumed_by_its_name(register, made_by, tmp_path):
    register("env/my.catch", made_by)
    words = "" if isinstance(made_by, partial) else ", speed: 0.2"
    recipe = hetrl.load("happo", f"task={{use: env/my.catch, n_envs: 2, horizon: 10{words}}}", "nets.actor.hidden=[8]",
                        *TINY)  # fmt: skip
    run = train(recipe, tmp_path / "run", quiet=True)
    assert evaluate_run(run.path).returns.shape == (2,)
    whole = train(hetrl.load(recipe, "run.frames=60"), tmp_path / "whole", quiet=True)
    resume(run.path, "run.frames=60", quiet=True)
    one, other = (each.load_checkpoint()["state_dict"] for each in (whole, run))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_the_adapter_of_torchrl_fills_in_what_a_class_takes(register):
    register("env/my.catch", Catch)
    cls = catalog.resolve("env/my.catch")
    env = cls(n_envs=3, horizon=5, speed=1)
    assert env.n_envs == 3 and env.team.sizes.startswith("2 agents")
    assert cls(horizon=5).n_envs == arguments.parameters(cls.__init__)["n_envs"].default
    with pytest.raises(RecipeError, match=r"^task.sped: 'my.catch' has no such argument. Nearest: 'speed'."):
        cls.check_arguments({"sped": 1})
    register("env/my.function", lambda speed, n_envs: Catch(speed, n_envs))
    assert catalog.resolve("env/my.function")(n_envs=3, horizon=5, speed=1.0).n_envs == 3
    assert catalog.resolve("env/my.function")(horizon=5, speed=1.0).n_envs == 64  # as its schema says
