"""TorchRL environments written by hand, whose numbers can be worked out."""

import torch
from tensordict import TensorDict
from torchrl.data import Binary, Bounded, Categorical, Composite, MultiCategorical, MultiOneHot, OneHot, Unbounded
from torchrl.envs import EnvBase


def flag(*shape):
    return Categorical(2, shape=torch.Size(shape), dtype=torch.bool)


class Walk(EnvBase):
    """Two walkers on a line, who steer, and a guard, who chooses one of three. Any batch.

    A walker moves by its action and some noise, and earns its action plus the number of the step. The guard may do its
    second thing at odd steps only, and earns its choice. The episode terminates when a walker is beyond 3.
    """

    group_map = {"walkers": ["left", "right"], "guards": ["guard"]}
    max_steps = 9

    def __init__(self, n_envs=None, seed=None, own_stream=True, device=None):
        size = [] if n_envs is None else [n_envs]
        super().__init__(batch_size=torch.Size(size), device=device)
        self.own_stream, self.closed = own_stream, 0
        self.generator = torch.Generator()
        reals = Unbounded((*size, 2, 2))
        self.observation_spec = Composite(
            {
                "walkers": Composite({"observation": reals}, shape=(*size, 2)),
                "guards": Composite(
                    {"observation": Unbounded((*size, 1, 3)), "action_mask": flag(*size, 1, 3)}, shape=(*size, 1)
                ),
                "state": Unbounded((*size, 3)),
                "info": Composite({"far": Unbounded((*size, 1))}, shape=size),
            },
            shape=size,
        )
        self.action_spec = Composite(
            {
                "walkers": Composite({"action": Bounded(-1, 1, (*size, 2, 1))}, shape=(*size, 2)),
                "guards": Composite({"action": OneHot(3, shape=(*size, 1, 3))}, shape=(*size, 1)),
            },
            shape=size,
        )
        self.reward_spec = Composite(
            {
                "walkers": Composite({"reward": Unbounded((*size, 2, 1))}, shape=(*size, 2)),
                "guards": Composite({"reward": Unbounded((*size, 1, 1))}, shape=(*size, 1)),
            },
            shape=size,
        )
        self.done_spec = Composite({word: flag(*size, 1) for word in ("done", "terminated")}, shape=size)
        self.place, self.count = torch.zeros(*size, 2), torch.zeros(*size, 1)

    def draw(self):
        return torch.randn(self.place.shape, generator=self.generator if self.own_stream else None)

    def _set_seed(self, seed):
        self.generator.manual_seed(seed)

    def look(self):
        size = self.batch_size
        count = self.count.unsqueeze(-1)
        mask = torch.cat([torch.ones_like(count), count % 2, torch.ones_like(count)], -1).bool()
        walkers = torch.stack([self.place, self.count.expand_as(self.place)], -1)
        guards = torch.cat([self.place.unsqueeze(-2), count], -1)
        return {
            "walkers": TensorDict({"observation": walkers}, [*size, 2]),
            "guards": TensorDict({"observation": guards, "action_mask": mask}, [*size, 1]),
            "state": torch.cat([self.place, self.count], -1),
            "info": TensorDict({"far": self.place.abs().amax(-1, keepdim=True)}, size),
        }

    def _reset(self, tensordict=None, **_):
        mask = None if tensordict is None else tensordict.get("_reset", None)
        mask = torch.ones_like(self.count, dtype=torch.bool) if mask is None else mask
        self.place = torch.where(mask, 0.1 * self.draw(), self.place)
        self.count = torch.where(mask, 0.0, self.count)
        over = torch.zeros_like(self.count, dtype=torch.bool)
        return TensorDict({**self.look(), "done": over, "terminated": over.clone()}, self.batch_size)

    def _step(self, tensordict):
        moved, chosen = tensordict["walkers", "action"], tensordict["guards", "action"]
        assert chosen.sum(-1).eq(1).all() and moved.abs().le(1).all()
        self.count = self.count + 1
        self.place = self.place + moved.squeeze(-1) + 0.1 * self.draw()
        given = self.look()
        given["walkers"]["reward"] = moved + self.count.unsqueeze(-1)
        given["guards"]["reward"] = chosen.float().argmax(-1, keepdim=True).float()
        over = self.place.abs().amax(-1, keepdim=True) > 3
        return TensorDict({**given, "done": over, "terminated": over.clone()}, self.batch_size)

    def render(self):
        return torch.full((4, 5, 3), int(self.count.max()), dtype=torch.uint8)

    def close(self, *, raise_if_closed=True):
        self.closed += 1
        super().close(raise_if_closed=raise_if_closed)


