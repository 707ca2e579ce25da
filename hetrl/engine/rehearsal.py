"""The program once, on made-up values, before anything is collected: for shapes, and for proof."""

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor

from hetrl import catalog, keys
from hetrl.engine.linked import Linked
from hetrl.engine.program import Agents, Program, Values
from hetrl.engine.rows import Rows
from hetrl.engine.store import Store
from hetrl.engine.turns import lanes_without_turn, steps_of
from hetrl.errors import RecipeError
from hetrl.recipe.plan import chunks
from hetrl.recipe.schema import Phase
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


def rehearse(linked: Linked, batch: TensorDict) -> Iterator[Scene]:
    """Run every step of a recipe, for every agent that it runs for, on a batch; those that find their inputs.

    Args:
        linked: the recipe's modules.
        batch: from :func:`empty_batch`.
    """
    yield from _scenes(linked, Store(linked.team, batch))


@torch.no_grad()
def _scenes(linked: Linked, store: Store) -> Iterator[Scene]:
    store.write_turns([(each,) for each in linked.team.agents])
    for step in (step for phase in linked.recipe.update for step in phase.every_step):
        for lane in lanes_without_turn(step, linked.team):
            program = linked.program([step], lane)
            if not _ready(program, store, lane):
                continue
            inputs = program.gather(store, lane)
            try:
                values = program(dict(inputs))
            except Exception:
                if not _foreign(step):
                    raise
                _refuse_outputs(step, program, inputs)
                continue  # made-up values may not suit it; what fails for another reason will where it is trained
            for key in program.writes:
                store.write(key, lane, values[key])
            yield Scene(step, program, inputs, values, store.batch_size[0])


def _ready(program: Any, store: Store, lane: Agents) -> bool:
    return all(optional or key == keys.PLACE or store.has(key, lane) for key, optional in program.reads.items())


def _foreign(step: Step) -> bool:
    """Whether a step runs code of somebody else's."""
    classes = [type_ for type_ in (step.component, *(step.network(mode) for mode in step.modes)) if type_ is not None]
    return any(each.__module__.split(".")[0] != "hetrl" for each in classes)


def refuse_misfits(linked: Linked) -> None:
    """Refuse parts of packages that would train in silence, or in a way that nobody asked for.

    A net's mode has to be per sample: a batch norm, a pooling over rows, or one number for the whole batch gives
    collection, which asks for other batches than training does, another policy. A loss has to depend on the trained
    net. A step has to return what its table says. Recipes of hetrl's own parts alone are not run.

    Raises:
        RecipeError: naming the step, and what to do.
    """
    if not any(_foreign(step) for phase in linked.recipe.update for step in phase.every_step):
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        trial = copy.deepcopy(linked).cpu()
        store = Store(trial.team, empty_batch(trial, random=True))
        for scene in _scenes(trial, store):
            if _foreign(scene.step) and scene.step.mode is not None and not _per_sample(scene):
                net = linked.recipe.nets[scene.step.mode.net]
                raise RecipeError(
                    f"{net.where}: what {net.use} says in its mode '{scene.step.mode.name}' is not one value for each "
                    "sample of that sample alone; let it begin with the batch, and pool or normalise no rows "
                    "(hetrl.testing.check_net says more)."
                )
        for phase in trial.recipe.update:
            _refuse_detached(phase, trial, store)


def _refuse_outputs(step: Step, program: Program, inputs: Values) -> None:
    """Refuse a step that returns something else than its table says."""
    call = program.calls[0]
    if call.own is not None:
        return
    try:
        found = call.function(*(inputs.get(key) for key in call.inputs))
    except Exception:
        return
    wanted = ", ".join(role for role, _ in call.outputs)
    if not isinstance(found, Mapping):
        raise RecipeError(f"{step} returns a {type(found).__name__}, and not a dict of {wanted}; return that.")
    missing = next((role for role, _ in call.outputs if role not in found), None)
    if missing is not None:
        raise RecipeError(f"{step} returns no '{missing}', which its table writes; it returns {', '.join(found)}.")


def _refuse_detached(phase: Phase, trial: Linked, store: Store) -> None:
    """Refuse losses of packages that send no gradient to the net that their phase trains."""
    losses = {key: step for step in phase.steps if _foreign(step) for key in step.table.writes.values()
              if key.startswith(f"{keys.LOSS}.")}  # fmt: skip
    if not phase.trained or not losses:
        return
    steps = steps_of(trial, phase.steps, () if phase.order is None else trial.team.agents[:1])
    if not all(_ready(reader, store, lane) for lane, reader in steps.lanes):
        return
    trial.requires_grad_(False)
    for name in phase.trained:
        trial.nets[name].requires_grad_(True)
    try:
        rows = [Rows.of(reader, lane, store) for lane, reader in steps.lanes]
        lanes = [lane for pool in steps([each.split([each.count])[0] for each in rows]) for lane in pool]
    except Exception:
        return  # as above
    for key, step in losses.items():
        if not any(values[key].requires_grad for values in lanes if key in values):
            nets = "net" if len(phase.trained) == 1 else "nets"
            raise RecipeError(
                f"{step} sends no gradient to {phase.names_trained}, the {nets} that {phase.where} trains; detach "
                "nothing in it (hetrl.testing.check_component says more)."
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


def empty_batch(linked: Linked, n_envs: int = N_ENVS, random: bool = False, n_steps: int | None = None) -> TensorDict:
    """Return a batch as collection would deliver it, ``[T, N]``, with what nets and data ask for beside the team's.

    Args:
        linked: the recipe's modules.
        n_envs: environments, ``N``.
        random: normal draws where numbers are continuous; zeros otherwise.
        n_steps: ``T``; by default the fewest that recurrent nets can be unrolled over.
    """
    n_steps = n_steps or math.lcm(N_STEPS, *chunks(linked.recipe).values())
    batch = team_batch(linked.team, n_steps, n_envs)
    _add_memories(batch, linked)
    if "discount" in catalog.resolve(linked.recipe.data.name, "data").provides([]):
        batch["discount"] = torch.zeros(batch.shape)
    if random:
        for value in batch.values(include_nested=True, leaves_only=True):
            if value.is_floating_point():
                value.normal_()
            elif value.dtype == torch.uint8:
                value.random_()
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
        **flags, "state": zeros(team.state_size, dtype=team.state_dtype), "reward": zeros(),
        "next": {"state": zeros(team.state_size, dtype=team.state_dtype)},
        "episode": {"return": zeros(), "length": zeros()},
    }  # fmt: skip
    for group, agents in team.layout.items():
        batch[group] = {**_seen(agents, zeros), "action": _acted(agents, zeros), "reward": zeros(len(agents))}
        batch["next"][group] = _seen(agents, zeros)  # type: ignore[index]
    return TensorDict(batch, batch_size=size)


def _seen(agents: Sequence[Agent], zeros) -> dict[str, Tensor]:  # type: ignore[no-untyped-def]
    return {"observation": zeros(len(agents), agents[0].observation_size, dtype=agents[0].observation_dtype)}


def _acted(agents: Sequence[Agent], zeros) -> Tensor:  # type: ignore[no-untyped-def]
    space = agents[0].action
    return zeros(len(agents), space.size, dtype=torch.float32 if isinstance(space, Box) else torch.int64)
