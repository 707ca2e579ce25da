"""Which checkpoints of a run are kept beside the last one: ``best``, ``best:3``, ``every:1e5``, or two of these."""

from dataclasses import dataclass

from hetrl.errors import RecipeError

_WORDS = "best, best:3 (the three best evaluations), every:1e5 (frames), or best:3,every:1e5"


@dataclass(frozen=True)
class Keep:
    """Checkpoints that stay."""

    best: int = 0
    """Of so many evaluations, those with the highest return."""
    every: int | None = None
    """After every so many frames."""

    @classmethod
    def parse(cls, text: str | None) -> "Keep":
        """Return what ``run.keep`` says; nothing where it is left out.

        Raises:
            RecipeError: it says something else.
        """
        found: dict[str, int] = {}
        for part in (text or "").split(",") if text is not None else ():
            word, colon, number = part.strip().partition(":")
            count = _count(number) if colon else 1 if word == "best" else None
            if word not in ("best", "every") or count is None or word in found:
                raise RecipeError(f"run.keep says {_WORDS}; it is {text!r}.")
            found[word] = count
        return cls(**found)


def _count(text: str) -> int | None:
    try:
        number = float(text)
        return int(number) if number.is_integer() and number > 0 else None
    except (ValueError, OverflowError):
        return None
