"""A policy as one function of tensors: what goes into a file."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from hetrl.errors import RunError
from hetrl.network import Policy
from hetrl.team import Agent, Box


class PolicyFunction(nn.Module):
    """From what an agent sees, and its memory, noise and mask where it has them, to what it does.

    Args:
        policy: the network.
        agent: whose action space it is.
        stochastic: whether actions are drawn, with the noise as an input.

    Raises:
        RunError: actions are to be drawn, and the network does not say what its noise is.
    """

    def __init__(self, policy: Policy, agent: Agent, *, stochastic: bool) -> None:
        super().__init__()
        self.policy, self.agent = policy, agent
        self.draws = policy.draws if stochastic else None
        if stochastic and self.draws is None:
            raise RunError(
                f"the policy of '{agent.name}' ({type(policy).__name__}) does not say what it draws; set draws = "
                "'normal', 'gumbel' or 'uniform' on its class, or export it without --stochastic."
            )
        if isinstance(agent.action, Box):
            self.register_buffer("low", torch.tensor(agent.action.low))
            self.register_buffer("high", torch.tensor(agent.action.high))

    @property
    def options(self) -> int:
        """Options of all discrete choices together; 0 where the action is continuous."""
        return 0 if isinstance(self.agent.action, Box) else sum(self.agent.action.choices)

    @property
    def outputs(self) -> list[str]:
        """Names of what it returns."""
        return ["action", "next_memory"] if self.policy.memory else ["action"]

    def examples(self, rows: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Return random inputs by name, ``[rows, *]`` each, in their order."""
        found = {"observation": self._observation(rows, generator)}
        if self.policy.memory:
            found["memory"] = torch.rand(rows, self.policy.memory, generator=generator) * 2 - 1
        if self.draws is not None:
            found["noise"] = self.policy.noise((rows,), generator)
        if self.options:
            found["action_mask"] = self._mask(rows, generator)
        return found

    def _observation(self, rows: int, generator: torch.Generator) -> Tensor:
        """Return normal numbers, or images of noise."""
        shape = (rows, self.agent.observation_size)
        if self.agent.observation_dtype == torch.uint8:
            return torch.randint(256, shape, generator=generator, dtype=torch.uint8)
        return torch.randn(shape, generator=generator)

    def _mask(self, rows: int, generator: torch.Generator) -> Tensor:
        """Return masks that leave something of every choice."""
        parts = []
        for n_options in getattr(self.agent.action, "choices", ()):
            part = torch.rand(rows, n_options, generator=generator) < 0.6
            kept = torch.randint(n_options, (rows, 1), generator=generator)
            parts.append(part.scatter(-1, kept, True))
        return torch.cat(parts, -1)

    def forward(
        self,
        observation: Tensor,
        memory: Tensor | None = None,
        noise: Tensor | None = None,
        action_mask: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """Return the action, ``B A``, within its bounds, and the memory after the step where there is one."""
        seen = observation
        if memory is not None:
            seen = memory = self.policy.remember(observation, memory)
        given = (seen,) if noise is None else (seen, noise)
        if action_mask is not None:
            given = (*given, action_mask)
        action = self.policy.greedy(*given) if noise is None else self.policy.draw(*given)
        if not self.options:
            action = torch.minimum(torch.maximum(action, self.low), self.high)  # type: ignore[arg-type]
        return (action,) if memory is None else (action, memory)

    def inputs(self) -> dict[str, list[int]]:
        """Return the name and the shape of a row of every input."""
        return {name: list(value.shape[1:]) for name, value in self.examples(1, torch.Generator()).items()}


def apart(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> float:
    """Return how far outputs are from what they should be, at most: absolute up to 1, relative beyond.

    A discrete action that is another one counts as 1, and what is no number as infinite.
    """
    largest = torch.zeros((), dtype=torch.float64)
    for name, value in wanted.items():
        if value.is_floating_point():
            difference = (found[name].double() - value.double()).abs() / value.double().abs().clamp(min=1)
        else:
            difference = (found[name] != value).double()
        largest = torch.maximum(largest, difference.nan_to_num(nan=torch.inf).max())
    return largest.item()
