"""Mean and deviation over the rows that count."""

from jaxtyping import Bool, Float
from torch import Tensor


def moments(
    x: Float[Tensor, "*batch"], active: Bool[Tensor, "*batch"] | None
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Return the mean and the population's standard deviation of ``x`` where ``active`` holds (everywhere without it).

    Where it holds nowhere, both are 0.
    """
    if active is None:
        return x.mean(), x.std(correction=0)
    count = active.sum().clamp(min=1)
    mean = (x * active).sum() / count
    return mean, (((x - mean) ** 2 * active).sum() / count).sqrt()
