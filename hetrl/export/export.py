"""A run's policies as a folder of files, a description of them, and a player."""

import hashlib
import json
import math
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hetrl.data.environment import close
from hetrl.disk import sync, sync_folder, writes
from hetrl.engine.linked import Linked, SharedNetwork
from hetrl.errors import RunError, nearest
from hetrl.export import play
from hetrl.export.formats import FORMATS, Format
from hetrl.export.function import PolicyFunction, apart
from hetrl.recipe.schema import Recipe
from hetrl.runs.folder import LAST, Folder
from hetrl.runs.machine import describe_machine
from hetrl.runs.restored import restored_actors
from hetrl.team import Agent, Box, Discrete

LARGEST = 1e-5
"""How far a file may be from its policy."""
_TRIALS = (1, 2, 3, 7, 64, 256)
"""Rows of the random inputs that a file is run on."""


@dataclass(frozen=True)
class Exported:
    """What an export has written."""

    path: Path
    """The folder."""
    agents: Mapping[str, str]
    """Agent -> its file."""
    apart: Mapping[str, float]
    """File -> how far it was from its policy, at most, on random inputs."""

    def __str__(self) -> str:
        lines = []
        for file, largest in self.apart.items():
            names = ", ".join(agent for agent, own in self.agents.items() if own == file)
            lines.append(f"{self.path / file}  {names}  largest difference {largest:.1e}")
        return "\n".join(lines)


def export(
    run: Path, to: Path, *overrides: str, format: str = "onnx", stochastic: bool = False, checkpoint: str = LAST
) -> Exported:
    """Write the policies of a run's checkpoint into a new folder: a file for each agent, or for those who share.

    Beside them are ``policies.json``, which describes them, and ``play.py``, which acts with them and needs numpy and
    onnxruntime (``torch``: torch) alone. Observations are normalised and actions clamped inside of the files. Every
    file is run against its policy on random inputs, of several batch sizes, memories and masks; the folder appears
    once all of them agree.

    Args:
        run: the run's folder.
        to: the new folder.
        overrides: changes to the task.
        format: ``onnx`` or ``torch``.
        stochastic: with actions that are drawn, their noise an input; otherwise they are the deterministic ones.
        checkpoint: which, as :meth:`~hetrl.runs.folder.Folder.named` takes it.

    Raises:
        RunError: the folder is taken; there is no run, or no checkpoint; a policy cannot be written in this format, or
            its file gives other actions than the policy, more than 1e-5 apart.
        DependencyError: a package that the format needs is missing.
    """
    if format not in FORMATS:
        raise RunError(f"--format {format}: there is no such format.{nearest(format, FORMATS)}")
    kind = FORMATS[format]
    kind.require()
    _refuse_taken(to)
    texts = (*overrides, "run.device=cpu", "run.n_eval_episodes=1")
    recipe, linked, env = restored_actors(run, *texts, checkpoint=checkpoint)
    close(env)
    half = to.with_name(f".{to.name}.part")
    with writes(to):
        shutil.rmtree(half, ignore_errors=True)  # of a kill
        half.mkdir(parents=True)
    try:
        about, files, largest = _write_files(linked, half, kind, stochastic)
        described = {
            "format": format,
            "actions": "drawn" if stochastic else "deterministic",
            "agents": {agent: {"policy": name} for agent, name in files.items()},
            "policies": about,
            **_origin(run, recipe, checkpoint),
        }
        _finish(half, to, described)
    finally:
        shutil.rmtree(half, ignore_errors=True)
    agents = {agent: f"{name}{kind.suffix}" for agent, name in files.items()}
    return Exported(to, agents, {f"{name}{kind.suffix}": value for name, value in largest.items()})


def _refuse_taken(to: Path) -> None:
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise RunError(f"{to} exists and is not empty; export to a new folder.")


