"""Whose values does a step read and write: the agent's in turn, everybody's, or the team's?"""

from collections.abc import Mapping

from hetrl import keys
from hetrl.errors import RecipeError
from hetrl.recipe.plan import Plan
from hetrl.recipe.step import Step


def check_scopes(step: Step, plan: Plan) -> None:
    """Refuse a step whose values would be overwritten by the next agent's, or seen by it.

    Raises:
        RecipeError: with the key that it should write.
    """
    writes = step.table.writes
    if step.of_own_net:
        assert step.mode is not None
        for role, key in writes.items():
            if not keys.scope(key):
                raise RecipeError(
                    f"{step}: net '{step.mode.net}' is per: {plan.per[step.mode.net]} but writes the team's '{key}'; "
                    f"rename it, keys: {{{role}: agent.{key}}}."
                )
    everybodys = {key for key in step.table.reads.values() if keys.scope(key) == keys.AGENTS}
    for role, key in writes.items():
        if keys.scope(key) and key.replace(f"{keys.AGENT}.", f"{keys.AGENTS}.") in everybodys:
            raise RecipeError(
                f"{step} reads everybody's '{key}' and writes this agent's: the next agent would read what this one "
                f"has written; write another key, writes: {{{role}: agent...}}."
            )
    if step.per_agent:
        _check_agents_step(step, writes)


def _check_agents_step(step: Step, writes: Mapping[str, str]) -> None:
    """Refuse what a step that runs once for each agent cannot write."""
    for role, key in writes.items():
        if keys.scope(key) == keys.AGENTS:
            raise RecipeError(
                f"{step} writes everybody's '{key}' at once, but runs for each agent, since it reads or writes "
                "'agent.' keys as well; give it 'agents.' keys and the team's alone."
            )
        if not (keys.scope(key) or keys.is_output(key) or key in step.table.reads.values()):
            raise RecipeError(
                f"{step} runs for each agent but writes the team's '{key}': the last would stay; rename it, "
                f"writes: {{{role}: agent.{key}}}."
            )
