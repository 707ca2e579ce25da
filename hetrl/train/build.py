"""From a recipe to the two objects that a Trainer fits."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from hetrl import rng
from hetrl.acting.drawing import Drawing
from hetrl.data.environment import close
from hetrl.engine.link import link
from hetrl.engine.linked import build as build_entry
from hetrl.engine.task import evaluation_env, make_env
from hetrl.engine.trial import try_out
from hetrl.ranks import ALONE, Rank
from hetrl.recipe.check import check
from hetrl.recipe.check.shares import Portion
from hetrl.recipe.frozen import frozen
from hetrl.recipe.schema import Recipe
from hetrl.recipe.section import Use
from hetrl.train.acting import exploring, policies
from hetrl.train.collection import Collection
from hetrl.train.evaluation import Evaluation
from hetrl.train.learner import Learner
from hetrl.train.placed import placed
from hetrl.train.threads import cpu_threads


def build(recipe: Recipe, anew: str | None = None, began_on: str | None = None) -> tuple[Learner, Collection]:
    """Return the module and the data of a recipe, for ``L.Trainer(...).fit(module, data)``.

    It is built with ``run.threads`` CPU threads, as it is trained; afterwards torch has as many as before. Of several
    processes (``run.devices``) this one gets its share.

    Args:
        recipe: what to train.
        anew: sets its environments and what they draw apart from those of the run's start, where others had begun it.
        began_on: the kind of device on which a run began that goes on, see :func:`~hetrl.train.placed.placed`.

    Raises:
        RecipeError: the recipe does not link, or its task cannot be built.
    """
    check(recipe)
    with cpu_threads(recipe.run.threads):
        try_out(recipe)
        where, rank = placed(recipe, began_on), Rank.here(recipe.run.devices, recipe.run.nodes)
        module, data = _built(recipe, where.device, rank, () if anew is None else (anew,))
        module.placed = where
        return module, data


def _built(recipe: Recipe, device: torch.device, rank: Rank, anew: Sequence[str]) -> tuple[Learner, Collection]:
    apart = (*rank.words, *anew)
    changed = {} if rank == ALONE else {"n_envs": Portion.of(recipe, rank).n_envs}
    env = make_env(recipe, device, rng.derive(recipe.run.seed, "env", *apart), **changed)
    try:
        return _around(env, recipe, device, rank, apart)
    except BaseException:
        close(env)
        raise


def _around(
    env: Any, recipe: Recipe, device: torch.device, rank: Rank, apart: Sequence[str]
) -> tuple[Learner, Collection]:
    run = recipe.run
    linked = link(recipe, env.team).to(device)
    behaviour = policies(linked, device)
    data = recipe.data
    if rank != ALONE:
        data = Use(data.where, data.name, frozen(Portion.of(recipe, rank).data))
    source = build_entry(data, "data")
    reward = recipe.task.arguments.get("reward", "mean")
    acting = exploring(source, linked, behaviour)
    source.attach(env, acting, reward, rng.derive(run.seed, "exploration", *apart), linked.critic)
    drawing = partial(Drawing, behaviour, linked.team, run.seed) if run.eval_drawn else None
    evaluation = Evaluation(partial(evaluation_env, recipe, device), behaviour, reward, run.eval_every, rank, drawing)
    return Learner(linked, evaluation, rank), Collection(source, run.frames, run.eval_every, rank)
