"""A step of a rollout as one recording: policies, simulator, resets, and what is to be stored."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_map_only, tree_unflatten

from hetrl.graph import Generators, Played
from hetrl.team import Grouped

Put = Callable[[Mapping[str, Grouped]], None]
"""Takes what is to be stored of a step: word -> layout group -> tensor. It may be called several times in a step."""
RolloutStep = Callable[[Any, Put], Any]
"""From what is carried from step to step, dictionaries of tensors, to the same after a step."""


class PlayedStep:
    """A step that is recorded and played (:class:`~hetrl.graph.Played`) where the environments can be recorded.

    These have ``way()``, ``stepped()``, ``places`` and ``drawing()``, as :class:`~hetrl.env.vmas.Vmas` has; any other
    step, and what they do now and then on the host, is taken as it is.

    Args:
        step: what is done in a step; it calls ``env.advance``.
        env: the environments.
        reads: gives all that the policies read.
        generators: from which they draw.
    """

    def __init__(
        self, step: RolloutStep, env: Any, reads: Callable[[], Sequence[Tensor]], generators: Generators
    ) -> None:
        self._step, self._env, self._reads, self._generators = step, env, reads, generators
        self._ways: dict[Hashable, _Way] = {}

    def __call__(self, carried: Any, put: Put) -> Any:
        """Take a step, hand out what is to be stored, and return what is carried on; both stay until the next step."""
        refused = any(way.played.refused is not None for way in self._ways.values())
        name = None if refused else self._env.way()
        given, spec = tree_flatten(carried)
        if name is not None and name not in self._ways:
            self._ways[name] = _Way(self._step, spec, self._touched, self._generators)
        if name is None or self._ways[name].spec != spec:
            return self._step(carried, put)
        with self._env.drawing():
            stored, then = self._ways[name](given)
        put(stored)
        begun = None if self._ways[name].played.refused is not None else self._env.stepped()
        return then if begun is None else (begun, *then[1:])

    @property
    def recordings(self) -> list[Played]:
        """What has been recorded, one for each way."""
        return [way.played for way in self._ways.values()]

    def _touched(self) -> list[Tensor]:
        return [*self._reads(), *self._env.places]


class _Way:
    """One way that steps go, as a function from tensors to tensors."""

    def __init__(
        self, step: RolloutStep, spec: TreeSpec, state: Callable[[], Sequence[Tensor]], generators: Generators
    ) -> None:
        self._step, self.spec = step, spec
        self.played = Played(self._take, state, "run.graphs: a step", generators)

    def __call__(self, given: Sequence[Tensor]) -> tuple[dict[str, Grouped], Any]:
        """Return what is to be stored, and what is carried on."""
        stored, then = tree_unflatten(list(self.played(given)), self._results)
        return stored, then

    def _take(self, given: Sequence[Tensor]) -> list[Tensor]:
        stored: dict[str, Grouped] = {}
        then = self._step(tree_unflatten(list(given), self.spec), stored.update)
        leaves, self._results = tree_flatten((stored, then))
        return leaves


def played_step(step: RolloutStep, env: Any, behaviour: Any, generator: torch.Generator) -> RolloutStep:
    """Return a step such that it is played, where the policies are and the environments can be; or as it is."""
    reads = getattr(behaviour, "reads", None)
    return step if reads is None or not hasattr(env, "way") else PlayedStep(step, env, reads, [generator])


def kept(carried: Any) -> Any:
    """Return what is carried on such that it stays as it is."""
    return tree_map_only(Tensor, torch.clone, carried)
