"""What a data source hands to training: how much it collected, what episodes came to, and what to update on."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol

import torch
from tensordict import TensorDictBase
from torch import Tensor

from hetrl.arguments import checked
from hetrl.data.environment import Environment
from hetrl.errors import RecipeError
from hetrl.network import Network
from hetrl.ranks import Rank


@dataclass
class Collected:
    """One collection. Sums and counts stay tensors: nothing here waits for the device."""

    frames: int
    """Steps taken, over all environments."""
    returns: Tensor
    """Sum of the undiscounted returns of the episodes that ended [reward], 0-d."""
    lengths: Tensor
    """Sum of their lengths [step], 0-d."""
    episodes: Tensor
    """How many ended, 0-d."""
    samples: Iterable[TensorDictBase]
    """Batches to update on, one after the other; may be drawn only when they are asked for, and only once."""
    agent_returns: Mapping[str, Tensor] = field(default_factory=dict)
    """Agent's name -> sum of its own undiscounted returns in the episodes that ended [reward], 0-d; NaN where all
    agents earned the same."""
    infos: Mapping[str, Tensor] = field(default_factory=dict)
    """Name -> sum of what the environment told of the episodes that ended, and of how many it did, ``[2]``."""

    @classmethod
    def of(cls, batch: TensorDictBase) -> "Collected":
        """Return a batch of fresh steps ``[T, N]`` as a collection with one sample: itself."""
        returns, lengths = (batch["episode", word].sum() for word in ("return", "length"))
        return cls(batch.numel(), returns, lengths, batch["done"].sum(), (batch,))

    def to(self, device: torch.device) -> "Collected":
        """Return the collection on a device; samples follow when they are drawn. Lightning asks for it."""
        if self.returns.device == device:
            return self
        figures: dict[str, Any] = {word: getattr(self, word).to(device) for word in ("returns", "lengths", "episodes")}
        for word in ("agent_returns", "infos"):
            figures[word] = {name: value.to(device) for name, value in getattr(self, word).items()}
        return replace(self, **figures, samples=(sample.to(device) for sample in self.samples))


class Source(Protocol):
    """An entry of ``data/``: collects, and hands out what to update on.

    Its constructor takes keyword-only arguments; the checker asks the class alone, and training binds an instance to
    its environments with :meth:`attach`. A class that derives from this one inherits what has a body here.
    """

    in_order: ClassVar[bool]
    """Whether its samples are steps in the order of time, ``[T, N]``."""
    n_candidates: int = 1
    """How many joint actions are drawn where one is taken, the best by ``judge``."""
    judge: str = ""
    """The net and its mode that values them, where there are several: ``q.min``."""
    device: torch.device
    """Where samples are made; known once it is attached."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__init__" in cls.__dict__ and not hasattr(cls.__init__, "__wrapped__"):
            cls.__init__ = checked(cls.__init__, cls.__name__)  # type: ignore[method-assign]

    def __init__(self) -> None: ...

    @staticmethod
    def check_arguments(arguments: Mapping[str, Any], n_envs: int) -> None:
        """Refuse arguments that do not go together or with the number of environments; nothing, unless overridden.

        Raises:
            RecipeError: with what to write instead.
        """

    @staticmethod
    def amounts(arguments: Mapping[str, Any], n_envs: int, frames: int) -> tuple[int, int, int] | None:
        """Return how many samples and frames a run of ``frames`` comes to, and the rows of a sample.

        None where that is not known beforehand, as it is here unless overridden; the checker then says less.
        """
        return None

    @classmethod
    def check_chunk(cls, arguments: Mapping[str, Any], n_envs: int, net: str, chunk: int) -> None:
        """Refuse recurrent nets, whose memories it does not keep, or a length of chunks that does not fit its samples.

        Args:
            arguments: the recipe's.
            n_envs: the task's environments.
            net: the recurrent net's name in the recipe.
            chunk: the steps in which it is unrolled.

        Raises:
            RecipeError: with what to write instead. All are refused, unless overridden.
        """
        raise RecipeError(f"nets.{net}: {cls.__name__} keeps no memories of a recurrent net; use data/on_policy.")

    @staticmethod
    @abstractmethod
    def provides(keys: Iterable[str]) -> list[str]:
        """Return the keys of a sample, given those of the environment and of the memories that nets ask for."""

    @abstractmethod
    def attach(self, env: Environment, behaviour: Any, reward: str, seed: int, critic: Network | None = None) -> None:
        """Bind it to its environments and to who acts.

        Args:
            env: the vectorised environments.
            behaviour: who acts, a :class:`~hetrl.data.behaviour.Behaviour` or what stands before one.
            reward: how the team reward is made of the agents', see ``task.reward``; ``per_agent`` makes none.
            seed: of whatever it draws.
            critic: the team's recurrent net, whose memory is carried along as well.
        """

    @abstractmethod
    def collect(self) -> Collected:
        """Take the next steps and return what to update on."""

    @abstractmethod
    def n_collections(self, frames: int) -> int:
        """Return how many collections the next ``frames`` frames will take."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Everything that an exact continuation needs, as tensors and primitives."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where :meth:`state_dict` was taken."""

    def close(self) -> None:
        """Close the environments that it is bound to; nothing, unless overridden."""


def shared(source: type, arguments: Mapping[str, Any], rank: Rank, name: str) -> dict[str, Any]:
    """Return the arguments of a source of data in one of several processes, each with its part of the environments.

    A class says it with ``share(arguments, rank)``, of which this is the answer.

    Raises:
        RecipeError: it says nothing, or they cannot be shared evenly.
    """
    share = getattr(source, "share", None)
    if share is None:
        raise RecipeError(
            f"run.devices: {name} does not say what one of several processes collects; give its class a "
            "@staticmethod share(arguments, rank) that returns the arguments of one, or train on one process."
        )
    return dict(share(arguments, rank))


def take_over(source: Any, states: Sequence[Mapping[str, Any]], rank: Rank) -> None:
    """Let a source go on with what it can use of the states of other processes' sources; with nothing, unless it has a
    ``take_over(states, rank)`` of its own.

    Args:
        source: attached, and as it begins.
        states: of the sources of all processes that have collected so far.
        rank: which of the processes that go on it is in.
    """
    if hasattr(source, "take_over"):
        source.take_over(states, rank)
