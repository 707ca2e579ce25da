"""Keys: words joined by dots, with the placeholders that a phase fills in.

``agent.x`` is the agent in turn, ``agents.x`` all agents (a tuple in team order), ``next.x`` the same thing after the
step, ``loss.x`` and ``log.x`` are outputs. At the boundary with TensorDict a key is the tuple of its words.

What the hot loop asks about a key is cached: a recipe has a few dozen of them.
"""

import re
from functools import cache

from hetrl.errors import RecipeError

AGENT, AGENTS, NEXT, LOSS, LOG = "agent", "agents", "next", "loss", "log"
PLACE = "agent.place"
"""The agent's position in team order, a whole number that the program itself knows."""
TURN = "agent.turn"
"""The round of the present sweep in which the agent is updated, from 0 on; the phase itself writes it."""
ACTIVE = "agent.active"
"""Whether the agent takes part in a step."""
ACTIVE_COUNT = "agent.active_count"
"""How many rows of a minibatch those who take part have in a process of the run, the mean over the processes; the phase
itself writes it, where there are several."""
ENDS = ("terminated", "truncated")
"""Words of an end."""
OF_EPISODES = (*ENDS, "is_init", "next.is_init")
"""What an agent has of its episode where nothing tells of its own: ``agent.terminated`` is then ``terminated``."""
MEMBERS = "members"
"""The numbers of those whom an order puts in order, 0 to n - 1; the phase itself says it."""

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def parse(text: str) -> tuple[str, ...]:
    """Return the words of a key.

    Raises:
        RecipeError: it is not words of letters, digits and underscores joined by dots.
    """
    words = tuple(text.split(".")) if isinstance(text, str) else ()
    if not words or not all(_WORD.fullmatch(word) for word in words):
        raise RecipeError(f"'{text}' is not a key; write words joined by dots, such as 'agent.log_prob'.")
    return words


@cache
def scope(key: str) -> str:
    """Return ``agent``, ``agents`` or ``""`` (the team): whose value the key is."""
    words = key.split(".")
    return AGENT if AGENT in words else AGENTS if AGENTS in words else ""


@cache
def without_agent(key: str) -> str:
    """Return the key without its placeholder: ``next.agent.observation`` is ``next.observation``."""
    return ".".join(word for word in key.split(".") if word not in (AGENT, AGENTS))


@cache
def single(key: str) -> str:
    """Return the key of each agent that a key of all agents stands for: that of ``agents.x`` is ``agent.x``."""
    return ".".join(AGENT if word == AGENTS else word for word in key.split("."))


@cache
def everybodys(key: str) -> str:
    """Return the key of all agents that goes with one agent's: that of ``agent.x`` is ``agents.x``."""
    return ".".join(AGENTS if word == AGENT else word for word in key.split("."))


def of_agent(key: str, name: str) -> str:
    """Return the key with the placeholder replaced by an agent's name."""
    return ".".join(name if word in (AGENT, AGENTS) else word for word in key.split("."))


def of_agent_in_turn(key: str) -> str:
    """Return the agent's key that goes with the team's.

    >>> of_agent_in_turn("terminated"), of_agent_in_turn("next.value")
    ('agent.terminated', 'next.agent.value')
    """
    *places, word = key.split(".")
    return ".".join([*places, AGENT, word])


def shifted(key: str, at: str | None) -> str:
    """Return the key moved to ``at`` (``next``); outputs stay where they are."""
    if at is None or is_output(key) or key == PLACE or key.startswith(f"{at}."):
        return key
    return f"{at}.{key}"


@cache
def is_output(key: str) -> bool:
    """Whether the key is a loss or a figure to log."""
    return key.split(".", 1)[0] in (LOSS, LOG)
