"""Constructor signatures as the configuration schema: names, types and ranges are checked where a class is built."""

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any, get_type_hints

from annotated_types import Ge, Gt, Interval, Len
from pydantic import ConfigDict, TypeAdapter, ValidationError

from hetrl import schedule
from hetrl.errors import RecipeError, nearest

Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Fraction = Annotated[float, Interval(ge=0, le=1)]
Share = Annotated[float, Interval(gt=0, le=1)]
Count = Annotated[int, Gt(0)]
Seed = Annotated[int, Interval(ge=0, lt=2**31)]
SCHEDULABLE = "may follow a schedule"
"""Marks a float in whose place a recipe may write a schedule: ``Annotated[Positive, SCHEDULABLE]``."""
Widths = Annotated[list[Count], Len(0, 16)]
"""Widths of hidden layers."""


@functools.cache
def parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """Return the keyword-only parameters of ``function``: its hyperparameters."""
    signature = inspect.signature(function)
    return {n: p for n, p in signature.parameters.items() if p.kind is inspect.Parameter.KEYWORD_ONLY}


@functools.cache
def _adapters(function: Callable[..., Any]) -> Mapping[str, TypeAdapter[Any]]:
    hints = get_type_hints(function, include_extras=True)
    config = ConfigDict(strict=True, arbitrary_types_allowed=True)
    return {name: _adapter(hints[name], config) for name in parameters(function)}


def _adapter(hint: Any, config: ConfigDict) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(hint, config=config)
    except Exception:  # a type with a configuration of its own
        return TypeAdapter(hint)


def check(function: Callable[..., Any], values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Check ``values`` against the keyword-only parameters of ``function`` and return them, whole numbers as floats
    where a float is meant.

    A value may be a schedule where the signature says SCHEDULABLE; its ends are checked, and its start is returned.

    Raises:
        RecipeError: a name is unknown or missing, or a value has the wrong type or is out of range.
    """
    known = parameters(function)
    checked_values: dict[str, Any] = {}
    takes_any = function is not object.__init__ and any(
        p.kind is p.VAR_KEYWORD for p in inspect.signature(function).parameters.values()
    )
    for name, value in values.items():
        if name not in known:
            if takes_any:
                checked_values[name] = value
                continue
            raise RecipeError(f"{where} has no argument '{name}'.{nearest(name, known)}")
        try:
            ramp = schedule.parse(value) if schedulable(function, name) else None
            for each in (ramp.end, ramp.start) if ramp else (value,):
                if isinstance(each, float) and not math.isfinite(each):
                    raise RecipeError(f"{each} is not a finite number.")
                checked_values[name] = _adapters(function)[name].validate_python(each)
        except ValidationError as error:
            first = error.errors()[0]
            place = "".join(f"[{step}]" for step in first["loc"] if isinstance(step, int))
            raise RecipeError(f"{where}: {name}{place} = {first['input']!r}: {first['msg']}.") from None
        except RecipeError as error:
            raise RecipeError(f"{where}: {name}: {error}") from None
    for name, parameter in known.items():
        if parameter.default is inspect.Parameter.empty and name not in values:
            raise RecipeError(f"{where} needs the argument '{name}'.")
    return checked_values


def schedulable(function: Callable[..., Any], name: str) -> bool:
    """Return whether a recipe may write a schedule for a parameter."""
    hint = get_type_hints(function, include_extras=True).get(name)
    return SCHEDULABLE in getattr(hint, "__metadata__", ())


def checked(init: Callable[..., None], where: str) -> Callable[..., None]:
    """Wrap a constructor so that it checks its keyword arguments first, however the class is built."""

    @functools.wraps(init)
    def constructor(self: Any, *sizes: Any, **values: Any) -> None:
        init(self, *sizes, **check(init, values, where))

    return constructor
