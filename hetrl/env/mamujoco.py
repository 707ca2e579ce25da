"""Robots of MuJoCo whose joints are driven by a team (Peng et al. 2021, arXiv 2003.06709), straight over MuJoCo.

How this differs from gymnasium-robotics' ``mamujoco_v1``, whose observations, rewards and terminations it reproduces:

1. Observations and rewards are float32; they are computed in float64, for all environments at once.
2. Actions are clamped to their bounds. There the simulator clamps the torque, but the cost counts the action as given.
3. ``full+id`` exists, for every factorisation; those of one joint each exist for all robots, and two more.
4. Random numbers come from a private stream: other starts, from the same distribution.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge
from torch import Tensor

from hetrl.arguments import Count, Seed, checked
from hetrl.env import robots
from hetrl.env.physics import Physics, load_model
from hetrl.env.robots import View
from hetrl.env.team_env import Reward, TeamEnv
from hetrl.errors import RecipeError, RunError
from hetrl.team import Grouped

_VELOCITY_LIMIT = 10.0
"""What ``clipped_qvel`` is clipped to, in gymnasium's hopper and walker."""


class Mamujoco(TeamEnv):
    """A robot of MuJoCo, each of whose agents drives some of its joints; all earn the same.

    reward = forward * (x' - x) / dt + height * x' + survival [healthy]
             - control |a|^2 - contact |f|^2 - distance |gap|

    The figures, and when a robot is healthy, are those of gymnasium's ``-v5`` tasks (:data:`hetrl.env.robots.ROBOTS`).
    With HalfCheetah, where only the speed and the controls count, with weights of 1 and 0.1, moving 0.1 m in a step of
    0.05 s with six torques of 0.5 earns 2 - 0.1 * 1.5 = 1.85.

    A robot that is not healthy any more *terminates*; the horizon *truncates*. The state is the observation of the
    single-agent task.

    Args:
        robot: ``Ant``, ``HalfCheetah``, ``Hopper``, ``Humanoid``, ``HumanoidStandup``, ``Reacher``, ``Swimmer`` or
            ``Walker2d``.
        parts: which joints go together, agents x joints each (``2x3``); see :meth:`catalogue`.
        observation: ``full+id``, the whole state and who one is, one-hot; or ``local``, one's own joints, the
            positions of those nearby, and the root.
        k: how many links away joints are still near, with ``local``.
        n_envs: environments in the batch, ``N``.
        horizon: steps after which an episode is truncated; by default gymnasium's, 50 for the reacher and 1,000 for all
            others [step].
        reward: the team's reward, as the mean or the sum over agents, each of which earns the same, or none
            (``per_agent``).
        threads: over which the simulation is spread; the numbers do not depend on it.
        seed: of the noise on first positions and velocities.
        device: where the tensors live; the simulation itself is on the CPU.

    Raises:
        RecipeError: an argument is unknown or out of range.
        DependencyError: MuJoCo is not installed.
    Source: Peng et al. 2021, arXiv:2003.06709; gymnasium's ``-v5`` tasks, as in gymnasium-robotics' ``mamujoco_v1``.
    Differs: see the top of this file.
    """

    def __init__(
        self,
        *,
        robot: str,
        parts: str,
        observation: View = "full+id",
        k: Annotated[int, Ge(0)] = 1,
        n_envs: Count = 20,
        horizon: Count | None = None,
        reward: Reward = "mean",
        threads: Count = 1,
        seed: Seed = 0,
        device: str = "cpu",
    ) -> None:
        self.check_arguments({"robot": robot, "parts": parts})
        self.robot = chosen = robots.robot(robot)
        super().__init__(n_envs=n_envs, horizon=horizon or chosen.horizon, reward=reward, device=device)
        self.asks = True  # its simulators are on the host, which every step has to ask anyway
        self.name, self.parts = robot, parts
        self.team = robots.team(chosen, parts, observation, k)
        model = load_model(chosen.model)
        n_substeps, derived = chosen.n_substeps, chosen.derived
        self.physics = Physics(model, n_envs=n_envs, n_substeps=n_substeps, derived=derived, threads=threads)
        self._dt = model.opt.timestep * n_substeps
        values, columns = self.physics.values, self.physics.columns
        self._first, self._n_velocities = model.qpos0, model.nv
        self._control, self._velocities = values[:, columns["ctrl"]], values[:, columns["qvel"]]
        self._place = values[:, columns[chosen.place[0]].start + chosen.place[1]]
        self._forces = values[:, columns["cfrc_ext"]] if chosen.contact else None
        self._gap = [values[:, columns["xpos"]][:, 3 * body : 3 * body + 3] for body in chosen.gap or ()]
        bounds = [chosen.healthy.get(i, (-np.inf, np.inf)) for i in range(model.nq + model.nv)]
        self._low, self._high = np.array(bounds).T
        self._lay_out(robots.views(chosen, parts, observation, k), chosen.agents(parts))
        self._on_cpu = self.device.type == "cpu"
        self._steps = torch.zeros(n_envs, dtype=torch.int64)  # beside the simulation, on the CPU
        self._generator = torch.Generator().manual_seed(seed)
        self._make_specs()

    __init__ = checked(__init__, "env/mamujoco")

    def _lay_out(self, views: Mapping[str, list[robots.Element]], joints: Mapping[str, tuple[str, ...]]) -> None:
        """Find the columns of what each group sees and of what each control does.

        What can be seen stands in one table, the simulator's columns and some computed of them: an
        observation is a selection.
        """
        values, columns = self.physics.values, self.physics.columns
        positions, n_columns = values[:, columns["qpos"]], values.shape[1]
        computed: dict[str, tuple[Any, list[Any]]] = {
            "clipped_qvel": (np.clip, [self._velocities, -_VELOCITY_LIMIT, _VELOCITY_LIMIT]),
            "sin_qpos": (np.sin, [positions]),
            "cos_qpos": (np.cos, [positions]),
            "gap": (np.subtract, self._gap),
        }
        wanted = {array for entries in views.values() for array, _ in entries} & computed.keys()
        start = {name: own.start for name, own in columns.items()}
        widths = {array: computed[array][1][0].shape[1] for array in sorted(wanted)}
        for array, width in widths.items():
            start[array] = n_columns
            n_columns += width
        start["id"] = n_columns
        self._table = np.zeros((self.n_envs, n_columns + 2), np.float32)
        self._table[:, -1] = 1.0
        self._computed = [
            (*computed[array], self._table[:, start[array] : start[array] + width]) for array, width in widths.items()
        ]
        self._seen = {
            group: np.array([[start[array] + i for array, i in views[agent.name]] for agent in agents])
            for group, agents in self.team.layout.items()
        }
        acted = [joint for agents in self.team.layout.values() for agent in agents for joint in joints[agent.name]]
        self._order = np.array([self.robot.controls.index(joint) for joint in acted])

    # ----- what the recipe's checker and `hetrl list` ask, before anything is built

    @classmethod
    def check_arguments(cls, arguments: Mapping[str, Any]) -> None:
        """Refuse a robot or a factorisation that does not exist, and neighbours where everything is seen.

        Raises:
            RecipeError: with the nearest name.
        """
        robots.robot(arguments["robot"]).agents(arguments["parts"])
        if "k" in arguments and arguments.get("observation") != "local":
            raise RecipeError("task.k: who sees everything has no neighbours; drop it, or set observation: local.")

    @classmethod
    def catalogue(cls) -> Mapping[str, str]:
        """Return every robot and factorisation, ``robot parts``, with the agents' sizes as they are by default."""
        return {
            f"{name} {parts}": robots.team(robot, parts, "full+id", 1).sizes
            for name, robot in robots.ROBOTS.items()
            for parts in robot.factorisations()
        }

    # ----- the fast path: plain tensors

    def start(self) -> Grouped:
        """Reset every environment. Returns the first observations, group -> ``[N, n, F]``."""
        return self._reset_rows(torch.arange(self.n_envs))

    # What follows is numpy: right after the simulator, which has the processor's cache to itself, an operation of numpy
    # was measured at half the cost of one of torch.

    def _simulate(self, actions: Mapping[str, Tensor]) -> tuple[Grouped, Grouped, Tensor, Tensor]:
        robot, steps = self.robot, self._steps.numpy()
        acted = [actions[group].detach().cpu().numpy().reshape(self.n_envs, -1) for group in self.team.layout]
        joined = acted[0] if len(acted) == 1 else np.concatenate(acted, 1)
        self._control[:, self._order] = joined.clip(-robot.torque, robot.torque)
        before = self._place.copy()
        self.physics.step()
        earned = (self._place - before) * (robot.forward / self._dt) - robot.control * _square(self._control)
        if robot.healthy:
            state = self.physics.values[:, : len(self._low)]
            healthy = ((state > self._low) & (state < self._high)).all(-1)
        else:
            healthy = np.ones(self.n_envs, bool)
        earned += robot.survival * healthy
        if robot.height:
            earned += robot.height * self._place
        if robot.distance:
            earned -= robot.distance * np.sqrt(_square(np.subtract(*self._gap)))
        if self._forces is not None:
            np.clip(self._forces, -robot.force_limit, robot.force_limit, out=self._forces)
            earned -= np.minimum(robot.contact * _square(self._forces), robot.contact_limit)
        each = earned.astype(np.float32)[:, None]
        reward = {group: self._tensor(each.repeat(len(agents), 1)) for group, agents in self.team.layout.items()}
        steps += 1
        truncated = healthy & (steps >= self.horizon)
        return self._observe(), reward, self._tensor(~healthy), self._tensor(truncated)

    def _reset_rows(self, rows: Tensor) -> Grouped:
        """Reset the rows ``[k]`` and return the latest observations with theirs replaced."""
        where, robot, n_velocities = rows.numpy(force=True), self.robot, self._n_velocities
        around, speed = robot.noise
        positions = self._first + self._uniform(len(where), len(self._first), around)
        if robot.normal:
            velocities = speed * self._draws(torch.randn, len(where), n_velocities)
        else:
            velocities = self._uniform(len(where), n_velocities, speed)
        if robot.goal is not None:
            radius, angle = self._draws(torch.rand, 2, len(where))
            radius, angle = robot.goal * np.sqrt(radius), 2 * np.pi * angle  # uniform over the area
            positions[:, -2], positions[:, -1] = radius * np.cos(angle), radius * np.sin(angle)
            velocities[:, -2:] = 0
        self.physics.place(where, positions, velocities)
        self._steps.numpy()[where] = 0
        return self._observe()

    def _draws(self, kind: Callable[..., Tensor], *shape: int) -> np.ndarray:
        return kind(shape, generator=self._generator, dtype=torch.float64).numpy()

    def _uniform(self, n_rows: int, size: int, scale: float) -> np.ndarray:
        """Noise between minus and plus its scale."""
        return (2 * self._draws(torch.rand, n_rows, size) - 1) * scale

    def _observe(self) -> Grouped:
        table, values = self._table, self.physics.values
        table[:, : values.shape[1]] = values
        for compute, given, out in self._computed:
            compute(*given, out=out)
        observation = {group: self._tensor(table.take(seen, 1)) for group, seen in self._seen.items()}
        object.__setattr__(self, "_observation", observation)  # torch's own way takes longer than all of the above
        return observation

    def _tensor(self, array: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(array)
        return tensor if self._on_cpu else tensor.to(self.device)

    def _picture(self, row: int) -> np.ndarray:
        return self.physics.draw(row)

    # ----- random numbers and exact continuation

    def seed(self, seed: int) -> None:
        """Start the random stream afresh; the next :meth:`start` is the first of that seed."""
        self._generator.manual_seed(seed)

    def state_dict(self, *_: Any, **__: Any) -> dict[str, Any]:
        """Everything that the next steps depend on, as tensors, and whose they are."""
        return {
            "robot": self.name,
            "parts": self.parts,
            "values": torch.from_numpy(self.physics.values.copy()),
            "steps": self._steps.clone(),
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any], *_: Any, **__: Any) -> None:
        """Continue bit for bit from ``state``, which an environment with the same arguments saved.

        Raises:
            RunError: it comes from another robot, other parts or another number of environments.
        """
        saved_task, own_task = f"{state.get('robot')} {state.get('parts')}", f"{self.name} {self.parts}"
        if saved_task != own_task:  # two robots may have the same columns
            raise RunError(f"state: saved with {saved_task}, this task has {own_task}.")
        saved, own = list(state["values"].shape), list(self.physics.values.shape)
        if saved != own:
            raise RunError(f"state: saved with [n_envs, the robot's columns] = {saved}, this task has {own}.")
        self.physics.values[:] = state["values"].numpy(force=True)
        self._steps = state["steps"].to("cpu", copy=True)
        self._generator.set_state(state["generator"].cpu())
        self._observe()


def _square(rows: np.ndarray) -> np.ndarray:
    """The squared length of each row."""
    return np.einsum("ij,ij->i", rows, rows)