def _write_files(
    linked: Linked, folder: Path, kind: Format, stochastic: bool
) -> tuple[dict[str, Any], dict[str, str], dict[str, float]]:
    """Write every policy once, and try it.

    Returns:
        Policy's name -> its description; agent -> its policy's name; policy's name -> how far its file is from it.
    """
    shared: SharedNetwork = linked.nets[linked.plan.policy]  # type: ignore[assignment]
    about: dict[str, Any] = {}
    files: dict[str, str] = {}
    largest: dict[str, float] = {}
    names: dict[str, str] = {}
    for agent in linked.team.agents:
        owner = shared.owner(agent)
        if owner in names:
            files[agent.name] = names[owner]
            continue
        name = names[owner] = files[agent.name] = _free(owner, names.values())
        function = PolicyFunction(linked.policy((agent,)), agent, stochastic=stochastic)
        file = folder / f"{name}{kind.suffix}"
        try:
            with writes(file):
                kind.write(function, file)
            largest[name] = _tried(function, file, kind)
        except (RuntimeError, TypeError, ValueError, AssertionError) as error:
            if isinstance(error, RunError):
                raise
            said = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise RunError(f"the policy of '{agent.name}' cannot be written as {kind.suffix[1:]}: {said}") from error
        if largest[name] > LARGEST:
            raise RunError(
                f"{file.name} is {largest[name]:.2g} away from the policy of '{agent.name}' on random inputs, and may "
                f"be {LARGEST:g}; nothing was written."
            )
        about[name] = _described(function, agent, file, largest[name])
    return about, files, largest


def _free(owner: str, taken: Iterable[str]) -> str:
    """Return a name for the files of an agent or group, who may be called anything; unlike the others in any case."""
    word = base = re.sub(r"\W", "_", owner, flags=re.ASCII)
    count, others = 1, {each.lower() for each in taken}
    while word.lower() in others:
        count += 1
        word = f"{base}_{count}"
    return word


@torch.no_grad()
def _tried(function: PolicyFunction, file: Path, kind: Format) -> float:
    """Return how far a file is from its policy, at most, on random inputs of several sizes."""
    run, generator, largest = kind.load(file, function), torch.Generator().manual_seed(1), 0.0
    for rows in _TRIALS:
        inputs = function.examples(rows, generator)
        wanted = dict(zip(function.outputs, function(**inputs), strict=True))
        largest = max(largest, apart(run(inputs), wanted))
    return largest


def _described(function: PolicyFunction, agent: Agent, file: Path, largest: float) -> dict[str, Any]:
    return {
        "file": file.name,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "observation": {
            "shape": list(agent.observation_shape),
            "dtype": str(agent.observation_dtype).removeprefix("torch."),
        },
        "inputs": function.inputs(),
        "outputs": function.outputs,
        "action": _space(agent.action),
        "memory": function.policy.memory,
        "draws": function.draws,
        "largest_difference": largest,
    }


def _space(space: Box | Discrete) -> dict[str, Any]:
    """Return an action space as JSON has it: a bound that is not there is null."""
    if isinstance(space, Discrete):
        return {"kind": "discrete", "choices": list(space.choices)}
    low, high = ([bound if math.isfinite(bound) else None for bound in side] for side in (space.low, space.high))
    return {"kind": "continuous", "low": low, "high": high}


def _origin(run: Path, recipe: Recipe, checkpoint: str) -> dict[str, Any]:
    """Return what the policies come from."""
    text = Folder(run).recipe.read_bytes()
    return {
        "recipe": {"name": recipe.name, "about": recipe.about, "sha256": hashlib.sha256(text).hexdigest()},
        "run": run.name,
        "frames": Folder(run).load_checkpoint(checkpoint)["hetrl"]["frames"],
        "versions": describe_machine(recipe)["packages"],
    }


def _finish(half: Path, to: Path, described: Mapping[str, Any]) -> None:
    """Add description and player, and give the folder its name."""
    with writes(to):
        text = json.dumps(described, indent=1, allow_nan=False) + "\n"
        (half / "policies.json").write_text(text, encoding="utf-8")
        shutil.copyfile(str(play.__file__), half / "play.py")
        for file in half.iterdir():
            sync(file)
        if to.exists():
            to.rmdir()  # empty, as it was found
        half.replace(to)
        sync_folder(to.parent)
