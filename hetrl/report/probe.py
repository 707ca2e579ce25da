"""The probe: what noise on some agents' actions does to the return, and to the agreement of the critic's ensemble."""

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table
from torch import Tensor

from hetrl import rng
from hetrl.data.behaviour import Actions, Behaviour
from hetrl.data.environment import Environment, close, used
from hetrl.data.evaluate import Acting, evaluate
from hetrl.engine.linked import Linked
from hetrl.engine.task import evaluation_env
from hetrl.errors import RunError
from hetrl.estimate.marginal_action import prefixes
from hetrl.report.critic import MemberValues, critic_of
from hetrl.report.curve import half_width
from hetrl.report.writable import written
from hetrl.runs.restored import restored
from hetrl.runs.several import by_seed, folder_name
from hetrl.team import Box, Grouped, Team

FIGURES = ("return", "change", "spread", "plain_spread", "drop")
"""What is measured of an episode; see :func:`probe`."""
_FEWEST = 3
"""Episodes from which a mean has an interval."""


@dataclass(frozen=True)
class Level:
    """What a deviation of the noise came to."""

    noise: float
    episodes: Mapping[str, np.ndarray]
    """Figure -> its value in each episode, ``[N]``."""

    def mean(self, figure: str) -> float:
        """Return the mean over episodes."""
        return float(self.episodes[figure].mean())

    def half(self, figure: str) -> float:
        """Return half the width of the mean's 95 % interval over episodes; NaN of fewer than three."""
        values = self.episodes[figure]
        return float(half_width(values)) if len(values) >= _FEWEST else math.nan


class Perturbed:
    """Acts as a team does, with noise on the actions of those who are drawn for it: the completion.

    a = (mu^{i_1..i_m}, clip(mu^{i_{m+1}..i_n} + noise (high - low) / 2 eps, low, high))

    The order of the agents and m, how many of them act without noise (uniform on 0..n - 1), are drawn for each
    environment when an evaluation begins, and stay; eps is drawn in every step. The draws do not depend on the noise.
    What the critic says of the actions is noted.

    Args:
        behaviour: the team as it would act.
        team: its agents, all of bounded continuous actions.
        values: the critic.
        noise: deviation, in halves of the action's range [1].
        seed: of the draws.
    """

    def __init__(self, behaviour: Acting, team: Team, values: MemberValues, noise: float, seed: int) -> None:
        self._behaviour, self._team, self._values = behaviour, team, values
        self._noise, self._seed = noise, seed
        self._noted: list[Tensor] = []

    def refresh(self) -> None:
        """Take the policies' current weights."""
        self._behaviour.refresh()

    def blank(self, observations: Grouped) -> dict[str, Tensor]:
        """Draw who is in the prefix, and return memories of nothing."""
        first = next(iter(observations.values()))[:, 0, 0]
        self._generator = torch.Generator(first.device).manual_seed(self._seed)
        kept = dict(zip(self._team.names, prefixes(len(self._team), first, self._generator), strict=True))
        groups = self._team.layout.items()
        self._kept = {group: torch.stack([kept[agent.name] for agent in agents], -1) for group, agents in groups}
        self._range = {group: _range(agents[0].action, first.device) for group, agents in groups}
        return self._behaviour.blank(observations)

    def remember(self, observations: Grouped, memories: Grouped) -> dict[str, Tensor]:
        """Note the state, and return the memories after a step."""
        self._state = self._team.state(observations)
        return self._behaviour.remember(observations, memories)

    @torch.no_grad()
    def greedy(self, observations: Grouped, action_masks: Grouped) -> Actions:
        """Return the actions, perturbed, ``[N, n, A]``."""
        plain = self._behaviour.greedy(observations, action_masks)
        done = {group: self._completed(group, action) for group, action in plain.items()}
        of_plain, of_done = self._q(plain), self._q(done)
        drop = of_plain.amin(0) - of_done.amin(0)
        self._noted.append(torch.stack([of_done.std(0, correction=0), of_plain.std(0, correction=0), drop]))
        return done

    def noted(self, lengths: Tensor) -> list[np.ndarray]:
        """Return spread, spread of what would have been done, and drop, as means over each episode, ``[N]`` [reward].

        Args:
            lengths: of the episodes, ``[N]`` [step].
        """
        noted = torch.stack(self._noted)
        running = torch.arange(len(noted), device=noted.device).view(-1, 1, 1) < lengths
        return list((torch.where(running, noted, 0.0).sum(0) / lengths).cpu().numpy())

    def _completed(self, group: str, action: Tensor) -> Tensor:
        low, high = self._range[group]
        drawn = torch.randn(action.shape, generator=self._generator, device=action.device)
        moved = torch.clamp(action + self._noise * (high - low) / 2 * drawn, low, high)
        return torch.where(self._kept[group].unsqueeze(-1), action, moved)

    def _q(self, actions: Actions) -> Tensor:
        joint = tuple(actions[agent.group][:, agent.index] for agent in self._team.agents)
        return self._values(self._state, joint)


