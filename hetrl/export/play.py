"""Act with the policies of this folder. It needs numpy and onnxruntime; where they are .pt2 files, numpy and torch.

    from play import Players

    team = Players()                               # of the folder that this file is in
    action = team["agent_0"](observation)          # one row [F] or a batch [B, F]
    team.reset()                                   # an episode begins

What the files hold is described in policies.json. ``python play.py`` acts once, on zeros, and prints it.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

FileFunction = Callable[[dict[str, np.ndarray]], list[np.ndarray]]
"""From inputs by name, ``[B, *]`` each, to the outputs in their order."""


class Player:
    """What one agent does, given what it sees; its memory, if it has one, is kept from call to call."""

    def __init__(self, name: str, about: dict[str, Any], function: FileFunction, seed: np.random.SeedSequence) -> None:
        self.name, self.about = name, about
        self._function, self._generator = function, np.random.default_rng(seed)
        self._memory: np.ndarray | None = None

    def __call__(self, observation: Any, action_mask: Any = None) -> Any:
        """Return the action, within its bounds: float32, or the number of an option, int64.

        Args:
            observation: one row or a batch of them.
            action_mask: true for the options that may be chosen, those of several choices side by side; one row or a
                batch, as the observation is.
        """
        inputs, single = self._inputs(np.asarray(observation), action_mask)
        action, *memory = self._function(inputs)
        if memory:
            self._memory = memory[0]
        if self.about["action"].get("choices", []) and action.shape[-1] == 1:
            action = action[..., 0]
        return action[0] if single else action

    def reset(self, rows: Any = None) -> None:
        """Forget: an episode begins. ``rows``: of a batch, a mask or the numbers of those that begin one."""
        if rows is None:
            self._memory = None
        elif self._memory is not None:
            self._memory = self._memory.copy()
            self._memory[np.asarray(rows)] = 0.0

    def _inputs(self, observation: np.ndarray, action_mask: Any) -> tuple[dict[str, np.ndarray], bool]:
        shapes = self.about["inputs"]
        rows, single = self._rows(observation)
        inputs = {"observation": rows}
        if "memory" in shapes:
            inputs["memory"] = self._remembered(len(rows), shapes["memory"])
        if "noise" in shapes:
            inputs["noise"] = self._noise((len(rows), *shapes["noise"]))
        if "action_mask" in shapes:
            inputs["action_mask"] = self._mask(action_mask, (len(rows), *shapes["action_mask"]))
        elif action_mask is not None:
            raise ValueError(f"{self.name} steers, and takes no action_mask.")
        return inputs, single

    def _rows(self, observation: np.ndarray) -> tuple[np.ndarray, bool]:
        """Return an observation as rows ``[B, F]``, and whether it was a single one."""
        shape, dtype = tuple(self.about["observation"]["shape"]), self.about["observation"]["dtype"]
        flat = tuple(self.about["inputs"]["observation"])
        single = observation.shape in (shape, flat)
        if not single and observation.shape[1:] not in (shape, flat):
            raise ValueError(f"{self.name} sees {list(shape)}, and was given {list(observation.shape)}.")
        if dtype == "uint8" and observation.dtype != np.uint8:
            raise ValueError(f"{self.name} sees images, uint8, and was given {observation.dtype}.")
        rows = observation.reshape(1 if single else len(observation), *flat).astype(dtype)
        if not np.isfinite(rows).all():
            raise ValueError(f"{self.name} was given an observation that is not finite.")
        return rows, single

    def _remembered(self, rows: int, size: list[int]) -> np.ndarray:
        if self._memory is None:
            return np.zeros((rows, *size), np.float32)
        if len(self._memory) != rows:
            raise ValueError(f"{self.name} remembers {len(self._memory)} rows, and was given {rows}; reset() it first.")
        return self._memory

    def _noise(self, shape: tuple[int, ...]) -> np.ndarray:
        kind = self.about["draws"]
        if kind == "normal":
            drawn = self._generator.standard_normal(shape)
        else:
            drawn = self._generator.gumbel(size=shape) if kind == "gumbel" else self._generator.random(shape)
        return drawn.astype(np.float32)

    def _mask(self, action_mask: Any, shape: tuple[int, ...]) -> np.ndarray:
        if action_mask is None:
            return np.ones(shape, bool)
        mask = np.asarray(action_mask, bool)
        mask = mask[None] if mask.ndim == 1 else mask
        if mask.shape != shape:
            raise ValueError(f"{self.name} has {shape[1]} options in {shape[0]} rows; its mask is {list(mask.shape)}.")
        starts = np.cumsum([0, *self.about["action"]["choices"][:-1]])
        if not np.logical_or.reduceat(mask, starts, -1).all():
            raise ValueError(f"{self.name} was given an action_mask that leaves no option.")
        return mask


class Players(dict[str, Player]):
    """Agent -> policy.

    Args:
        folder: with policies.json; by default that of this file.
        seed: of the draws, where actions are drawn; left out, they differ each time.
    """

    def __init__(self, folder: str | Path | None = None, seed: int | None = None) -> None:
        folder = Path(folder) if folder is not None else Path(__file__).resolve().parent
        self.about: dict[str, Any] = json.loads((folder / "policies.json").read_text(encoding="utf-8"))
        load = {"onnx": _onnx, "torch": _torch}[self.about["format"]]
        policies = self.about["policies"]
        functions = {name: load(folder / each["file"], each["outputs"]) for name, each in policies.items()}
        seeds = np.random.SeedSequence(seed).spawn(len(self.about["agents"]))
        super().__init__()
        for (agent, own), each in zip(self.about["agents"].items(), seeds, strict=True):
            name = own["policy"]
            self[agent] = Player(agent, policies[name], functions[name], each)

    def __missing__(self, agent: str) -> Player:
        raise KeyError(f"no agent {agent!r} here; there are {', '.join(self)}")

    def reset(self, rows: Any = None) -> None:
        """Forget, all agents."""
        for policy in self.values():
            policy.reset(rows)


def _onnx(path: Path, outputs: list[str]) -> FileFunction:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # these are small
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda inputs: session.run(outputs, inputs)


def _torch(path: Path, outputs: list[str]) -> FileFunction:
    import torch

    module = torch.export.load(path).module()

    @torch.no_grad()
    def run(inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        given = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in inputs.items()}
        return [value.numpy() for value in module(**given)]

    return run


if __name__ == "__main__":
    for name, policy in Players(seed=0).items():
        print(name, policy(np.zeros(policy.about["inputs"]["observation"])).tolist())