class Leaving(EnvBase):
    """Three agents in a group without a group map: the second dies at step 2, the third is cut at 3, the first at 4.

    They choose two things at once, one-hot. All earn 1 in each step, from the root, which has no end.
    """

    def __init__(self, masked=False, batch_size=()):
        size = list(batch_size)
        super().__init__(batch_size=torch.Size(size))
        self.masked = masked
        seen = {"observation": Unbounded((*size, 3, 1)), **({"mask": flag(*size, 3)} if masked else {})}
        self.observation_spec = Composite({"team": Composite(seen, shape=(*size, 3))}, shape=size)
        act = MultiOneHot([2, 3], shape=(*size, 3, 5))
        self.action_spec = Composite({"team": Composite({"action": act}, shape=(*size, 3))}, shape=size)
        self.reward_spec = Composite({"reward": Unbounded((*size, 1))}, shape=size)
        ends = {word: flag(*size, 3, 1) for word in ("done", "terminated", "truncated")}
        self.done_spec = Composite({"team": Composite(ends, shape=(*size, 3))}, shape=size)
        self.count = torch.zeros(*size, 1, dtype=torch.int64)

    def _set_seed(self, seed):
        pass

    def ends(self, *at):
        return torch.stack([self.count == step for step in at], -2)

    def told(self):
        died, cut = self.ends(-1, 2, -1), self.ends(4, -1, 3)
        own = {"observation": self.count.unsqueeze(-2).expand(*self.batch_size, 3, 1).float(),
               "terminated": died, "truncated": cut, "done": died | cut}  # fmt: skip
        if self.masked:
            own["mask"] = torch.stack([self.count < 4, self.count < 2, self.count < 3], -1).squeeze(-2)
        return {"team": TensorDict(own, [*self.batch_size, 3])}

    def _reset(self, tensordict=None, **_):
        mask = None if tensordict is None else tensordict.get(("team", "_reset"), None)
        mask = torch.ones_like(self.count, dtype=torch.bool) if mask is None else mask[..., 0, :]
        self.count = torch.where(mask, 0, self.count)
        return TensorDict(self.told(), self.batch_size)

    def _step(self, tensordict):
        assert tensordict["team", "action"].sum(-1).eq(2).all()
        self.count = self.count + 1
        return TensorDict({**self.told(), "reward": torch.ones(*self.batch_size, 1)}, self.batch_size)


class Alone(EnvBase):
    """One agent at the root, without a seed of its own, which sees a choice, two numbers and an image in bytes.

    It is not batch-locked, and all it knows goes from step to step in the TensorDict.
    """

    batch_locked = False

    def __init__(self, actions=None, seen=None, **changed):
        super().__init__(batch_size=torch.Size([]))
        picture = Unbounded((2, 2), dtype=torch.uint8)
        mixed = Composite({"kind": Categorical(3), "numbers": Unbounded((2,)), "picture": picture})
        self.observation_spec = Composite(seen or {"observation": mixed})
        usual = Composite({"move": MultiCategorical([2, 3]), "talk": Binary(2, shape=(2,), dtype=torch.int8)})
        self.action_spec = usual if actions is None else actions
        self.reward_spec = Unbounded((1,))
        self.done_spec = Composite({word: flag(1) for word in ("done", "terminated", "truncated")})
        self.state_spec = self.observation_spec.clone()
        self.changed = changed

    def _set_seed(self, seed):
        torch.manual_seed(seed)

    def told(self, kind, batch):
        numbers = torch.rand(*batch, 2)
        picture = torch.full((*batch, 2, 2), 51, dtype=torch.uint8)
        return TensorDict({"observation": {"kind": kind, "numbers": numbers, "picture": picture}}, batch)

    def _reset(self, tensordict=None, **_):
        batch = self.batch_size if tensordict is None else tensordict.batch_size
        return self.told(torch.zeros(batch, dtype=torch.int64), batch)

    def _step(self, tensordict):
        batch = tensordict.batch_size
        kind = (tensordict["observation", "kind"] + tensordict["move"][..., 1]) % 3
        given = self.told(kind, batch)
        given["reward"] = (kind + 10 * tensordict["talk"].sum(-1)).unsqueeze(-1).float()
        given["done"] = given["truncated"] = (kind == 2).unsqueeze(-1)
        given["terminated"] = torch.zeros_like(given["done"])
        return given
