"""The robots of multi-agent MuJoCo: their joints, who may drive which, what each agent sees, and what is rewarded.

The figures are those of gymnasium's ``-v5`` tasks, and the joints, neighbours and order of local observations those of
gymnasium-robotics' ``mamujoco_v1`` (Peng et al. 2021, arXiv 2003.06709), whose observations they reproduce entry by
entry. Nothing here needs either package.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from hetrl.errors import RecipeError, nearest
from hetrl.team import Box, Team

Element = tuple[str, int]
"""An array and a place in it, counted flat: the simulator's by its MuJoCo name, or one that is computed of them
(``clipped_qvel``, ``sin_qpos``, ``cos_qpos``, ``gap``), or ``id``."""
View = Literal["local", "full+id"]
Range = tuple[float, float]

WIDTH = {"cinert": 10, "cvel": 6, "cfrc_ext": 6}
"""Numbers that each body has in an array."""


@dataclass(frozen=True)
class Robot:
    """One robot: its mechanics by joint, its factorisations, and the figures of its task.

    The positions and velocities of its root come first, then its joints', one position and velocity each, then those of
    its goal, where it has one.
    """

    model: str
    """File of the MuJoCo model, among gymnasium's."""
    n_substeps: int
    """Steps of the simulator in one of the environment."""
    joints: tuple[str, ...]
    """Driven joints, in the order of their positions."""
    links: tuple[tuple[str, ...], ...]
    """Joints that are neighbours of each other."""
    parts: Mapping[str, Mapping[str, tuple[str, ...]]]
    """Factorisation -> agent -> its joints, in the order of its actions. One joint for each needs no row."""
    root: tuple[int, int]
    """Positions and velocities of the root: 3 and 3 in a plane, 7 and 6 where it is free."""
    hidden: int
    """Positions that nobody sees: where the robot is in the plane or along the line."""
    healthy: Mapping[int, Range]
    """State entry (positions, then velocities) -> open interval outside of which the episode terminates. Where there
    are any, every other entry has to be finite."""
    noise: tuple[float, float]
    """Scale of the noise on the first positions (uniform) and on the first velocities."""
    normal: bool
    """Whether the velocities' noise is normal; otherwise it is uniform too."""
    control: float
    """Weight of the squared controls [reward]."""
    place: Element = ("qpos", 0)
    """What is to move forward, or to be high."""
    forward: float = 0.0
    """Weight of its speed [reward per m/s]."""
    height: float = 0.0
    """Weight of the place itself [reward per m]."""
    distance: float = 0.0
    """Weight of the length of the gap [reward per m]."""
    gap: tuple[int, int] | None = None
    """The two bodies that it lies between: the position of the first minus that of the second."""
    goal: float | None = None
    """Radius of the disc in which a goal, the last two positions, is drawn at the start [m]. It does not move."""
    horizon: int = 1000
    """Steps after which gymnasium cuts an episode."""
    survival: float = 0.0
    """Earned in each step in which it is healthy [reward/step]."""
    contact: float = 0.0
    """Weight of the squared contact forces [reward]."""
    contact_limit: float = math.inf
    """Largest cost of contacts [reward/step]."""
    force_limit: float = math.inf
    """Contact forces count, and are seen, within this."""
    torque: float = 1.0
    """Bound of each action."""
    drives: tuple[str, ...] = ()
    """Joints in the order of the controls, where it is not that of their positions."""
    bodies: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Joint -> the bodies that its agent feels."""
    senses: tuple[str, ...] = ()
    """Arrays seen beyond positions and velocities."""
    n_bodies: int = 0
    velocity: str = "qvel"
    """The array of velocities in the full observation: ``clipped_qvel`` is within 10 either way."""
    local_velocity: str = "qvel"
    whole: tuple[Element, ...] | None = None
    """The full observation, where it is not the positions that are seen, the velocities and the senses."""
    common: tuple[Element, ...] | None = None
    """What everyone sees, where it is not the root's positions and velocities."""
    felt: Mapping[Element, tuple[Element, ...]] = field(default_factory=dict)
    """An array and a joint, counted from 0 -> what its agent sees there, where it is not the joint's own number."""

    @property
    def controls(self) -> tuple[str, ...]:
        """Joints in the order of the controls."""
        return self.drives or self.joints

    def factorisations(self) -> tuple[str, ...]:
        """Names of all ways to part the robot into agents."""
        return (*self.parts, f"{len(self.joints)}x1")

    def agents(self, parts: str) -> Mapping[str, tuple[str, ...]]:
        """Return agent -> its joints, in team order.

        Raises:
            RecipeError: there is no such factorisation.
        """
        if parts == f"{len(self.joints)}x1":
            return {joint: (joint,) for joint in self.joints}
        if parts not in self.parts:
            raise RecipeError(f"task.parts: no factorisation {parts!r}.{nearest(str(parts), self.factorisations())}")
        return self.parts[parts]

    # ----- what is seen

    @property
    def derived(self) -> tuple[str, ...]:
        """Arrays of the simulator that are needed beside its positions and velocities."""
        needed = (*self.senses, self.place[0], *(("xpos",) if self.gap else ()))
        return tuple(name for name in dict.fromkeys(needed) if name not in ("qpos", "gap"))

    def full(self, velocity: str | None = None) -> list[Element]:
        """Return the entries of the full observation, those of the single-agent task."""
        if self.whole is not None:
            return list(self.whole)
        positions, velocities = (size + len(self.joints) for size in self.root)
        return [
            *(("qpos", i) for i in range(self.hidden, positions)),
            *((velocity or self.velocity, i) for i in range(velocities)),
            *((array, i) for array in self.senses for i in self._beyond_root(array)),
        ]

    def _beyond_root(self, array: str) -> range:
        """Places in an array without the world's body, or the root's forces."""
        if array in WIDTH:
            return range(WIDTH[array], WIDTH[array] * self.n_bodies)
        return range(self.root[1], self.root[1] + len(self.joints))

    def local(self, joints: Sequence[str], k: int) -> list[Element]:
        """Return the entries that the agent of ``joints`` sees: of its own joints all, of those at most ``k`` links
        away the positions, and the root's positions and velocities.

        Those nearby stand in alphabetical order, as in the library, and not in one that turns with the limb: leg 1 of
        the ant sees legs 2, 3, 4, and leg 3 sees 1, 2, 4. Limbs that share a network are then not aligned.
        """
        own, *near = self._rings(joints, k)
        seen: list[Element] = []
        for joint in own:
            for array in ("qpos", self.local_velocity, *self.senses):
                seen += [entry for entry in self._felt(joint, array) if entry not in seen]
        seen += [entry for ring in near for joint in ring for entry in self._felt(joint, "qpos")]
        if self.common is not None:
            return [*seen, *self.common]
        positions, velocities = self.root
        seen += [("qpos", i) for i in range(self.hidden, positions)]
        return [*seen, *((self.local_velocity, i) for i in range(velocities))]

    def _felt(self, joint: str, array: str) -> list[Element]:
        """Entries of one array that belong to a joint, or to its bodies."""
        if array in WIDTH:
            width = WIDTH[array]
            return [(array, body * width + i) for body in self.bodies[joint] for i in range(width)]
        index = self.joints.index(joint)
        own = ((array, self.root[0 if array == "qpos" else 1] + index),)
        return list(self.felt.get((array, index), own))

    def _rings(self, joints: Sequence[str], k: int) -> Iterator[list[str]]:
        """The joints 0, 1, ... ``k`` links away, each ring in alphabetical order."""
        ring = reached = set(joints)
        yield sorted(ring)
        for _ in range(k):
            ring = {joint for link in self.links if ring & set(link) for joint in link} - reached
            reached = reached | ring
            yield sorted(ring)


