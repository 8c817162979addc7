"""Drawing vertebrae, discs, ribs, sacrum and iliac wings, and metal in them."""

from __future__ import annotations

import numpy as np

from myotome.phantoms.abdomen.anatomy import AbdomenAnatomy, Trunk
from myotome.phantoms.abdomen.painting import Fatness, Painting
from myotome.phantoms.abdomen.spine import SpineLevels
from myotome.phantoms.canvas import smooth_outline

__all__ = ["Arch", "body_outline", "draw_pelvis", "draw_rib", "draw_ribs", "draw_vertebra"]

# Half a lumbar vertebral body's outline in a mean man (right half), the front first.
_BODY = ((0, 17), (10, 16), (18.5, 11), (22.5, 2), (21.5, -8), (17, -14.5), (9, -15.5), (0, -13.5))
_WIDTH_BY_U = ((9, 12, 13, 15, 17, 18), (0.78, 0.88, 0.94, 1.0, 1.12, 1.16))


def draw_vertebra(painting: Painting, anatomy: AbdomenAnatomy, trunk: Trunk, spine: SpineLevels) -> None:
    """The body or the disc, the canal, and what of the arch and its processes lies at this height."""
    index, height = spine.nearest(painting.z_mm)
    size = anatomy.person.size
    outline = body_outline(size, trunk.u, height)
    shape = painting.outline(anatomy.in_spine(outline, trunk.u, trunk.spine_mm), np.array(trunk.spine_mm))
    arch = Arch(painting, anatomy, trunk, spine.names[index], height)
    arch.draw()
    if abs(height) < 1.0:
        thick = 1.3 if abs(height) < 0.86 else 6.0
        painting.bone(shape, thick * size)
        if abs(height) < 0.25 and painting.tissues["marrow"] > 60:
            arch.vein()
    else:
        painting.fill(shape, "disc")
    arch.canal()
    if anatomy.person.condition == "spinal_implant" and 14.3 < trunk.u < 18.5:
        arch.implant()


def body_outline(size: float, u: float, height: float) -> np.ndarray:
    """Outline (N, 2) of a vertebral body in mm about its middle, at a height of -1 to 1 between its end plates."""
    wide = float(np.interp(u, *_WIDTH_BY_U)) * (1 + 0.07 * min(height**2, 1.3))
    half = np.array(_BODY, dtype=float) * (wide, 0.97 + 0.03 * wide) * size
    return smooth_outline(np.vstack((half, half[-2:0:-1] * (-1, 1))))


