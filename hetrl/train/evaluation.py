"""Evaluating a run every so many frames, in environments of the evaluation's own."""

import copy
from collections.abc import Callable
from typing import Any

from hetrl import ranks
from hetrl.data.behaviour import Behaviour
from hetrl.data.environment import close
from hetrl.data.evaluate import Acting, Episodes, evaluate
from hetrl.ranks import ALONE, Rank


class Evaluation:
    """Deterministic evaluation episodes, from the same initial states each time.

    The environments are made once, and every evaluation takes them back to how they were then: results differ by the
    policies alone, and a checkpoint need not store them. The same holds of what is drawn, where ``drawing`` makes who
    acts in a second round of episodes: it begins with the same seed each time.
    """

    def __init__(
        self,
        make_env: Callable[[], Any],
        behaviour: Behaviour,
        reward: str,
        every: int | None,
        rank: Rank = ALONE,
        drawing: Callable[[], Acting] | None = None,
    ) -> None:
        self._make_env, self._behaviour, self._reward, self.every = make_env, behaviour, reward, every
        self._rank, self._drawing = rank, drawing
        self._env: Any = None
        self._state: Any = None

    def due(self, frames: int, before: int) -> bool:
        """Whether a multiple of ``every`` was crossed since ``before`` frames."""
        return self.every is not None and frames // self.every > before // self.every

    def episodes(self, acting: Acting | None = None) -> Episodes:
        """Run one episode in each environment; the deterministic policies act, or somebody else."""
        if self._env is None:
            self._env = self._make_env()
            self._state = copy.deepcopy(self._env.state_dict())
        else:
            self._env.load_state_dict(copy.deepcopy(self._state))
        return evaluate(self._env, acting or self._behaviour, self._reward)

    def close(self) -> None:
        """Close the environments; the next evaluation makes others."""
        if self._env is not None:
            close(self._env)
            self._env = self._state = None

    def run(self) -> dict[str, float]:
        """Return the figures to log; of the processes of a run the first one finds them, for all."""
        with ranks.by_itself():
            own = self._own() if self._rank.first else {}
        return ranks.from_first(own)

    def _own(self) -> dict[str, float]:
        episodes = self.episodes()
        drawn = {} if self._drawing is None else {"drawn_return": self.episodes(self._drawing()).returns.mean().item()}
        return {
            "eval/return": episodes.returns.mean().item(),
            "eval/return_std": episodes.returns.std(correction=0).item(),
            "eval/episode_length": episodes.lengths.mean().item(),
            **{f"eval/{name}": value for name, value in (episodes.more() | drawn).items()},
        }
