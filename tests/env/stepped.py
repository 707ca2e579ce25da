"""Random steps of an environment that is a batch of Python simulators, for tests."""

import io

import torch

from hetrl.team import Box


def actions(env, seed=0, low=0.0, high=1.0):
    """Random actions of every agent, within 0 and 1 where continuous."""
    generator, taken = torch.Generator().manual_seed(seed), {}
    for group, agents in env.team.layout.items():
        shape, space = (env.n_envs, len(agents)), agents[0].action
        if isinstance(space, Box):
            taken[group] = torch.rand(*shape, space.size, generator=generator) * (high - low) + low
        else:
            each = [torch.randint(options, (*shape, 1), generator=generator) for options in space.choices]
            taken[group] = torch.cat(each, -1)
    return taken


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


def play(env, steps=12, first=0):
    """Everything that ``steps`` steps give, in one vector."""
    seen = []
    for step in range(first, first + steps):
        moved = env.advance(actions(env, step))
        masks = [part for parts in (moved.masks, moved.next_masks) for word in parts.values() for part in word.values()]
        seen += [*moved.observation.values(), *moved.next_observation.values(), *moved.reward.values(), *masks]
        seen += [moved.terminated, moved.truncated]
    return torch.cat([part.flatten().float() for part in seen])


def through_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)
