"""VMAS scenarios (Bettini et al. 2022, arXiv 2207.03530) with masked resets, a real horizon and a private stream.

How this differs from ``vmas`` and from TorchRL's wrapper of it:

1. The horizon *truncates*; in ``vmas`` it terminates.
2. Finished rows (a *row* is one environment of the batch) are reset together, by copying rows of a *spare* simulator.
   ``vmas`` resets rows one by one in python. On a CPU the spare is reset in full as soon as a row of it would be handed
   out twice. Elsewhere the host would have to wait to know, and the spare is reset every 8 steps (or every horizon):
   an episode that ends before that may begin as the one before it in its row did.
3. Resetting a row changes nothing for another row. In ``vmas`` a reset also recomputes every row's observation (fresh
   noise, longer histories) and, in ``het_mass`` and ``road_traffic``, rewrites what all rows share. Here what all rows
   share (also the goal landmark of some ``mpe`` scenarios) is drawn when all rows start together.
4. Random numbers come from a stream of this environment, not from one shared by all of the process.
5. ``info`` is never computed.

6. With ``capture`` its step is traced and compiled, see :mod:`hetrl.env.capture`.

What stays of ``vmas``'s own coupling of rows: contacts are looked for in all rows as soon as one row has the two bodies
close (rounding, and the collision penalty of ``navigation``; ``broad_phase: none`` ends it), and draws whose number
depends on all rows (the scripted team of ``football``, respawning targets in ``discovery``).
"""

import inspect
import math
import random
import warnings
from collections.abc import Callable, Hashable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from hetrl.env.adapter.scenario import look_over
from hetrl.env.capture import When
from hetrl.env.physique import physique
from hetrl.env.scenarios import scenario_class, scenarios, shipped, world_arguments
from hetrl.env.settled import FixedPlaces
from hetrl.env.simulator_state import (
    PlayedChoice,
    RowChoice,
    choose_rows,
    copy_rows,
    footprint,
    restore,
    snapshot,
)  # fmt: skip
from hetrl.env.spare import Spare
from hetrl.env.team_env import Reward, TeamEnv
from hetrl.env.transition import Transition
from hetrl.errors import RecipeError, RunError, nearest
from hetrl.graph import inline
from hetrl.rng import Stream
from hetrl.signature import said
from hetrl.team import Box, Discrete, Grouped, Team

_REWARDS = get_args(Reward)
_ACTIONS = ("continuous", "discrete", "multi_discrete")
_CAPTURE = (False, True, "auto")
BroadPhase = Literal["batch", "none"]
_OWNERS = (("world", "_agents"), ("world", "_landmarks"))
"""Lists that own all entities: their members are named before anything that refers to them."""
_MOST_BODIES = 1000
"""Agents, and other things that a scenario counts. Every two of them are looked at when it is built."""
_TRIALS = 16
"""Resets of a two-row simulator that tell what a reset writes."""


# --------------------------------------------------------------------------- environment


