"""Does the recipe suit the agents: their number, what they see, and what they can do?"""

import torch

from hetrl import keys
from hetrl.errors import RecipeError
from hetrl.network import Policy
from hetrl.order import check_rounds
from hetrl.recipe.net import Net
from hetrl.recipe.order import Order
from hetrl.recipe.plan import Plan
from hetrl.team import Discrete, Team


def check_team(plan: Plan, team: Team) -> None:
    """Refuse a team that a component, an order or a net of the recipe could not serve.

    Raises:
        RecipeError: what is in the way, and what to do.
    """
    if plan.recipe.normalize_observations and all(agent.observation_dtype == torch.uint8 for agent in team.agents):
        raise RecipeError(
            "task.normalize_observations: all agents see images, which count from 0 to 1 already; drop it."
        )
    for phase in plan.recipe.update:
        for step in phase.every_step:
            if step.component is not None:
                try:
                    step.component.check_team(step.arguments, team)
                except RecipeError as error:
                    raise RecipeError(f"{step}: {error}") from None
    for phase in plan.recipe.update:
        if phase.order is not None:
            _check_order(phase.order, team)
    for net in plan.recipe.nets.values():
        _check_actions(net, team)
        _check_sizes(net, team)


def _check_order(order: Order, team: Team) -> None:
    """Refuse an order that cannot put so many members in order."""
    cls = order.entry()
    if list(cls.reads.values()) != [keys.MEMBERS]:
        return  # it asks for values of a batch, and there is none yet
    try:
        n_members = len(team.members(order.of))
        check_rounds(cls(**order.arguments).compute(torch.arange(n_members))["round"].tolist(), n_members)
    except RecipeError as error:
        raise RecipeError(f"{order.where} ({order.name}): {error}") from None


def _check_actions(net: Net, team: Team) -> None:
    """Refuse a policy for actions of a kind that it does not drive."""
    cls = net.network
    if not issubclass(cls, Policy):
        return
    for agent in team.agents:
        if not isinstance(agent.action, cls.serves):
            kinds = " or ".join(kind.__name__.lower() for kind in cls.serves)
            said = f"{net.where}: {net.use} serves {kinds} actions, but agent '{agent.name}' has {agent.action}"
            raise RecipeError(f"{said}; for these agents there is {_serving(team)}.")


def _serving(team: Team) -> str:
    """Name the policy for a team's kinds of action."""
    discrete = [isinstance(agent.action, Discrete) for agent in team.agents]
    return "net/categorical_policy" if all(discrete) else "net/mixed_policy" if any(discrete) else "net/gaussian_policy"


def _check_sizes(net: Net, team: Team) -> None:
    """Refuse one network for agents of different sizes."""
    if net.sharing != "team" or net.network.default_per != "agent" or not net.network.sized:
        return
    sizes = {(agent.sees, agent.action): agent for agent in team.agents}
    if len(sizes) > 1:
        unlike = "; ".join(f"{agent.name} observes [{agent.sees}], acts {agent.action}" for agent in sizes.values())
        raise RecipeError(
            f"{net.where}: per: team needs agents of equal sizes and bounds, and these differ ({unlike}); use "
            f"{net.where}.per=group."
        )