def joined(**parts: str) -> Mapping[str, tuple[str, ...]]:
    """Agent -> the joints named in its text."""
    return {agent: tuple(joints.split()) for agent, joints in parts.items()}


def names(text: str) -> tuple[tuple[str, ...], ...]:
    """The joints of each link in a text of links, parted by commas."""
    return tuple(tuple(link.split()) for link in text.split(","))


_HUMANOID = Robot(
    model="humanoid.xml", n_substeps=5, root=(7, 6), hidden=2, torque=0.4,
    # As in the library, whose 'abdomen_y' and 'abdomen_z' see each other's positions and velocities.
    joints=("abdomen_y", "abdomen_z", "abdomen_x", "right_hip_x", "right_hip_z", "right_hip_y", "right_knee",
            "left_hip_x", "left_hip_z", "left_hip_y", "left_knee", "right_shoulder1", "right_shoulder2",
            "right_elbow", "left_shoulder1", "left_shoulder2", "left_elbow"),
    links=names(
        "abdomen_x abdomen_y abdomen_z, right_hip_x right_hip_y right_hip_z, left_hip_x left_hip_y left_hip_z,"
        "left_elbow left_shoulder1 left_shoulder2, right_elbow right_shoulder1 right_shoulder2,"
        "left_knee left_hip_x left_hip_y left_hip_z, right_knee right_hip_x right_hip_y right_hip_z,"
        "left_shoulder1 left_shoulder2 abdomen_x abdomen_y abdomen_z,"
        "right_shoulder1 right_shoulder2 abdomen_x abdomen_y abdomen_z,"
        "abdomen_x abdomen_y abdomen_z left_hip_x left_hip_y left_hip_z,"
        "abdomen_x abdomen_y abdomen_z right_hip_x right_hip_y right_hip_z"
    ),
    parts={"9|8": joined(
        upper="abdomen_x abdomen_y abdomen_z right_shoulder1 right_shoulder2 right_elbow "
              "left_shoulder1 left_shoulder2 left_elbow",
        lower="right_hip_x right_hip_y right_hip_z right_knee left_hip_x left_hip_y left_hip_z left_knee",
    )},
    bodies={"abdomen_y": (1, 2, 3), "abdomen_z": (1, 2, 3), "abdomen_x": (3, 4, 7),
            **dict.fromkeys(("right_hip_x", "right_hip_z", "right_hip_y"), (4, 5)), "right_knee": (5, 6),
            **dict.fromkeys(("left_hip_x", "left_hip_z", "left_hip_y"), (7, 8)), "left_knee": (8, 9),
            **dict.fromkeys(("right_shoulder1", "right_shoulder2"), (1, 10, 11)), "right_elbow": (11,),
            **dict.fromkeys(("left_shoulder1", "left_shoulder2"), (1, 12, 13)), "left_elbow": (13,)},
    senses=("cinert", "cvel", "qfrc_actuator", "cfrc_ext"), n_bodies=14,
    healthy={2: (1.0, 2.0)}, noise=(0.01, 0.01), normal=False, place=("subtree_com", 0), forward=1.25, control=0.1,
    survival=5.0, contact=5e-7, contact_limit=10.0,
)  # fmt: skip