def _range(space: object, device: torch.device) -> tuple[Tensor, Tensor]:
    assert isinstance(space, Box)  # others have been refused
    return torch.tensor(space.low, device=device), torch.tensor(space.high, device=device)


def parsed(noise: str) -> list[float]:
    """Return the deviations that a text names, with commas between them.

    Raises:
        RunError: one is no number of at least 0.
    """
    try:
        found = [float(text) for text in noise.split(",")]
    except ValueError:
        found = []
    if not found or not all(0 <= deviation < math.inf for deviation in found):
        raise RunError(f"--noise {noise}: write numbers of at least 0 with commas between them, such as 0,0.1,0.2.")
    return found


def probe(run: Path, noise: Sequence[float], n_episodes: int | None = None) -> list[Level]:
    """Evaluate a run's last checkpoint with completions of growing noise, see :class:`Perturbed`.

    Of every episode it takes, in reward units, the ``return`` and, the last three as means over its steps:

    ``change``: the return less that of the first deviation, which began in the same state.
    ``spread``: deviation of Q over the ensemble (divided by E, as in ``loss/pessimistic_uncertainty``) at what is done.
    ``plain_spread``: the same at what the policies would have done, in the same states.
    ``drop``: least Q of what the policies would have done, less that of what is done.

    All levels begin in the same states and have the same draws, those of ``hetrl eval``: without noise it is that.

    Args:
        run: the run's folder.
        noise: deviations, in halves of the action's range [1], 0 or more.
        n_episodes: for each deviation, by default ``run.n_eval_episodes``.

    Raises:
        RunError: the folder holds no run or no checkpoint, its recipe has no ensemble of joint values, or its actions
            are not continuous and bounded.
    """
    recipe, linked, env = restored(run, *([] if n_episodes is None else [f"run.n_eval_episodes={n_episodes}"]))
    close(env)
    device = next(linked.parameters()).device
    return levels(
        lambda: evaluation_env(recipe, device),
        Behaviour(linked.team, linked.policy),
        linked.team,
        _ensemble(run, linked, device),
        noise,
        recipe.task.arguments.get("reward", "mean"),
        rng.derive(recipe.run.seed, "probe"),
    )


def levels(
    make_env: Callable[[], Environment],
    behaviour: Acting,
    team: Team,
    values: MemberValues,
    noise: Sequence[float],
    reward: str,
    seed: int,
) -> list[Level]:
    """Measure every deviation, see :func:`probe`, in environments made anew.

    Args:
        make_env: makes the evaluation environments.
        behaviour: the team as it would act.
        team: its agents.
        values: the critic, every member's value.
        noise: deviations.
        reward: as for :func:`~hetrl.data.evaluate.evaluate`.
        seed: of the draws.
    """
    found: list[Level] = []
    for deviation in noise:
        perturbed = Perturbed(behaviour, team, values, deviation, seed)
        with used(make_env()) as env:
            episodes = evaluate(env, perturbed, reward)
        returns = episodes.returns.cpu().numpy()
        change = returns - (found[0].episodes["return"] if found else returns)
        figures = [returns, change, *perturbed.noted(episodes.lengths)]
        found.append(Level(deviation, dict(zip(FIGURES, figures, strict=True))))
    return found


