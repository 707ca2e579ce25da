"""How far a critic sees that learns from its own slow copy: the share of a steady reward that it has counted so far.

A reward of 1 at every step for ever is worth V = 1 / (1 - gamma). A critic that is at its target after every update,
whose slow copy begins at 0, has after ``k`` updates

    Q = V (1 - (1 - tau (1 - gamma^n))^(k // every))

Whatever else is learned, no more of the future than that share has come through the copy.

    PYTHONPATH=tests python -m exact.slow_copies
"""

GAMMA = 0.99


def share(n_updates: int, tau: float = 0.005, every: int = 1, n_step: int = 1, gamma: float = GAMMA) -> float:
    """Return the share of the value that the slow copy holds.

    Args:
        n_updates: of the critic.
        tau: how far the copy moves.
        every: updates from one move to the next.
        n_step: rewards in a target.
        gamma: the discount.
    """
    return 1 - (1 - tau * (1 - gamma**n_step)) ** (n_updates // every)


def updates(frames: int, warmup: int, n_envs: int) -> int:
    """Return how many updates a run has made, one for every step of all environments."""
    return (frames - warmup) // n_envs


TASKS = {
    "HalfCheetah 2x3, 200,000 frames, one step": (updates(200_000, 10_000, 10), 1),
    "HalfCheetah 2x3, 200,000 frames, ten steps": (updates(200_000, 10_000, 10), 10),
    "HalfCheetah 2x3, 1,000,000 frames, one step": (updates(1_000_000, 10_000, 10), 1),
    "balance, 100,000 frames, five steps": (updates(100_000, 6_400, 16), 5),
}


def main() -> None:
    """Print the shares."""
    for name, (n_updates, n_step) in TASKS.items():
        both = [share(n_updates, every=every, n_step=n_step) for every in (1, 2)]
        print(f"{name}: {n_updates:,} updates, {both[0]:.0%} where a copy moves at each, {both[1]:.0%} at every second")


if __name__ == "__main__":
    main()
