"""Is every net used and trained, and every slow copy asked for?"""

import torch

from hetrl.encoder import Encoding
from hetrl.errors import RecipeError
from hetrl.recipe.net import Net
from hetrl.recipe.plan import Plan
from hetrl.recipe.schema import Recipe


def check_net(net: Net) -> None:
    """Refuse a net whose name a module of torch's has another use for.

    Raises:
        RecipeError: naming it.
    """
    if hasattr(torch.nn.ModuleDict(), net.name):  # in which the nets are kept by name
        raise RecipeError(f"{net.where}: torch has another use for the name '{net.name}'; choose another.")


def check_zeros(recipe: Recipe) -> None:
    """Refuse encoders to which a 0 means something where observations are standardised, which moves it.

    Raises:
        RecipeError: naming the encoder.
    """
    if not recipe.normalize_observations:
        return
    for net in recipe.nets.values():
        for value in net.values.values():
            if isinstance(value, Encoding) and value.entry.reads_zeros:
                raise RecipeError(
                    f"{value.where} tells by its zeros who is absent, and task.normalize_observations moves them; drop "
                    "one of the two."
                )


def check_nets_used(plan: Plan) -> None:
    """Refuse nets that nobody uses or trains, and slow copies that nobody asks.

    Raises:
        RecipeError: naming the net.
    """
    modes = [mode for phase in plan.recipe.update for step in phase.every_step for mode in step.modes]
    trained = {name for phase in plan.recipe.update for name in phase.trained}
    used = {plan.policy, *(mode.net for mode in modes)}
    copied = {mode.net for mode in modes if mode.slow}
    for name, net in plan.recipe.nets.items():
        if name not in used:
            raise RecipeError(f"{net.where}: no step uses net '{name}'; use it or drop it.")
        if name not in trained and net.trainable:
            raise RecipeError(f"{net.where}: no phase trains net '{name}'; add a phase with train: {name}.")
        if net.target and name not in copied:
            raise RecipeError(f"{net.where}.target: no step uses the slow copy of '{name}'; use it or drop it.")
