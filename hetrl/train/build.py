"""From a recipe to the two objects that a Trainer fits."""

from functools import partial
from typing import Any

import torch

from hetrl import rng
from hetrl.data.behaviour import Behaviour, BestOf
from hetrl.data.environment import close
from hetrl.engine.device import resolve_device
from hetrl.engine.link import link
from hetrl.engine.linked import Linked
from hetrl.engine.linked import build as build_entry
from hetrl.engine.task import evaluation_env, make_env
from hetrl.engine.trial import try_out
from hetrl.graph import plays
from hetrl.recipe.check import check
from hetrl.recipe.schema import Recipe
from hetrl.train.collection import Collection
from hetrl.train.evaluation import Evaluation
from hetrl.train.learner import Learner
from hetrl.train.threads import cpu_threads


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
    device = resolve_device(recipe)
    try_out(recipe)
    env = make_env(recipe, device, rng.derive(recipe.run.seed, "env"))
    try:
        return _around(env, recipe, device)
    except BaseException:
        close(env)
        raise


def _around(env: Any, recipe: Recipe, device: torch.device) -> tuple[Learner, Collection]:
    run = recipe.run
    linked = link(recipe, env.team).to(device)
    behaviour = Behaviour(linked.team, linked.policy, None if linked.statistics is None else linked.statistics.watch)
    if plays(run.graphs, device):
        behaviour.play([] if linked.statistics is None else [linked.statistics])
    source = build_entry(recipe.data, "data")
    reward = recipe.task.arguments.get("reward", "mean")
    exploring = _exploring(source, linked, behaviour)
    source.attach(env, exploring, reward, rng.derive(run.seed, "exploration"), linked.critic)
    evaluation = Evaluation(partial(evaluation_env, recipe, device), behaviour, reward, run.eval_every)
    return Learner(linked, evaluation), Collection(source, run.frames, run.eval_every)


def _exploring(source: Any, linked: Linked, behaviour: Behaviour) -> Behaviour | BestOf:
    """Return who acts while training: the policies, or the best of several joint actions that they draw."""
    n_candidates = source.n_candidates
    if n_candidates == 1:
        return behaviour
    net, _, mode = source.judge.partition(".")
    critic = linked.nets[net].of(())  # type: ignore[operator]
    return BestOf(behaviour, linked.team, getattr(critic, mode or critic.default_mode), n_candidates)
