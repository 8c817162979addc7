"""Drawing the scapula and its supraspinous fossa into one oblique-sagittal section, and measuring what was drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from myotome.phantoms.canvas import Box, Shape, inside, overlap
from myotome.phantoms.infiltration import Infiltration
from myotome.phantoms.shoulder.anatomy import Fossa, ShoulderAnatomy
from myotome.phantoms.shoulder.painting import Painting
from myotome.phantoms.shoulder.surroundings import draw_joint

__all__ = ["Section", "draw_scapula"]

_LAST_FOSSA_MM = 26.0


@dataclass(frozen=True, eq=False)
class Section:
    """A drawn section: (X, Y) water and fat signals, (4, X, Y) label shares, and areas in mm2 of what was drawn.

    ``above_tangent_mm`` is how far the muscle reaches above the line on top of spine and coracoid (negative: it lies
    below); ``None`` where one of the three is absent.
    """

    water: np.ndarray
    fat: np.ndarray
    shares: np.ndarray
    muscle_mm2: float
    intramuscular_fat_mm2: float
    fossa_mm2: float
    above_tangent_mm: float | None


def draw_scapula(painting: Painting, anatomy: ShoulderAnatomy) -> Section:
    """Draw fossa, scapula and supraspinatus over the surroundings that are already there."""
    s = painting.lateral_mm
    fossa = anatomy.fossa(s)
    region = painting.canvas.blob(fossa.outline, fossa.centre)
    if s < _LAST_FOSSA_MM:
        _draw_fossa(painting, anatomy, fossa, region)
    draw_joint(painting, anatomy)
    _draw_bones(painting, anatomy)
    fat = _draw_supraspinatus(painting, anatomy, fossa, region) if s < _LAST_FOSSA_MM else 0.0
    area = painting.canvas.pixel_mm**2
    muscle, rest = (float(painting.shares[index].sum(dtype=np.float64)) * area for index in (0, 1))
    above = _height_above_tangent(painting) if s < _LAST_FOSSA_MM else None
    return Section(painting.water, painting.fat, painting.shares, muscle, fat * area, muscle + rest, above)


def _draw_bones(painting: Painting, anatomy: ShoulderAnatomy) -> None:
    """Spine, coracoid and the body between them: first all the cortex, then the marrow that runs through them."""
    s = painting.lateral_mm
    bones = [("scapular_spine", anatomy.spine(s)), ("coracoid_process", anatomy.coracoid(s)), (None, anatomy.body(s))]
    drawn = [(name, painting.canvas.rod(*rod)) for name, rod in bones if rod[1].max() > 0.3]
    for name, shape in drawn:
        painting.lay(shape.box, shape.cover(), "cortex", name)
    for _, shape in drawn:
        painting.wash(shape.box, shape.cover(1.1 * anatomy.person.size), "marrow")


def _draw_fossa(painting: Painting, anatomy: ShoulderAnatomy, fossa: Fossa, region: Shape) -> None:
    """The fossa's fat, its vessels, and fluid where there is an effusion."""
    if painting.lateral_mm < 8:
        painting.wash(region.box, region.cover(-0.4) * np.float32(0.7), "fascia")
    painting.lay(region.box, region.cover(), "fat", "supraspinous_fossa")
    rng = np.random.default_rng((anatomy.seed, 31))
    for _ in range(int(rng.integers(1, 4))):
        at = fossa.outline[int(rng.integers(len(fossa.outline)))]
        at = at + (fossa.centre - at) * rng.uniform(0.08, 0.3)
        shape = painting.canvas.rod(np.stack((at, at + rng.normal(0, 1, 2))), rng.uniform(0.6, 1.3, 2))
        painting.wash(shape.box, shape.cover(), "flow_void" if rng.random() < 0.5 else "slow_blood")
    if anatomy.person.effusion > 0.25 and painting.lateral_mm < 8:
        sheet = region.cover(0.2) - region.cover(0.2 + 1.8 * min(1.0, anatomy.person.effusion))
        patch = np.clip(2 * painting.readiness(region.box, 0.0, 1.0), 0, 1)
        painting.wash(region.box, sheet * patch, "fluid")


def _draw_supraspinatus(painting: Painting, anatomy: ShoulderAnatomy, fossa: Fossa, region: Shape) -> float:
    """The muscle with its tendon and its fat, inside the fossa; returns the area of its fat in pixels."""
    person, box = anatomy.person, region.box
    depth = _onto(box, painting.canvas.blob(fossa.muscle, fossa.muscle_centre))
    depth = np.minimum(depth, region.depth_mm - np.float32(fossa.margin_mm * person.size))
    shape, free = Shape(box, depth, region.pixel_mm), painting.shares[(1, *box)]
    painting.wash(box, np.minimum(shape.cover(-0.35), free) * np.float32(0.55), "fascia")
    cover = np.minimum(shape.cover(), free)
    tendon = Shape(box, _onto(box, painting.canvas.rod(*fossa.tendon)), region.pixel_mm).cover()
    kind = Infiltration(person.fat_percent, person.streakiness, person.diffuse_share)
    fat = painting.flesh(box, cover, kind, tendon)
    painting.shares[(1, *box)] -= cover
    painting.shares[(0, *box)] += cover
    return fat


def _onto(box: Box, shape: Shape) -> np.ndarray:
    """A shape's depths on another box; far outside where the shape's own box does not reach."""
    depth = np.full([part.stop - part.start for part in box], -1e3, dtype=np.float32)
    both = overlap(box, shape.box)
    depth[inside(both, box)] = shape.depth_mm[inside(both, shape.box)]
    return depth


def _height_above_tangent(painting: Painting) -> float | None:
    """Height of the muscle above the common upper tangent of spine and coracoid in mm; negative below it."""
    places = []
    for index in (2, 3, 0):
        drawn = painting.shares[index] > 0.5
        x, y = np.flatnonzero(drawn.any(axis=1)), drawn.argmax(axis=1)
        if x.size == 0:
            return None
        top = np.stack((painting.canvas.x[x], -painting.canvas.y[y[x]]), axis=1).astype(float)
        places.append(top + (0, 0.5 * painting.canvas.pixel_mm))
    spine, coracoid, muscle = places

    def gap(angle: float) -> float:
        up = np.array([np.sin(angle), np.cos(angle)])
        return float((spine @ up).max() - (coracoid @ up).max())

    angle = brentq(gap, -1.4, 1.4, xtol=1e-5) if gap(-1.4) * gap(1.4) < 0 else 0.0
    up = np.array([np.sin(angle), np.cos(angle)])
    return float((muscle @ up).max() - (spine @ up).max())