class Arch:
    """Pedicles, laminae and processes of one vertebra; ``height`` is -1 at the lower end plate, 1 at the upper."""

    def __init__(self, painting: Painting, anatomy: AbdomenAnatomy, trunk: Trunk, name: str, height: float) -> None:
        self.painting, self.anatomy, self.trunk = painting, anatomy, trunk
        self.size, self.height = anatomy.person.size, height
        self.rng = np.random.default_rng((anatomy.person.seed, 269, sum(map(ord, name))))
        self.thoracic = name.startswith("T")
        self.sacral = name.startswith("S")

    def place(self, points) -> np.ndarray:
        """Points about the middle of a mean man's body, in this person's mm."""
        return self.anatomy.in_spine(np.array(points, dtype=float) * self.size, self.trunk.u, self.trunk.spine_mm)

    def rod(self, points, radii, cortex: float = 1.1) -> None:
        """A bony process through such points."""
        radii = np.array(radii, dtype=float) * self.size
        if radii.max() > 0.5:
            self.painting.bone(self.painting.rod(self.place(points), radii), cortex * self.size)

    def draw(self) -> None:
        """The bony part of the arch that lies at this height."""
        if self.sacral:
            return
        h, wobble = self.height, self.rng.normal(0, 1, 12)
        pedicle = float(np.interp(h, [-0.25, 0.0, 0.75, 0.95], [0, 1, 1, 0]))
        transverse = float(np.interp(h, [-0.5, -0.2, 0.3, 0.55], [0, 1, 1, 0]))
        lamina = float(np.interp(h, [-1.3, -1.0, 0.2, 0.7], [0.3, 1, 1, 0.25]))
        spinous = float(np.interp(h, [-1.25, -0.9, 0.05, 0.4], [0.0, 1, 1, 0.0]))
        reach = (30 if self.thoracic else 42) + 2.5 * wobble[0]
        for side in (1, -1):
            if pedicle:
                self.rod([(side * 14, -11), (side * 14.5, -24)], [5.0 * pedicle, 4.6 * pedicle])
            if transverse:
                tip = (side * (reach + wobble[2 + side]), -31 - (6 if self.thoracic else 1) + wobble[5 + side])
                self.rod(
                    [(side * 14, -25), (side * 28, -29), tip],
                    [4.8 * transverse, 3.1 * transverse, 2.2 * transverse],
                    0.9,
                )
            facet = float(np.interp(abs(h), [0.15, 0.7, 1.4], [0, 1, 1]))
            if facet:
                self.rod([(side * 17, -27), (side * 19, -34)], [6.0 * facet, 7.0 * facet], 1.9)
            if lamina:
                self.rod([(side * 15, -30), (side * 8, -37), (0, -42)], [5.0 * lamina, 4.2 * lamina, 3.6 * lamina])
        if spinous:
            self.rod(
                [(0, -42), (0, -60), (0.4 * wobble[9], -75 + wobble[10])], [3.8 * spinous, 2.9 * spinous, 4.2 * spinous]
            )
        else:
            line = self.painting.rod(self.place([(0, -42), (0, -77)]), np.array([1.6, 1.1]) * self.size)
            self.painting.fill(line, 0.4 * self.painting.tissues["ligament"])

    def vein(self) -> None:
        """The basivertebral vein in the body's back."""
        shape = self.painting.rod(self.place([(0, -13), (0, -4), (3, 2)]), np.array([2.4, 1.6, 0.8]) * self.size)
        self.painting.fill(shape, 0.35 * self.painting.tissues["marrow"])

    def canal(self) -> None:
        """The canal with its fat and the dural sac."""
        if self.sacral:
            return
        centre = self.place([(0, -23.5)])[0]
        flat = 1.0 if abs(self.height) < 0.6 else 0.85
        self.painting.fill(self.painting.oval(centre, (11.5 * self.size, 9.0 * flat * self.size)), -30.0)
        self.painting.fill(self.painting.oval(centre + (0, 1.0), (8.6 * self.size, 7.0 * flat * self.size)), "cord")

    def implant(self) -> None:
        """Screws through the pedicles and a rod behind them on both sides."""
        for side in (1, -1):
            if 0.1 < self.height < 0.5:
                self.painting.fill(
                    self.painting.rod(self.place([(side * 10, 6), (side * 17, -38)]), np.array([2.6, 2.9])), "metal"
                )
            self.painting.fill(
                self.painting.rod(self.place([(side * 18, -44), (side * 18.5, -44.5)]), np.array([2.8, 2.8])), "metal"
            )


def draw_ribs(painting: Painting, anatomy: AbdomenAnatomy, trunk: Trunk, spine: SpineLevels) -> None:
    """Sections of the ribs that run down and forward from T8 to T12; the twelfth may be a stub."""
    rng = np.random.default_rng((anatomy.person.seed, 271))
    size = anatomy.person.size
    lengths = {
        8: 2.5,
        9: 2.4,
        10: float(rng.uniform(1.9, 2.2)),
        11: float(rng.uniform(1.25, 1.6)),
        12: float(rng.uniform(0.35, 1.0)),
    }
    drops = {8: 115.0, 9: 110.0, 10: 100.0, 11: 80.0, 12: float(rng.uniform(35, 60))}
    step = spine["T11"] - spine["T12"]
    for number, length in lengths.items():
        start_z = spine["T12"] + step * (12 - number) + 8 * size
        for side in (1, -1):
            draw_rib(painting, anatomy, trunk, (start_z, drops[number] * size * rng.uniform(0.9, 1.1), length, side))


