"""Battles against those of jaxmarl itself, fresh ones: scripted and random teams on every map. Where it is installed.

    pip install jaxmarl==0.2.0
    python tests/benchmark/battles.py [--maps 3m 2s3z ...] [--battles 512]

Prints, for each map and team, how many battles are won and the mean return and length, with standard errors, of both.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "env"))

from test_battle import battles

from hetrl.env.combat.maps import MAPS

MOST_STEPS = 102


def original(name: str, team: str, n_battles: int, seed: int = 0) -> list[np.ndarray]:
    """Fight battles of jaxmarl, each once. Returns, each ``[n_battles]``, won, the return and the length."""
    import jax
    import jax.numpy as jnp
    from jaxmarl import make
    from jaxmarl.environments.smax import map_name_to_scenario
    from jaxmarl.environments.smax.heuristic_enemy import create_heuristic_policy, get_heuristic_policy_initial_state

    env = make("HeuristicEnemySMAX", scenario=map_name_to_scenario(name))
    script = create_heuristic_policy(env._env, 0, shoot=True)

    def act(key: Any, observations: Any, state: Any, memory: Any) -> tuple[Any, Any]:
        keys = dict(zip(env.agents, jax.random.split(key, len(env.agents)), strict=True))
        if team == "random":
            legal = env.get_avail_actions(state)
            chosen = {
                agent: jax.random.categorical(keys[agent], jnp.log(legal[agent].astype(jnp.float32)))
                for agent in env.agents
            }
            return chosen, memory
        each = {agent: script(keys[agent], memory[agent], observations[agent]) for agent in env.agents}
        after = {agent: found[1] for agent, found in each.items()}
        after = jax.tree.map(lambda new, old: jnp.asarray(new, old.dtype), after, memory)
        return {agent: found[0] for agent, found in each.items()}, after

    def battle(key: Any) -> tuple[Any, Any, Any]:
        key, begin = jax.random.split(key)
        observations, state = env.reset(begin)
        memory = {agent: jax.tree.map(jnp.asarray, get_heuristic_policy_initial_state()) for agent in env.agents}

        def step(carry: Any, key: Any) -> tuple[Any, None]:
            observations, state, memory, going, earned, length, last = carry
            first, second = jax.random.split(key)
            actions, memory = act(first, observations, state, memory)
            observations, state, reward, done, _ = env.step(second, state, actions)
            now = reward[env.agents[0]]
            earned, length = earned + now * going, length + going
            last = jnp.where(going > 0, now, last)
            going = going * jnp.where(done["__all__"], 0.0, 1.0)
            return (observations, state, memory, going, earned, length, last), None

        zero = jnp.zeros(())
        first = (observations, state, memory, zero + 1, zero, zero, zero)
        (*_, earned, length, last), _ = jax.lax.scan(step, first, jax.random.split(key, MOST_STEPS))
        return last >= 1, earned, length

    told = jax.jit(jax.vmap(battle))(jax.random.split(jax.random.PRNGKey(seed), n_battles))
    return [np.asarray(each, dtype=np.float64) for each in told]


def main() -> None:
    """Compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    plain = [name for name, plan in MAPS.items() if not plan.detailed]
    parser.add_argument("--maps", nargs="*", choices=plain, default=plain)
    parser.add_argument("--battles", type=int, default=512)
    options = parser.parse_args()
    for name in options.maps:
        for team in ("script", "random"):
            won, _, earned, length = battles(name, team, options.battles)
            ours = [each.double().numpy() for each in (won, earned, length)]
            for word, mine, theirs in zip(
                ("won", "return", "length"), ours, original(name, team, options.battles), strict=True
            ):
                errors = [each.std() / len(each) ** 0.5 for each in (mine, theirs)]
                off = (mine.mean() - theirs.mean()) / max(np.hypot(*errors), 1e-9)
                print(
                    f"{name:16} {team:7} {word:7} {mine.mean():8.3f} +- {errors[0]:.3f}   "
                    f"jaxmarl {theirs.mean():8.3f} +- {errors[1]:.3f}   {off:+.1f} standard errors"
                )


if __name__ == "__main__":
    main()
