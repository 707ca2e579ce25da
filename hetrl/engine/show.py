"""Printing the linked program: each step with the keys it reads and writes and, given a team, their shapes."""

import math
from collections.abc import Iterator, Sequence

import torch
from rich.console import Group, RenderableType
from rich.table import Column
from rich.table import Table as Grid
from rich.text import Text
from tensordict import TensorDict

from hetrl import catalog, keys
from hetrl.engine.linked import Linked, link
from hetrl.engine.store import Store
from hetrl.recipe import memory
from hetrl.recipe.check import SECTIONS, Plan, PlannedStep, check, grouped
from hetrl.recipe.read import Recipe
from hetrl.team import Agent, Box, Team

_N_STEPS, _N_ENVS = 2, 3


def show(recipe: Recipe, team: Team | None = None) -> RenderableType:
    """Return the program of a recipe as a table for the terminal.

    Args:
        recipe: a recipe; it is checked first.
        team: the task's agents; with them, each key is shown with its shape (``B`` stands for the batch).

    Raises:
        RecipeError: the recipe does not link.
    """
    team = None if team is None else grouped(recipe, team)
    plan = check(recipe, team)
    shapes = _shapes(recipe, team) if team is not None else {}
    blocks: list[RenderableType] = [Text(recipe.about or recipe.name, style="bold")]
    if team is not None:
        blocks.append(_team(team))
    blocks.append(_nets(plan))
    for phase in recipe.update:
        words = [f"train {phase.train}, per {phase.per}" if phase.train else "no gradient"]
        words += [phase.order.name] if phase.order else []
        words += [f"{phase.epochs} epochs x {phase.minibatches} minibatches"] if phase.train else []
        words += [f"every {phase.every}"] if phase.every > 1 else []
        columns = [Column(word, overflow="fold") for word in ("", "step", "reads", "writes")]  # no name is cut short
        grid = Grid(*columns, title=f"{phase.name}: {', '.join(words)}", title_justify="left", title_style="bold")
        for section, planned in _steps(plan, phase.name):
            title = planned.step.use or f"net {planned.net}.{planned.mode}"
            values = ", ".join(f"{name}={value}" for name, value in planned.step.arguments.items())
            called = "".join(f"\ncalls {target}" for target in planned.table.calls.values())
            grid.add_row(
                section if phase.train else "",
                title + (f"\n{values}" if values else "") + called,
                _listed(planned.table.reads.values(), shapes),
                _listed(planned.table.writes.values(), shapes),
            )
        blocks.append(grid)
    return Group(*blocks)


def _steps(plan: Plan, phase: str) -> Iterator[tuple[str, PlannedStep]]:
    for section in SECTIONS:
        for planned in plan.sections[phase, section]:
            yield section, planned


def _listed(found: object, shapes: dict[str, str]) -> str:
    return "\n".join(f"{key} {shapes[key]}" if key in shapes else key for key in found)  # type: ignore[attr-defined]


def _nets(plan: Plan) -> Grid:
    grid = Grid("net", "is", "one for each", "arguments", title="nets", title_justify="left", title_style="bold")
    for name, net in plan.recipe.nets.items():
        values = ", ".join(f"{word}={value}" for word, value in net.arguments.items())
        if net.target is not None:
            values += f", target: tau={net.target.tau}, every={net.target.every}"
        grid.add_row(name + (" (acts)" if name == plan.policy else ""), net.use, plan.per[name], values)
    return grid


def _team(team: Team) -> Grid:
    grid = Grid("agent", "layout group", "sharing group", "observes", "acts", title=f"team, state [{team.state_size}]",
                title_justify="left", title_style="bold")  # fmt: skip
    for agent in team.agents:
        grid.add_row(agent.name, agent.group, agent.body, f"[{agent.observation_size}]", str(agent.action))
    return grid


def _shapes(recipe: Recipe, team: Team) -> dict[str, str]:
    """Run the program once on an empty batch and return what every key looks like for one agent."""
    linked = link(recipe, team)
    agent = linked.team.agents[0]
    n_steps = math.lcm(_N_STEPS, *memory.chunks(recipe).values())
    batch = empty_batch(linked.team, n_steps, _N_ENVS)
    _add_memories(batch, linked)
    if "discount" in catalog.resolve(recipe.data.name, "data").provides([]):
        batch["discount"] = torch.zeros(batch.shape)
    store = Store(linked.team, batch)
    seen: dict[str, str] = {}
    store.write_turns([(each,) for each in linked.team.agents])
    for phase in recipe.update:
        for section in SECTIONS:
            lane = (agent,) if phase.per != "team" or phase.train is None else ()
            for index, planned in enumerate(linked.plan.sections[phase.name, section]):
                for served in [(each,) for each in linked.team.agents] if planned.per_agent else [lane[:0]]:
                    program = linked.program(phase.name, section, served, slice(index, index + 1))
                    with torch.no_grad():
                        values = program(program.gather(store, served))
                    for key, value in values.items():
                        seen[key] = _shape(value, n_steps)
                        if not keys.is_output(key) and key in program.writes:
                            store.write(key, served, value)
    return seen


def _shape(value: object, n_steps: int) -> str:
    if isinstance(value, tuple):
        return "(" + ", ".join(_shape(part, n_steps) for part in value) + ")"
    shape = list(getattr(value, "shape", ()))
    return f"[{', '.join(['B', *map(str, shape[2:])])}]" if shape[:2] == [n_steps, _N_ENVS] else str(shape)


def _add_memories(batch: TensorDict, linked: Linked) -> None:
    """Add what collection carries for recurrent nets, where there are any."""
    for group, agents in linked.team.layout.items():
        policy = linked.policy(agents[:1])
        if policy.memory:
            batch[group, "memory"] = torch.zeros(*batch.shape, len(agents), policy.memory)
    if linked.critic is not None:
        batch["memory"] = torch.zeros(*batch.shape, linked.critic.memory)
        batch["next", "memory"] = batch["memory"].clone()
    if memory.chunks(linked.recipe):
        batch["is_init"] = torch.ones(batch.shape, dtype=torch.bool)
        batch["next", "is_init"] = batch["is_init"].clone()


def empty_batch(team: Team, n_steps: int, n_envs: int) -> TensorDict:
    """Return a batch of zeros as collection would deliver it, ``[T, N]``."""
    size = (n_steps, n_envs)

    def zeros(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
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


def _seen(agents: Sequence[Agent], zeros) -> dict[str, torch.Tensor]:  # type: ignore[no-untyped-def]
    return {"observation": zeros(len(agents), agents[0].observation_size)}


def _acted(agents: Sequence[Agent], zeros) -> torch.Tensor:  # type: ignore[no-untyped-def]
    space = agents[0].action
    return zeros(len(agents), space.size, dtype=torch.float32 if isinstance(space, Box) else torch.int64)
