"""Which recipes are for agents that choose."""

from hetrl.network import Policy
from hetrl.recipe.schema import Recipe
from hetrl.team import Box


def chooses(recipe: Recipe) -> bool:
    """Whether the policy of a recipe serves discrete actions and no others."""
    policies = [net.network for net in recipe.nets.values() if issubclass(net.network, Policy)]
    return all(Box not in policy.serves for policy in policies)
