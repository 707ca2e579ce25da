"""A run that goes on with other sharing groups: fewer policies, and everything else as it was."""

import copy
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from hetrl.engine.link import link
from hetrl.engine.linked import Linked, SharedNetwork
from hetrl.recipe.read import load
from hetrl.recipe.schema import Recipe
from hetrl.runs.run import Folder, open_folder, restored
from hetrl.team import Agent


def regroup(run: Path, groups: Mapping[str, Sequence[str]], models: Mapping[str, str], to: Path) -> Folder:
    """Write a run that goes on where another one stopped, with groups of agents that share a policy.

    A group's policy is that of one of its agents, and so are its slow copy and the moments of its optimiser: weights of
    policies that were trained apart have no useful mean. The same holds for every other net that is ``per: group``.
    Critics, what has been replayed, simulator, generators, frames and metrics are those of the run. Where the agents
    took their turns one by one to train the policy, those of a group now take theirs together. The new folder is a run
    like any other; continue it with :func:`~hetrl.runs.run.resume`.

    Args:
        run: the folder of a run with a checkpoint; it stays as it is.
        groups: name -> its agents, everybody once.
        models: name -> the agent whose policy it takes.
        to: the new folder.

    Raises:
        RunError: there is no such run, or it has no checkpoint, or the new folder is taken.
        RecipeError: the groups do not fit the team.
    """
    before, old, env = restored(run)
    recipe = _shared(run, before, old.plan.policy, groups)
    new = link(recipe, env.team)
    checkpoint = Folder(run).load_checkpoint()
    units = _units(old, new, models)
    weights = checkpoint["state_dict"]
    checkpoint["state_dict"] = {f"linked.{name}": weights[f"linked.{_was(name, units)}"] for name in new.state_dict()}
    states = dict(zip(_trained(old), checkpoint["optimizer_states"], strict=True))
    checkpoint["optimizer_states"] = [
        copy.deepcopy(states[phase, net, units[net, unit]])  # two may have the same one
        for phase, net, unit in _trained(new)
    ]
    checkpoint["hetrl"]["recipe"] = recipe.yaml()
    place = open_folder(to, recipe)
    for table in ("metrics", "timings"):
        if getattr(Folder(run), table).exists():
            shutil.copyfile(getattr(Folder(run), table), getattr(place, table))
    place.checkpoint.parent.mkdir()
    torch.save(checkpoint, place.checkpoint)
    return place


def _shared(run: Path, recipe: Recipe, policy: str, groups: Mapping[str, Sequence[str]]) -> Recipe:
    """Return the recipe with these groups, their policies, and their turns."""
    named = ", ".join(f"{name}: [{', '.join(members)}]" for name, members in groups.items())
    orders = {phase.name: phase.order for phase in recipe.update if phase.train == policy}
    turns = [name for name, order in orders.items() if order is not None and order.of == "agent"]
    return load(
        Folder(run).recipe,
        f"task.groups={{{named}}}",
        f"nets.{policy}.per=group",
        *(f"update.{phase}.order.of=group" for phase in turns),
    )


def _units(old: Linked, new: Linked, models: Mapping[str, str]) -> dict[tuple[str, str], str]:
    """Return, by net and unit, which unit of the old run it was."""

    def was(agent: Agent, shared: SharedNetwork) -> Agent:
        return old.team[models[agent.body] if shared.per == "group" else agent.name]

    nets: Any = new.nets.items()
    return {
        (name, shared.owner(agent)): old.nets[name].owner(was(agent, shared))  # type: ignore[operator]
        for name, shared in nets
        for agent in new.team.agents
    }


def _was(name: str, units: Mapping[tuple[str, str], str]) -> str:
    """Return what an entry of the state was called: ``nets.NET.UNIT...`` and ``slow.NET.net.UNIT...``."""
    words = name.split(".")
    place = {"nets": 2, "slow": 3}.get(words[0])
    if place is not None and place < len(words):
        words[place] = units[words[1], words[place]]
    return ".".join(words)


def _trained(linked: Linked) -> list[tuple[str, str, str]]:
    """Return phase, net and unit of every optimiser, in the order in which a checkpoint has them."""
    return [
        (phase.name, phase.train, unit)
        for phase in linked.recipe.update
        if phase.train is not None
        for unit in linked.nets[phase.train]  # type: ignore[attr-defined]
    ]
