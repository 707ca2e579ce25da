"""Does an order keep the contract of rounds?"""

from typing import Any, get_type_hints

import torch
from torch import Tensor

from hetrl.component import Component
from hetrl.errors import RecipeError
from hetrl.interface import misfit
from hetrl.order import Seeded
from hetrl.testing.batch import annotation, made_up
from hetrl.testing.contract import check_behaviour
from hetrl.testing.docstring import check_docstring
from hetrl.testing.subject import Subject

__tracebackhide__ = True  # pytest shows the line of the test, not these
_TEAMS = (1, 2, 3, 5)
_SWEEPS = 6


def check_order(order: str | type[Component], /, **values: Any) -> None:
    """Check an order against the contract of rounds, on teams of one to five members.

    It is a sound component (:func:`hetrl.testing.check_component`). Every member gets a round, 0 to k - 1 without
    holes, whatever the number of members (or a RecipeError says why not that many). Its draws, if any, are its own
    generator's, which the run seeds: the same seed gives the same sweeps, torch's global generator is left alone, and
    the sweeps go on where ``state_dict`` was taken. It may read other keys, of the team or of all agents.

    Args:
        order: a catalog name or a class.
        values: arguments of the order; its defaults where left out.

    Raises:
        AssertionError: one line, what is broken and what to do.
    """
    subject = Subject.of(order, values, {})
    problem = misfit(subject.cls, "order")
    subject.require(not problem, f"it {problem}.")
    check_behaviour(subject, per_sample=False)
    served = [n for n in _TEAMS if _serves(subject, n)]
    subject.require(bool(served), f"it refuses teams of {', '.join(map(str, _TEAMS))} members.")
    for n in served:
        _check_rounds(subject, n)
        _check_draws(subject, n)
    check_docstring(subject)


def _serves(subject: Subject, n: int) -> bool:
    try:
        subject.build().compute(**_batch(subject, n))
    except RecipeError:
        return False
    except Exception:  # said in one line by what follows
        return True
    return True


def _batch(subject: Subject, n: int) -> dict[str, Any]:
    """Return ``n`` members, and made-up values for whatever else it reads, a tuple of ``n`` for keys of all agents."""
    generator = torch.Generator().manual_seed(n)
    hints = get_type_hints(subject.cls.compute)
    found: dict[str, Any] = {}
    for role in subject.cls.reads:
        shape, several = annotation(hints.get(role))
        if role == "members":
            found[role] = torch.arange(n)
            continue
        subject.require(shape is not None, f"role '{role}' has no shape; annotate it, such as Float[Tensor, '*batch'].")
        made = [made_up(shape, torch.float32, generator) for _ in range(n if several else 1)]
        found[role] = tuple(made) if several else made[0]
    return found


def _sweeps(subject: Subject, order: Any, n: int) -> Tensor:
    """Return the rounds of some sweeps, one after the other."""
    batch = _batch(subject, n)
    return torch.stack([order.compute(**batch)["round"] for _ in range(_SWEEPS)])


def _check_rounds(subject: Subject, n: int) -> None:
    found = subject.run(subject.build(), _batch(subject, n))["round"]
    subject.require(
        found.shape == (n,) and not found.is_floating_point(),
        f"round is {found.dtype} of shape {list(found.shape)}, not a whole number for each of {n} members.",
    )
    numbers = sorted(set(found.tolist()))
    subject.require(
        numbers == list(range(len(numbers))),
        f"the rounds of {n} members are {found.tolist()}; count them from 0 on, without holes.",
    )


def _check_draws(subject: Subject, n: int) -> None:
    before = torch.get_rng_state()
    one, two = subject.build(), subject.build()
    for order in (one, two):
        if isinstance(order, Seeded):
            order.generator.manual_seed(7)
    same = torch.equal(_sweeps(subject, one, n), _sweeps(subject, two, n))
    subject.require(
        torch.equal(before, torch.get_rng_state()),
        "it draws from torch's global generator; draw from self.generator = torch.Generator(), which the run seeds.",
    )
    subject.require(same, "two of them with the same seed give other sweeps; draw from self.generator alone.")
    two.load_state_dict(one.state_dict())
    subject.require(
        torch.equal(_sweeps(subject, one, n), _sweeps(subject, two, n)),
        "it goes on otherwise after a state_dict round trip; keep the generator's state, see get_extra_state of "
        "order/random_permutation.",
    )
