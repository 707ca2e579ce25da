"""hetrl: heterogeneous-agent multi-agent reinforcement learning, composed from small parts.

>>> import hetrl
>>> recipe = hetrl.load("happo", "task.n_envs=32")
>>> recipe.update[1].train
'actor'
"""

from hetrl.catalog import component
from hetrl.component import Component
from hetrl.engine.linked import link
from hetrl.errors import HetrlError
from hetrl.network import Network, Policy, mode
from hetrl.recipe.check import check
from hetrl.recipe.read import Recipe, load

__version__ = "0.1.0"

__all__ = ["Component", "HetrlError", "Network", "Policy", "Recipe", "check", "component", "link", "load", "mode"]
