"""Hand-written policies that act on what agents observe, and what they earn in an episode."""

import torch

from hetrl.env.vmas import Vmas


def play(script, scenario, n_envs=200, horizon=150, seed=0, without=(), **arguments):
    """Return each environment's return of one episode, and whether it arrived.

    Args:
        script: name -> observation ``[N, F]`` to name -> action ``[N, A]``; both by agent.
        without: agents who do nothing.
    """
    env = Vmas(scenario=f"hetrl/{scenario}", n_envs=n_envs, horizon=horizon, seed=seed, **arguments)
    observation = env.start()
    earned, running = torch.zeros(n_envs), torch.ones(n_envs, dtype=torch.bool)
    for _ in range(horizon):
        seen = {agent.name: observation[agent.group][:, agent.index] for agent in env.team.agents}
        done = script(seen)
        done |= {name: torch.zeros_like(done[name]) for name in without}
        actions = {
            group: torch.stack([fitted(done[agent.name], agent.action.size) for agent in agents], 1)
            for group, agents in env.team.layout.items()
        }
        observation, reward, terminated, _ = env._simulate(actions)
        earned += torch.where(running, env.team_reward(reward), 0.0)
        running &= ~terminated
        if not running.any():
            break
    return earned, ~running


def fitted(action, size):
    """``action`` with ``size`` entries: a body with fewer leaves some out, one with more gets zeros."""
    return torch.nn.functional.pad(action, (0, size - action.shape[-1]))


def steer(away, velocity, gain=6.0, damping=3.0):
    """Force towards what is ``away``, braking before it."""
    return (gain * away - damping * velocity).clamp(-1, 1)
