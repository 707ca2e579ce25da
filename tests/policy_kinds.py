"""A run for every kind of policy, and how to play a team of policies in a run's own environments."""

import atexit
import functools
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

import hetrl
from hetrl.engine.task import evaluation_env
from hetrl.runs.folder import open_folder
from hetrl.train.checkpoint_file import write

_TASK = ["task.n_envs=4", "task.horizon=12", "run.device=cpu", "run.threads=1", "run.n_eval_episodes=3"]
_TWO = [*_TASK, "task.n_agents=2"]
_ON = ["data.frames=48", "run.frames=48", "nets.actor.hidden=[8]", "nets.value.hidden=[8]"]
_OFF = ["data.capacity=100", "data.batch=8", "data.warmup=8", "run.frames=12", "nets.actor.hidden=[8]"]
_ONE = ["nets.actor.per=group"]
_CUES = [each for each in _TASK if "horizon" not in each] + ["task.delay=4"]
_MIXED = ["nets.actor={use: net/mixed_policy, per: agent}", "task={use: env/cue_game, n_cues: 3}"]
_MEMORY = ["nets.actor.memory=8", "nets.actor.chunk=3", "nets.value.memory=8", "nets.value.chunk=3"]
KINDS: dict[str, tuple[str, list[str]]] = {
    "gaussian": ("happo", [*_TWO, *_ON]),
    "shared": ("shared_happo", [*_TWO, *_ON]),
    "squashed": ("hasac", [*_TWO, *_OFF, *_ONE]),
    "deterministic": ("haddpg", [*_TWO, *_OFF, *_ONE]),
    "categorical": ("happo", ["nets.actor.use=net/categorical_policy", "task.actions=discrete", *_TWO, *_ON, *_ONE]),
    "multi_discrete": (
        "happo",
        ["nets.actor.use=net/categorical_policy", "task.actions=multi_discrete", *_TWO, *_ON, *_ONE],
    ),
    "utility": ("iql", [*_TASK, *_OFF[:-1], "nets.utility.hidden=[8]"]),
    "mixed": ("happo", [*_MIXED, *_CUES, *_ON]),
    "recurrent": ("recurrent_happo", [*_CUES, *_MEMORY, *_ON]),
    "normalized": ("happo", [*_TWO, *_ON, "task.normalize_observations=true", "nets.actor.per=group"]),
    "chain": ("chain_hasac", [*_TWO, *_OFF, "nets.actor.step_hidden=[8]"]),
    "diffusion": ("haqo", [*_TWO, *_OFF, "nets.actor.n_steps=4", "nets.actor.n_sample_steps=3"]),
}
"""Kind -> recipe and overrides of a run that has it."""

_FOLDER = Path(tempfile.mkdtemp(prefix="hetrl_kinds_"))
atexit.register(shutil.rmtree, _FOLDER, ignore_errors=True)


@functools.cache
def run_of(kind: str) -> hetrl.Run:
    """Return a run of a kind, which is not to be changed."""
    recipe, overrides = KINDS[kind]
    return untrained(hetrl.load(recipe, *overrides), _FOLDER / kind)


def untrained(recipe: hetrl.Recipe, path: Path) -> hetrl.Run:
    """Return a run whose checkpoint has random weights, large enough that its policies do act: it takes no training."""
    linked = hetrl.link(recipe, evaluation_env(recipe, torch.device("cpu")).team)
    with torch.no_grad():
        for parameter in linked.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
        if linked.statistics is not None:
            linked.statistics.watch(
                {
                    name: 3 + 2 * torch.randn(9, len(agents), agents[0].observation_size)
                    for name, agents in linked.team.layout.items()
                },
                {},
            )
            linked.statistics.take()
    weights = {f"linked.{name}": value for name, value in linked.state_dict().items()}
    own = {"recipe": recipe.yaml(), "frames": 1, "iteration": 1}
    write({"hetrl": own, "state_dict": weights}, open_folder(path, recipe).checkpoint)
    return hetrl.Run(path)


Act = Callable[[Mapping[str, torch.Tensor], Mapping[str, torch.Tensor], torch.Tensor | None], Mapping[str, Any]]
"""What agents see and may do, and whose episode has just ended (None at first) -> what they do, by name."""


def played(run: hetrl.Run, act: Act) -> torch.Tensor:
    """Return the returns of a run's evaluation episodes when ``act`` acts in them, ``[N]``."""
    env = evaluation_env(run.recipe, torch.device("cpu"))
    observation, masks, ended = env.start(), env.masks, None
    returns = torch.zeros(env.n_envs)
    running = torch.ones(env.n_envs, dtype=torch.bool)
    while running.any():
        allowed = masks.get("action_mask", {})
        actions = act(_by_name(env.team, observation), _by_name(env.team, allowed), ended)
        moved = env.advance(_grouped(env.team, actions))
        own = env.team.reward(moved.reward, run.recipe.task.arguments.get("reward", "mean"))
        returns += torch.where(running, own, 0.0)
        ended = moved.terminated | moved.truncated
        running &= ~ended
        observation, masks = moved.observation, moved.masks
    return returns


def _by_name(team: Any, grouped: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {agent.name: grouped[agent.group][:, agent.index] for agent in team.agents if agent.group in grouped}


def _grouped(team: Any, actions: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    each = {name: torch.as_tensor(action) for name, action in actions.items()}
    each = {name: action.unsqueeze(-1) if action.ndim == 1 else action for name, action in each.items()}
    return {group: torch.stack([each[agent.name] for agent in agents], 1) for group, agents in team.layout.items()}
