"""Four environments of PettingZoo under names of our own: ``hetrl train ... --parts zoo.py``.

They need ``pip install "pettingzoo[sisl,butterfly]"``.
"""

from typing import Any

import hetrl


def multiwalker(n_walkers: int = 3, shared_reward: bool = True) -> Any:
    """Walkers on two legs carry a package to the right; if one falls, all are done and have lost 100."""
    from pettingzoo.sisl import multiwalker_v9

    return multiwalker_v9.parallel_env(n_walkers=n_walkers, shared_reward=shared_reward, render_mode="rgb_array")


def pursuit(n_pursuers: int = 8, n_evaders: int = 30) -> Any:
    """Pursuers on a grid surround evaders; each sees the seven by seven cells around it."""
    from pettingzoo.sisl import pursuit_v5

    return pursuit_v5.parallel_env(n_pursuers=n_pursuers, n_evaders=n_evaders, render_mode="rgb_array")


def zombies(n_archers: int = 2, n_knights: int = 2) -> Any:
    """Archers and knights stop zombies on their way down; whom a zombie touches is out."""
    from pettingzoo.butterfly import knights_archers_zombies_v11

    return knights_archers_zombies_v11.parallel_env(
        num_archers=n_archers, num_knights=n_knights, render_mode="rgb_array"
    )


hetrl.register("env/zoo.multiwalker", multiwalker)
hetrl.register("env/zoo.pursuit", pursuit)
hetrl.register("env/zoo.zombies", zombies)