class Vmas(TeamEnv):
    """``n_envs`` copies of a VMAS scenario, stepped as one batch.

    Args:
        scenario: name of a scenario, see :func:`scenarios`.
        n_envs: environments in the batch, ``N``.
        horizon: steps after which an episode is truncated.
        reward: the team's reward, as the mean or the sum over agents, or none (``per_agent``).
        actions: ``continuous``, or VMAS's discretisation as one choice or as one choice per dimension.
        capture: take a traced and compiled step; ``auto`` does so after 2,000 steps, and where it can.
        broad_phase: where contacts are looked for. ``batch``, as VMAS does: for all rows where one row has the two
            bodies close. ``none``: for all pairs that may touch, so that no row depends on another.
        seed: start of the private random stream.
        device: where the simulator's tensors live.
        scenario_args: the scenario's own arguments, see :func:`scenario_arguments`.

    The ``horizon`` of ``wind_flocking`` (200 by default) is an argument of that scenario with another meaning, how far
    its goal lies; it keeps its default here.

    Raises:
        RecipeError: an argument is unknown or has a value that cannot be used.
        DependencyError: VMAS is not installed.
        RunError: at the first step, ``capture`` is true and the scenario cannot be captured.
    """

    def __init__(
        self,
        *,
        scenario: str,
        n_envs: int = 64,
        horizon: int = 100,
        reward: Reward = "mean",
        actions: Literal["continuous", "discrete", "multi_discrete"] = "continuous",
        capture: When = False,
        broad_phase: BroadPhase = "batch",
        seed: int = 0,
        device: str = "cpu",
        **scenario_args: Any,
    ) -> None:
        words: dict[str, Any] = {"n_envs": n_envs, "horizon": horizon, "reward": reward, "actions": actions}
        words |= {"capture": capture, "broad_phase": broad_phase}
        self.check_arguments({"scenario": scenario, **words, **scenario_args})
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise RecipeError(f"task.seed: {seed!r} is not a whole number of at least 0.")
        super().__init__(n_envs=n_envs, horizon=horizon, reward=reward, device=device)
        self.scenario, self.actions, self.broad_phase = scenario, actions, broad_phase
        self._capture: Any = None
        if capture:
            from hetrl.env.capture.capture import Capture  # brings torch's tracing, of no use to others

            self._capture = Capture(self, capture, _OWNERS)
        # What is captured is recorded where the host does not ask; whoever is not has a thousand launches besides.
        recorded = self._capture is not None and not self.asks
        self._choose: RowChoice = PlayedChoice("task.capture: a reset") if recorded else choose_rows
        self._given, self._built_with = scenario_args, seed
        self._scenario_args = world_arguments(scenario, scenario_args, _words(type(self)))
        self._scenario = scenario_class(scenario)
        if not shipped(scenario):
            self._look_over()
        self._simulator = self._build(n_envs)
        self._terminates = type(self._simulator.scenario).done is not _never()
        self._apart, self._clock = self._terminates, 0
        """Whether rows may end apart from each other; if not, all have taken as many steps, which the host counts."""
        self._spare: Spare | None = None
        self._served = False
        """Whether the spare is ready for the step to come."""
        self._settled = FixedPlaces([(0, *path) for path in _OWNERS])
        self._stream = Stream(seed, self.device)
        self._spare_stream = Stream(_spare_seed(seed), self.device)
        self.team = self._make_team()
        self._members = {
            group: [self.team.agents.index(agent) for agent in agents] for group, agents in self.team.layout.items()
        }
        self._make_specs()

    # ----- what the recipe's checker asks, before anything is built

    @classmethod
    def check_arguments(cls, arguments: Mapping[str, Any]) -> None:
        """Refuse a scenario that does not exist, an argument that it does not take, or a value out of range.

        Raises:
            RecipeError: with the nearest name.
        """
        own = _words(cls)
        world_arguments(str(arguments.get("scenario")), {name: arguments[name] for name in set(arguments) - own}, own)
        for name in ("n_envs", "horizon"):
            count = arguments.get(name, 1)
            if isinstance(count, bool) or not isinstance(count, int) or count < 1:
                raise RecipeError(f"task.{name}: {count!r} is not a whole number of at least 1.")
        for name in set(arguments) - own:
            count = arguments[name]
            if name.startswith("n_") and isinstance(count, int) and count > _MOST_BODIES:
                raise RecipeError(f"task.{name} = {count}: VMAS makes them one by one; write at most {_MOST_BODIES:,}.")
        options = {"reward": _REWARDS, "actions": _ACTIONS, "capture": _CAPTURE, "broad_phase": get_args(BroadPhase)}
        for name, choices in options.items():
            choice = arguments.get(name, choices[0])
            if not any(choice is known or (choice == known and isinstance(known, str)) for known in choices):
                words = [str(known).lower() if isinstance(known, bool) else known for known in choices]
                raise RecipeError(f"task.{name}: no choice {choice!r}.{nearest(str(choice), words)}")

    @classmethod
    def catalogue(cls) -> Mapping[str, str]:
        """Return scenario -> who its agents are, with its default arguments."""
        with warnings.catch_warnings():
            # A controller in some scenarios of VMAS says this of its own default arguments.
            warnings.filterwarnings("ignore", message="Force limits not specified")
            return {name: cls(scenario=name, n_envs=1).team.sizes for name in scenarios()}

    # ----- the fast path: plain tensors

    def start(self) -> Grouped:
        """Reset every environment. Returns the first observations, group -> ``[N, n, F]``."""
        with self._stream:
            self._simulator._reset(return_observations=False)
            self._observation = self._observe(self._simulator)
        self._steps.zero_()
        self._apart, self._clock = self._terminates, 0
        self._settled.loosen()
        if self._spare is not None:  # what all rows share has been drawn anew
            self._spare.forget()
        if self._capture is not None:
            self._capture.loosen()
        return self._observation

    def seed(self, seed: int) -> None:
        """Start the random stream afresh; the next :meth:`start` is the first of that seed."""
        self._stream.seed(seed)
        self._spare_stream.seed(_spare_seed(seed))
        self._spare = None  # its next states belong to the old seed

    def _picture(self, row: int) -> np.ndarray:
        from hetrl.env.painter import paint

        return paint(self._simulator, row)

    # ----- exact continuation

    def state_dict(self, *_: Any, **__: Any) -> dict[str, Any]:
        """Everything that the next steps depend on, as tensors and primitives."""
        spare = self._spare
        return {
            "simulator": snapshot(self._simulator, _OWNERS),
            "stream": self._stream.state_dict(),
            "spare_stream": self._spare_stream.state_dict(),
            "steps": self._steps.clone(),
            "observation": {group: value.clone() for group, value in self._observation.items()},
            "capture": None if self._capture is None else self._capture.state_dict(),
            "spare": None if spare is None else spare.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any], *_: Any, **__: Any) -> None:
        """Continue bit for bit from ``state``, which an environment with the same arguments saved.

        Raises:
            RunError: it comes from an environment with other arguments.
        """
        if state["steps"].shape != self._steps.shape:
            raise RunError(f"state: saved with n_envs = {len(state['steps'])}, this task has n_envs = {self.n_envs}.")
        restore(self._simulator, state["simulator"], self.device)
        self._stream.load_state_dict(state["stream"])
        self._spare_stream.load_state_dict(state["spare_stream"])
        self._steps.copy_(state["steps"])
        self._settled.loosen()
        self._clock = int(self._steps[0])
        self._apart = self._terminates or bool((self._steps != self._clock).any())
        self._observation = _copied(state["observation"], self.device)
        if self._capture is not None:
            self._capture.load_state_dict(state.get("capture"))
        saved = state["spare"]
        if saved is None:
            self._spare = None
            return
        spare = self._spare = self._spare or self._make_spare()
        spare.load_state_dict(saved)

    # ----- steps on trust

    def trust(self) -> bool:
        """Do not ask from now on, at each step, whether it went as the traced one; see :meth:`held`.

        Returns whether there was anything to ask. On a CPU asking costs nothing.
        """
        told = [captured.trust() for captured in self._captures if not self.asks]
        return any(told)

    def held(self) -> bool:
        """Whether all since :meth:`trust` went as what was traced; it waits for the device, and asks again."""
        told = [captured.held() for captured in self._captures]  # each is asked, so that each asks again
        return all(told)

    @property
    def _captures(self) -> list[Any]:
        """What is captured: steps, and resets of the spare."""
        found = (self._capture, None if self._spare is None else self._spare.captured)
        return [captured for captured in found if captured is not None]

    # ----- steps as a part of something recorded

    def advance(self, actions: Mapping[str, Tensor]) -> Transition:
        """Take one step, then reset what finished; see :meth:`TeamEnv.advance`."""
        if not inline():
            return super().advance(actions)
        try:
            moved = super().advance(actions)
            self._settle()
        except BaseException:
            self._settle(self._settled.put_back)
            raise
        return moved

    def way(self) -> Hashable:
        """Make the next step ready to be recorded or played, and return which of several it is; None where it is not.

        It then has to be taken within a recording (:func:`~hetrl.graph.inline`) that writes to :attr:`places`, and
        :meth:`stepped` has to follow: what the host counts, and does now and then, is no part of what is recorded.
        """
        number = None if self._capture is None or self.asks else self._capture.way
        if number is None or (self._apart and self._spare is None):
            return None
        if self._apart and self._spare is not None:
            self._serve(self._spare, None)
            self._spare.settle()
        self._settle()
        return number, self._apart

    def stepped(self) -> Grouped | None:
        """Do what the host does after a step that was played. Returns observations, where all rows began anew."""
        self._clock += 1
        self._served = False
        return self.start() if not self._apart and self._clock >= self.horizon else None

    @property
    def places(self) -> list[Tensor]:
        """All that such a step reads and writes."""
        spare = [] if self._spare is None else self._spare.places
        notes = [note for captured in self._captures for note in captured.notes]
        return [*self._settled.places, *spare, *notes, self._steps]

    def drawing(self) -> AbstractContextManager[Any]:
        """Within this, what such a step draws comes from the environment's stream."""
        return self._stream if self._capture.draws else nullcontext()

    def _settle(self, how: Callable[[Any], None] | None = None) -> None:
        held = {"simulator": self._simulator, "observation": dict(self._observation)}
        (how or self._settled.settle)(held)
        self._observation = held["observation"]

    # ----- the simulator

    def _build(self, n_envs: int) -> Any:
        """A simulator of ``n_envs`` rows. Whatever it draws while it is built depends on the seed alone."""
        from vmas.simulator.environment import Environment

        outside = list(Environment.vmas_random_state)
        with Stream(self._built_with, self.device):
            # The constructor draws from a state that the class shares between all its instances.
            Environment.vmas_random_state[:] = [torch.get_rng_state(), np.random.get_state(), random.getstate()]
            try:
                simulator = Environment(
                    self._scenario(),
                    num_envs=n_envs,
                    device=self.device,
                    max_steps=None,
                    clamp_actions=True,
                    continuous_actions=self.actions == "continuous",
                    multidiscrete_actions=self.actions == "multi_discrete",
                    **self._scenario_args,
                )
            except RecipeError:
                raise
            except Exception as error:  # whatever a scenario makes of numbers that it was not written for
                text = str(error) or "an assertion in it failed"
                if not shipped(self.scenario):
                    text = said(error)
                raise RecipeError(
                    f"task: scenario '{self.scenario}' cannot be built with {self._scenario_args}: {text}. "
                    f"Change those arguments{'' if shipped(self.scenario) else ', or the scenario'}."
                ) from error
            finally:
                Environment.vmas_random_state[:] = outside
        if self.broad_phase == "none":
            simulator.world.__class__ = _without_broad_phase(simulator.world.__class__)
        return simulator

    def twin(self) -> "Vmas":
        """The same once more, to experiment on: not captured, and with a random stream of its own."""
        return Vmas(
            scenario=self.scenario, n_envs=self.n_envs, horizon=2**62, actions=self.actions,
            broad_phase=self.broad_phase, seed=self._built_with, device=str(self.device), **self._given,
        )  # fmt: skip

    def _make_team(self) -> Team:
        simulator = self._simulator
        sizes = [_size(space) for space in simulator.observation_space]
        spaces: list[Box | Discrete] = []
        for agent in simulator.agents:
            space = simulator.get_agent_action_space(agent)
            if self.actions == "continuous":
                spaces.append(Box(tuple(space.low.tolist()), tuple(space.high.tolist())))
            elif self.actions == "multi_discrete":
                spaces.append(Discrete(tuple(int(n) for n in space.nvec)))
            else:
                spaces.append(Discrete((int(space.n),)))
        bodies = [physique(agent) for agent in simulator.agents]
        return Team.of([agent.name for agent in simulator.agents], sizes, spaces, bodies)

    def _simulate(self, actions: Mapping[str, Tensor]) -> tuple[Grouped, Grouped, Tensor, Tensor]:
        """One step without resets."""
        outcome = None if self._capture is None else self._capture.step(actions)
        if outcome is None:
            with self._stream:
                outcome = self.step_simulator(self._simulator, actions)
        observation, reward, terminated = outcome
        self._observation = observation
        self._steps += 1
        if not inline():
            self._clock += 1
            self._settled.loosen()
        truncated = (self._steps >= self.horizon) & ~terminated
        return observation, reward, terminated, truncated

    def step_simulator(self, simulator: Any, actions: Mapping[str, Tensor]) -> tuple[Grouped, Grouped, Tensor]:
        """Observations, rewards and who terminated. The order is that of ``vmas``: numbers may depend on it."""
        for group, members in self._members.items():
            for agent, action in zip(members, actions[group].unbind(1), strict=True):
                simulator._set_action(action, simulator.agents[agent])
        self._move(simulator)
        # A reward may be a buffer that the next agent's reward overwrites, hence the copy; wheel's is [N, 1].
        rewards = [
            simulator.scenario.reward(agent).flatten().to(torch.float32, copy=True) for agent in simulator.agents
        ]
        observation = self._observe(simulator)
        terminated = simulator.scenario.done().to(torch.bool, copy=True)
        reward = {group: torch.stack([rewards[i] for i in members], 1) for group, members in self._members.items()}
        return observation, reward, terminated

    @staticmethod
    def _move(simulator: Any) -> None:
        for agent in simulator.world.agents:
            simulator.scenario.env_process_action(agent)
        simulator.scenario.pre_step()
        simulator.world.step()
        simulator.scenario.post_step()

    def _observe(self, simulator: Any) -> Grouped:
        each = [_flat(simulator.scenario.observation(agent)) for agent in simulator.agents]
        return {group: torch.stack([each[i] for i in members], 1) for group, members in self._members.items()}

    # ----- resets

    def _reset(self, tensordict: Any = None, **options: Any) -> Any:
        self._apart = True  # TorchRL resets what it likes, and start() those that it resets together
        return super()._reset(tensordict, **options)

    def _some_ended(self, done: Tensor) -> bool:
        """Whether an episode has ended; known without asking where all began together and last until the horizon."""
        if inline():  # all rows together are reset by the host
            return self._apart
        return super()._some_ended(done) if self.asks or self._apart else self._clock >= self.horizon

    def _reset_where(self, done: Tensor) -> Grouped:
        """Reset the rows where ``done`` is set, and return the latest observations with theirs replaced."""
        if bool(done.all()) if self.asks else not self._apart:
            return self.start()
        spare = self._spare = self._spare or self._make_spare()
        if not inline():
            self._serve(spare, done)
            self._settled.loosen()
        copy_rows(spare.footprint.rows, spare.simulator, self._simulator, done, self._choose)
        spare.fresh.masked_fill_(done, False)
        self._steps.masked_fill_(done, 0)
        self._observation = {
            group: torch.where(done.view(-1, 1, 1), spare.observation[group], value)
            for group, value in self._observation.items()
        }
        return self._observation

    def _serve(self, spare: Spare, done: Tensor | None) -> None:
        """Reset the spare where its rows are used up: those of ``done``, or where the host does not ask, by its age."""
        if self.asks:
            assert done is not None
            used_up = bool((done & ~spare.fresh).any())
        else:
            used_up = not self._served and spare.is_used_up(self.horizon)
        if used_up:
            self._capture_resets(spare)
            spare.refresh(self._simulator)
        self._served = done is None

    def _make_spare(self) -> Spare:
        """Made when first needed: where all rows always finish together it never is."""
        n_small = 3 if self.n_envs == 2 else 2
        small, large = self._build(n_small), self._build(self.n_envs)
        with Stream(self._built_with, self.device):
            for simulator in (small, large):
                self._first_step(simulator)

            def reset() -> None:
                small._reset(return_observations=False)
                self._observe(small)

            found = footprint(small, large, (n_small, self.n_envs), reset, _OWNERS, _TRIALS)
        return Spare(large, found, self._observe, self._spare_stream, _OWNERS)

    def _capture_resets(self, spare: Spare) -> None:
        """Capture the spare's resets, once steps are captured; where the host asks there are few."""
        if spare.captured is not None or self.asks or self._capture is None or not self._capture.begun:
            return
        from hetrl.env.capture.capture import PATIENCE, Capture
        from hetrl.env.capture.resets import Resets

        resets = Resets(self, spare.simulator, self._spare_stream)
        spare.captured = Capture(resets, "auto", _OWNERS, "resets itself", PATIENCE)
        if spare.footprint.shared:
            spare.captured.refuse("a reset draws what all its environments share")

    def _look_over(self) -> None:
        """Refuse a scenario of somebody else's that does not give what it has to."""
        simulator = self._build(2)
        with Stream(self._built_with, self.device):
            self._act(simulator)
            look_over(simulator, self.scenario)

    def _act(self, simulator: Any) -> None:
        """Let everybody do nothing for a step."""
        for agent in simulator.agents:
            size = simulator.get_agent_action_size(agent)
            dtype = torch.float32 if self.actions == "continuous" else torch.int64
            simulator._set_action(torch.zeros(simulator.num_envs, size, dtype=dtype, device=self.device), agent)
        self._move(simulator)

    def _first_step(self, simulator: Any) -> None:
        """Step once at rest: some attributes exist only from the first step on, and resets write them too."""
        self._act(simulator)
        for agent in simulator.agents:
            simulator.scenario.reward(agent)
        self._observe(simulator)
        simulator.scenario.done()