def _ensemble(run: Path, linked: Linked, device: torch.device) -> MemberValues:
    """Return the values of every member of the critic; refuse a run that has none, or whose actions are others."""
    for agent in linked.team.agents:
        if not (isinstance(agent.action, Box) and agent.action.bounded):
            raise RunError(
                f"{run}: the actions of '{agent.name}' are {agent.action}, and noise is for continuous ones with "
                "bounds; probe a run of such a task."
            )
    found = critic_of(linked)
    if found is None or not found.joint:
        raise RunError(f"{run}: its recipe has no critic of joint actions; the probe asks a net/joint_q.")
    values = found.values
    blank = [torch.zeros(1, size, device=device) for size in (linked.team.state_size, *_sizes(linked.team))]
    with torch.no_grad():
        members = len(values(blank[0], tuple(blank[1:])))
    if members < 2:
        raise RunError(
            f"{run}: its critic has one member, which cannot disagree; train with nets.q.ensemble=2 or more."
        )
    return values


def _sizes(team: Team) -> list[int]:
    return [agent.action.size for agent in team.agents]


def table(name: str, found: Sequence[Level]) -> Table:
    """Return the figures of a run, as means with half the width of their 95 % intervals over episodes."""
    shown = Table("noise", *(figure.replace("_", " ") for figure in FIGURES), title=name, title_justify="left")
    for level in found:
        cells = (f"{level.mean(figure):.4g} ± {level.half(figure):.2g}" for figure in FIGURES)
        shown.add_row(f"{level.noise:g}", *cells)
    return shown


def save(probed: Mapping[Path, Sequence[Level]], path: Path) -> Path:
    """Write the figures of some runs as CSV, a row for each deviation: means, and half the width of their intervals."""
    with written(path) as half, half.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["run", "noise", "episodes", *(word for figure in FIGURES for word in (figure, f"{figure}_half"))]
        )
        for run, found in probed.items():
            for level in found:
                figures = [value for figure in FIGURES for value in (level.mean(figure), level.half(figure))]
                writer.writerow([str(run), level.noise, len(level.episodes["return"]), *figures])
    return path


def draw(probed: Mapping[Path, Sequence[Level]], path: Path) -> Path:
    """Draw return and spread against noise, with 95 % intervals over episodes; seeds of a recipe have one colour.

    Args:
        probed: run -> its levels.
        path: the picture.
    """
    figure = Figure(figsize=(12.8, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for index, members in enumerate(by_seed(list(probed))):
        for run in members:
            label = folder_name(members) if run is members[0] else None
            _draw_levels(left, probed[run], "return", label, color=f"C{index}")
            _draw_levels(right, probed[run], "spread", label, color=f"C{index}")
            _draw_levels(right, probed[run], "plain_spread", None, color=f"C{index}", linestyle="dashed")
    left.set(title="what the team earns", ylabel="return [reward]")
    right.set(title="what the ensemble disagrees on (dashed: unperturbed actions)", ylabel="deviation of Q [reward]")
    for axis in (left, right):
        axis.set_xlabel("noise on the completion [halves of the range]")
        axis.grid(alpha=0.3)
        axis.legend(loc="best", fontsize="small")
    with written(path) as half:
        figure.savefig(half, dpi=130)
    return path


def _draw_levels(axis: Axes, found: Sequence[Level], figure: str, label: str | None, **look: Any) -> None:
    ordered = sorted(found, key=lambda level: level.noise)
    noise = [level.noise for level in ordered]
    mean, half = np.array([(level.mean(figure), level.half(figure)) for level in ordered]).T
    axis.plot(noise, mean, marker="o", markersize=4, label=label, **look)
    axis.fill_between(noise, mean - half, mean + half, color=look["color"], alpha=0.15, linewidth=0)
