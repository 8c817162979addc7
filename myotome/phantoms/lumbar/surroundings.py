"""All that lies around the spine: skin, fat, muscles of back and loin, vessels, bowel, pelvis, and the canal."""

from __future__ import annotations

import numpy as np

from myotome.phantoms.canvas import Shape
from myotome.phantoms.lumbar.painting import Painting
from myotome.phantoms.lumbar.plane import Follower
from myotome.phantoms.lumbar.spine import LumbarSpine

__all__ = ["draw_canal", "draw_surroundings", "fascia_depth", "front_wall"]

# Places of the mean man at levels (11 is T11, 13 L1, 17 L5, 18 S1), mm: x to one side, front before the bodies' back.
_FASCIA = ((11, 13, 15, 16, 17, 18, 19, 20), (47, 52, 56, 55, 52, 43, 34, 26))
_FAT_BY_LEVEL = ((10, 12, 14, 16, 17, 18, 19, 20), (0.5, 0.55, 0.75, 1.0, 1.35, 1.55, 1.4, 1.2))
_ERECTOR = {
    "x": ((11, 13, 15, 17, 18), (34, 38, 43, 42, 36)),
    "half_x": ((11, 13, 15, 16, 17, 18, 19), (24, 29, 32, 30, 24, 13, 0)),
    "half_front": ((11, 13, 15, 16, 17, 18, 19), (16, 20, 22, 21, 16, 9, 0)),
}
_MULTIFIDUS = ((11, 13, 15, 17, 18, 19, 20), (6, 9, 13, 17, 17, 12, 5))
_PSOAS = {
    "x": ((12.5, 13, 15, 16, 17, 18, 19), (24, 26, 33, 38, 44, 54, 62)),
    "front": ((12.5, 13, 15, 17, 18, 19), (4, 6, 10, 16, 28, 38)),
    "half_x": ((12.3, 13, 14, 15, 16, 17, 18, 20), (0, 8, 13, 17, 21, 22, 19, 15)),
    "half_front": ((12.3, 13, 14, 15, 16, 17, 18, 20), (0, 11, 18, 22, 25, 25, 20, 15)),
}
_QUADRATUS = ((12.2, 13, 14, 16, 17, 17.4), (0, 14, 19, 22, 13, 0))
_BELOW_CREST = ((16.5, 17.2, 20), (0, 1.0, 1.0))
_ROOTS = 16


def fascia_depth(spine: LumbarSpine) -> np.ndarray:
    """Depth (mm) of the back muscles' fascia behind the bodies' back wall, over the spine's heights."""
    return spine.over_level(*_FASCIA) * np.float32(spine.person.size)


def front_wall(spine: LumbarSpine) -> np.ndarray:
    """The bodies' front, in mm before their back wall, over the spine's heights."""
    return spine.over_vertebrae([2 * vertebra.half_depth_mm for vertebra in spine.vertebrae])


def draw_surroundings(painting: Painting, follower: Follower) -> None:
    """Draw everything but bones, discs and the canal, from the skin inwards."""
    _draw_trunk(painting, follower)
    _draw_back_muscles(painting, follower)
    _draw_loin(painting, follower)
    _draw_vessels(painting, follower)
    _draw_pelvis(painting, follower)


def _draw_trunk(painting: Painting, follower: Follower) -> None:
    spine, person = follower.spine, follower.spine.person
    fat = spine.over_level(*_FAT_BY_LEVEL) * np.float32(person.back_fat_mm)
    back = -(fascia_depth(spine) + fat + 3)
    front = front_wall(spine) + np.float32(75 + 4.0 * (person.bmi_kg_m2 - 25))
    trunk = follower.column(0.0, (front + back) / 2, 155 + 3.0 * (person.bmi_kg_m2 - 25), (front - back) / 2)
    painting.put(trunk, "skin")
    painting.put(trunk, "fat", 2.2)
    septum = np.clip(1 - np.abs(trunk.depth_mm - 0.55 * person.back_fat_mm) / painting.canvas.pixel_mm, 0, 1)
    painting.wash(trunk.box, septum.astype(np.float32) * np.float32(0.3), "fascia")
    rear = -0.5 * fascia_depth(spine)
    reach = float(150 + 2.0 * (person.bmi_kg_m2 - 25) - 0.8 * person.back_fat_mm)
    wall = follower.column(0.0, (front - 22 + rear) / 2, reach, (front - 22 - rear) / 2)
    painting.put(wall, "muscle")
    painting.put(wall, "fat", 15.0)
    for x, place, half_x, half_front in ((0.0, 50.0, 105.0, 40.0), (-88.0, 26.0, 26.0, 40.0), (88.0, 26.0, 26.0, 40.0)):
        loops = follower.column(x, front_wall(spine) + np.float32(place - 34 * (x != 0)), half_x, half_front)
        if loops is not None:
            _draw_bowel(painting, loops)


