"""The program once, on made-up values, before anything is collected: for shapes, and for proof."""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor

from hetrl import catalog, keys
from hetrl.engine.linked import Linked
from hetrl.engine.program import Program, Values
from hetrl.engine.store import Store
from hetrl.engine.turns import Agents, lanes_without_turn
from hetrl.errors import RecipeError
from hetrl.recipe.plan import chunks
from hetrl.recipe.step import Step
from hetrl.team import Agent, Box, Team

N_STEPS, N_ENVS = 2, 3


@dataclass(frozen=True)
class Scene:
    """One step as it runs for one lane."""

    step: Step
    program: Program
    inputs: Values
    values: Values
    """The inputs, and what the step made of them."""
    n_steps: int
    """Size of the batch's first dimension, which is time; that of its second is :data:`N_ENVS`."""


@torch.no_grad()
def rehearse(linked: Linked, batch: TensorDict) -> Iterator[Scene]:
    """Run every step of a recipe, for every agent that it runs for, on a batch; those that find their inputs.

    Args:
        linked: the recipe's modules.
        batch: from :func:`empty_batch`.
    """
    store = Store(linked.team, batch)
    store.write_turns([(each,) for each in linked.team.agents])
    for step in (step for phase in linked.recipe.update for step in phase.every_step):
        for lane in lanes_without_turn(step, linked.team):
            program = linked.program([step], lane)
            if not _ready(program, store, lane):
                continue
            inputs = program.gather(store, lane)
            values = program(dict(inputs))
            for key in program.writes:
                store.write(key, lane, values[key])
            yield Scene(step, program, inputs, values, batch.shape[0])


def _ready(program: Program, store: Store, lane: Agents) -> bool:
    return all(optional or key == keys.PLACE or store.has(key, lane) for key, optional in program.reads.items())


def refuse_mixing(linked: Linked) -> None:
    """Refuse nets of packages whose modes are not per sample: what they say of one depends on those beside it.

    A batch norm, a pooling over rows, or one number for the whole batch trains in silence, and gives collection, which
    asks for other batches than training does, another policy.

    Raises:
        RecipeError: naming the net and its mode.
    """
    own = {name for name, net in linked.recipe.nets.items() if net.network.__module__.split(".")[0] != "hetrl"}
    if not own:
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        batch = empty_batch(linked, random=True)
        for scene in rehearse(copy.deepcopy(linked).cpu(), batch):
            mode = scene.step.mode
            if mode is not None and mode.net in own and not _per_sample(scene):
                net = linked.recipe.nets[mode.net]
                raise RecipeError(
                    f"{net.where}: what {net.use} says in its mode '{mode.name}' is not one value for each sample of "
                    f"that sample alone; let it begin with the batch, and pool or normalise no rows "
                    "(hetrl.testing.check_net says more)."
                )


def _per_sample(scene: Scene) -> bool:
    """Whether some samples alone, in another order, give what they gave among all; draws at random are let be.

    Samples are rows, time and environments together; of a recurrent net they are environments, each with its time.
    """
    batch = (scene.n_steps, N_ENVS)
    recurrent = any(net.chunk for net in scene.program.nets.values())
    sizes, some = (batch, torch.tensor([2, 0])) if recurrent else ((math.prod(batch),), torch.tensor([4, 0, 3]))
    inputs = _each(scene.inputs, lambda value: value if recurrent else value.flatten(0, 1), batch)
    whole, again = _run(scene, inputs), _run(scene, inputs)
    alone = _run(scene, _each(inputs, lambda value: value.index_select(len(sizes) - 1, some), sizes))
    if not all(map(_alike, whole, again)):
        return True  # it draws at random
    for mine, theirs in zip(alone, whole, strict=True):
        # An ensemble's members may come before the batch, and nothing else.
        at = next((at for at in (0, 1) if tuple(theirs.shape[at : at + len(sizes)]) == sizes), None)
        if at is None or not _alike(mine, theirs.index_select(at + len(sizes) - 1, some)):
            return False
    return True


def _each(values: Values, function: Callable[[Tensor], Tensor], sizes: tuple[int, ...]) -> Values:
    """Apply a function to the tensors that begin with a batch of these sizes."""

    def apply(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(apply, value))
        batched = isinstance(value, Tensor) and tuple(value.shape[: len(sizes)]) == sizes
        return function(value) if batched else value

    return {key: apply(value) for key, value in values.items()}


def _run(scene: Scene, inputs: Values) -> list[Tensor]:
    """Return the tensors that a step writes."""
    values = scene.program(dict(inputs))
    found = [values[key] for _, key in scene.program.calls[0].outputs]
    return [part for value in found for part in (value if isinstance(value, tuple) else (value,))]


def _alike(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(
        one.double(), other.double(), rtol=1e-3, atol=1e-4, equal_nan=True
    )


# ----- made-up batches


def empty_batch(linked: Linked, n_envs: int = N_ENVS, random: bool = False) -> TensorDict:
    """Return a batch as collection would deliver it, ``[T, N]``, with what nets and data ask for beside the team's.

    Args:
        linked: the recipe's modules.
        n_envs: environments, ``N``.
        random: normal draws where numbers are continuous; zeros otherwise.
    """
    n_steps = math.lcm(N_STEPS, *chunks(linked.recipe).values())
    batch = team_batch(linked.team, n_steps, n_envs)
    _add_memories(batch, linked)
    if "discount" in catalog.resolve(linked.recipe.data.name, "data").provides([]):
        batch["discount"] = torch.zeros(batch.shape)
    if random:
        for value in batch.values(include_nested=True, leaves_only=True):
            if value.is_floating_point():
                value.normal_()
    return batch


def _add_memories(batch: TensorDict, linked: Linked) -> None:
    """Add what collection carries for recurrent nets, where there are any."""
    for group, agents in linked.team.layout.items():
        policy = linked.policy(agents[:1])
        if policy.memory:
            batch[group, "memory"] = torch.zeros(*batch.shape, len(agents), policy.memory)
    if linked.critic is not None:
        batch["memory"] = torch.zeros(*batch.shape, linked.critic.memory)
        batch["next", "memory"] = batch["memory"].clone()
    if chunks(linked.recipe):
        batch["is_init"] = torch.ones(batch.shape, dtype=torch.bool)
        batch["next", "is_init"] = batch["is_init"].clone()


def team_batch(team: Team, n_steps: int, n_envs: int) -> TensorDict:
    """Return zeros for all that every collection delivers of a team, ``[T, N]``."""
    size = (n_steps, n_envs)

    def zeros(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.zeros(*size, *shape, dtype=dtype)

    flags = {name: zeros(dtype=torch.bool) for name in ("terminated", "truncated", "done")}
    batch: dict[str, object] = {
        **flags, "state": zeros(team.state_size), "reward": zeros(), "next": {"state": zeros(team.state_size)},
        "episode": {"return": zeros(), "length": zeros()},
    }  # fmt: skip
    for group, agents in team.layout.items():
        batch[group] = {**_seen(agents, zeros), "action": _acted(agents, zeros), "reward": zeros(len(agents))}
        batch["next"][group] = _seen(agents, zeros)  # type: ignore[index]
    return TensorDict(batch, batch_size=size)


def _seen(agents: Sequence[Agent], zeros) -> dict[str, Tensor]:  # type: ignore[no-untyped-def]
    return {"observation": zeros(len(agents), agents[0].observation_size)}


def _acted(agents: Sequence[Agent], zeros) -> Tensor:  # type: ignore[no-untyped-def]
    space = agents[0].action
    return zeros(len(agents), space.size, dtype=torch.float32 if isinstance(space, Box) else torch.int64)
