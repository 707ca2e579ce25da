"""Is every net used and trained, and every slow copy asked for?"""

import torch

from hetrl.encoder import Encoder, Encoding
from hetrl.errors import RecipeError, nearest
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


def check_front(net: Net, recipe: Recipe) -> None:
    """Refuse a net behind another one that is none to stand in front of it.

    Raises:
        RecipeError: naming both, and what to do.
    """
    name = net.behind
    if name is None:
        return
    where, front = f"{net.where}.encoder", recipe.nets.get(name)
    if front is None:
        raise RecipeError(f"{where}: no net '{name}'.{nearest(name, recipe.nets)}")
    if not issubclass(front.network, Encoder):
        raise RecipeError(f"{where}: '{name}' ({front.use}) makes no features of observations; name an encoder.")
    order = list(recipe.nets)
    if order.index(name) > order.index(net.name):
        raise RecipeError(f"{where}: '{name}' stands after '{net.name}' under nets; write it before.")
    if front.sharing != net.sharing:
        raise RecipeError(
            f"{where}: '{name}' is per: {front.sharing} and '{net.name}' per: {net.sharing}; share them alike."
        )
    read = {key for table in net.network.modes.values() for key in table.reads.values()}
    if "agent.observation" not in read or not read.isdisjoint(("state", "agents.observation")):
        raise RecipeError(
            f"{where}: {net.use} reads more than one agent's observation, of which '{name}' makes features; write an "
            "encoder of its own, {use: net/...}."
        )


def check_zeros(recipe: Recipe) -> None:
    """Refuse encoders to which a 0 means something where observations are standardised, which moves it.

    Raises:
        RecipeError: naming the encoder.
    """
    if not recipe.normalize_observations:
        return
    for net in recipe.nets.values():
        found = {value.where: value.entry for value in net.values.values() if isinstance(value, Encoding)}
        if issubclass(net.network, Encoder):
            found[f"{net.where} ({net.use})"] = net.network
        for where, entry in found.items():
            if entry.reads_zeros:
                raise RecipeError(
                    f"{where} tells by its zeros who is absent, and task.normalize_observations moves them; drop one "
                    "of the two."
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