def draw_rib(
    painting: Painting, anatomy: AbdomenAnatomy, trunk: Trunk, course: tuple[float, float, float, int]
) -> None:
    """One rib's section: the part of its arc within half its height of this plane.

    ``course`` is the z of its head and how far it runs down, in mm, its length in radians, and its side.
    """
    start_z, drop, length, side = course
    size = anatomy.person.size
    middle = (start_z - painting.z_mm) / drop
    low, high = max(middle - 6.5 * size / drop, 0.0), min(middle + 6.5 * size / drop, 1.0)
    if high <= low:
        return
    start = np.array(trunk.spine_mm) + (side * 22 * size, -20 * size)
    azimuth0, bend = 2.76, 0.12
    share = np.linspace(low, high, 7)
    azimuth = np.where(share < bend, azimuth0, azimuth0 - (share - bend) / (1 - bend) * length)
    radius = np.interp(azimuth, np.linspace(-np.pi, np.pi, trunk.cavity.size), trunk.cavity + 7.0)
    points = np.array([anatomy.point(side * a, r) for a, r in zip(azimuth, radius, strict=True)])
    near = np.clip(share / bend, 0, 1)[:, None]
    points = start + (points - start) * near if low < bend else points
    cartilage = length > 1.8 and low > 0.75
    radii = np.full(len(points), 4.2 * size)
    shape = painting.rod(points, radii)
    if cartilage:
        painting.fill(shape, "cartilage")
    else:
        painting.bone(shape, 1.4)


def draw_pelvis(painting: Painting, anatomy: AbdomenAnatomy, trunk: Trunk) -> None:
    """Iliac wings with gluteal and iliac muscle from L5 on, and the sacrum with its wings."""
    u, size = trunk.u, anatomy.person.size
    fatness = Fatness(0.04, min(anatomy.person.diffuse_fat, 0.3))
    wing = float(np.interp(u, [16.2, 16.6, 17.5, 19], [0, 0.35, 0.9, 1.0]))
    if wing:
        for side in (1, -1):
            reach = float(np.interp(u, [16.3, 16.55, 17.1, 18.5, 20], [0.42, 0.6, 0.92, 1.0, 0.9]))
            line = np.array([(44, -62), (62, -52), (90, -40), (120, -16), (130, 12)]) * size
            if u < 17.6:  # the crest: the middle of the wing rises first
                line = (
                    line[0] + np.interp(u, [16.3, 17.6], [0.35, 0.0]) * (line[2] - line[0]) + (line - line[0]) * reach
                )
            line = line * (side, 1) + np.array(trunk.spine_mm) * (0, 0.4)
            glute = painting.rod(
                line + np.array([(side * 12 * size, -13 * size)]), np.full(len(line), 17 * wing * size)
            )
            painting.muscle(glute.box, glute.cover(), fatness)
            iliacus = painting.rod(
                line[1:] + np.array([(-side * 4 * size, 9 * size)]), np.full(len(line) - 1, 9 * wing * size)
            )
            painting.muscle(iliacus.box, iliacus.cover(), fatness)
            painting.bone(painting.rod(line, np.linspace(6.5, 4.5, len(line)) * size), 1.4 * size)
    ala = float(np.interp(u, [17.35, 17.9, 19, 20], [0, 1, 0.85, 0.7]))
    if ala:
        x, y = trunk.spine_mm
        points = np.array([(-52 * ala, -18), (-30, -10), (0, -6), (30, -10), (52 * ala, -18)]) * size + (x, y)
        painting.bone(painting.rod(points, np.array([9, 13, 14, 13, 9]) * size * min(1.0, 0.5 + 0.5 * ala)), 1.4 * size)
        painting.fill(painting.oval((x, y - 24 * size), (9 * size, 5 * size)), 10.0)
