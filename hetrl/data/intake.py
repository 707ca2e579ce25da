"""What policies do and environments give is looked over before it is stored.

NaN and infinities stop the run there, and so does an agent who has nothing left to choose.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hetrl.errors import DivergenceError
from hetrl.team import STATE, Discrete, Grouped, Team

Steps = Mapping[tuple[str, str], Sequence[Tensor] | Tensor]
"""(word, layout group) -> that of one step after the other, ``[N, n, *]`` each; a tensor ``[T, N, n, *]`` will do.
The words are those of :data:`_ORDER`, and ``active``, who took part; of ``end`` (where episodes ended, ``[N]`` bool:
"terminated", "truncated" in place of groups) the number of the step in its episode follows. Others are left alone."""

_ORDER = ("observation", "action_mask", "action", "reward", "next_observation")
"""The words of a step, in the order in which a number that is wrong in one of them shows in the next."""


@dataclass(frozen=True, order=True)
class Fault:
    """The first number of a collection that is NaN or infinite; it sorts by when it came."""

    step: int
    """Which of the steps, from 0."""
    word: int
    """Place in :data:`_ORDER`."""
    row: int
    """Which environment."""
    agent: str
    """Its name, or :data:`~hetrl.team.STATE` where the state is the environment's own."""
    number: float
    """The number; of a mask, which choice it is that has no option, from 0."""


class Intake:
    """Refuses steps in which a number is NaN or infinite, and says who gave it.

    Args:
        team: whose steps they are.
        place: what the message begins with.
    """

    def __init__(self, team: Team, place: str = "task") -> None:
        self._team, self._place = team, place
        self._fault: DivergenceError | None = None

    def start(self, observation: Grouped) -> None:
        """Look at the observations of a reset.

        Raises:
            DivergenceError: one is not finite.
        """
        steps = {("observation", group): [seen] for group, seen in observation.items()}
        fault = None if _finite(observation.values()) else first_fault(self._team, steps)
        if fault is not None:
            self._refuse(f"environment {fault.row} gave {_seen(fault)} of {fault.number} at a reset")

    def look(self, steps: Steps, then: Grouped, ages: Tensor) -> None:
        """Look at steps before anything is made of them. It waits for the device once.

        Args:
            steps: what was seen and done and what came of it.
            then: what is seen after the last of them, where an episode ended that of the next.
            ages: steps that the episodes had before the first of these, ``[N]``.

        Raises:
            DivergenceError: a number is not finite.
        """
        tensors = (each for key, values in steps.items() if key[0] in _ORDER for each in _whole(values))
        stuck = (torch.where(each.any(), torch.nan, 0.0) for each in self._stuck(steps))
        if not _finite([*tensors, *then.values(), *stuck]):
            n_steps = max(len(values) for values in steps.values())
            self.explain(steps, ages)
            after = first_fault(self._team, {("observation", group): [value] for group, value in then.items()})
            if after is not None:
                self._refuse(_text(replace(after, step=n_steps), steps, ages))

    def explain(self, steps: Steps, ages: Tensor) -> None:
        """Look number by number, for the first that is not finite; the last of the steps may lack what came of it.

        Args:
            steps: see :meth:`look`.
            ages: see :meth:`look`.

        Raises:
            DivergenceError: there is one.
        """
        fault = first_fault(self._team, steps)
        if fault is not None:
            self._refuse(_text(fault, steps, ages))

    def _stuck(self, steps: Steps) -> Iterator[Tensor]:
        """Yield of every mask where agents who take part have no option of a choice, ``[*, N, n, choices]``."""
        for (word, group), values in steps.items():
            if word == "action_mask" and isinstance(values, Tensor):  # all steps at once
                yield stuck(self._team, group, values, steps.get(("active", group)))  # type: ignore[arg-type]
            elif word == "action_mask":
                yield from (stuck(self._team, group, mask, _at(steps, group, at)) for at, mask in enumerate(values))

    def check_saved(self) -> None:
        """Refuse to save what was collected where a number in it was refused.

        Raises:
            DivergenceError: the one that was raised then.
        """
        if self._fault is not None:
            raise self._fault

    def _refuse(self, text: str) -> None:
        self._fault = DivergenceError(f"{self._place}: {text}; the run stops, and stores and saves nothing of this.")
        raise self._fault


