"""The order of a phase: in which order agents, or sharing groups, take their turns."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from hetrl.errors import RecipeError
from hetrl.recipe.section import Use, close, entry, mapping

Of = Literal["agent", "group"]


@dataclass(frozen=True, eq=False)
class Order:
    """Who is next: a catalog entry with its arguments, and whether it puts agents or sharing groups in order."""

    where: str
    name: str
    arguments: Mapping[str, Any]
    of: Of

    @classmethod
    def parse(cls, tree: Any, where: str) -> "Order":
        """Return what ``{use: order/name, of: agent, argument: value, ...}`` says.

        Raises:
            RecipeError: it names no entry, or does not say whose turns it orders.
        """
        tree = mapping(tree, where)
        of = tree.pop("of", None)
        use = Use.parse(tree, where)
        if of not in get_args(Of):
            said = "" if of is None else f"; {of!r} is neither"
            hint = "" if of is None else close(str(of), get_args(Of))
            raise RecipeError(f"{where} needs 'of: agent' or 'of: group', whose turns it puts in order{said}.{hint}")
        return cls(where, use.name, use.arguments, of)

    def entry(self) -> Any:
        """Return the class behind it, its arguments checked.

        Raises:
            RecipeError: there is no such order, or an argument does not suit it.
        """
        return entry(self.name, self.arguments, self.where, "order")
