"""Is anything too large to be read as plain numbers?"""

from collections.abc import Iterator

from hetrl import arguments, keys
from hetrl.recipe.encoder import encoders
from hetrl.recipe.net import Net
from hetrl.recipe.schema import Recipe
from hetrl.team import Team

MOST = 10_000
"""Numbers that a network's first layer may well read one by one."""
_KEPT = 4
"""Numbers kept of each weight: itself, its gradient, and an optimiser's two moments."""
_BYTES = 4


def large_observations(recipe: Recipe, team: Team) -> Iterator[str]:
    """Say which nets read so many numbers one by one that they had better have an encoder in front of them.

    Args:
        recipe: one that links.
        team: its task's agents.
    """
    for net in recipe.nets.values():
        names = encoders(net.network)  # type: ignore[arg-type]  # classes hash
        if not names or any(net.arguments.get(name) is not None for name in names):
            continue
        read = {keys.without_agent(key) for table in net.network.modes.values() for key in table.reads.values()}
        agent = max(team.agents, key=lambda each: each.observation_size)
        if "state" in read and team.state_size > MOST:
            images = any(len(each.observation_shape) > 1 for each in team.agents) or len(team.state_shape) > 1
            yield _said(net, team, "the state is", team.state_size, images)
        elif "observation" in read and agent.observation_size > MOST:
            said = f"'{agent.name}' sees {agent.sees},"
            yield _said(net, team, said, agent.observation_size, len(agent.observation_shape) > 1)


def _said(net: Net, team: Team, what: str, size: int, images: bool) -> str:
    init = net.network.__init__
    known = {name: each.default for name, each in arguments.parameters(init).items()} | dict(net.arguments)
    widths = known.get("hidden") or [1]
    owners = {"agent": len(team), "group": len(team.bodies), "team": 1}[net.sharing]
    weights = size * widths[0] * int(known.get("ensemble", 1)) * owners
    use = "net/convolutional" if images else "net/entities, own: ..., entity: ..."
    return (
        f"{net.where}: {what} {size:,} numbers, and its first layer (hidden: {list(widths)}) has weights for each; "
        f"with gradients and moments they take {_memory(weights * _KEPT * _BYTES)}. Put an encoder in front of it, "
        f"{net.where}.encoder={{use: {use}}}."
    )


def _memory(n_bytes: int) -> str:
    """Return an amount of memory in words."""
    return f"{n_bytes / 2**30:.1f} GiB" if n_bytes >= 2**30 else f"{n_bytes / 2**20:.0f} MiB"