ROBOTS: dict[str, Robot] = {
    "Ant": Robot(
        model="ant.xml", n_substeps=5, root=(7, 6), hidden=2,
        joints=("hip_1", "ankle_1", "hip_2", "ankle_2", "hip_3", "ankle_3", "hip_4", "ankle_4"),
        drives=("hip_4", "ankle_4", "hip_1", "ankle_1", "hip_2", "ankle_2", "hip_3", "ankle_3"),
        links=names("hip_1 ankle_1, hip_2 ankle_2, hip_3 ankle_3, hip_4 ankle_4, hip_1 hip_2 hip_3 hip_4"),
        parts={
            "2x4": joined(front="hip_1 ankle_1 hip_2 ankle_2", back="hip_3 ankle_3 hip_4 ankle_4"),
            "2x4d": joined(left_diagonal="hip_1 ankle_1 hip_4 ankle_4", right_diagonal="hip_2 ankle_2 hip_3 ankle_3"),
            "4x2": joined(front_left="hip_1 ankle_1", front_right="hip_2 ankle_2", back_left="hip_3 ankle_3",
                          back_right="hip_4 ankle_4"),
        },
        bodies={"hip_1": (1, 2), "ankle_1": (2, 3, 4), "hip_2": (1, 5), "ankle_2": (5, 6, 7),
                "hip_3": (1, 8), "ankle_3": (8, 9, 10), "hip_4": (1, 11), "ankle_4": (11, 12, 13)},
        senses=("cfrc_ext",), n_bodies=14, force_limit=1.0,
        healthy={2: (0.2, 1.0)},
        noise=(0.1, 0.1), normal=True, place=("xpos", 3), forward=1.0, control=0.5, survival=1.0, contact=5e-4,
    ),
    "HalfCheetah": Robot(
        model="half_cheetah.xml", n_substeps=5, root=(3, 3), hidden=1,
        joints=("bthigh", "bshin", "bfoot", "fthigh", "fshin", "ffoot"),
        links=names("bfoot bshin, bshin bthigh, bthigh fthigh, fthigh fshin, fshin ffoot"),
        parts={
            "2x3": joined(back="bthigh bshin bfoot", front="fthigh fshin ffoot"),
            "3x2": joined(back="bfoot bshin", middle="bthigh ffoot", front="fshin fthigh"),
        },
        healthy={}, noise=(0.1, 0.1), normal=True, forward=1.0, control=0.1,
    ),
    "Hopper": Robot(
        model="hopper.xml", n_substeps=4, root=(3, 3), hidden=1,
        joints=("thigh_joint", "leg_joint", "foot_joint"),
        links=names("foot_joint leg_joint, leg_joint thigh_joint"),
        parts={},
        velocity="clipped_qvel", local_velocity="clipped_qvel",
        healthy=dict.fromkeys(range(2, 12), (-100.0, 100.0)) | {1: (0.7, math.inf), 2: (-0.2, 0.2)},
        noise=(0.005, 0.005), normal=False, forward=1.0, control=1e-3, survival=1.0,
    ),
    "Humanoid": _HUMANOID,
    # Earns 1 while it lives, which is always, and its height over the simulator's time step of 0.003 s.
    "HumanoidStandup": replace(
        _HUMANOID, model="humanoidstandup.xml", healthy={}, place=("qpos", 2), forward=0.0,
        height=1 / 0.003, survival=1.0,
    ),
    "Reacher": Robot(
        model="reacher.xml", n_substeps=2, root=(0, 0), hidden=0, horizon=50,
        joints=("joint0", "joint1"),
        links=names("joint0 joint1"),
        parts={},
        gap=(3, 4), goal=0.2,  # the fingertip's position minus the target's
        senses=("gap",),
        whole=(("cos_qpos", 0), ("cos_qpos", 1), ("sin_qpos", 0), ("sin_qpos", 1), ("qpos", 2), ("qpos", 3),
               ("qvel", 0), ("qvel", 1), ("gap", 0), ("gap", 1)),
        common=(("qpos", 2), ("qpos", 3)),
        felt={("qpos", 0): (("sin_qpos", 0), ("cos_qpos", 0)), ("qpos", 1): (("sin_qpos", 1), ("cos_qpos", 1)),
              ("gap", 0): (), ("gap", 1): (("gap", 0), ("gap", 1), ("gap", 2))},
        healthy={}, noise=(0.1, 0.005), normal=False, distance=1.0, control=1.0,
    ),
    "Swimmer": Robot(
        model="swimmer.xml", n_substeps=4, root=(3, 3), hidden=2,
        joints=("motor1_rot", "motor2_rot"),
        links=names("motor1_rot motor2_rot"),
        parts={},
        # As in the library: of the root's three velocities each agent feels one, and both see the third.
        felt={("qvel", 0): (("qvel", 0), ("qvel", 3)), ("qvel", 1): (("qvel", 1), ("qvel", 4))},
        common=(("qpos", 2), ("qvel", 2)),
        healthy={}, noise=(0.1, 0.1), normal=False, forward=1.0, control=1e-4,
    ),
    "Walker2d": Robot(
        model="walker2d_v5.xml", n_substeps=4, root=(3, 3), hidden=1,
        joints=("thigh_joint", "leg_joint", "foot_joint", "thigh_left_joint", "leg_left_joint", "foot_left_joint"),
        links=names("foot_joint leg_joint, leg_joint thigh_joint, foot_left_joint leg_left_joint,"
                    "leg_left_joint thigh_left_joint, thigh_joint thigh_left_joint"),
        parts={
            "2x3": joined(right="foot_joint leg_joint thigh_joint",
                          left="foot_left_joint leg_left_joint thigh_left_joint"),
            "3x2": joined(right="foot_joint leg_joint", middle="thigh_joint foot_left_joint",
                          left="leg_left_joint thigh_left_joint"),
        },
        velocity="clipped_qvel",  # of the full observation only
        healthy={1: (0.8, 2.0), 2: (-1.0, 1.0)}, noise=(0.005, 0.005), normal=False, forward=1.0,
        control=1e-3, survival=1.0,
    ),
}  # fmt: skip

