"""All that lies around the scapula: trunk, rotator cuff, deltoid, trapezius, pectorals, clavicle, vessels and joint."""

from __future__ import annotations

import numpy as np

from myotome.phantoms.canvas import smooth_line
from myotome.phantoms.shoulder.anatomy import ShoulderAnatomy
from myotome.phantoms.shoulder.painting import Painting

__all__ = ["draw_joint", "draw_surroundings"]

# Outlines of the mean man at the Y-view, and by how many per cent points each holds more fat than other muscle.
_BELOW = (
    ("latissimus", ((18, 94), (34, 86), (52, 84), (62, 96), (54, 114), (34, 116)), 4.0),
    ("teres_major", ((0, 70), (14, 66), (30, 66), (38, 76), (28, 90), (8, 88)), 3.0),
    ("teres_minor", ((16, 58), (24, 53), (38, 42), (44, 46), (40, 58), (26, 67)), 4.0),
)
_SUBSCAPULARIS = ((-2, 6), (-13, 0), (-24, 6), (-31, 20), (-29, 38), (-18, 54), (-2, 66), (9, 64), (6, 44), (2, 22))
_INFRASPINATUS = ((4, 4), (18, -8), (31, -17), (42, -16), (49, 2), (46, 24), (34, 42), (20, 54), (12, 52), (6, 26))
_PECTORALS = (
    ("pectoralis_major", ((-74, -6), (-62, -10), (-54, 6), (-55, 30), (-62, 54), (-74, 54), (-80, 24))),
    ("pectoralis_minor", ((-44, -8), (-36, -12), (-31, 0), (-36, 14), (-46, 22), (-51, 8))),
)
_DELTOID_BEHIND = ((42, -26), (54, -14), (59, 8), (57, 32), (48, 54))
_DELTOID_BEFORE = ((-36, -42), (-48, -30), (-55, -10), (-57, 10), (-54, 28))
_BUNDLE = (
    ("artery", (-41, 32), 3.4, "flow_void"),
    ("vein", (-46, 40), 4.2, "slow_blood"),
    ("cord_lateral", (-37, 39), 1.9, "nerve"),
    ("cord_posterior", (-38, 25), 1.8, "nerve"),
    ("cord_medial", (-44, 25), 1.6, "nerve"),
)


def draw_surroundings(painting: Painting, anatomy: ShoulderAnatomy) -> None:
    """Draw everything but the fossa, the scapula and the joint, from the skin inwards."""
    _draw_trunk(painting, anatomy)
    _draw_chest_wall(painting, anatomy)
    _draw_cuff(painting, anatomy)
    _draw_outer_muscles(painting, anatomy)
    if painting.lateral_mm < 24:
        _draw_trapezius(painting, anatomy)
    _draw_clavicle(painting, anatomy)
    _draw_bundle(painting, anatomy)


def _draw_trunk(painting: Painting, anatomy: ShoulderAnatomy) -> None:
    """Skin and fat; whatever is not drawn over them is fat between muscles."""
    rise = float(np.interp(painting.lateral_mm, [-40, 0, 30, 60], [-4, 0, 2, 12]))
    top = [(-58, -40 + rise), (-30, -60 + rise), (8, -64 + rise), (42, -52 + rise)]
    sides = [(62, -22), (74, 30), (78, 90), (70, 150), (0, 170), (-80, 150), (-98, 80), (-88, 10), (-76, -18)]
    outline = anatomy.outline("skin", np.array(top + sides), 3.0)
    centre = anatomy.place(np.array([(0, 40)]))[0]
    outward = outline - centre
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    body = painting.canvas.blob(outline + outward * (anatomy.person.skin_fat_mm - 6), centre)
    painting.fill(body, "skin")
    painting.fill(body, "fat", 1.8)


def _draw_chest_wall(painting: Painting, anatomy: ShoulderAnatomy) -> None:
    """Serratus, ribs and lung at the front below; they leave the picture towards the arm."""
    reach = float(np.interp(painting.lateral_mm, [-40, 0, 32], [1.15, 1.0, 0.2]))
    half = np.array([45.0, 66.0]) * reach
    middle = np.array([-66.0, 92.0 + 14 * (1 - reach)])
    size, other = anatomy.person.size, anatomy.person.other_fat_percent
    shape = painting.canvas.oval(anatomy.place(middle), tuple(size * half))
    painting.muscle(shape, other + 4, 0.4)
    painting.fill(shape, "fat", 5.5 * size)
    painting.fill(shape, "lung", 10.5 * size)
    for angle in np.linspace(-2.3, 0.9, 6):
        radial, round_ = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        at = middle + radial * (half - 7.5)
        points, radii = anatomy.rod(f"rib {angle:.1f}", at + np.outer((-3.5, 3.5), round_), [3.4, 3.4], 0.8)
        painting.bone(painting.canvas.rod(points, radii), 1.1, "red_marrow")


