"""Actions for tests of environments."""

import torch

from hetrl.team import Box


def actions(env, generator):
    """Random actions, group -> [N, n, A]."""
    drawn = {}
    for group, agents in env.team.layout.items():
        space, shape = agents[0].action, (env.n_envs, len(agents))
        if isinstance(space, Box):
            low, high = torch.tensor(space.low), torch.tensor(space.high)
            drawn[group] = low + (high - low) * torch.rand(*shape, space.size, generator=generator)
        else:
            drawn[group] = torch.stack([torch.randint(n, shape, generator=generator) for n in space.choices], -1)
    return drawn
