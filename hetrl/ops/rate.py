"""How surely a rate is known from so many trials."""

import math

_Z = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """Return the ends of the 95 % score interval of a rate; 0 and 1 of no trials.

    (p + z^2 / 2n  -+  z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n),   p = hits / n,  n = trials,  z = 1.96

    Unlike p -+ z sqrt(p (1 - p) / n) it has a width where all or none were hits: of 4 trials without a hit it is 0 to
    z^2 / (4 + z^2) = 0.490, of 4 with four 0.510 to 1.

    Source: Wilson 1927, Probable inference, the law of succession, and statistical inference, JASA 22(158).
    """
    if not trials:
        return 0.0, 1.0
    rate, share = hits / trials, _Z**2 / trials
    middle = rate + share / 2
    half = _Z * math.sqrt(rate * (1 - rate) / trials + share / trials / 4)
    low, high = (middle - half) / (1 + share), (middle + half) / (1 + share)
    return (0.0 if hits == 0 else low), (1.0 if hits == trials else high)  # exactly so, whatever the rounding
