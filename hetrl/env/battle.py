"""Battles of units of unlike kinds against a scripted enemy, as one batch of tensors."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from hetrl import rng
from hetrl.arguments import Count, Seed, checked
from hetrl.env.capture import When
from hetrl.env.combat import knobs, outcome, script, sight
from hetrl.env.combat.battlefield import Battlefield, Ground
from hetrl.env.combat.maps import MAPS, BattleMap, battle_map
from hetrl.env.combat.play import ALLIES, ENEMIES, Play
from hetrl.env.team_env import Reward, TeamEnv
from hetrl.env.transition import Masks
from hetrl.errors import RecipeError, RunError
from hetrl.team import STATE, Agent, Discrete, Grouped, Team

Rules = Literal["plain", "detailed"]
StateNumbers = Literal["scaled", "original", "observations"]
GROUP = "agents"
PATIENCE = 2_000
"""Steps before ``capture: auto`` compiles: about as long as compiling takes."""


class Battle(TeamEnv):
    """A team of units fights a scripted team on a map without terrain.

    A step is half a second, eight ticks. In each all units move and shoot at once: who was told to attack somebody hits
    him where he is in reach and one's weapon is ready, stands still meanwhile, and does not follow. Who touches the
    edge of the map dies, and bodies that overlap push each other apart. Shields, armour and healing there are with
    detailed rules alone.

    Every agent earns the share of their health that the enemies lost, on average over all of them, and 1 for the
    victory, whether it lives or not: 2 for a battle that was won, and less than 1 otherwise. When one of three marines
    loses 9 of its 45 points, that is 0.2 / 3.

    An agent chooses among north, east, south, west, stop, and attacking each of the enemies; ``agent.action_mask``
    allows an attack where the enemy is in reach, and the dead (``agent.active`` is False) nothing but to stop. It sees
    of every other unit, allies first, 13 numbers: health, the way to it in parts of one's sight, where it was told to
    go, the last attack it was told in parts of its options, its cooldown in parts of the reload time, and its kind,
    one-hot; 0 where it is dead or out of sight. Then 10 of its own: health, place in parts of the map, cooldown, and
    kind. The state has all units' numbers, in sight or not. Agents of a kind are one body, and a sharing group.

    An episode ends with the last unit of a side, and is cut at the ``horizon``.

    With detailed rules a kind has the numbers of StarCraft II: shields that come back, armour that weakens each hit on
    health, hits and bonus damage. Who heals has team-mates behind the actions that are attacks of others, in team
    order, flies, and cannot attack; a side of which only such are left has lost. Two numbers follow each unit's kind,
    its shield and its energy in parts of what they can be, and where somebody heals there is one more kind. What an
    enemy was given back is paid for again when it is lost again: a battle may be worth more than 2.

    Args:
        map: who meets whom, such as ``3s5z``; see :meth:`catalogue`.
        rules: ``plain`` or ``detailed``; left out, as the map has it.
        traits: what allies' numbers are multiplied by: kind or name -> ``health``, ``damage``, ``reach``, ``sight``,
            ``reload`` or ``speed`` -> factor. Those of a kind who differ have bodies of their own.
        enemy: whom the enemies shoot at first, the ``closest`` of those in reach or a ``random`` one.
        n_envs: environments in the batch, ``N``.
        horizon: steps after which an episode is truncated.
        reward: the team's reward, as the mean or the sum over agents, each of which earns the same, or none
            (``per_agent``).
        state: all units' numbers, ``scaled`` to within 0 and 1, or as the ``original`` has them; or the
            ``observations`` of all agents side by side, in which ways and last orders stand, and what is in nobody's
            sight does not.
        capture: compile what looks at pairs of units, which takes seconds, and then steps are several times as fast;
            ``auto`` does so after 2,000 steps, and where it can.
        seed: of starts, reload times, and of whom enemies chase.
        device: where the environments live.

    Raises:
        RecipeError: an argument is unknown or out of range, or there is no such map.
        RunError: at the first step, ``capture`` is true and nothing can be compiled here.
    Source: SMAX, Rutherford et al. 2023, arXiv:2311.10090, JaxMARL 0.2.0, with the maps of SMAC, Samvelyan et al. 2019,
        arXiv:1902.04043, and SMACv2, Ellis et al. 2023, arXiv:2212.07489.
    Differs: plain rules are the original's, number by number, but for three things. When time is up an episode is
        truncated, and a value follows; there it counts as an end. It lasts for 101 steps by default, as it does there,
        where it is said to be 100. And the state is scaled by default (``state: original`` has cells up to 32 and
        cooldowns down to -50 in it, next to numbers within 0 and 1), without the sides' and kinds' numbers at its end.
        Results published for SMAX before version 0.2.0, of June 2026, are of another game: there the dead could still
        move, and push.
    """

    pace = 6

    def __init__(
        self,
        *,
        map: str = "3m",
        rules: Rules | None = None,
        traits: knobs.Knobs = {},  # noqa: B006 (never written to; the signature is the schema)
        enemy: script.Enemy = "closest",
        n_envs: Count = 64,
        horizon: Count = 101,
        reward: Reward = "mean",
        state: StateNumbers = "scaled",
        capture: When = False,
        seed: Seed = 0,
        device: str = "cpu",
    ) -> None:
        self.check_arguments({"map": map, "rules": rules, "traits": traits, "state": state})
        plan = battle_map(map)
        super().__init__(n_envs=n_envs, horizon=horizon, reward=reward, device=device)
        self.map, self.enemy, self.state_kind, self.capture = map, enemy, state, capture
        factors = knobs.factors(plan, traits)
        self._ground = Ground(plan, self.device, _detailed(plan, rules), factors)
        self.team = self._make_team(factors)
        self._generator = torch.Generator(self.device).manual_seed(seed)
        self._taken = 0
        self._play = Play(self._ground, enemy, capture=False)  # nothing is compiled for an environment that is asked
        self._field = self._play.begin(torch.zeros(n_envs, self._play.n_begin, device=self.device))
        self._look()
        self._died = torch.zeros_like(self._active)
        self._play = self._make_play()
        self._make_specs()

    __init__ = checked(__init__, "env/battle")

    @classmethod
    def check_arguments(cls, arguments: Mapping[str, Any]) -> None:
        """Refuse a map that there is not, or unlike its rules; and traits of who is not there.

        Raises:
            RecipeError: with the nearest name, or what to write instead.
        """
        plan = battle_map(arguments.get("map", "3m"))
        asked = arguments.get("rules")
        if asked == "plain" and plan.heals:
            raise RecipeError("task.rules: plain ones know nobody who heals, and the map has some; drop the word.")
        if _detailed(plan, asked) and arguments.get("state") == "original":
            raise RecipeError("task.state: the original knows no detailed rules; write scaled, or rules: plain.")
        knobs.factors(plan, arguments.get("traits", {}))

    @classmethod
    def catalogue(cls) -> Mapping[str, str]:
        """Return map -> who meets whom, and the sizes of observations and actions."""
        return {name: f"{plan}; {cls(map=name, n_envs=1).team.sizes}" for name, plan in MAPS.items()}

    @staticmethod
    def provides(arguments: Mapping[str, Any]) -> list[str]:
        """Return the keys that a step writes, given the task's arguments."""
        return [*TeamEnv.provides(arguments), "agent.action_mask", "agent.active"]

    # ----- the fast path

    def start(self) -> Grouped:
        """Begin a battle in every environment. Returns the first observations, group -> ``[N, n, F]``."""
        return self._reset_where(torch.ones_like(self._steps, dtype=torch.bool))

    @property
    def masks(self) -> Masks:
        """What each may do and who is alive, see :data:`~hetrl.env.transition.Masks`."""
        return {"action_mask": {GROUP: self._sight.options}, "active": {GROUP: self._active}}

    @property
    def agent_terminated(self) -> Grouped:
        """Who died with the latest step."""
        return {GROUP: self._died}

    @property
    def infos(self) -> dict[str, Tensor]:
        """Of the battles that ended: ``won`` and ``lost``, 0 or 1. Where neither is, time was up or nobody is left."""
        sides = {"won": ALLIES, "lost": ENEMIES}
        return {
            name: outcome.standing(self._ground, self._field, side).won.to(torch.float32)
            for name, side in sides.items()
        }

    def _simulate(self, actions: Mapping[str, Tensor]) -> tuple[Grouped, Grouped, Tensor, Tensor]:
        self._taken += 1
        if self.capture == "auto" and self._taken == PATIENCE:
            self._play = self._make_play()
        drawn = self._draw(self._play.n_fight)
        self._field, earned, terminated = self._play.fight(self._field, actions[GROUP].squeeze(-1), drawn)
        before = self._active
        observation = self._look()
        self._died = before & ~self._active
        self._steps = self._steps + 1
        reward = {GROUP: earned.unsqueeze(-1).expand(-1, len(self.team)).clone()}
        return observation, reward, terminated, (self._steps >= self.horizon) & ~terminated

    def _reset_where(self, done: Tensor) -> Grouped:
        """Begin anew where ``done`` ``[N]``. Returns the latest observations with theirs replaced."""
        fresh = self._play.begin(self._draw(self._play.n_begin))
        self._field = fresh.where(done, self._field)
        self._steps = self._steps.masked_fill(done, 0)
        return self._look()

    def _look(self) -> Grouped:
        """Bring what is known of the battles up to date, and return the observations."""
        field, self._sight = self._field, self._play.look(self._field)
        self._active = field.alive[:, self._ground.units[ALLIES]]
        self._observation = {GROUP: self._sight.observation}
        if self.state_kind == "scaled":
            self._observation[STATE] = self._sight.known.flatten(1)
        elif self.state_kind == "original":
            self._observation[STATE] = sight.world_state(self._ground, field)
        return self._observation

    def _draw(self, count: int) -> Tensor:
        return torch.rand(self.n_envs, count, generator=self._generator, device=self.device)

    def _make_play(self) -> Play:
        due = self.capture is True or self._taken >= PATIENCE
        return Play(self._ground, self.enemy, self.capture if due else False)

    def _make_team(self, factors: knobs.Factors) -> Team:
        ground, plan = self._ground, self._ground.plan
        size, action = sight.observation_size(ground), Discrete((ground.n_options[ALLIES],))
        listed = sight.listings(ground)
        agents = tuple(
            Agent(name, GROUP, place, size, action, body, listings=listed)
            for place, (name, body) in enumerate(zip(knobs.names(plan), knobs.bodies(plan, factors), strict=True))
        )
        if self.state_kind == "observations":
            return Team(agents, state_size=len(agents) * size)
        n_state = ground.n_units * (12 if self.state_kind == "original" else sight.n_own(ground))
        listed = sight.state_listings(ground, self.state_kind == "original")
        return Team(agents, state_size=n_state, state_shape=(n_state,), state_listings=listed)

    def _picture(self, row: int) -> np.ndarray:
        from hetrl.env.combat.picture import paint

        return paint(self._ground, self._field, row)

    # ----- random numbers and exact continuation

    def seed(self, seed: int) -> None:
        """Start the random stream afresh; the next :meth:`start` is the first of that seed."""
        self._generator.manual_seed(seed)

    def state_dict(self, *_: Any, **__: Any) -> dict[str, Any]:
        """Everything that the next steps depend on, as tensors."""
        field = {name: tensor.clone() for name, tensor in self._field.state_dict().items()}
        numbers = {"steps": self._steps.clone(), "generator": self._generator.get_state(), "taken": self._taken}
        return {"field": field, **numbers}

    def load_state_dict(self, state: Mapping[str, Any], *_: Any, **__: Any) -> None:
        """Continue bit for bit from ``state``, which an environment with the same arguments saved.

        Raises:
            RunError: it comes from another number of environments or units.
        """
        saved, mine = (list(each.shape) for each in (state["field"]["health"], self._field.health))
        if saved != mine:
            raise RunError(f"state: saved with [n_envs, units] = {saved}, this task has {mine}.")
        self._field = Battlefield(**{word: value.to(self.device, copy=True) for word, value in state["field"].items()})
        self._steps = state["steps"].to(self.device, copy=True)
        rng.go_on(self._generator, state["generator"])
        self._taken = state["taken"]
        self._play = self._make_play()
        self._look()


def _detailed(plan: BattleMap, rules: Rules | None) -> bool:
    return plan.detailed if rules is None else rules == "detailed"
