"""Shoulders and arms, up beside the head or down beside the trunk: rods of muscle in fat, with bones along them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from myotome.phantoms.thorax.person import Person

__all__ = ["Limbs", "Rod", "make_limbs"]

Rod = tuple[np.ndarray, np.ndarray, float]
"""Two end points in patient mm and a radius in mm."""


@dataclass(frozen=True, eq=False)
class Limbs:
    """The rods of both sides."""

    muscle: tuple[Rod, ...]
    flesh: tuple[Rod, ...]
    bones: tuple[Rod, ...]


def make_limbs(person: Person) -> Limbs:
    """Place the shoulders and arms of one person."""
    muscle: list[Rod] = []
    covers: list[Rod] = []
    bones: list[Rod] = []
    for side in (-1, 1):
        _add_side(person, side, muscle, covers, bones)
    flesh = [*covers, *((start, stop, radius + 2.5 + 0.55 * person.fat) for start, stop, radius in muscle)]
    return Limbs(tuple(muscle), tuple(flesh), tuple(bones))


def _add_side(person: Person, side: int, muscle: list[Rod], covers: list[Rod], bones: list[Rod]) -> None:
    height, half, depth = person.thorax_height, person.half_width, person.depth
    joint = np.array([side * (half + 26), -8.0, 0.95 * height + (16 if person.arms_up else 0)])

    def at(outward: float, forward: float, upward: float) -> np.ndarray:
        """A point given from the shoulder joint, in mm."""
        return joint + np.array([side * outward, forward, upward])

    elbow = at(55, 40, 190) if person.arms_up else at(34, -18, -300)
    size = 24 + 12 * person.muscle
    neck = np.array([side * 34.0, -0.30 * depth, 1.10 * height])
    medial = np.array([side * 0.60 * half, -0.31 * depth, 0.90 * height])
    muscle += [
        (at(6, 0, -8), at(0, 0, 14), size),  # deltoid
        (joint, elbow, size * 0.86),  # upper arm
        (at(-16, -12, 12), neck, 12 + 7 * person.muscle),  # upper trapezius and supraspinatus
        (at(-18, -16, -6), medial, 13 + 8 * person.muscle),  # scapular muscles
        (at(-34, 12, -6), at(-8, 14, 4), 8 + 6 * person.muscle),  # coracobrachialis and biceps
    ]
    root = np.array([side * 20.0, -0.12 * depth, 0.98 * height])
    covers += [(joint, root, 40 + 0.5 * person.fat), (joint, neck, 34 + 0.5 * person.fat)]
    sternal_end = np.array([side * 16.0, 0.275 * depth + 16, 0.93 * height])
    bones += [
        (joint, joint + 0.02 * (elbow - joint), 22.0 * half / 138),  # humeral head
        (joint, elbow, 10.5),  # humerus
        (sternal_end, at(-12, 6, 20), 6.2),  # clavicle
        (at(-8, -22, 18), at(-74, -48, -2), 5.0),  # spine of the scapula
    ]
