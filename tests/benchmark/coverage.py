"""How many landmarks a team covers, of runs on VMAS's ``simple_spread``.

    python tests/benchmark/coverage.py RUN... [--episodes 256] [--within 0.15]

A landmark is covered if at the end of an episode an agent is no further from it than ``--within``, by default the
agents' radius. Prints the share of episodes in which 0, 1, ... of them are, and how many on average.
"""

import argparse
from pathlib import Path

import torch

from hetrl.data.behaviour import Behaviour
from hetrl.runs.restored import restored
from hetrl.train.build import evaluation_env


def covered(run: Path, n_episodes: int, within: float) -> torch.Tensor:
    """Return how many landmarks are covered when each episode ends, ``[N]``; the policies act deterministically."""
    recipe, linked, _ = restored(run, f"run.n_eval_episodes={n_episodes}")
    env = evaluation_env(recipe, torch.device("cpu"))
    behaviour, n = Behaviour(linked.team, linked.policy), len(linked.team.agents)
    observation = env.start()
    while True:
        moved = env.advance(behaviour.greedy(observation, {}))
        if (moved.terminated | moved.truncated).all():  # this scenario ends with the horizon only, everywhere at once
            break
        observation = moved.observation
    (seen,) = moved.next_observation.values()  # position, velocity, where the landmarks are from here, the others
    distance = seen[:, :, 4 : 4 + 2 * n].unflatten(-1, (n, 2)).norm(dim=-1)  # [N, agent, landmark]
    return (distance.amin(1) <= within).sum(-1)


def main() -> None:
    """Print a line for each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--episodes", type=int, default=256)
    parser.add_argument("--within", type=float, default=0.15)
    options = parser.parse_args()
    for run in options.runs:
        found = covered(run, options.episodes, options.within)
        shares = [f"{number}: {(found == number).float().mean():.2f}" for number in range(int(found.max()) + 1)]
        print(f"{run.name}: {found.float().mean():.2f} on average; {', '.join(shares)}")


if __name__ == "__main__":
    main()
