"""Drawing skin, fat under it, the layered wall, the cavity's fat, and the muscles of the back."""

from __future__ import annotations

import numpy as np

from myotome.phantoms.abdomen.anatomy import AbdomenAnatomy, Layer, Trunk
from myotome.phantoms.abdomen.painting import SUBCUTANEOUS, VISCERAL, Fatness, Painting, Polar, azimuths
from myotome.phantoms.canvas import Box, smooth_line

__all__ = ["WHOLE", "cavity_cover", "draw_back_muscles", "draw_trunk"]

WHOLE: Box = (slice(None), slice(None))
_SKIN_MM = 1.8
# How much more fat than the person's mean each muscle holds, and how its streaks run.
_FAT_RATIO = {"erector_spinae": (1.15, 0.9), "quadratus_lumborum": (0.9, 0.4), "psoas": (0.55, 1.3)}


def draw_trunk(painting: Painting, polar: Polar, anatomy: AbdomenAnatomy, trunk: Trunk) -> None:
    """Everything from the skin to the fat of the cavity."""
    body, under = polar.cover(trunk.skin), polar.cover(trunk.skin - _SKIN_MM)
    painting.lay(WHOLE, body, "skin")
    painting.lay(WHOLE, under, "fat", SUBCUTANEOUS)
    _draw_strands(painting, anatomy, under)
    outside = (polar.radius - polar.spread(trunk.cavity)) * polar.spread(trunk.slope)
    within = np.clip(0.5 - outside / polar.pixel_mm, 0, 1)
    painting.lay(WHOLE, within, "visceral_fat", VISCERAL)
    _draw_haze(painting, anatomy, within)
    _draw_layers(painting, polar, anatomy, trunk, outside)
    if anatomy.person.condition == "post_operative":
        _draw_operation(painting, anatomy, trunk)


def cavity_cover(polar: Polar, trunk: Trunk, inset_mm: float) -> np.ndarray:
    """Share of each pixel (X, Y) inside the cavity, shrunk by ``inset_mm``."""
    return polar.cover(trunk.cavity - inset_mm / trunk.slope)


def _draw_strands(painting: Painting, anatomy: AbdomenAnatomy, under: np.ndarray) -> None:
    """Septa in the fat under the skin; in oedema water between its lobules, most at the back and the flanks."""
    rng = np.random.default_rng((anatomy.person.seed, 251))
    oedema = float(rng.uniform(0.35, 1.0)) if anatomy.person.condition == "oedema" else 0.0
    lines = painting.readiness(WHOLE, 1.1, 0.7)
    amount = float(rng.uniform(0.0, 0.12))
    strand = np.clip((lines - (1.0 - 0.9 * oedema)) / 0.5, 0, 1) * np.float32(amount + 0.5 * oedema)
    if oedema:
        low = np.clip((20 - painting.canvas.y[None, :]) / 80, 0.1, 1)
        strand = strand * low
    painting.lay(WHOLE, under * strand.astype(np.float32), 15.0)


def _draw_operation(painting: Painting, anatomy: AbdomenAnatomy, trunk: Trunk) -> None:
    """A scar in the midline, and in every second person a stoma or a drain through the wall; they are no muscle."""
    rng = np.random.default_rng((anatomy.person.seed, 337))
    middle = trunk.cavity.size // 2
    ends = [anatomy.point(0.0, radius) for radius in (trunk.cavity[middle] - 1, trunk.skin[middle])]
    painting.fill(painting.rod(ends, rng.uniform(1.2, 4.0, 2)), float(rng.uniform(15, 50)))
    side, height = float(rng.choice([-1, 1])), float(rng.normal(15.2, 0.7))
    if rng.random() < 0.5 and abs(trunk.u - height) < 0.6:
        azimuth = side * float(rng.uniform(0.35, 0.75))
        index = int((azimuth / (2 * np.pi) + 0.5) * trunk.cavity.size)
        inner, outer = anatomy.point(azimuth, trunk.cavity[index] - 12), anatomy.point(azimuth, trunk.skin[index] + 4)
        wide = float(rng.uniform(6, 15))
        painting.fill(painting.rod([inner, outer], [1.5 * wide, 1.5 * wide]), float(rng.uniform(-45, 0)))
        painting.fill(painting.rod([inner, outer], [wide, wide]), "bowel_wall")
        painting.fill(
            painting.rod([inner, outer], [0.45 * wide, 0.3 * wide]), str(rng.choice(["gas", "fluid", "stool"]))
        )


def _draw_haze(painting: Painting, anatomy: AbdomenAnatomy, within: np.ndarray) -> None:
    """Small vessels and lymphatics that blur the fat of the cavity, in patches; inflammation and oedema make more."""
    person = anatomy.person
    rng = np.random.default_rng((person.seed, 269))
    amount = float(rng.uniform(0.02, 0.3)) + (0.3 if person.condition in ("oedema", "post_operative") else 0.0)
    lines = painting.readiness(WHOLE, 1.0, 1.3)
    strand = np.clip(0.5 + 0.8 * lines, 0, 1) * np.float32(amount)
    painting.lay(WHOLE, (within * strand).astype(np.float32), 25.0)


def _sheet(outside: np.ndarray, polar: Polar, layer: Layer) -> np.ndarray:
    low, high = polar.spread(layer.low), polar.spread(layer.high)
    within = np.clip((high - outside) / polar.pixel_mm + 0.5, 0, 1) - np.clip(
        (low - outside) / polar.pixel_mm + 0.5, 0, 1
    )
    return np.where(high > low, within, 0).astype(np.float32)