def _text(fault: Fault, steps: Steps, ages: Tensor) -> str:
    ended = [values for (word, _), values in steps.items() if word == "end"]
    ends = [step for step in range(fault.step) if any(flags[step][fault.row] for flags in ended)]
    age = fault.step - ends[-1] - 1 if ends else int(ages[fault.row]) + fault.step
    word, env, agent = _ORDER[fault.word].replace("_", " "), f"environment {fault.row}", f"'{fault.agent}'"
    if word == "action mask":
        return (
            f"{env} leaves {agent} no option of its choice {fault.number:.0f} at step {age + 1} of its episode; its "
            "action_mask has to allow one, or active has to say that it takes no part"
        )
    if word == "action":
        return (
            f"the policy of {agent} gave an action of {fault.number} in {env} at step {age + 1} of its episode, where "
            "what it saw was finite; its weights have diverged (a lower lr or a max_grad_norm may help)"
        )
    when = "at a reset" if word == "observation" and age == 0 else f"at step {age + 1} of its episode"
    return f"{env} gave {_seen(fault)} of {fault.number} {when}"


def _seen(fault: Fault) -> str:
    """Return whom the environment gave what."""
    word = _ORDER[fault.word].replace("_", " ")
    if fault.agent == STATE:
        return f"a {word.replace('observation', 'state')}"
    return f"'{fault.agent}' {'an' if word == 'observation' else 'a'} {word}"


def first_fault(team: Team, steps: Steps) -> Fault | None:
    """Return the first number that is not finite; None where all are."""
    found = []
    for (word, group), values in steps.items():
        if word not in _ORDER:
            continue
        masked = word == "action_mask"
        for step, value in enumerate(values):
            bad = (stuck(team, group, value, _at(steps, group, step)) if masked else ~value.isfinite()).nonzero()
            if len(bad):
                row, index = bad[0, 0].item(), bad[0, 1].item()
                agent = STATE if group == STATE else team.layout[group][int(index)].name
                number = bad[0, 2].item() if masked else value[tuple(bad[0])].item()
                found.append(Fault(step, _ORDER.index(word), int(row), agent, number))
                break
    return min(found, default=None)


def stuck(team: Team, group: str, mask: Tensor, active: Tensor | None) -> Tensor:
    """Return where agents of a layout group who take part have no option of a choice, ``[*, N, n, choices]`` bool.

    Args:
        team: the agents.
        group: theirs.
        mask: which options they have, those of all choices side by side, ``[*, N, n, options]``.
        active: who takes part, ``[*, N, n]``; everybody, if left out.
    """
    space = team.layout[group][0].action
    assert isinstance(space, Discrete)
    none = torch.stack([~options.any(-1) for options in mask.split(list(space.choices), -1)], -1)
    return none if active is None else none & active.unsqueeze(-1)


def _at(steps: Steps, group: str, step: int) -> Tensor | None:
    """Return who of a layout group took part in a step; None where nothing says it."""
    active = steps.get(("active", group))
    return None if active is None else active[step]


def _whole(values: Sequence[Tensor] | Tensor) -> Sequence[Tensor]:
    return (values,) if isinstance(values, Tensor) else values


def _finite(values: Iterable[Tensor]) -> bool:
    """Whether all numbers are finite, asked of the device in one question."""
    tensors = [value for value in values if value.is_floating_point()]
    if not tensors:  # images alone
        return True
    # A sum reads each number once and writes none. It is finite only where all of them are, but may overflow.
    total = torch.stack([value.sum() for value in tensors]).sum()
    return bool(total.isfinite()) or all(bool(value.isfinite().all()) for value in tensors)
