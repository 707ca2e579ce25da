"""An encoder in front of a net, as a recipe writes it: ``encoder: {use: net/...}``, or ``encoder: {net: name}``."""

from collections.abc import Mapping
from functools import cache
from typing import Any, get_args, get_type_hints

from hetrl import arguments, catalog
from hetrl.encoder import Encoder, Encoding
from hetrl.errors import RecipeError
from hetrl.recipe.section import Use


@cache
def encoders(found: Any) -> frozenset[str]:
    """Return the names of a class's arguments that take an encoder."""
    init = found.__init__
    hints = get_type_hints(init)
    return frozenset(name for name in arguments.parameters(init) if Encoding in (hints[name], *get_args(hints[name])))


def net_in_front(tree: Any, where: str) -> str | None:
    """Return the net of the recipe that ``encoder: {net: name}`` names; None where the encoder is written out.

    Raises:
        RecipeError: it says more than a name.
    """
    if not isinstance(tree, Mapping) or "net" not in tree:
        return None
    if len(tree) > 1 or not isinstance(tree["net"], str):
        raise RecipeError(
            f"{where}: write {{net: name}}, a net of this recipe, or {{use: net/...}}; not {dict(tree)!r}."
        )
    return str(tree["net"])


def encoding(tree: Any, where: str) -> Encoding:
    """Return the encoder that a recipe writes, looked up.

    Raises:
        RecipeError: there is no such net, or it is no encoder, or an argument does not suit it.
    """
    use = Use.parse(tree, where)
    found = use.entry("net")
    if not issubclass(found, Encoder):
        own = [name for name in catalog.names("net") if name in catalog.BUILT_IN]
        known = [name for name in own if issubclass(catalog.resolve(name), Encoder)]
        raise RecipeError(f"{where}: {use.name} is no encoder; use {' or '.join(known)}.")
    return Encoding(found, use.arguments, f"{where} ({use.name})")