def _draw_layers(painting: Painting, polar: Polar, anatomy: AbdomenAnatomy, trunk: Trunk, outside: np.ndarray) -> None:
    """Fat planes first, then the sheets of muscle, the recti and the linea alba between them."""
    person = anatomy.person
    lows = np.stack([np.where(la.high > la.low, la.low, np.inf) for la in trunk.lateral])
    highs = np.stack([la.high for la in trunk.lateral])
    several = (np.isfinite(lows).sum(axis=0) > 1).astype(float)
    between = Layer(np.where(several > 0, lows.min(axis=0), 0), highs.max(axis=0) * several)
    painting.fat_between(WHOLE, _sheet(outside, polar, between))
    share = _fatness(anatomy, 0.4, 0.2)
    for layer in trunk.lateral:
        painting.muscle(WHOLE, _sheet(outside, polar, layer), share)
    theta = np.abs(azimuths())
    edge = theta[(trunk.rectus.high > 0)].min() if (trunk.rectus.high > 0).any() else 0.0
    alba = Layer(np.where(theta < edge + 0.02, 0.6, 0), np.where(theta < edge + 0.02, 0.6 + 1.8, 0))
    cover = _sheet(outside, polar, alba)
    painting.lay(WHOLE, cover * np.float32(0.8), "ligament")
    painting.muscle(WHOLE, _sheet(outside, polar, trunk.rectus), _fatness(anatomy, 1.0 + 0.2 * person.fat_planes, 0.0))


def _fatness(anatomy: AbdomenAnatomy, ratio: float, turn: float) -> Fatness:
    person = anatomy.person
    return Fatness(min(person.streak_fat * ratio, 0.45), min(person.diffuse_fat * (0.5 + 0.5 * ratio), 0.4), turn)


def draw_back_muscles(painting: Painting, anatomy: AbdomenAnatomy, trunk: Trunk) -> None:
    """Psoas, quadratus lumborum and the erector spinae group, each in a thin rim of fat."""
    rng = np.random.default_rng((anatomy.person.seed, 257))
    rim = np.float32(0.25 + 0.3 * anatomy.person.fat_planes)
    for name in ("psoas", "quadratus_lumborum", "erector_spinae"):
        ratio, turn = _FAT_RATIO[name]
        for side in (1, -1):
            wobble = float(np.exp(rng.normal(0, 0.2)))
            if (name, side) not in trunk.back:
                continue
            shape = painting.outline(trunk.back[(name, side)])
            painting.lay(shape.box, shape.cover(-rim) * np.float32(0.85), "visceral_fat" if name == "psoas" else "fat")
            bias = _bias(painting, anatomy, trunk, shape, side) if name == "erector_spinae" else 0.0
            painting.back_muscle(name, shape.box, shape.cover(), _fatness(anatomy, ratio * wobble, side * turn), bias)


def _bias(painting: Painting, anatomy: AbdomenAnatomy, trunk: Trunk, shape, side: int) -> np.ndarray:
    """Where fat comes first in the back: deep in the multifidus, behind it, and between the three columns."""
    rng = np.random.default_rng((anatomy.person.seed, 263, side + 1))
    size, person = anatomy.person.size, anatomy.person
    bias = np.zeros(shape.depth_mm.shape, dtype=np.float32)
    low = float(np.interp(trunk.u, [13, 17], [0.7, 1.5]))
    places = [((12, -42), 9.0, 1.3 * low), ((10, -76), 9.0, 1.1 * low), ((30, -35), 6.0, 0.6), ((58, -40), 6.0, 0.4)]
    for place, reach, strength in places:
        place = anatomy.in_spine(
            np.array([place]) * size * (side, 1) + rng.normal(0, 2, (1, 2)), trunk.u, trunk.spine_mm
        )
        x, y = painting.frame.to_scanner(place)[0].astype(np.float32)
        square = (painting.canvas.x[shape.box[0]][:, None] - x) ** 2 + (
            painting.canvas.y[shape.box[1]][None, :] - y
        ) ** 2
        bias += np.float32(strength) * np.exp(-square / np.float32(2 * reach**2))
    cleft = float(rng.uniform(0.2, 1.2))
    clefts = [((20, -84), (22, -66), (17, -48)), ((46, -83), (44, -66), (40, -46))]
    for line in clefts:
        line = np.array(line) * size * (side, 1) + rng.normal(0, 2.0, (3, 2))
        points, radii = smooth_line(anatomy.in_spine(line, trunk.u, trunk.spine_mm), np.array([1.8, 0.9, 0.6]), 9)
        rod = painting.rod(points, radii)
        depth = np.clip(1 + rod.depth_mm / 1.2, 0, 1) * np.float32(cleft * (0.9 + 0.5 * person.fat_planes))
        columns, rows = ((r.start - s.start, r.stop - s.start) for r, s in zip(rod.box, shape.box, strict=True))
        part = np.zeros_like(bias)
        c0, r0 = max(columns[0], 0), max(rows[0], 0)
        c1, r1 = min(columns[1], part.shape[0]), min(rows[1], part.shape[1])
        if c1 > c0 and r1 > r0:
            part[c0:c1, r0:r1] = depth[c0 - columns[0] : c1 - columns[0], r0 - rows[0] : r1 - rows[0]]
        bias += part
    return bias
