"""Many copies of one MuJoCo model, whose states are one array."""

import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from hetrl.errors import DependencyError, RunError


@cache
def load_model(file: str) -> Any:
    """Return the model of a file of gymnasium's, to be shared and never written to.

    Raises:
        DependencyError: MuJoCo or gymnasium is not installed.
    """
    found = {package: find_spec(package) for package in ("mujoco", "gymnasium")}
    for package, spec in found.items():
        if spec is None:
            raise DependencyError(f'task: {package} is not installed; run: pip install "hetrl[mujoco]"')
    import mujoco

    folder = Path(found["gymnasium"].submodule_search_locations[0])  # type: ignore[union-attr, index]
    with warnings.catch_warnings():
        # The cheetah's file scales its mass in a way that MuJoCo is about to drop.
        warnings.filterwarnings("ignore", message=".*settotalmass.*")
        return mujoco.MjSpec.from_file(str(folder / "envs" / "mujoco" / "assets" / file)).compile()


@dataclass
class _Lane:
    """What one thread has to do: the rows ``[first, last)``, through a simulator of its own."""

    data: Any
    first: int
    last: int
    read: list[tuple[np.ndarray, slice]]
    """Arrays of the simulator, flat, and the columns that they are copied to."""


class Physics:
    """``n_envs`` simulations of one model, each a row of :attr:`values`.

    A row is loaded into a simulator, stepped, and written back. There is one simulator for each thread and not one for
    each row: the few that there are stay in the processor's cache, and a reset or a checkpoint is a copy of rows. A row
    holds all that the next step depends on (with what the solver starts from), so that nothing is lost on the way:
    stepping is bit for bit that of a simulator for each row.

    The loop over rows is Python's, as MuJoCo has no batched step that keeps what the solver starts from, or contact
    forces (``mujoco.rollout`` gives neither back). It costs about 1 µs a row, of 25 to 300 for the step itself, in
    which the interpreter is released.

    Args:
        model: the MuJoCo model.
        n_envs: rows.
        n_substeps: steps of the simulator in one of :meth:`step`.
        derived: arrays of the simulator, by name, that are kept beside the state.
        threads: over which the rows are spread.
    """

    values: np.ndarray
    """``[n_envs, columns]`` float64."""
    columns: dict[str, slice]
    """Where each array of the simulator is: ``qpos``, ``qvel``, ``qacc_warmstart``, ``ctrl``, and the derived ones."""

    def __init__(self, model: Any, *, n_envs: int, n_substeps: int, derived: Sequence[str], threads: int) -> None:
        import mujoco

        self._mujoco, self.model, self._n_substeps = mujoco, model, n_substeps
        bits = mujoco.mjtState
        parts = {
            "qpos": bits.mjSTATE_QPOS,
            "qvel": bits.mjSTATE_QVEL,
            "qacc_warmstart": bits.mjSTATE_WARMSTART,
            "ctrl": bits.mjSTATE_CTRL,
        }  # in MuJoCo's order; none of our models has anything else that changes
        self._spec = sum(int(bit) for bit in parts.values())
        sizes = {name: mujoco.mj_stateSize(model, int(bit)) for name, bit in parts.items()}
        self._state = sum(sizes.values())
        first = mujoco.MjData(model)
        sizes |= {name: getattr(first, name).size for name in derived}
        ends = np.cumsum([0, *sizes.values()]).tolist()
        self.columns = {name: slice(*ends) for name, ends in zip(sizes, pairwise(ends), strict=True)}
        self.values = np.zeros((n_envs, ends[-1]))
        self._derived = derived
        shares = np.linspace(0, n_envs, min(threads, n_envs) + 1).astype(int).tolist()
        self._lanes = [self._lane(*share) for share in pairwise(shares)]
        self._pool = ThreadPoolExecutor(len(self._lanes)) if len(self._lanes) > 1 else None
        self._artist: tuple[Any, Any] | None = None

    def _lane(self, first: int, last: int) -> _Lane:
        data = self._mujoco.MjData(self.model)
        # Views: an array of the simulator stays where it is.
        read = [(getattr(data, name).reshape(-1), self.columns[name]) for name in self._derived]
        return _Lane(data, first, last, read)

    def step(self) -> None:
        """Step every row, with the controls that stand in it."""
        if self._pool is None:
            self._step(self._lanes[0])
        else:
            list(self._pool.map(self._step, self._lanes))

    def _step(self, lane: _Lane) -> None:
        mujoco, model, data, spec, read = self._mujoco, self.model, lane.data, self._spec, lane.read
        for row in self.values[lane.first : lane.last]:
            state = row[: self._state]
            mujoco.mj_setState(model, data, state, spec)
            mujoco.mj_step(model, data, self._n_substeps)
            mujoco.mj_getState(model, data, state, spec)
            if read:
                mujoco.mj_rnePostConstraint(model, data)  # contact forces; a step does not compute them
                for array, columns in read:
                    row[columns] = array

    def place(self, rows: Iterable[int], positions: np.ndarray, velocities: np.ndarray) -> None:
        """Put ``rows`` at rest in the solver's eyes, at ``positions`` and with ``velocities``, ``[k, ...]`` each.

        The simulator computes what follows from them; contact forces are 0 until the first step.
        """
        mujoco, model, lane = self._mujoco, self.model, self._lanes[0]
        for row, position, velocity in zip(rows, positions, velocities, strict=True):
            mujoco.mj_resetData(model, lane.data)
            lane.data.qpos[:], lane.data.qvel[:] = position, velocity
            mujoco.mj_forward(model, lane.data)
            mujoco.mj_getState(model, lane.data, self.values[row, : self._state], self._spec)
            for array, columns in lane.read:
                self.values[row, columns] = array

    def draw(self, row: int) -> np.ndarray:
        """Draw a row as its model's own camera sees it, ``[480, 640, 3]`` uint8. No row changes by it.

        Raises:
            RunError: MuJoCo has no OpenGL to draw with.
        """
        mujoco, model = self._mujoco, self.model
        if self._artist is None:
            try:
                self._artist = mujoco.Renderer(model, height=480, width=640), mujoco.MjData(model)
            except Exception as error:  # of what kind depends on what is missing
                raise RunError(
                    "env/mamujoco cannot draw, MuJoCo found no OpenGL. Without a display, set MUJOCO_GL=egl (Debian: "
                    "libegl1) or MUJOCO_GL=osmesa (libosmesa6) before the command."
                ) from error
        renderer, data = self._artist
        mujoco.mj_setState(model, data, self.values[row, : self._state], self._spec)
        mujoco.mj_forward(model, data)
        renderer.update_scene(data, camera=0 if model.ncam else -1)
        for effect in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            renderer.scene.flags[effect] = False  # four fifths of the time, where the CPU does it
        return renderer.render()
