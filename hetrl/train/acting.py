"""Who acts while a recipe is trained."""

from typing import Any

import torch

from hetrl.data.behaviour import Behaviour, BestOf
from hetrl.engine.linked import Linked
from hetrl.graph import plays


def policies(linked: Linked, device: torch.device) -> Behaviour:
    """Return a recipe's policies as one, recorded and played where ``run.graphs`` says so."""
    watch = None if linked.statistics is None else linked.statistics.watch
    behaviour = Behaviour(linked.team, linked.policy, watch)
    if plays(linked.recipe.run.graphs, device):
        behaviour.play([] if linked.statistics is None else [linked.statistics])
    return behaviour


def exploring(source: Any, linked: Linked, behaviour: Behaviour) -> Behaviour | BestOf:
    """Return who acts while training: the policies, or the best of several joint actions that they draw.

    Args:
        source: an entry of ``data/``, built: it says how many.
        linked: the recipe's modules, of which a critic chooses.
        behaviour: the policies.
    """
    n_candidates = source.n_candidates
    if n_candidates == 1:
        return behaviour
    net, _, mode = source.judge.partition(".")
    critic = linked.nets[net].of(())  # type: ignore[operator]
    return BestOf(behaviour, linked.team, getattr(critic, mode or critic.default_mode), n_candidates)
