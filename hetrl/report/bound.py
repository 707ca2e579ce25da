"""The page of the bound monitor, from a run's metrics."""

from fnmatch import fnmatch
from pathlib import Path

from hetrl.errors import RunError
from hetrl.report.curve import frames_as_text
from hetrl.train.csv_logger import FRAMES, read

_PANELS = {
    "Gain of a sweep, promised and real [reward]": ("gain", "change"),
    "KL of each agent [nat]": ("*/kl",),
    "Gain of each agent, in turn [reward]": ("*/gain",),
    "Least eigenvalue of the actions' covariance [1]": ("*/least_eigenvalue",),
    "Critic: bias, error, spread [reward]": ("critic_bias", "critic_error", "critic_spread"),
}


def draw(run: Path, to: Path) -> Path:
    """Draw what the bound monitor logged into a PNG.

    Args:
        run: the run's folder, or its table of metrics.
        to: the picture to write.

    Raises:
        RunError: the run has not been monitored.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    rows = [row for row in read(run if run.is_file() else run / "metrics.csv") if "bound/change" in row]
    if not rows:
        raise RunError(f"{run} has no figures of the bound; train with --monitor 5000, say.")
    names = [name.removeprefix("bound/") for name in {name: None for row in rows for name in row} if "bound/" in name]
    figure, axes = plt.subplots(2, 3, figsize=(16, 8), layout="constrained")
    for axis, (title, wanted) in zip(axes.flat, _PANELS.items(), strict=False):
        shown = [name for name in names if any(fnmatch(name, want) for want in wanted)]
        for name in shown:
            points = [(row[FRAMES], row[f"bound/{name}"]) for row in rows if f"bound/{name}" in row]
            error = [row["bound/change_error"] for row in rows] if name == "change" else None
            axis.errorbar(*zip(*points, strict=True), yerr=error, marker=".", label=name, capsize=2)
        axis.set(title=title, xlabel="environment frames")
        axis.axhline(0, color="grey", linewidth=0.6)
        axis.grid(alpha=0.3)
        axis.xaxis.set_major_formatter(frames_as_text)
        if shown:
            axis.legend(fontsize="small")
    axes.flat[-1].axis("off")
    to.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(to, dpi=110)
    plt.close(figure)
    return to
