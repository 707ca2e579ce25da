"""One step of a batch of environments as plain tensors."""

from dataclasses import dataclass, field

from torch import Tensor

from hetrl.team import Grouped

Masks = dict[str, Grouped]
"""Word -> layout group -> mask: ``action_mask`` ``[N, n, options]`` bool, what each agent may choose, and ``active``
``[N, n]`` bool, who takes part. A word that an environment has no use for is left out; so is a group."""


@dataclass
class Transition:
    """What one step of ``N`` environments gives; keys of the dictionaries are layout groups of ``n`` agents."""

    next_observation: Grouped
    """``[N, n, F]``, what the step led to, before any reset."""
    reward: Grouped
    """``[N, n]`` in reward, each agent's own, as the scenario gives it."""
    terminated: Tensor
    """``[N]`` bool, the episode came to an end of its own: no value follows."""
    truncated: Tensor
    """``[N]`` bool, the episode was cut at the horizon: a value follows. Never set together with ``terminated``."""
    observation: Grouped
    """``[N, n, F]``, what the policy acts on next: finished environments have been reset. The same dictionary as
    ``next_observation`` where none finished."""
    masks: Masks = field(default_factory=dict)
    """What goes with ``observation``."""
    next_masks: Masks = field(default_factory=dict)
    """What goes with ``next_observation``."""
    agent_terminated: Grouped = field(default_factory=dict)
    """``[N, n]`` bool, whose own story ended with this step, because they died or left for good: no value follows for
    them, also where the episode goes on. Who took part in the step, takes part no longer (``next_masks``) and has no
    flag here was cut off: a value follows, of ``next_observation``. Where the episode is ``terminated``, it is so for
    everybody, flag or not. A group that is left out has no end but the episode's."""
    infos: dict[str, Tensor] = field(default_factory=dict)
    """Name -> ``[N]`` float, what the environment tells of the episodes that ended with this step, such as a win (0 or
    1); NaN where it tells nothing. What it tells of others is not looked at, and names may come and go."""