_GENERATED = ("CoupledHalfCheetah", "ManySegmentAnt", "ManySegmentSwimmer")


def robot(name: str) -> Robot:
    """Return the robot of that name.

    Raises:
        RecipeError: there is none here.
    """
    if name in _GENERATED:
        raise RecipeError(f"task.robot: {name}'s model is generated by gymnasium-robotics and not offered here.")
    if name not in ROBOTS:
        raise RecipeError(f"task.robot: no robot {name!r}.{nearest(str(name), ROBOTS)}")
    return ROBOTS[name]


# --------------------------------------------------------------------------- teams


def views(robot: Robot, parts: str, observation: View, k: int) -> dict[str, list[Element]]:
    """Return agent -> the entries that it observes, in team order. The array ``id`` holds a 0 and a 1."""
    agents = robot.agents(parts)
    if observation == "local":
        return {name: robot.local(joints, k) for name, joints in agents.items()}
    return {name: [*robot.full(), *(("id", int(other == name)) for other in agents)] for name in agents}


def team(robot: Robot, parts: str, observation: View, k: int) -> Team:
    """Return the agents of a factorisation.

    Agents that are the same limb on another side, of equal sizes, have one body: left and right, and the four legs of
    the ant; not a cheetah's legs, of which the back one is the stronger. What such limbs see need not be aligned under
    ``local``, see :meth:`Robot.local`.
    """
    joints, seen = robot.agents(parts), views(robot, parts, observation, k)
    bounds = [(robot.torque,) * len(own) for own in joints.values()]
    spaces = [Box(tuple(-each for each in bound), bound) for bound in bounds]
    together = Team.of(list(joints), [len(entries) for entries in seen.values()], spaces)
    limbs: dict[tuple[str | int, ...], list[str]] = {}
    for agent in together.agents:
        kinds = dict.fromkeys(map(_without_side, joints[agent.name]))
        limbs.setdefault((agent.observation_size, agent.action.size, *kinds), []).append(agent.name)
    # Two limbs of one kind but of unequal sizes are called after their first members.
    bodies = {members[0] if len(members) == 1 else "_".join(map(str, limb[2:])): members
              for limb, members in limbs.items()}  # fmt: skip
    where: dict[Element, tuple[int, int]] = {}
    for place, entries in enumerate(seen.values()):
        for index, entry in enumerate(entries):
            where.setdefault(entry, (place, index))
    # Made of what the agents see: under 'local' its velocities are clipped where theirs are.
    state = robot.full(robot.local_velocity if observation == "local" else None)
    return replace(together.shared(bodies), state_size=len(state), state_from=tuple(where[entry] for entry in state))


def _without_side(joint: str) -> str:
    """A joint's name without left, right or a number."""
    return re.sub(r"^(left|right)_|_left|_\d$", "", joint)
