"""The pictures of the documentation's results, from run folders.

    python tests/benchmark/pictures.py RUNS docs/img [NAME ...]

``RUNS`` holds one folder for each run of the commands in the documentation, ``{NAME}_{TASK}_{seed}``, NAME a recipe or
what is said at the picture below. A picture is drawn where the runs of all its curves are there; the rest is left as it
is. Prints the mean of the last five points of every curve.
"""

import csv
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from hetrl.report.curve import Curve, draw_panels, from_run

HERE = Path(__file__).parent
TASKS = ("balance", "navigation")
SCENARIOS = ("mixed_transport", "scout_and_carry", "gate", "tether", "relay")
EVALUATION = "eval/return"
DETERMINISTIC = "evaluation return, deterministic"
Panels = dict[str, list[Curve]]
REFERENCES = {"HalfCheetah 2x3": "halfcheetah", "simple_spread, sum over agents": "spread"}


def seeds(runs: Path, stem: str, metric: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the series of every seed of a run."""
    return [from_run(folder, metric) for folder in sorted(runs.glob(f"{stem}_[0-9]"))]


def curve(runs: Path, label: str, stem: str, metric: str = EVALUATION, recipe: str = "") -> Curve:
    """Return a line with every seed of a run, in the colour of a recipe; a deterministic evaluation by default."""
    return Curve(label, seeds(runs, stem, metric), recipe=recipe)


def reference(stem: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the reference implementation's evaluation return against frames, as we measured it, for every seed."""
    found = []
    for path in sorted((HERE / "peer" / "curves").glob(f"harl_{stem}_seed*.csv")):
        frames, returns = np.loadtxt(path, delimiter=",", skiprows=1, unpack=True)
        found.append((frames, returns))
    return found


def benchmarl(task: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return BenchMARL's training return against frames, as we measured it, for every seed."""
    found = []
    for path in sorted((HERE / "peer" / "curves").glob(f"benchmarl_mappo_{task}_*.csv")):
        with path.open() as file:
            rows = list(csv.DictReader(file))
        values = [[float(row["frames"]), float(row["collection_episode_reward_mean"])] for row in rows]
        frames, returns = np.array(values).T
        found.append((frames, returns))
    return found


def smooth(series: tuple[np.ndarray, np.ndarray], window: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Return the running mean over ``window`` batches."""
    frames, values = series
    return frames[window - 1 :], np.convolve(values, np.ones(window) / window, "valid")


def recipes(runs: Path, names: tuple[str, ...], tasks: tuple[str, ...] = TASKS, title: str = "{}") -> Panels:
    """Return one panel for each task, one curve for each recipe."""
    return named(runs, {name: name.upper() for name in names}, tasks, title)


def named(runs: Path, labels: Mapping[str, str], tasks: tuple[str, ...], title: str = "{}") -> Panels:
    """Return one panel for each task, one curve for each stem (``STEM_TASK``) under its label."""
    return {
        title.format(task): [
            curve(runs, label, f"{stem}_{task}", recipe=stem.removesuffix("100k")) for stem, label in labels.items()
        ]
        for task in tasks
    }


def against_benchmarl(runs: Path) -> Panels:
    """MAPPO with BenchMARL's settings (``peer_TASK``), smoothed training return."""
    return {
        f"{task}, BenchMARL's settings, 4 epochs": [
            Curve("hetrl MAPPO", [smooth(series) for series in seeds(runs, f"peer_{task}", "return")], recipe="mappo"),
            Curve("BenchMARL 1.5.2 MAPPO", [smooth(series) for series in benchmarl(task)], recipe="mappo"),
        ]
        for task in TASKS
    }


def orders_in_the_game(runs: Path) -> Panels:
    """HATRPO in the game of docs/details/order.md (``gameRADIUS_ORDER``)."""
    return {
        f"HATRPO in the game, radius {radius}": [
            curve(runs, label, f"game{radius}_{name}", "return")
            for label, name in (("in turn", "random_permutation"), ("at once", "simultaneous"))
        ]
        for radius in ("0.3", "0.05")
    }


def orders_on_vmas(runs: Path) -> Panels:
    """HAPPO in turn and at once (``simultaneous_TASK``)."""
    return {
        f"HAPPO on {task}": [
            curve(runs, label, f"{name}_{task}") for label, name in (("in turn", "happo"), ("at once", "simultaneous"))
        ]
        for task in TASKS
    }


def against_the_reference(runs: Path) -> Panels:
    """HAPPO beside the reference implementation's, on its tasks."""
    return {
        title: [
            curve(runs, "hetrl HAPPO", f"happo_{task}", recipe="happo"),
            Curve("HARL HAPPO", reference(f"happo_{task}"), recipe="happo"),
        ]
        for title, task in REFERENCES.items()
    }


def off_policy_against_the_reference(runs: Path) -> Panels:
    """HASAC beside the reference implementation's, and the others of the family."""
    return {
        title: [
            curve(runs, "hetrl HASAC", f"hasac_{task}", recipe="hasac"),
            Curve("HARL HASAC", reference(f"hasac_{task}"), recipe="hasac"),
            *(
                curve(runs, f"hetrl {name.upper()}", f"{name}_{task}", recipe=name)
                for name in ("masac", "hatd3", "haddpg")
            ),
        ]
        for title, task in REFERENCES.items()
    }


def other_tasks(runs: Path) -> Panels:
    """HAPPO on the tasks for which there is no curve of a peer."""
    return {
        "Hopper 3x1": [curve(runs, "HAPPO", "happo_hopper")],
        "simple_spread, discrete": [curve(runs, "HAPPO", "happo_spread_discrete")],
        "simple_speaker_listener": [
            curve(runs, "continuous", "happo_speaker"), curve(runs, "discrete", "happo_speaker_discrete"),
        ],
    }  # fmt: skip


def scenarios(runs: Path) -> Panels:
    """HAPPO on our scenarios, a policy for each agent (``agent_SCENARIO``)."""
    return {"HAPPO, per: agent": [curve(runs, task, f"agent_{task}") for task in SCENARIOS]}


def sharing(runs: Path) -> Panels:
    """HAPPO on mixed_transport: who shares (``agent``, ``group``, ``team``), and with identical bodies."""
    labels = {"agent": "a policy for each agent", "group": "one for each body", "team": "one for all"}
    return {
        "mixed_transport": [curve(runs, label, f"{per}_mixed_transport") for per, label in labels.items()],
        "mixed_transport, identical bodies": [
            curve(runs, labels[per], f"{per}_identical") for per in ("agent", "team")
        ],
    }  # fmt: skip


def marginal_q(runs: Path) -> Panels:
    """OMDPG beside HASAC and HAPPO, with policies of their own (``happo100k``) and shared, at equal frames."""
    labels = {"omdpg": "OMDPG", "hasac": "HASAC", "happo100k": "HAPPO, per: agent", "shared_happo": "HAPPO, per: group"}
    return named(runs, labels, (*TASKS, "mixed_transport"))


def groups(runs: Path) -> Panels:
    """OMDPG with groups by body (``omdpg``), with the pusher in one with a steerer (``random``), without (``own``)."""
    labels = {"omdpg": "groups by body", "random": "groups at random", "own": "a policy for each agent"}
    return named(runs, labels, ("mixed_transport",), "OMDPG on {}")


def pessimism(runs: Path) -> Panels:
    """OMDPG with other weights of the pessimistic loss (``lambda0.5``) than its own (``omdpg``)."""
    labels = {"lambda0": "λ = 0", "lambda0.01": "0.01", "omdpg": "0.1", "lambda0.5": "0.5", "lambda1": "1"}
    return named(runs, labels, ("mixed_transport",), "OMDPG on {}")


def diffusion(runs: Path) -> Panels:
    """HAQO and its Gaussian ablation beside others, at equal frames."""
    labels = {
        "haqo": "HAQO", "haqo_gaussian": "HAQO, Gaussian", "hasac": "HASAC", "happo100k": "HAPPO", "mappo100k": "MAPPO",
        "hatrpo100k": "HATRPO",
    }  # fmt: skip
    return named(runs, labels, (*TASKS, "mixed_transport"))


def without(runs: Path) -> Panels:
    """HAQO without its ingredients, one at a time."""
    labels = {
        "haqo": "HAQO", "haqo_gaussian": "Gaussian policies", "simultaneous": "at once", "no_proxy": "no entropy proxy",
    }  # fmt: skip
    return named(runs, labels, ("mixed_transport",), "HAQO on {}")


def unlike_bodies(runs: Path) -> Panels:
    """Everybody on the scenarios in which no two agents have the same body, at equal frames."""
    labels = {
        "omdpg": "OMDPG", "haqo": "HAQO", "hasac": "HASAC", "happo100k": "HAPPO", "hatrpo100k": "HATRPO",
    }  # fmt: skip
    return named(runs, labels, SCENARIOS[1:])


def captured(runs: Path) -> Panels:
    """MAPPO with and without a captured simulator (``cap_TASK_true``, ``cap_TASK_false``)."""
    labels = {"false": "VMAS's own steps", "true": "captured"}
    return {
        f"MAPPO on {task}": [curve(runs, label, f"cap_{task}_{name}") for name, label in labels.items()]
        for task in TASKS
    }


def kept(name: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the series of every seed of a run of docs/data/fine_tuning.csv."""
    with (HERE.parents[1] / "docs" / "data" / "fine_tuning.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["run"] == name]
    seeds = dict.fromkeys(row["seed"] for row in rows)
    points = [[(float(row["frames"]), float(row[EVALUATION])) for row in rows if row["seed"] == seed] for seed in seeds]
    return [(np.array(each)[:, 0], np.array(each)[:, 1]) for each in points]


def from_weights(runs: Path) -> Panels:
    """A task that is changed: from the weights of the one before, and from nothing; and the chain of both runs.

    The runs are ``light_balance_SEED``, ``from_light_balance_SEED`` and ``heavy_balance_SEED``; where there are none,
    the table that is kept.
    """
    light, heavy, nothing = (
        Curve("", seeds(runs, f"{stem}_balance", EVALUATION) or kept(stem)) for stem in ("light", "from_light", "heavy")
    )
    after = [
        (frames + before[-1], values) for (frames, values), (before, _) in zip(heavy.series, light.series, strict=True)
    ]
    return {
        "HAPPO on balance, mass 10": [
            Curve("from the weights of mass 5", heavy.series), Curve("from nothing", nothing.series),
        ],
        "a chain of two runs": [Curve("mass 5", light.series), Curve("from the weights of mass 5", after)],
    }  # fmt: skip


PICTURES: dict[str, tuple[Callable[[Path], Panels], str]] = {
    "learning": (lambda runs: recipes(runs, ("happo", "hatrpo", "haa2c", "mappo")), DETERMINISTIC),
    "off_policy": (
        lambda runs: recipes(runs, ("hasac", "masac", "hatd3", "haddpg"), title="{}, off-policy"), DETERMINISTIC,
    ),
    "deterministic": (lambda runs: recipes(runs, ("hatd3", "haddpg"), title="{}, off-policy"), DETERMINISTIC),
    "happo": (lambda runs: {"HAPPO on VMAS balance": [curve(runs, "HAPPO", "happo_balance")]}, "evaluation return"),
    "benchmarl": (against_benchmarl, "training return, mean of 5 batches"),
    "order_game": (orders_in_the_game, "return"),
    "order_vmas": (orders_on_vmas, DETERMINISTIC),
    "reference": (against_the_reference, DETERMINISTIC),
    "reference_off_policy": (off_policy_against_the_reference, DETERMINISTIC),
    "other_tasks": (other_tasks, DETERMINISTIC),
    "scenarios": (scenarios, DETERMINISTIC),
    "sharing": (sharing, DETERMINISTIC),
    "omdpg": (marginal_q, DETERMINISTIC),
    "omdpg_groups": (groups, DETERMINISTIC),
    "omdpg_lambda": (pessimism, DETERMINISTIC),
    "haqo": (diffusion, DETERMINISTIC),
    "haqo_without": (without, DETERMINISTIC),
    "unlike_bodies": (unlike_bodies, DETERMINISTIC),
    "captured": (captured, DETERMINISTIC),
    "fine_tuning": (from_weights, DETERMINISTIC),
}  # fmt: skip
"""Name -> what it shows, and what its vertical axis is."""


def main() -> None:
    """Draw those that were asked for, or all."""
    runs, folder, *asked = sys.argv[1:]
    for name in asked or PICTURES:
        make, ylabel = PICTURES[name]
        panels = make(Path(runs))
        if not panels or not all(each.series for curves in panels.values() for each in curves):
            print(f"{name}: not all runs are there, left as it is")
            continue
        draw_panels(panels, Path(folder) / f"{name}.png", ylabel=ylabel)
        for title, curves in panels.items():
            for each in curves:
                last = [values[-5:].mean() for _, values in each.series]
                print(f"{title}: {each.name}: last five points {np.mean(last):.3g}, seeds {np.round(last, 3).tolist()}")


if __name__ == "__main__":
    main()