def _words(cls: type["Vmas"]) -> set[str]:
    """The words of every task with a scenario."""
    return set(inspect.signature(cls.__init__).parameters) - {"self", "scenario_args"}


def _never() -> Any:
    """``done`` of scenarios that never terminate."""
    from vmas.simulator.scenario import BaseScenario

    return BaseScenario.done


@cache
def _without_broad_phase(world: type[Any]) -> type[Any]:
    """A class of worlds that takes all pairs that may touch for close."""

    def collides(self: Any, a: Any, b: Any) -> bool:
        return (
            a is not b
            and a.collides(b)
            and b.collides(a)
            and any(body.movable or body.rotatable for body in (a, b))
            and {type(a.shape), type(b.shape)} in self._collidable_pairs
        )

    return type(world.__name__, (world,), {"collides": collides})


def _flat(observation: Any) -> Tensor:
    """``[N, F]`` float from a tensor or a (nested) dictionary of tensors, joined in the order of its keys."""
    if isinstance(observation, Mapping):
        return torch.cat([_flat(value) for value in observation.values()], -1)
    return observation.flatten(1).to(torch.float32)


def _size(space: Any) -> int:
    """Entries of a (nested) observation space."""
    if space.shape is None:
        return sum(_size(member) for member in space.values())
    return math.prod(space.shape)


def _copied(tensors: Mapping[str, Tensor], device: torch.device) -> Grouped:
    return {name: tensor.to(device, copy=True) for name, tensor in tensors.items()}


def _spare_seed(seed: int) -> int:
    """Seed of the spare's stream: one step of Knuth's MMIX generator, so that neighbouring seeds do not meet."""
    return (seed * 6364136223846793005 + 1442695040888963407) % 2**63
