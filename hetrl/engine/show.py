"""Printing the linked program: each step with the keys it reads and writes and, given a team, their shapes."""

import math
from collections.abc import Sequence

import torch
from rich.console import Group, RenderableType
from rich.table import Column
from rich.table import Table as Grid
from rich.text import Text
from tensordict import TensorDict

from hetrl import catalog, keys
from hetrl.engine.linked import Linked, link
from hetrl.engine.store import Store
from hetrl.engine.turns import lanes_without_turn
from hetrl.recipe.check import check
from hetrl.recipe.diff import turns
from hetrl.recipe.plan import Plan, chunks, grouped
from hetrl.recipe.schema import Phase, Recipe
from hetrl.recipe.step import Step
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
    blocks += [_phase(phase, shapes) for phase in recipe.update]
    return Group(*blocks)


def _phase(phase: Phase, shapes: dict[str, str]) -> Grid:
    words = [f"train {phase.train}, {turns(phase)}" if phase.train else "no gradient"]
    words += [f"{phase.epochs} epochs x {phase.minibatches} minibatches"] if phase.train else []
    words += [f"every {phase.every}"] if phase.every > 1 else []
    columns = [Column(word, overflow="fold") for word in ("", "step", "reads", "writes")]  # no name is cut short
    grid = Grid(*columns, title=f"{phase.name}: {', '.join(words)}", title_justify="left", title_style="bold")
    for section, steps in phase.sections.items():
        for step in steps:
            values = ", ".join(f"{name}={value}" for name, value in step.arguments.items())
            grid.add_row(
                section if phase.train else "",
                "\n".join(
                    [_title(step), *([values] if values else []), *(f"calls {mode}" for mode in step.calls.values())]
                ),
                _listed(step.table.reads.values(), shapes),
                _listed(step.table.writes.values(), shapes),
            )
    return grid


def _title(step: Step) -> str:
    return step.title if step.use else f"net {step.title}"


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
    n_steps = math.lcm(_N_STEPS, *chunks(recipe).values())
    batch = empty_batch(linked.team, n_steps, _N_ENVS)
    _add_memories(batch, linked)
    if "discount" in catalog.resolve(recipe.data.name, "data").provides([]):
        batch["discount"] = torch.zeros(batch.shape)
    store = Store(linked.team, batch)
    seen: dict[str, str] = {}
    store.write_turns([(each,) for each in linked.team.agents])
    for step in (step for phase in recipe.update for step in phase.every_step):
        for lane in lanes_without_turn(step, linked.team):
            program = linked.program([step], lane)
            with torch.no_grad():
                values = program(program.gather(store, lane))
            for key, value in values.items():
                seen[key] = _shape(value, n_steps)
                if not keys.is_output(key) and key in program.writes:
                    store.write(key, lane, value)
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
    if chunks(linked.recipe):
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
