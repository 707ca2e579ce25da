"""From a recipe to the two objects that a Trainer fits."""

from functools import partial
from typing import Any

import torch

from hetrl import rng
from hetrl.allocation import allocating, refuse_above_all
from hetrl.data.behaviour import Behaviour, BestOf
from hetrl.engine.link import link
from hetrl.engine.linked import Linked
from hetrl.engine.linked import build as build_entry
from hetrl.errors import RecipeError
from hetrl.recipe.check import check
from hetrl.recipe.schema import Recipe
from hetrl.team import Team
from hetrl.train.collection import Collection
from hetrl.train.evaluation import Evaluation
from hetrl.train.learner import Learner
from hetrl.train.threads import cpu_threads

_MANY_ENVS = 100_000
"""From so many environments on it is asked first whether they fit: the system may grant memory that it has not."""


def build(recipe: Recipe) -> tuple[Learner, Collection]:
    """Return the module and the data of a recipe, for ``L.Trainer(...).fit(module, data)``.

    It is built with ``run.threads`` CPU threads, as it is trained; afterwards torch has as many as before.

    Raises:
        RecipeError: the recipe does not link, or its task cannot be built.
    """
    check(recipe)
    with cpu_threads(recipe.run.threads):
        return _built(recipe)


def _built(recipe: Recipe) -> tuple[Learner, Collection]:
    run, device = recipe.run, resolve_device(recipe.run.device)
    env = make_env(recipe, device, rng.derive(run.seed, "env"))
    linked = link(recipe, env.team).to(device)
    behaviour = Behaviour(linked.team, linked.policy)
    source = build_entry(recipe.data, "data")
    reward = recipe.task.arguments.get("reward", "mean")
    exploring = _exploring(source, linked, behaviour)
    source.attach(env, exploring, reward, rng.derive(run.seed, "exploration"), linked.critic)
    evaluation = Evaluation(partial(evaluation_env, recipe, device), behaviour, reward, run.eval_every)
    return Learner(linked, evaluation if run.eval_every else None), Collection(source, run.frames)


def _exploring(source: Any, linked: Linked, behaviour: Behaviour) -> Behaviour | BestOf:
    """Return who acts while training: the policies, or the best of several joint actions that they draw."""
    n_candidates = source.n_candidates
    if n_candidates == 1:
        return behaviour
    net, _, mode = source.judge.partition(".")
    critic = linked.nets[net].of(())  # type: ignore[operator]
    return BestOf(behaviour, linked.team, getattr(critic, mode or critic.default_mode), n_candidates)


def make_env(recipe: Recipe, device: torch.device, seed: int, **changed: Any) -> Any:
    """Return the recipe's environments, with some arguments changed.

    Raises:
        RecipeError: the task refuses its arguments, or so many environments do not fit into the memory.
    """
    cls = recipe.task.entry("env")
    arguments = {**recipe.task.arguments, **changed}
    n_envs = arguments.get("n_envs", 1)
    if n_envs > _MANY_ENVS:
        _refuse_too_many(make_env(recipe, device, seed, **{**changed, "n_envs": 1}).team, n_envs, device)
    with allocating(f"task ({recipe.task.name}) with n_envs = {n_envs}"):
        try:
            return cls(**arguments, seed=seed, device=str(device))
        except RecipeError as error:
            raise RecipeError(f"task ({recipe.task.name}): {error}") from None


def _refuse_too_many(team: Team, n_envs: int, device: torch.device) -> None:
    """Refuse environments whose observations alone, before and after a step, are more than the memory."""
    n_bytes = sum(agent.observation_size * agent.observation_dtype.itemsize for agent in team.agents)
    refuse_above_all(f"task.n_envs = {n_envs}", 2 * n_bytes * n_envs, device)


def evaluation_env(recipe: Recipe, device: torch.device) -> Any:
    """Return the environments of an evaluation: one for each episode, always from the same seed."""
    seed = rng.derive(recipe.run.seed, "evaluation")
    return make_env(recipe, device, seed, n_envs=recipe.run.n_eval_episodes)


def resolve_device(name: str) -> torch.device:
    """Return the device that ``run.device`` names; ``auto`` is a CUDA GPU where there is one.

    Raises:
        RecipeError: it names a GPU and there is none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise RecipeError("run.device: there is no CUDA GPU here; use cpu, or auto.")
    return torch.device(name)
