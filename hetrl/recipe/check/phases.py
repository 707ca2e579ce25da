"""Do the words of a phase go together?"""

import torch

from hetrl import keys
from hetrl.errors import RecipeError, nearest
from hetrl.recipe.check.memory import check_chunks
from hetrl.recipe.net import TARGET
from hetrl.recipe.plan import Plan
from hetrl.recipe.schema import Phase, Recipe

_OF_TRAINING = ("order", "optim", "before", "prepare", "after", "epochs", "minibatches", "inactive")
"""Words that mean something only where a net is trained."""


def check_phase(phase: Phase, plan: Plan) -> None:
    """Check the words of one phase against each other.

    Raises:
        RecipeError: naming the two that do not go together, and what to do.
    """
    if not phase.trained:
        for word in _OF_TRAINING:
            if getattr(phase, word) != Phase.model_fields[word].default:
                raise RecipeError(f"{phase.where}.{word} belongs to a phase that trains a net; add train: or drop it.")
        return
    for step in phase.steps:
        if step.component is not None and step.component.along_time:
            raise RecipeError(
                f"{step} looks along time, and steps see rows in any order; move it to prepare or to a phase of its "
                "own."
            )
    _check_trained(phase, plan)
    _check_optim(phase)
    if phase.epochs * phase.minibatches == 1:
        _refuse_equal(phase)
    _check_turns(phase)
    check_chunks(plan.recipe, phase.where, [mode.net for step in phase.steps for mode in step.modes])


def _check_trained(phase: Phase, plan: Plan) -> None:
    """Refuse to train what is not there, or is not to be trained."""
    for name in phase.trained:
        if name not in plan.recipe.nets:
            raise RecipeError(f"{phase.where}.train: no net '{name}'.{nearest(name, plan.recipe.nets)}")
        net = plan.recipe.nets[name]
        if not net.trainable:
            raise RecipeError(f"{phase.where} trains '{name}', and {net.where} says that it stays as it is; drop one.")
    per = {name: plan.per[name] for name in phase.trained}
    if phase.order is not None and len(set(per.values())) > 1:
        each = " and ".join(f"'{name}' per: {word}" for name, word in per.items())
        raise RecipeError(
            f"{phase.where} trains {each} in turns: what several agents share would be moved in the turns of each, "
            "with moments of its own; share them alike, or drop order, which trains everybody at once."
        )


def _check_optim(phase: Phase) -> None:
    """Refuse a phase without an optimiser, or one that takes a single step where several are asked for."""
    if phase.optim is None:
        raise RecipeError(f"{phase.where} trains {phase.names_trained} and needs optim: {{use: optim/adam}}.")
    if phase.optim.entry("optim").once:
        for word in ("epochs", "minibatches"):
            if getattr(phase, word) > 1:
                raise RecipeError(
                    f"{phase.where}.{word} = {getattr(phase, word)}: {phase.optim.name} takes one step, on the whole "
                    f"batch, from the policy that its constraint refers to; drop {word}."
                )


def _check_turns(phase: Phase) -> None:
    """Refuse an agent's step where no agent is in turn and a single net is named, not a list of them."""
    if phase.order is not None:
        if hasattr(torch.nn.ModuleDict(), phase.name):  # in which the orders are kept by name
            raise RecipeError(f"{phase.where}: torch has another use for the name '{phase.name}'; choose another.")
        phase.order.entry()
        return
    if phase.train != phase.trained[0]:  # a list: everybody at once
        _refuse_one_after_another(phase)
        return
    for step in (*phase.prepare, *phase.steps, *phase.after):
        if step.per_agent:
            raise RecipeError(
                f"{step} is about one agent, but {phase.where} has no agent in turn; add order: "
                f"{{use: order/random_permutation, of: agent}}, or write train: [{phase.train}] to train everybody at "
                "once."
            )


def _refuse_one_after_another(phase: Phase) -> None:
    """Refuse an agent's step that changes a value of the team's, where all agents run at once."""
    for step in phase.steps:
        for key in step.table.writes.values() if step.per_agent else ():
            if not (keys.scope(key) or keys.is_output(key)):
                raise RecipeError(
                    f"{step} changes the team's '{key}' agent by agent, and {phase.where} trains everybody at once; "
                    "move it to after, or add an order."
                )


def _refuse_equal(phase: Phase) -> None:
    """Refuse a loss that compares the net with its old values where a turn takes a single step.

    Nothing has changed by then: old and new are equal, and the loss does nothing.
    """
    written = {
        key: step
        for step in phase.prepare
        for key in step.table.writes.values()
        if step.mode is not None and step.mode.net in phase.trained and not step.mode.slow
    }
    for step in phase.steps:
        role = None if step.component is None else step.component.compares
        before = written.get(step.table.reads[role]) if role is not None else None
        if before is not None and before.mode is not None:
            raise RecipeError(
                f"{step} compares '{before.mode.net}' with what {before} kept of it in the same turn, and "
                f"{phase.where} takes one step a turn: they are equal, and it does nothing. Write epochs: 2, or "
                f"compare with the slow copy, net: {before.mode.net}.{TARGET}.{before.mode.name}."
            )


def check_time(recipe: Recipe) -> None:
    """Refuse what looks along time on rows that were drawn in any order.

    Raises:
        RecipeError: with what to use in its place.
    """
    if recipe.data.entry("data").in_order:
        return
    for phase in recipe.update:
        for step in phase.every_step:
            if step.component is not None and step.component.along_time:
                raise RecipeError(
                    f"{step} looks along time, and {recipe.data.name} draws rows in any order; use data/on_policy, or "
                    "estimate/td_target in its place."
                )
