"""A step of a rollout as one recording: policies, simulator, resets, and what is to be stored."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_map_only, tree_unflatten

from hetrl.graph import Generators, Played
from hetrl.team import Grouped

Put = Callable[[str, Grouped], None]
"""Takes what is to be stored of a step under a word, by layout group."""
Step = Callable[[Any, Put], Any]
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

    def __init__(self, step: Step, env: Any, reads: Callable[[], Sequence[Tensor]], generators: Generators) -> None:
        self._step, self._env, self._reads, self._generators = step, env, reads, generators
        self._plays: dict[object, Played] = {}
        self._results: dict[object, TreeSpec] = {}

    def __call__(self, carried: Any, put: Put) -> Any:
        """Take a step, hand out what is to be stored, and return what is carried on; both stay until the next step."""
        refused = any(played.refused is not None for played in self._plays.values())
        way = None if refused else self._env.way()
        if way is None:
            return self._step(carried, put)
        given, spec = tree_flatten(carried)
        key = way, str(spec)
        if key not in self._plays:
            self._plays[key] = Played(self._function(key, spec), self._state, "run.graphs: a step", self._generators)
        with self._env.drawing():
            found = self._plays[key](given)
        stored, then = tree_unflatten(list(found), self._results[key])
        for word, parts in stored.items():
            put(word, parts)
        if self._plays[key].refused is None:
            begun = self._env.stepped()
            then = then if begun is None else (begun, *then[1:])
        return then

    def _state(self) -> list[Tensor]:
        return [*self._reads(), *self._env.places]

    def _function(self, key: object, spec: TreeSpec) -> Callable[[Sequence[Tensor]], list[Tensor]]:
        def take(given: Sequence[Tensor]) -> list[Tensor]:
            stored: dict[str, Grouped] = {}
            then = self._step(tree_unflatten(list(given), spec), stored.__setitem__)
            leaves, self._results[key] = tree_flatten((stored, then))
            return leaves

        return take


def played_step(step: Step, env: Any, behaviour: Any, generator: torch.Generator) -> Step:
    """Return a step such that it is played, where the policies are and the environments can be; or as it is."""
    reads = getattr(behaviour, "reads", None)
    return step if reads is None or not hasattr(env, "way") else PlayedStep(step, env, reads, [generator])


def kept(carried: Any) -> Any:
    """Return what is carried on such that it stays as it is."""
    return tree_map_only(Tensor, torch.clone, carried)
