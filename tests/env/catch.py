"""A little environment of TorchRL for tests of what is registered: two agents on a line."""

import torch
from tensordict import TensorDict
from torchrl.data import Bounded, Categorical, Composite, Unbounded
from torchrl.envs import EnvBase


class Catch(EnvBase):
    """Two agents earn for standing close, ``n_envs`` of them at once."""

    def __init__(self, speed: float = 0.1, n_envs: int = 1, device: str = "cpu", seed: int = 0) -> None:
        super().__init__(device=device, batch_size=[n_envs])
        self.speed, self.group_map, shape = speed, {"agents": ["left", "right"]}, (n_envs, 2)
        self.observation_spec = Composite(
            agents=Composite(observation=Unbounded((*shape, 2), device=device), shape=shape), shape=(n_envs,)
        )
        self.action_spec = Composite(
            agents=Composite(action=Bounded(-1, 1, (*shape, 1), device=device), shape=shape), shape=(n_envs,)
        )
        self.reward_spec = Composite(
            agents=Composite(reward=Unbounded((*shape, 1), device=device), shape=shape), shape=(n_envs,)
        )
        flag = Categorical(2, (n_envs, 1), dtype=torch.bool, device=device)
        self.done_spec = Composite(done=flag, terminated=flag.clone(), shape=(n_envs,))
        self.place = torch.zeros(shape)

    def _told(self, **more):
        agents = {"observation": torch.stack([self.place, self.place.flip(-1)], -1), **more}
        done = torch.zeros(*self.batch_size, 1, dtype=torch.bool)
        agents = TensorDict(agents, [*self.batch_size, 2])
        return TensorDict({"agents": agents, "done": done, "terminated": done.clone()}, self.batch_size)

    def _reset(self, tensordict=None, **_):
        fresh = torch.rand(self.place.shape)
        rows = None if tensordict is None else tensordict.get("_reset", None)
        self.place = fresh if rows is None else torch.where(rows.reshape(-1, 1), fresh, self.place)
        return self._told()

    def _step(self, tensordict):
        self.place = self.place + self.speed * tensordict["agents", "action"].squeeze(-1)
        apart = (self.place[:, :1] - self.place[:, 1:]).abs()
        return self._told(reward=-apart.expand(-1, 2).unsqueeze(-1).clone())

    def _set_seed(self, seed):
        torch.manual_seed(0 if seed is None else seed)
