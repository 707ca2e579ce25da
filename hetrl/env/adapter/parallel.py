"""Anybody's PettingZoo environments (Terry et al. 2021, arXiv 2009.14471), made by a factory."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from hetrl.arguments import Count, Seed, checked
from hetrl.env.adapter.parallel_simulator import Card, ParallelSimulator
from hetrl.env.adapter.simulated import Simulated
from hetrl.env.adapter.simulator import Simulators
from hetrl.env.adapter.space import reader, taker
from hetrl.env.team_env import Reward
from hetrl.errors import RecipeError
from hetrl.team import Box, Discrete, Team


class Parallel(Simulated):
    """``n_envs`` copies of any parallel PettingZoo environment, or of one of turns, converted by ``aec_to_parallel``.

    Agents of equal observation size and action space form a layout group. *An episode* ends when no agent is left: it
    is truncated where the environment cut one of the last ones, else terminated; and after ``horizon`` steps it is
    truncated. *Who has left*, or not yet joined, is not ``agent.active``, sees zeros and is not asked to act; what the
    environment pays it counts all the same. *What may be chosen* is ``agent.action_mask``, of agents with discrete
    actions: what the environment says at each step, in a ``Dict`` observation or in the infos, and everything where it
    says nothing.

    Args:
        factory: makes an environment; it is called without arguments, once for each of the ``n_envs``.
        n_envs: environments in the batch, ``N``.
        horizon: steps after which an episode is cut; by default the environment's own ``max_cycles`` [step].
        reward: how the team's reward is made of the agents', see :data:`~hetrl.env.team_env.Reward`.
        seed: of all episodes, each of which is reset with a seed of its own.
        device: where the tensors live; simulators run on the CPU.
        state: ``own`` is what the environment's ``state()`` gives, ``observations`` all observations side by side;
            left out, its own where it has one.
        repeats: whether an episode repeats itself from its seed and actions, as continuing a run bit for bit needs.
            Where it is false, a run that goes on begins fresh episodes.
        workers: processes over which the environments are spread; None for this one. It changes no number.

    Raises:
        RecipeError: the factory makes no such environment, or an argument or an agent's space cannot be used.
    Source: Terry et al. 2021, PettingZoo, arXiv 2009.14471.
    Differs: actions beyond the bounds are clamped.
    """

    def __init__(
        self,
        *,
        factory: Callable[[], Any],
        n_envs: Count = 64,
        horizon: Count | None = None,
        reward: Reward = "mean",
        seed: Seed = 0,
        device: str = "cpu",
        state: Literal["own", "observations"] | None = None,
        repeats: bool = True,
        workers: Count | None = None,
    ) -> None:
        simulators = Simulators(partial(_made, factory, horizon, state), n_envs, seed, workers)
        try:
            card = _same(simulators.ask(_card))
            takers = [taker(str(a), space) for a, space in zip(card.agents, card.action_spaces, strict=True)]
            super().__init__(
                simulators=simulators,
                team=_team(card, [each.space for each in takers]),
                takers=takers,
                strangers=True,
                repeats=repeats,
                n_envs=n_envs,
                horizon=card.horizon,
                reward=reward,
                seed=seed,
                device=device,
            )
        except BaseException:
            simulators.close()
            raise

    __init__ = checked(__init__, "env/parallel")

    @staticmethod
    def provides(arguments: Mapping[str, Any]) -> list[str]:
        """Return the keys that a step writes, given the task's arguments; makes one environment, and closes it."""
        # None of these changes the keys.
        words = {**arguments, "n_envs": 1, "horizon": arguments.get("horizon") or 1, "workers": None}
        with closing(Parallel(**words)) as alone:
            return [*Simulated.provides(arguments), *(f"agent.{word}" for word in alone.masks)]


def _made(factory: Callable[[], Any], horizon: int | None, state: str | None, row: int) -> ParallelSimulator:
    return ParallelSimulator(factory, row, horizon=horizon, state=state)


def _card(simulator: ParallelSimulator) -> Card:
    return simulator.card


def _same(cards: list[Card]) -> Card:
    """Return the card of all environments.

    Raises:
        RecipeError: one is of another team than the first.
    """
    for row, card in enumerate(cards):
        if card != cards[0]:
            raise RecipeError(
                f"task: the factory made environments of two kinds: {card.agents} in environment {row} and "
                f"{cards[0].agents} in the first, or with other spaces; all have to be of one team."
            )
    return cards[0]


def _team(card: Card, spaces: Sequence[Box | Discrete]) -> Team:
    names = [str(agent) for agent in card.agents]
    seen = [reader(name, space) for name, space in zip(names, card.observation_spaces, strict=True)]
    team = Team.of(names, [each.shape for each in seen], spaces, dtypes=[each.dtype for each in seen])
    if card.state is None:
        return team
    shape, dtype = card.state
    return replace(team, state_size=math.prod(shape), state_shape=shape, state_dtype=dtype)
