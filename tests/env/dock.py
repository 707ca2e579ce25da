"""A little scenario for tests of what is registered."""

import torch
from vmas.simulator.core import Agent, World
from vmas.simulator.scenario import BaseScenario


class Dock(BaseScenario):
    """Agents go to the origin."""

    def make_world(self, batch_dim, device, *, n_agents: int = 2, **kwargs):
        self.pull = float(kwargs.pop("pull", 1.0))
        world = World(batch_dim, device)
        for index in range(n_agents):
            world.add_agent(Agent(f"agent_{index}"))
        return world

    def reset_world_at(self, env_index=None):
        for agent in self.world.agents:
            shape = (self.world.batch_dim, 2) if env_index is None else (2,)
            agent.set_pos(torch.rand(*shape, device=self.world.device), batch_index=env_index)

    def observation(self, agent):
        return torch.cat([agent.state.pos, agent.state.vel], -1)

    def reward(self, agent):
        return -self.pull * agent.state.pos.norm(dim=-1)
