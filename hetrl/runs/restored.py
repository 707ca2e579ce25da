"""A run's networks as its last checkpoint has them: all of them, or those that act."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from hetrl.engine.device import resolve_device
from hetrl.engine.link import link
from hetrl.engine.linked import Linked, SharedNetwork
from hetrl.engine.statistics import Statistics
from hetrl.engine.task import evaluation_env
from hetrl.errors import RunError
from hetrl.recipe.read import load
from hetrl.recipe.schema import Recipe
from hetrl.runs.folder import LAST, Folder
from hetrl.team import Team
from hetrl.train.restorable import other_weights


def restored(path: Path, *overrides: str) -> tuple[Recipe, Linked, Any]:
    """Return a run's recipe, its networks as the last checkpoint has them, and environments to evaluate them in.

    Raises:
        RunError: the folder holds no run, or no checkpoint, or the overrides make other networks.
    """
    folder, recipe, linked, env = _built(path, overrides)
    weights = _weights(folder, linked)
    for problem in other_weights(linked.state_dict(), weights):
        raise RunError(f"{path} was trained with other networks than this makes of its recipe: {problem}.")
    linked.load_state_dict(weights)
    return recipe, linked.to(resolve_device(recipe)), env


def restored_actors(path: Path, *overrides: str, checkpoint: str = LAST) -> tuple[Recipe, Linked, Any]:
    """Return a run's recipe, linked, with the policies that a checkpoint has, and environments to act in.

    Critics are left as they were built: a team that is larger, or a task with another state, changes their sizes, and
    nobody who acts asks them. Agents that have no policy of their own in the checkpoint need one that they share.

    Raises:
        RunError: the folder holds no run, or no checkpoint, or an agent has no policy in it, or one of other sizes.
    """
    folder, recipe, linked, env = _built(path, overrides)
    _load_actors(path, linked, _weights(folder, linked, checkpoint))
    return recipe, linked.to(resolve_device(recipe)), env


def _built(path: Path, overrides: Sequence[str]) -> tuple[Folder, Recipe, Linked, Any]:
    folder = Folder(path)
    folder.refuse_if_empty()
    folder.need_parts()
    recipe = load(folder.recipe, *overrides)
    env = evaluation_env(recipe, resolve_device(recipe))
    return folder, recipe, link(recipe, env.team), env


def _weights(folder: Folder, linked: Linked, checkpoint: str = LAST) -> dict[str, Any]:
    """Return what a checkpoint holds of the networks, and set what follows a schedule to where the run was by then."""
    saved = folder.load_checkpoint(checkpoint)
    linked.follow_schedules(saved["hetrl"]["frames"] / linked.recipe.run.frames)
    return {name.removeprefix("linked."): value for name, value in saved["state_dict"].items()}


def _load_actors(path: Path, linked: Linked, weights: Mapping[str, Any]) -> None:
    policy = linked.plan.policy
    for net in filter(None, (policy, linked.recipe.nets[policy].behind)):
        shared: SharedNetwork = linked.nets[net]  # type: ignore[assignment]
        found = _under(f"nets.{net}.", weights)
        for problem in _misfits(linked, shared, found):
            raise RunError(f"{path}: {problem}")
        shared.load_state_dict({name: value for name, value in found.items() if name.split(".")[0] in shared})
    if linked.statistics is not None:
        _load_statistics(path, linked.team, linked.statistics, _under("statistics.", weights))


def _load_statistics(path: Path, team: Team, statistics: Statistics, found: Mapping[str, Any]) -> None:
    """Load what observations are standardised with; a state's own are for critics alone."""
    own = statistics.state_dict()
    wanted = {name: own[name] for name in own if name.rpartition(":")[0] in team.layout}
    known = {name: value for name, value in found.items() if name in wanted}
    for problem in other_weights(wanted, known):
        raise RunError(f"{path} was trained with other statistics of what agents observe: {problem}.")
    statistics.load_state_dict(known, strict=False)


def _misfits(linked: Linked, shared: SharedNetwork, found: Mapping[str, Any]) -> Iterator[str]:
    """Say which agents the policies of a checkpoint do not serve."""
    owners = list(dict.fromkeys(name.split(".")[0] for name in found))
    for agent in linked.team.agents:
        owner = shared.owner(agent)
        own = shared[owner].state_dict()  # an encoder's may be empty: it hands over what is seen
        if own and owner not in owners:
            yield (
                f"it has no policy for '{agent.name}', only for {', '.join(owners) or 'nobody'}; agents that were not "
                "there in training need a policy that is shared, per: group or per: team."
            )
        for problem in other_weights(own, _under(f"{owner}.", found)):
            yield (
                f"the policy of '{agent.name}', which sees {agent.sees} and does {agent.action} "
                f"here, was trained as another network: {problem}."
            )


def _under(prefix: str, weights: Mapping[str, Any]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
