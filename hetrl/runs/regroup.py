"""A run that goes on with other sharing groups: agents of a group share a policy, all else is as it was."""

import copy
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hetrl.data.environment import close
from hetrl.disk import writes
from hetrl.engine.link import link
from hetrl.engine.linked import Linked, SharedNetwork
from hetrl.engine.moved import Modules, moved_by
from hetrl.errors import RunError
from hetrl.recipe.read import load
from hetrl.recipe.schema import Recipe
from hetrl.runs.folder import Folder, open_folder
from hetrl.runs.lock import sole_writer
from hetrl.runs.restored import restored
from hetrl.team import Agent
from hetrl.train.checkpoint_file import write


def regroup(run: Path, groups: Mapping[str, Sequence[str]], models: Mapping[str, str], to: Path) -> Folder:
    """Write a run that goes on where another one stopped, with groups of agents that share a policy.

    A group takes over the policy of one of its agents, with its slow copy and the moments of its optimiser: weights of
    policies that were trained apart have no useful mean. The same holds for every other net that is ``per: group``.
    Everything else is the run's: critics, replay buffer, simulator, generators, frames and metrics. Where agents
    trained the policy one by one, those of a group now train it together. The new folder is a run like any other;
    continue it with :func:`~hetrl.runs.run.resume`.

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
    close(env)
    recipe = _shared(run, before, old.plan.policy, groups)
    new = link(recipe, env.team)
    checkpoint = Folder(run).load_checkpoint()
    if len(checkpoint.get("optimizer_states", ())) != len(_trained(old)):
        raise RunError(f"{run}: its checkpoint has not the state of every optimiser; nothing can go on from it.")
    sources = _sources(old, new, models)
    weights = checkpoint["state_dict"]
    checkpoint["state_dict"] = {f"linked.{name}": weights[f"linked.{_was(name, sources)}"] for name in new.state_dict()}
    states = dict(zip(_trained(old), checkpoint["optimizer_states"], strict=True))
    checkpoint["optimizer_states"] = [copy.deepcopy(_state(states, each, sources)) for each in _trained(new)]
    checkpoint["hetrl"]["recipe"] = recipe.yaml()
    return _written(to, recipe, checkpoint, Folder(run))


def _written(to: Path, recipe: Recipe, checkpoint: Mapping[str, Any], run: Folder) -> Folder:
    """Return a new folder with a recipe, a checkpoint, and the tables of a run."""
    with sole_writer(to):
        folder = open_folder(to, recipe)
        for old, new in ((run.metrics, folder.metrics), (run.timings, folder.timings)):
            if old.exists():
                with writes(new):
                    shutil.copyfile(old, new)
        write(checkpoint, folder.checkpoint)
    return folder


def _shared(run: Path, recipe: Recipe, policy: str, groups: Mapping[str, Sequence[str]]) -> Recipe:
    """Return the recipe with these groups, their policies, and their turns."""
    named = ", ".join(f"{name}: [{', '.join(members)}]" for name, members in groups.items())
    orders = {phase.name: phase.order for phase in recipe.update if policy in phase.trained}
    turns = [name for name, order in orders.items() if order is not None and order.of == "agent"]
    return load(
        Folder(run).recipe,
        f"task.groups={{{named}}}",
        f"nets.{policy}.per=group",
        *(f"update.{phase}.order.of=group" for phase in turns),
    )


def _sources(old: Linked, new: Linked, models: Mapping[str, str]) -> dict[tuple[str, str], str]:
    """Return, for each net and each of its new modules, the name of the old module that it comes from."""

    def source(agent: Agent, shared: SharedNetwork) -> Agent:
        return old.team[models[agent.body] if shared.per == "group" else agent.name]

    nets: Any = new.nets.items()
    return {
        (name, shared.owner(agent)): old.nets[name].owner(source(agent, shared))  # type: ignore[operator]
        for name, shared in nets
        for agent in new.team.agents
    }


def _was(name: str, sources: Mapping[tuple[str, str], str]) -> str:
    """Return what an entry of the state was called: ``nets.NET.MODULE...`` and ``slow.NET.net.MODULE...``."""
    words = name.split(".")
    at = {"nets": 2, "slow": 3}.get(words[0])
    if at is not None and at < len(words):
        words[at] = sources[words[1], words[at]]
    return ".".join(words)


def _trained(linked: Linked) -> list[tuple[str, Modules]]:
    """Return phase and modules of every optimiser, in the order in which a checkpoint has them."""
    phases = linked.recipe.update
    return [(phase.name, modules) for phase in phases for modules in moved_by(phase, linked).values()]


def _state(states: Mapping[Any, Any], optimizer: tuple[str, Modules], sources: Mapping[tuple[str, str], str]) -> Any:
    """Return the state that an optimiser takes over; two may have the same one.

    Raises:
        RunError: one optimiser moved the policies of all agents, and has no state for those of groups.
    """
    phase, modules = optimizer
    was = tuple((net, sources[net, module]) for net, module in modules)
    if (phase, was) not in states:
        raise RunError(
            f"update.{phase} trains all agents' modules with one optimiser, whose moments are of all of them; groups "
            "cannot go on from that. Start a new run from its weights: hetrl train RECIPE --init RUN."
        )
    return states[phase, was]