def _draw_bowel(painting: Painting, shape: Shape) -> None:
    """Loops without order: walls, fluid and fat between them."""
    cover = shape.cover()
    if not cover.any():
        return
    loops, folds = painting.regions(shape.box, 2.2), painting.regions(shape.box, 0.9)
    painting.wash(shape.box, cover * np.clip(loops + 0.35 * folds + 0.8, 0, 1), "bowel_wall")
    painting.wash(shape.box, cover * np.clip(1.2 * loops + 0.4 * folds - 0.5, 0, 0.85), "bowel_fluid")


def _draw_back_muscles(painting: Painting, follower: Follower) -> None:
    spine, person = follower.spine, follower.spine.person
    size, bulk, fat = np.float32(person.size), np.float32(person.size * person.muscle_bulk), person.muscle_fat_percent
    fascia = fascia_depth(spine)
    for side in (-1, 1):
        x = side * size * spine.over_level(*_ERECTOR["x"])
        half_front = bulk * spine.over_level(*_ERECTOR["half_front"])
        painting.grow(
            follower.column(x, -fascia + half_front + 1, bulk * spine.over_level(*_ERECTOR["half_x"]), half_front), fat
        )
        half_x = bulk * spine.over_level(*_MULTIFIDUS)
        inner = np.float32(18) * size
        painting.grow(
            follower.column(side * (half_x + 1.2), -(fascia + inner) / 2, half_x, (fascia - inner) / 2 - 1),
            1.3 * fat + 3,
        )
    midline = follower.column(0.0, -(fascia + 24 * size) / 2, 1.6, (fascia - 20 * size) / 2)
    painting.put(midline, "ligament", 0.0, 0.55)


def _draw_loin(painting: Painting, follower: Follower) -> None:
    spine, person = follower.spine, follower.spine.person
    size, bulk, fat = np.float32(person.size), np.float32(person.size * person.muscle_bulk), person.muscle_fat_percent
    for side in (-1, 1):
        x, front, half_x, half_front = (spine.over_level(*_PSOAS[key]) for key in _PSOAS)
        painting.grow(follower.column(side * size * x, size * front, bulk * half_x, bulk * half_front), 0.35 * fat)
        crus = size * spine.over_level((11, 12, 14, 15.2), (4.5, 5.0, 4.0, 0))
        painting.grow(follower.column(side * 8 * size, front_wall(spine) + 5, 1.9 * crus, crus), 2.0)
        quadratus = bulk * spine.over_level(*_QUADRATUS)
        painting.grow(follower.column(side * 58 * size, -11 * size, quadratus, 0.6 * quadratus), 0.6 * fat)


def _draw_vessels(painting: Painting, follower: Follower) -> None:
    """Aorta on the left and cava on the right; both fork before L4 and L5."""
    spine, size = follower.spine, follower.spine.person.size
    wall = front_wall(spine) * 1.03 + np.float32(3)
    slow = "slow_blood" if spine.person.seed % 3 == 0 else "flow_void"
    below = spine.over_level((16.2, 16.6, 20), (0, 1, 1))
    aside = spine.over_level((16.2, 18, 20), (5, 26, 48)) * np.float32(size)
    trunks = (
        (-9.0, 9.0, 9.0, 1 - below, "flow_void"),
        (13.0, 7.0, 11.0, 1 - spine.over_level((16.6, 17.0), (0, 1)), slow),
        (-aside, 5.5, 5.2, below, "flow_void"),
        (aside, 5.5, 5.2, below, "flow_void"),
        (-1.1 * aside - 3, 3.0, 6.5, spine.over_level((16.7, 17.1), (0, 1)), slow),
        (1.1 * aside + 3, 3.0, 6.5, spine.over_level((16.7, 17.1), (0, 1)), slow),
    )
    for x, away, radius, there, tissue in trunks:
        shape = follower.column(x, wall + np.float32(away * size), radius * size * there, 0.85 * radius * size * there)
        painting.put(shape, "fascia")
        painting.put(shape, tissue, 1.0)


