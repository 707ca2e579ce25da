"""One PettingZoo environment as a simulator: who is there, what they see and may do and earn, in team order."""

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import torch

from hetrl.env.adapter.parallel_reading import has_state, info_numbers, max_cycles, name, parallel
from hetrl.env.adapter.simulator import Told
from hetrl.env.adapter.space import MASK, SpaceReader, of_shape, reader, taker
from hetrl.errors import HetrlError, RecipeError, RunError
from hetrl.team import Discrete

_RETURNED = ("observations", "rewards", "terminations", "truncations", "infos")


@dataclass(frozen=True)
class Card:
    """What an environment says of itself before anything happens."""

    agents: tuple[Any, ...]
    """As it calls them."""
    observation_spaces: tuple[Any, ...]
    action_spaces: tuple[Any, ...]
    state: tuple[tuple[int, ...], torch.dtype] | None
    """Shape and type of its own state; None where it has none, or is not asked for it."""
    horizon: int
    """Steps after which its episodes are cut."""


class ParallelSimulator:
    """Any environment with PettingZoo's parallel interface, or with that of turns, by PettingZoo's own conversion.

    An agent is *there* while it is in the environment's ``agents`` and has not just ended; it may leave, and come back
    or join later. Who is not there is not asked to act, and sees zeros; who has just been cut off, which is followed by
    a value, sees for once what it led to. All that the environment pays counts, whomever it pays. An exception of the
    environment arrives as it is, with a note of where it came from.

    Args:
        factory: makes the environment.
        row: its number, for messages.
        horizon: steps after which an episode is cut; by default the environment's own ``max_cycles``.
        state: ``own`` asks for the environment's own state, None does where it has one, ``observations`` does not.

    Raises:
        RecipeError: it is no such environment.
    """

    def __init__(
        self, factory: Callable[[], Any], row: int = 0, *, horizon: int | None = None, state: str | None = None
    ) -> None:
        self._row, self._seed, self._count = row, 0, 0
        self.env: Any = None
        self._own: SpaceReader | None = None
        try:
            self.env = parallel(factory())
            self._horizon = horizon or max_cycles(self.env)
            self._agents = tuple(self.env.possible_agents)
            self._places = {agent: place for place, agent in enumerate(self._agents)}
            seen = tuple(self.env.observation_space(agent) for agent in self._agents)
            acts = tuple(self.env.action_space(agent) for agent in self._agents)
            self._read = [reader(str(agent), space).read for agent, space in zip(self._agents, seen, strict=True)]
            spaces = [taker(str(agent), space).space for agent, space in zip(self._agents, acts, strict=True)]
            self._choices = [space.choices if isinstance(space, Discrete) else () for space in spaces]
            self._shows_mask = [MASK in getattr(space, "spaces", ()) for space in seen]
            self._nobody = [False] * len(self._agents)
            self._seeded = _takes_seed(self.env.reset)
            self._present: Collection[Any] = ()
            self._own = self._find_state(state)
        except BaseException:
            self.close()
            raise
        own = None if self._own is None else (self._own.shape, self._own.dtype)
        self.card = Card(self._agents, seen, acts, own, self._horizon)

    # ----- the interface of a simulator

    def reset(self, seed: int) -> Told:
        """Begin an episode."""
        self._seed, self._count = seed, 0
        try:
            found = self.env.reset(seed=seed) if self._seeded else self.env.reset()
            if not (isinstance(found, tuple) and len(found) == 2):
                raise self._wrong(f"reset() returned a {type(found).__name__}, not observations and infos")
            self._present = self._there()
            if not self._present:
                raise RecipeError(f"task: {name(self.env)} has nobody in 'agents' after a reset.")
            return self._told(*found, self._present, agent_terminated=self._nobody)
        except Exception as error:
            self._note(error)
            raise

    def step(self, actions: Sequence[Any]) -> Told:
        """Let those who are there act."""
        self._count += 1
        try:
            return self._step(actions)
        except Exception as error:
            self._note(error)
            raise

    def picture(self) -> np.ndarray:
        """Draw it, ``[H, W, 3]`` uint8."""
        if getattr(self.env, "render_mode", None) != "rgb_array":
            raise RunError(
                f"task: {name(self.env)} draws nothing; make it with render_mode='rgb_array', or write "
                "render_mode = 'rgb_array' into the class, whose render() then gives an array [H, W, 3]."
            )
        return np.ascontiguousarray(self.env.render())

    def close(self) -> None:
        """Close the environment."""
        if hasattr(self.env, "close"):
            self.env.close()

    # ----- a step

    def _step(self, actions: Sequence[Any]) -> Told:
        before = self._present
        given = {agent: action for agent, action in zip(self._agents, actions, strict=True) if agent in before}
        found = self.env.step(given)
        if not (isinstance(found, tuple) and len(found) == 5):
            raise self._wrong(f"step() returned a {type(found).__name__}, not {', '.join(_RETURNED)}")
        for word, part in zip(_RETURNED, found, strict=True):
            if type(part) is not dict and not isinstance(part, Mapping):
                raise self._wrong(f"step() returned {word} that are a {type(part).__name__}, not agent -> its own")
        observations, rewards, terminated, truncated, infos = found
        left = [a for a in self._there() if not (terminated.get(a, False) or truncated.get(a, False))]
        cut: Collection[Any] = ()
        ended = self._nobody
        if left != before:
            cut = [a for a in before if truncated.get(a, False) and not terminated.get(a, False)]
            ended = [agent in before and agent not in left and agent not in cut for agent in self._agents]
        told: dict[str, Any] = {"reward": self._paid(rewards, before), "agent_terminated": ended}
        if not left or self._count >= self._horizon:
            told["infos"] = info_numbers(infos)
        if left:
            self._present = left
            return self._told(observations, infos, [*left, *cut] if cut else left, **told)
        told |= {"terminated": not cut, "truncated": bool(cut)}
        return self._told(observations, infos, cut, **told)

    def _told(
        self, observations: Mapping[Any, Any], said: Mapping[Any, Any], owed: Collection[Any], **more: Any
    ) -> Told:
        """Return what the agents see and may do.

        Args:
            observations: of the environment.
            said: its infos.
            owed: the agents of whom there has to be an observation. Where the episode is over, whoever took part in
                its last step sees what it led to, if there is one.
            more: that is told.
        """
        here, over = self._present, "terminated" in more
        self._refuse_strangers(observations, "there is an observation of")
        seen: list[Any] = []
        masks: list[Any] = []
        for agent, place in self._places.items():
            there = agent in here
            value = observations.get(agent) if there or agent in owed else None
            if value is not None:
                seen.append(self._vector(place, value))
            elif agent in owed:
                raise self._wrong(f"there is no observation of agent '{agent}', who {self._why(agent, over)}")
            else:
                seen.append(0.0)
            masks.append(self._mask(place, value, said.get(agent), over) if there else True)
        active = [agent in here for agent in self._agents]
        state = None if self._own is None else self._state(self._own)
        return Told(seen, active=active, action_mask=masks, state=state, **more)

    def _why(self, agent: Any, over: bool) -> str:
        return "is in 'agents'" if agent in self._present and not over else "was cut off: a value follows"

    def _there(self) -> list[Any]:
        there = list(getattr(self.env, "agents", ()))
        self._refuse_strangers(there, "in 'agents' is")
        return there

    def _refuse_strangers(self, agents: Collection[Any], what: str) -> None:
        for agent in agents:
            if agent not in self._places:
                raise self._wrong(f"{what} '{agent}', who is not in possible_agents")

    def _vector(self, place: int, value: Any) -> np.ndarray:
        try:
            return self._read[place](value)
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise self._wrong(f"agent '{self._agents[place]}' has an observation of {error}") from None

    def _paid(self, rewards: Mapping[Any, Any], acted: Collection[Any]) -> list[float]:
        """Return what each was paid; of who did not act nothing has to be said, and that is 0."""
        self._refuse_strangers(rewards, "there is a reward of")
        paid = []
        for agent in self._agents:
            value = rewards.get(agent, 0.0)
            if agent in acted and agent not in rewards:
                raise self._wrong(f"there is no reward of agent '{agent}', who has acted")
            if type(value) is not float:
                if np.ndim(value) or np.asarray(value).dtype.kind not in "biuf":
                    raise self._wrong(f"agent '{agent}' has a reward of {value!r}, which is no number")
                value = float(value)
            paid.append(value)
        return paid

    # ----- masks

    def _mask(self, place: int, seen: Any, info: Any, over: bool) -> Any:
        """Return what an agent may choose, in its observation or its infos; True where nothing is said of it."""
        mask = None
        if self._shows_mask[place] and seen is not None:
            mask = seen.get(MASK)
        if mask is None and info:
            mask = info.get(MASK)
        if mask is None:
            return True
        who, choices = f"agent '{self._agents[place]}' has an action_mask", self._choices[place]
        if not choices:
            raise self._wrong(f"{who}, and its actions are continuous")
        options = self._options(mask, choices, who)
        first = [0, *accumulate(choices[:-1])]
        if np.logical_or.reduceat(options, first).all():
            return options
        if over:  # who has nothing left to choose has nothing left to do
            return True
        raise self._wrong(f"{who} that leaves no option{' of a choice' if len(choices) > 1 else ''}")

    def _options(self, mask: Any, choices: tuple[int, ...], who: str) -> np.ndarray:
        """Return a mask as bools, the options of all choices side by side."""
        parts = [np.asarray(part) for part in mask] if isinstance(mask, tuple | list) else []
        if any(part.ndim for part in parts):
            sizes: Any = [list(part.shape) for part in parts]
            wanted: Any = [[count] for count in choices]
            flat = np.concatenate(parts) if sizes == wanted else None
        else:
            flat = np.asarray(mask)
            sizes, wanted = list(flat.shape), [sum(choices)]
        if sizes != wanted or flat is None:
            raise self._wrong(f"{who} of {sizes}, and its options are {wanted}")
        if flat.dtype.kind not in "buif":
            raise self._wrong(f"{who} of {flat.dtype}; give bools, or 0 and 1")
        found: np.ndarray = flat.astype(np.bool_)
        if flat.dtype.kind != "b" and not (found == flat).all():  # such as what others add to logits
            raise self._wrong(f"{who} with other numbers than 0 and 1")
        return found

    # ----- its own state

    def _find_state(self, word: str | None) -> SpaceReader | None:
        """Return the reader of the environment's own state; None where there is none or it is not asked for."""
        if word == "observations":
            return None
        found = self._own_state() if has_state(self.env) else None
        if found is None and word == "own":
            raise RecipeError(f"task.state: {name(self.env)} has no state() of its own; write state: observations.")
        return found

    def _own_state(self) -> SpaceReader | None:
        space = getattr(self.env, "state_space", None)
        if callable(space):
            raise RecipeError(f"task: state_space of {name(self.env)} is a function; make it a space, or a property.")
        if space is not None:
            return reader("state", space)
        self.reset(0)
        try:
            value = self.env.state()
        except NotImplementedError:  # written out, as templates do, to say that there is none
            return None
        try:
            shape = np.asarray(value, dtype=np.float32).shape
        except (TypeError, ValueError):
            shape = None
        if value is None or shape is None:
            raise RecipeError(
                f"task: state() of {name(self.env)} gives a {type(value).__name__}, and no numbers; give it a "
                "state_space, or write state: observations."
            )
        return SpaceReader(shape or (1,), torch.float32, of_shape(shape))

    def _state(self, own: SpaceReader) -> np.ndarray:
        try:
            value = self.env.state()
        except Exception as error:
            error.add_note("It was asked for its state(); with state: observations in the task, it is not.")
            raise
        try:
            return own.read(value)
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise self._wrong(f"state() gives {error}") from None

    # ----- messages

    def _place(self) -> str:
        return f"environment {self._row}, step {self._count} of its episode"

    def _wrong(self, what: str) -> RunError:
        return RunError(f"task: {self._place()}: {what}; correct {name(self.env)}.")

    def _note(self, error: Exception) -> None:
        if not isinstance(error, HetrlError):
            error.add_note(f"This was step {self._count} of its episode, which began with seed {self._seed}.")


def _takes_seed(reset: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(reset).parameters
    except (TypeError, ValueError):
        return True
    return "seed" in parameters or any(each.kind is each.VAR_KEYWORD for each in parameters.values())