def _draw_cuff(painting: Painting, anatomy: ShoulderAnatomy) -> None:
    """Subscapularis, infraspinatus and teres minor against the scapula, and what lies below."""
    s, person = painting.lateral_mm, anatomy.person
    thin, push = float(np.interp(s, [0, 40], [1.0, 0.45])), float(np.interp(s, [6, 34], [0.0, 1.0]))
    other = person.other_fat_percent
    for name, points, more in _BELOW:
        _muscle(painting, anatomy, name, points, other + more)
    before = np.array(_SUBSCAPULARIS) * (1, thin) + push * np.array([-14, -2])
    behind = np.array(_INFRASPINATUS) * (1, thin) + push * np.array([10, -4])
    _muscle(painting, anatomy, "subscapularis", before, other + 0.15 * person.fat_percent, 0.5)
    _muscle(painting, anatomy, "infraspinatus", behind, person.infraspinatus_fat_percent, -0.4)


def _draw_outer_muscles(painting: Painting, anatomy: ShoulderAnatomy) -> None:
    """Pectorals, and the deltoid behind and before; it grows towards the arm."""
    s, other = painting.lateral_mm, anatomy.person.other_fat_percent
    for name, points in _PECTORALS:
        _muscle(painting, anatomy, name, points, other)
    bulk = anatomy.person.bulk
    for name, line, ends, thickness in (
        ("deltoid behind", _DELTOID_BEHIND, (0.6, 1.0, 1.05, 0.85, 0.35), (1.5, 6.5, 11.0)),
        ("deltoid before", _DELTOID_BEFORE, (0.5, 0.9, 1.0, 0.8, 0.3), (1.0, 5.0, 9.0)),
    ):
        radii = np.array(ends) * float(np.interp(s, [-30, 0, 25], thickness)) * bulk
        points, radii = anatomy.rod(name, np.array(line, float), radii, 1.2)
        painting.muscle(painting.canvas.rod(*smooth_line(points, radii, 11)), other, 0.8)


def _draw_trapezius(painting: Painting, anatomy: ShoulderAnatomy) -> None:
    """A sheet over the roof of the fossa, from the clavicle to the spine."""
    s, person = painting.lateral_mm, anatomy.person
    roof = anatomy.fossa(min(s, 2.0)).roof
    thick = float(np.interp(s, [-40, 0, 24], [6.0, 3.8, 0.6])) * person.bulk * person.size
    radii = thick * np.interp(np.arange(len(roof)), [0, 0.25 * len(roof), 0.8 * len(roof), len(roof)], [0.5, 1, 1, 0.6])
    lift = radii + anatomy.gap_mm
    line = roof - np.stack((np.zeros_like(lift), lift), axis=1)
    painting.muscle(painting.canvas.rod(*smooth_line(line, radii, 9)), person.other_fat_percent + 1, 0.7)


def _draw_clavicle(painting: Painting, anatomy: ShoulderAnatomy) -> None:
    s = painting.lateral_mm
    if s < 30:
        at = np.array([np.interp(s, [-40, 0, 25], [-34, -25, -12]), np.interp(s, [-40, 0, 25], [-44, -50, -50])])
        points, radii = anatomy.rod("clavicle", at + np.array([(-3.5, 1.2), (3.5, -1.2)]), [5.6, 6.2])
        painting.bone(painting.canvas.rod(points, radii), 1.5)


def _draw_bundle(painting: Painting, anatomy: ShoulderAnatomy) -> None:
    """The axillary vessels and nerves, in the fat before the subscapularis."""
    for name, at, radius, tissue in _BUNDLE:
        place = np.array(at) + np.array([(-0.6, -0.8), (0.6, 0.8)])
        shape = painting.canvas.rod(*anatomy.rod(name, place, [radius, radius], 3.0))
        painting.fill(shape, "fascia", -0.5)
        painting.fill(shape, "flow_void" if tissue == "slow_blood" and anatomy.fast_flow else tissue)


def draw_joint(painting: Painting, anatomy: ShoulderAnatomy) -> None:
    """Beyond the Y-view: the glenoid with its labrum, then the humeral head in its cartilage and its cuff."""
    s, size = painting.lateral_mm, anatomy.person.size
    if 6 < s < 24:
        grow = float(np.interp(s, [6, 13], [0.45, 1.0])) * size
        shape = painting.canvas.oval(anatomy.place(np.array([-1.0, 6.0])), (11.5 * grow, 16.5 * grow))
        painting.fill(shape, "labrum", -2.5 * float(np.interp(s, [15, 19], [0, 1])))
        painting.bone(shape, 1.4)
    from_centre = (s - 40) / 24.5
    if abs(from_centre) < 1:
        radius = 25.0 * size * float(np.sqrt(1 - from_centre**2))
        shape = painting.canvas.oval(anatomy.place(np.array([-1.0, 4.0])), (0.97 * radius, radius))
        painting.fill(shape, "fluid", -3.8, min(1.0, anatomy.person.effusion))
        painting.fill(shape, "tendon", -3.2)
        painting.fill(shape, "cartilage", -1.5)
        painting.bone(shape, 0.8)


def _muscle(painting: Painting, anatomy: ShoulderAnatomy, name: str, points, fat: float, turn: float = 0.0) -> None:
    painting.muscle(painting.canvas.blob(anatomy.outline(name, np.array(points, float))), fat, turn)