def _draw_pelvis(painting: Painting, follower: Follower) -> None:
    """Iliac wings below the crest, with the muscles on both sides of them."""
    spine, person = follower.spine, follower.spine.person
    size, there = np.float32(person.size), spine.over_level(*_BELOW_CREST)
    for side in (-1, 1):
        painting.grow(follower.column(side * 96 * size, -22 * size, 26 * size * there, 34 * size * there), 8.0)
        painting.grow(follower.column(side * 74 * size, 12 * size, 15 * size * there, 22 * size * there), 4.0)
        ends = ((side * 50.0 * float(size), -38.0 * float(size)), (side * 88.0 * float(size), 14.0 * float(size)))
        painting.cover_with(follower.bar(ends, 8.5 * size * there - 0.5), 1.6)


def draw_canal(painting: Painting, follower: Follower) -> None:
    """Fat, the thecal sac with its fluid, the cord down to L1 and the roots of the cauda equina."""
    spine, person = follower.spine, follower.spine.person
    size, wide = np.float32(person.size), np.float32(person.size * person.canal)
    fat = np.float32(person.epidural_fat)
    half_x = wide * spine.over_level((10, 13, 15, 17, 18, 19, 19.6), (7.6, 8.6, 8.6, 8.4, 6.8, 3.6, 0))
    half_y = wide * spine.over_level((10, 13, 15, 17, 18, 19, 19.6), (7.2, 7.6, 7.2, 6.4, 5.0, 2.8, 0))
    gap = size * fat * spine.over_level(
        (10, 15, 16.5, 17.5, 18, 19, 20), (0.7, 0.8, 1.5, 4.0, 4.6, 4.5, 4.0)
    ) + np.float32(0.5)
    centre = -(gap + half_y)
    epidural = follower.column(0.0, centre - fat, half_x + 3.0, half_y + gap + 1.0 + fat)
    painting.put(epidural, "fat")
    sac = follower.column(0.0, centre, half_x, half_y)
    if sac is None:
        return
    painting.put(sac, "ligament", -0.45, 0.75)
    painting.put(sac, "csf", 0.2)
    near = follower.part(sac)
    if near is not None:
        _draw_nerves(painting, near, centre, (half_x, half_y))


def _draw_nerves(painting: Painting, near: Follower, centre: np.ndarray, half: tuple[np.ndarray, np.ndarray]) -> None:
    spine, size = near.spine, np.float32(near.spine.person.size)
    rng = np.random.default_rng((spine.person.seed, 419))
    tip = float(rng.normal(13.2, 0.35))
    cord = size * spine.over_level((tip - 2, tip - 1, tip - 0.4, tip), (4.6, 4.7, 3.2, 0))
    back = centre - 0.16 * half[1]
    painting.put(near.column(0.0, back, cord, 0.86 * cord), "cord")
    for index in range(_ROOTS):
        side = 1 if index % 2 else -1
        leaves = tip + 0.9 + (5.2 - 0.9) * (index // 2) / (_ROOTS // 2 - 1)
        share = np.clip((spine.level - (tip - 0.6)) / (leaves - tip + 0.6), 0, 1).astype(np.float32)
        inner, low = rng.uniform(0.05, 0.45), rng.uniform(0.35, 0.72)
        wave = 0.08 * np.sin(spine.z_mm / rng.uniform(9, 25) + rng.uniform(0, 6)).astype(np.float32)
        x = side * half[0] * (np.float32(inner) + (np.float32(0.86 - inner)) * share**3 + wave)
        front = centre - half[1] * (np.float32(low) * (1 - 0.75 * share**4) + wave)
        radius = np.float32(rng.uniform(0.55, 0.95)) * size * ((share > 0) & (share < 1)).astype(np.float32)
        painting.put(near.column(x, front, radius, radius), "nerve", 0.0, 0.85)
