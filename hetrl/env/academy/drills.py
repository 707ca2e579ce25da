"""The academy's drills by name, and how one is read from the package that has them."""

import importlib
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from hetrl.errors import DependencyError, RunError

KEEPERS = 1
"""Players of each side who stand in a goal; the first of the left side is one."""
INSTALL = (
    "it is built from source: pip install 'setuptools<60' wheel psutil; pip install --no-build-isolation --no-deps "
    "gfootball==2.10.2. What it needs of the system is on the page 'Real football' of the documentation."
)
_HERE = "_hetrl_academy"
"""What the package's folder of drills is called while one is read."""


@dataclass(frozen=True)
class Drill:
    """What is known of a drill without the package."""

    about: str
    n_left: int
    """Players of the left side, the keeper among them."""
    duration: int = 400
    """Steps after which it is over."""


DRILLS = {
    "academy_empty_goal_close": Drill("The ball is close to an empty goal.", 2),
    "academy_empty_goal": Drill("The ball is in the middle, and the goal is empty.", 2),
    "academy_run_to_score": Drill("An empty goal, five defenders in pursuit.", 2),
    "academy_run_to_score_with_keeper": Drill("A keeper, five defenders in pursuit.", 2),
    "academy_pass_and_shoot_with_keeper": Drill(
        "The ball is on the side next to a defender, somebody is free before the goal.", 3
    ),
    "academy_run_pass_and_shoot_with_keeper": Drill(
        "The ball is on the side and free, a defender is next to the one before the goal.", 3
    ),
    "academy_3_vs_1_with_keeper": Drill("The ball is in the middle, a free player on either side.", 4),
    "academy_corner": Drill("A corner, eleven against eleven.", 11),
    "academy_counterattack_easy": Drill("Four against a defender and a keeper, the others far behind.", 11),
    "academy_counterattack_hard": Drill("Four against two defenders and a keeper, the others far behind.", 11),
    "academy_single_goal_versus_lazy": Drill("Eleven against eleven who stand still, from the middle.", 11, 3000),
}
"""The drills of gfootball 2.10.2."""


def engine() -> ModuleType:
    """Return the engine's module. It prints nothing and needs no other package; gfootball's own environment does.

    Raises:
        DependencyError: it is not installed, or cannot be loaded.
    """
    try:
        return importlib.import_module("gfootball_engine")
    except ImportError as error:
        raise DependencyError(f"env/football_academy needs gfootball ({error}); {INSTALL}") from error


def builder(drill: str) -> Callable[[Any], None]:
    """Return the function of the package that says who stands where in a drill.

    ``import gfootball`` would ask for gym and absl, which the drills do not need. So their folder is a package of its
    own here for a moment.

    Raises:
        DependencyError: gfootball is not installed, or is one without this drill.
    """
    engine()
    found = importlib.util.find_spec("gfootball")
    places = list(found.submodule_search_locations or ()) if found else []
    folder = next((Path(place) / "scenarios" for place in places), None)
    if folder is None or not (folder / f"{drill}.py").is_file():
        raise DependencyError(f"env/football_academy: no gfootball here has a drill '{drill}'; {INSTALL}")
    try:
        _load(_HERE, folder / "__init__.py", [str(folder)])
        build = _load(f"{_HERE}.{drill}", folder / f"{drill}.py").build_scenario
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == _HERE]:
            del sys.modules[name]
    return cast(Callable[[Any], None], build)


def _load(name: str, file: Path, places: list[str] | None = None) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=places)
    assert spec is not None and spec.loader is not None
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Setup:
    """What a drill's function fills in; its methods have the names that the package's drills call.

    Args:
        module: the engine's.
        n_agents: players of the left side who are told what to do.
        keeper_too: whether the left keeper may be one of them. Who may be and who is are then as many, or the engine
            hands the agents from player to player.
        horizon: steps.
        seed: of all that is random in the match.
    """

    def __init__(self, module: ModuleType, *, n_agents: int, keeper_too: bool, horizon: int, seed: int) -> None:
        self._module, self._left, self._keeper_too = module, True, keeper_too
        self._n_agents, self._horizon, self._seed = n_agents, horizon, seed
        self._found = module.ScenarioConfig.make()

    def config(self) -> Any:
        """Return the engine's own configuration."""
        return self._found

    def EpisodeNumber(self) -> int:
        """Return the number of the match; every one is a first one."""
        return 1

    def SetTeam(self, team: Any) -> None:
        """Say whose players come next."""
        self._left = team == self._module.e_Team.e_Left

    def AddPlayer(self, x: float, y: float, role: Any, lazy: bool = False, controllable: bool = True) -> None:
        """Place a player; ``lazy`` ones do nothing unless they are told."""
        side = self._found.left_team if self._left else self._found.right_team
        kept = self._left and not self._keeper_too and role == self._module.e_PlayerRole.e_PlayerRole_GK
        side.append(self._module.FormationEntry(x, y, role, lazy, controllable and not kept))

    def SetBallPosition(self, x: float, y: float) -> None:
        """Place the ball."""
        self._found.ball_position[0], self._found.ball_position[1] = x, y

    def finished(self) -> Any:
        """Return the configuration, with what is ours to say.

        Raises:
            RunError: the drill is played the same whatever the seed.
        """
        found = self._found
        if found.deterministic:
            raise RunError("env/football_academy: this drill has no random numbers; its episodes would all be alike.")
        found.left_agents, found.right_agents = self._n_agents, 0
        found.game_duration, found.real_time = self._horizon, False
        found.game_engine_random_seed = self._seed
        # Who moves first within a step; the package draws it from the seed as well.
        found.reverse_team_processing = bool(self._seed % 2)
        return found
