"""Drawing a thorax: sub-slices of ideal Hounsfield units and label shares at any in-plane grid.

Every boundary is a continuous curve whose coverage of a voxel is computed, not sampled: a voxel that is 30 % muscle
holds 30 % of muscle's intensity and a share of 0.3.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d, maximum_filter1d

from myotome.phantoms.thorax.anatomy import (
    AZIMUTH_COUNT,
    INTERCOSTAL,
    OTHER_MUSCLE,
    Thorax,
    edge,
    window,
)
from myotome.phantoms.thorax.canvas import Canvas, Texture
from myotome.phantoms.thorax.limbs import make_limbs

__all__ = ["LABEL_COUNT", "SliceRenderer"]

LABEL_COUNT = 4
_AIR = -1000.0


class SliceRenderer(Canvas):
    """Draws one person on one in-plane grid, sub-slice by sub-slice.

    Parameters
    ----------
    thorax : the anatomy.
    x_mm, y_mm : voxel centres to the right and to the front, in patient mm (evenly spaced).
    table : draw the scanner's table and a blanket.
    """

    def __init__(self, thorax: Thorax, x_mm: np.ndarray, y_mm: np.ndarray, table: bool = True) -> None:
        self.thorax, self.person = thorax, thorax.person
        super().__init__(x_mm, y_mm)
        self.table = table
        rng = np.random.default_rng((self.person.seed, 37))
        field = rng.normal(size=(96, 96, 48)).astype(np.float32)
        field = gaussian_filter(field, 1.0, mode="wrap")
        self.noise = Texture(field / field.std(), 2.2)
        self._places = {name: rng.normal(size=4) for name in ("heart", "aorta", "liver", "lung", "spine", "gland")}
        self._limbs = make_limbs(self.person)

    def render(self, z_mm: float) -> tuple[np.ndarray, np.ndarray]:
        """Draw the plane at height ``z_mm``.

        Returns
        -------
        hu : (X, Y) float32, Hounsfield units without noise or blur
        shares : (4, X, Y) float32, share of each voxel inside pectoralis, erector spinae, intercostal, other muscle
        """
        thorax = self.thorax
        u = z_mm / self.person.thorax_height
        rib_cage = thorax.rib_cage(u)
        layers = thorax.layers(u)
        bounds = rib_cage + np.cumsum([layer.thickness for layer in layers], axis=0)
        pleura = rib_cage - self.person.wall
        inside = self.cover(pleura)
        hu = self._make_inside(z_mm, u, pleura) * inside
        shares = np.zeros((LABEL_COUNT, *self.radius.shape), dtype=np.float32)
        self._add_wall(hu, shares, u, z_mm, rib_cage)
        previous = self.cover(rib_cage)
        for layer, bound in zip(layers, bounds, strict=True):
            if layer.thickness.max() < 0.2:
                continue
            cover = self.cover(bound)
            self._add(hu, shares, cover - previous, layer.tissue, layer.label)
            previous = cover
        self._add_flesh(hu, shares, z_mm, u, previous, bounds[-1])
        self._draw_ribs(hu, shares, z_mm, rib_cage)
        self._draw_spine(hu, shares, z_mm, u, float(np.interp(np.pi, thorax.theta, bounds[-1])))
        self._draw_front_bones(hu, shares, z_mm, u)
        self._infiltrate(hu, shares, z_mm)
        if self.table:
            self._draw_table(hu)
        return hu, shares

    def _value(self, tissue: str) -> float:
        person = self.person
        return {
            "muscle": person.muscle_hu,
            "fat": person.fat_hu,
            "bone": 450.0 + person.bone_hu,
            "marrow": person.bone_hu,
            "cartilage": 95.0,
            "blood": person.blood_hu,
            "organ": person.organ_hu,
            "lung": person.lung_hu,
            "air": _AIR,
            "gland": 25.0,
            "skin": 20.0,
            "fluid": 12.0,
            "ligament": 0.5 * (person.fat_hu + 60),
        }[tissue]

    def _add(self, hu, shares, weight, tissue: str, label: int) -> None:
        """Add a tissue's part of each voxel; the parts of one voxel sum to one."""
        hu += weight * self._value(tissue)
        if label:
            shares[label - 1] += weight

    def _mix(self, hu, shares, weight, tissue: str) -> None:
        """Blend a tissue without a label over what is there already."""
        hu += weight * (self._value(tissue) - hu)
        shares *= 1 - weight

    def _fill(self, hu, within: np.ndarray, value: float, centre, half, turn: float = 0.0) -> None:
        """Blend an ellipse of one intensity over what is there, weighted by ``within``."""
        box, weight = self.ellipse(centre, half, turn)
        hu[box] += weight * within[box] * (np.float32(value) - hu[box])

    def _rod(self, hu, shares, z_mm: float, start, stop, radius: float) -> None:
        """Draw one rod of bone, with marrow inside when it is thick."""
        for tissue, size in (("bone", radius), ("marrow", radius - 2.2)):
            found = self.capsule(z_mm, start, stop, size) if size > 1.8 else None
            if found is not None:
                box, weight = found
                self._mix(hu[box], shares[(slice(None), *box)], weight, tissue)

    def _bone_oval(self, hu, shares, centre, half, shell: float, bony: tuple[float, float]) -> None:
        """Draw an oval of marrow in a shell of cortex; ``bony`` is the share that is bone and what the rest is (HU)."""
        share, other = bony
        for tissue, size in (("bone", half), ("marrow", (half[0] - shell, half[1] - shell))):
            box, weight = self.ellipse(centre, size)
            hu[box] += weight * (share * self._value(tissue) + (1 - share) * other - hu[box])
            shares[(slice(None), *box)] *= 1 - weight

    def _skin(self, u: float, muscle_bound: np.ndarray) -> np.ndarray:
        """Distance of the skin from the axis: fat over a smooth hull of the muscles."""
        width = AZIMUTH_COUNT // 24
        hull = maximum_filter1d(muscle_bound, width, mode="wrap")
        hull = np.maximum(gaussian_filter1d(hull, width * 0.8, mode="wrap"), muscle_bound)
        return gaussian_filter1d(hull + self.thorax.fat_depth(u), width * 0.25, mode="wrap")

    def _make_inside(self, z_mm: float, u: float, pleura: np.ndarray) -> np.ndarray:
        """Lungs, mediastinum, effusion, and the upper abdomen below the diaphragm's domes, as Hounsfield units."""
        person, places = self.person, self._places
        hu = np.full(self.radius.shape, _AIR, dtype=np.float32)
        cover = self.cover(pleura + 2 * self.pixel)  # a little too far, so that the rim's voxels are full
        texture = self.noise.at(self.x, self.y, z_mm, 1.0)
        lung = self._value("lung") + 25 * self.noise.at(self.x, self.y, z_mm, 9.0) + 14 * texture
        lung = np.where(texture > 2.1, 10.0, lung)  # vessels
        hu += cover * (lung - hu)
        if person.effusion:
            side = 1 if places["lung"][0] > 0 else -1
            depth = -person.depth / 2 * np.cos(np.pi * person.effusion * (1 - 0.5 * u))
            pool = cover * (self.x[:, None] * side > 0) * edge(self.y[None, :], depth + 3, depth - 3)
            hu += pool.astype(np.float32) * (self._value("fluid") - hu)
        self._draw_mediastinum(hu, u, cover)
        self._draw_abdomen(hu, z_mm, u, cover, pleura)
        if u < -0.05:
            self._draw_bowel(hu, z_mm, u, self.cover(pleura - 3.5))
        return hu

    def _draw_mediastinum(self, hu, u: float, cover: np.ndarray) -> None:
        person, places = self.person, self._places
        half, depth = person.half_width, person.depth / 2
        blood = self._value("blood")
        neck = float(edge(u, 0.9, 1.02))
        size = (half * (0.27 + 0.7 * neck), depth * (0.95 + 0.1 * neck))
        self._fill(hu, cover, self._value("fat") + 35 + 40 * neck, (0, 0.12 * depth), size)
        heart_size = float(window(u, 0.18, 0.42, 0.14))
        if heart_size > 0.05:
            centre = (-0.22 * half + 6 * places["heart"][0], 0.30 * depth + 4 * places["heart"][1])
            self._fill(hu, cover, blood, centre, (0.42 * half * heart_size, 0.52 * depth * heart_size), 0.5)
        if u > 0.42:
            vessels = (((-0.05, 0.25), 0.115), ((0.12, 0.22), 0.075), ((-0.18, 0.0), 0.07), ((0.06, -0.12), 0.06))
            for (x, y), size in vessels:
                self._fill(hu, cover, blood, (x * half, y * depth), (size * half * 1.1, size * half))
            self._fill(hu, cover, _AIR, (0.01 * half, -0.02 * depth), (9, 8))
        aorta = 11 + float(np.clip(places["aorta"][0], -2, 3))
        self._fill(hu, cover, blood, (-0.16 * half, -0.42 * depth), (aorta, aorta))
        self._fill(hu, cover, 38, (-0.04 * half, -0.22 * depth), (7, 6))

    def _draw_abdomen(self, hu, z_mm: float, u: float, cover: np.ndarray, pleura: np.ndarray) -> None:
        person, places = self.person, self._places
        height = person.thorax_height
        x, y = self.x[:, None] / person.half_width, self.y[None, :] / (person.depth / 2)
        right = ((np.abs(x) - 0.45) / 0.62) ** 2 + ((y - 0.05) / 1.0) ** 2
        peak = height * (0.35 + 0.04 * places["liver"][0]) * np.where(x > 0, 1.0, 0.93)
        dome = peak - height * 0.30 * right - height * 0.14 * np.clip(-y, 0, 1) ** 2
        if z_mm > float(dome.max()) + 4:
            return
        below = cover * np.clip((dome - z_mm) / 4 + 0.5, 0, 1).astype(np.float32)
        hu += below * (self._value("muscle") - 8 - hu)  # the diaphragm and what lies against it
        shrunk = self.cover(pleura - 3.5) * np.clip((dome - z_mm - 3.5) / 4 + 0.5, 0, 1).astype(np.float32)
        hu += shrunk * (self._value("fat") + 6 - hu)
        half, depth = person.half_width, person.depth / 2
        organ = self._value("organ")
        self._fill(hu, shrunk, organ, (0.36 * half, 0.05 * depth), (0.66 * half, 0.92 * depth))
        self._fill(hu, shrunk, organ - 6, (-0.66 * half, -0.35 * depth), (0.26 * half, 0.42 * depth), 0.3)
        stomach = (-0.45 * half, 0.35 * depth), (0.32 * half, 0.38 * depth)
        self._fill(hu, shrunk, 25, *stomach)
        if places["gland"][0] > 0:
            gas = shrunk * edge(self.y[None, :], 0.42 * depth, 0.44 * depth).astype(np.float32)
            self._fill(hu, gas, _AIR, *stomach)
        self._fill(hu, shrunk, self._value("blood"), (-0.06 * half, -0.38 * depth), (10.5, 10.5))
        if u < 0.12:
            for side in (-1, 1):
                self._fill(hu, shrunk, organ - 22, (side * 0.45 * half, -0.48 * depth), (24, 30), side * 0.4)
                muscle = self._value("muscle")
                self._fill(hu, shrunk, muscle, (side * 0.11 * half, -0.42 * depth), (6, 13), side * 0.2)

    def _draw_bowel(self, hu, z_mm: float, u: float, cover: np.ndarray) -> None:
        """Below the liver: loops with contents and gas in fat, the deeper the more."""
        loops = self.noise.at(self.x, self.y, z_mm, 6.0)
        front = edge(self.y[None, :], -0.30 * self.person.depth, -0.05 * self.person.depth)
        lower = float(edge(u, -0.05, -0.30))
        contents = np.where(loops > 1.5, -700.0, 30 + 15 * loops)
        bowel = np.where(loops > -0.1, contents, self._value("fat"))
        weight = (cover * (lower * front)).astype(np.float32)
        hu += weight * (bowel.astype(np.float32) - hu)
        behind = (cover * (lower * (1 - front))).astype(np.float32)
        hu += behind * 0.8 * (np.float32(self._value("fat")) - hu)

    def _draw_lumbar_muscles(self, hu, shares, u: float, canal_y: float) -> None:
        """Psoas and quadratus lumborum, beside and behind the lumbar spine."""
        person = self.person
        grow, size = float(edge(u, -0.02, -0.45)), person.half_width / 138 * person.muscle**0.5
        for side in (-1, 1):
            for centre, half, turn in (
                ((side * (30 + 12 * grow), canal_y + 24), ((7 + 13 * grow) * size, (11 + 11 * grow) * size), 0.0),
                ((side * (62 + 8 * grow), canal_y + 6), (24 * size, (3 + 5 * grow) * size), side * 0.25),
            ):
                box, weight = self.ellipse(centre, half, turn)
                hu[box] += weight * (self._value("muscle") - hu[box])
                shares[(slice(None), *box)] *= 1 - weight
                shares[(OTHER_MUSCLE - 1, *box)] += weight

    def _add_wall(self, hu, shares, u: float, z_mm: float, rib_cage: np.ndarray) -> None:
        """The rib cage's own layer: intercostal muscle between fat linings; beyond the ribs, abdominal wall."""
        person, thorax = self.person, self.thorax
        inner = rib_cage - person.wall
        between = thorax.rib_position(z_mm)[2]
        behind = 1 - thorax.azimuth
        lining = np.clip(person.plane * thorax.wave("lining", u, 0.8) - 0.5, 0, 0.45 * person.wall)
        gap = np.clip(0.45 * person.plane * thorax.wave("outer_gap", u, 0.8) - 0.2, 0, 0.25 * person.wall)
        low, high = inner + lining, rib_cage - gap
        high = np.where(behind > 0.055, np.maximum(high, low), low)  # no intercostal in front of the vertebra
        cover_low, cover_high = self.cover(low), self.cover(high)
        self._add(hu, shares, cover_low - self.cover(inner), "fat", 0)
        sheet = cover_high - cover_low
        of_ribs = between.astype(np.float32)[self.azimuth_index]
        belly = ((thorax.azimuth < 0.75) * (1 - edge(u, 0.30, 0.45))).astype(np.float32)[self.azimuth_index]
        muscle = np.maximum(of_ribs, belly)
        hu += sheet * (muscle * self._value("muscle") + (1 - muscle) * self._value("fat"))
        shares[INTERCOSTAL - 1] += sheet * of_ribs
        shares[OTHER_MUSCLE - 1] += sheet * (muscle - of_ribs)
        self._add(hu, shares, self.cover(rib_cage) - cover_high, "fat", 0)

    def _draw_ribs(self, hu, shares, z_mm: float, rib_cage: np.ndarray) -> None:
        """Ribs and costal cartilage, oval in section, with a bright shell."""
        person = self.person
        offset, cartilage, _ = self.thorax.rib_position(z_mm)
        middle = rib_cage - 0.48 * person.wall

        def section(half: float, shrink: float) -> np.ndarray:
            extent = half * np.sqrt(np.clip(1 - (offset / shrink) ** 2, 0, 1))
            return self.cover(middle + extent) - self.cover(middle - extent)

        soft = cartilage[self.azimuth_index]
        for outline, hard, gristle in (
            (section(person.wall * 0.52, 1.0), self._value("bone"), self._value("cartilage")),
            (section(max(person.wall * 0.52 - 1.3, 0.6), 0.78), self._value("marrow"), self._value("cartilage") - 15),
        ):
            hu += outline * (np.where(soft, gristle, hard).astype(np.float32) - hu)
            shares *= 1 - outline

    def _add_flesh(self, hu, shares, z_mm: float, u: float, muscles: np.ndarray, bound: np.ndarray) -> None:
        """Subcutaneous fat, skin, breast, shoulders and arms: all that lies outside the trunk's muscles."""
        skin = self._skin(u, bound)
        body = np.maximum(self.cover(skin), self.union(z_mm, self._limbs.flesh))
        under_skin = np.maximum(self.cover(skin - 1.8), self.union(z_mm, self._limbs.flesh, -1.8))
        rest = np.clip(body - muscles, 0, 1)
        rim = np.clip(body - np.maximum(under_skin, muscles), 0, 1)
        limbs = self.union(z_mm, self._limbs.muscle) * rest
        hu += (1 - np.maximum(body, muscles)) * _AIR
        self._add(hu, shares, np.clip(rest - limbs - rim, 0, 1), "fat", 0)
        self._add(hu, shares, np.clip(rim, 0, 1 - limbs), "skin", 0)
        self._add(hu, shares, limbs, "muscle", OTHER_MUSCLE)
        self._draw_gland(hu, u, rest * under_skin * (1 - limbs))

    def _draw_gland(self, hu, u: float, rest: np.ndarray) -> None:
        """Breast gland as patchy tissue in the fat in front."""
        strength = window(u, 0.40, 0.62, 0.12) * min(1.0, self.person.breast / 25)
        if strength < 0.05:
            return
        patch = self.noise.at(self.x, self.y, 100 * u, 3.0)
        front = window(self.thorax.azimuth, 0.14, 0.32, 0.08).astype(np.float32)[self.azimuth_index]
        weight = rest * front * edge(patch, 0.6, 1.1).astype(np.float32) * strength
        hu += weight.astype(np.float32) * (self._value("gland") - hu) * 0.9

    def _draw_spine(self, hu, shares, z_mm: float, u: float, surface: float) -> None:
        """Vertebral body, disc, canal, lamina, processes and the ligament between the spinous ones, rib necks.

        ``surface`` is the distance of the muscles' outer surface behind the spine from the axis.
        """
        person, thorax = self.person, self.thorax
        size = person.half_width / 138
        back = float(np.interp(np.pi, thorax.theta, thorax.rib_cage(u)))
        canal_y = -back + 6 * size
        sacrum = float(1 - edge(u, -0.78, -0.64))
        body = (
            float(17 + 8 * edge(u, 0.8, 0.0) + 4 * edge(u, 0, -0.5) + 24 * sacrum) * size,
            float(13 + 4 * edge(u, 0.8, 0.0) + 2 * edge(u, 0, -0.5)) * size,
        )
        body_y = canal_y + 9 * size + body[1]
        spacing = thorax.vertebra_height(z_mm)
        phase = (z_mm / spacing) % 1.0
        disc = float(window(phase, 0.0, 0.10, 0.05) + window(phase, 0.95, 1.1, 0.05))
        if u < -0.02:
            self._draw_lumbar_muscles(hu, shares, u, canal_y)
        self._bone_oval(hu, shares, (0, body_y), body, 1.8, (1 - disc, 85.0))
        arch = float(window(phase, 0.12, 0.75, 0.2))
        box, lamina = self.ellipse((0, canal_y), (14.5 * size, 11.5 * size))
        part = hu[box]
        part += lamina * (arch * self._value("bone") + (1 - arch) * 35 - part)  # between arches: ligament
        shares[(slice(None), *box)] *= 1 - lamina
        box, canal = self.ellipse((0, canal_y), (9.5 * size, 7.8 * size))
        hu[box] += canal * (28 - hu[box])
        self._draw_septum(hu, shares, canal_y - 8 * size, -surface, 2.4 * size)
        for number in range(int(12.5 - z_mm / spacing) - 1, int(12.5 - z_mm / spacing) + 4):
            middle = thorax.level_z(number)
            length = float(30 - 9 * edge(number, 9, 12.5) + 18 * edge(number, 12.5, 15)) * size
            tip = (length, canal_y - (7 if number < 11 else 1) * size, middle + 3)
            for side in (-1, 1):
                root = (side * 9 * size, canal_y + 2, middle)
                self._rod(hu, shares, z_mm, root, (side * tip[0], tip[1], tip[2]), 4.6 * size)
                neck = (side * 17 * size, body_y - body[1] * 0.5, middle + 6)
                if number <= 12:
                    self._rod(hu, shares, z_mm, neck, (side * (tip[0] + 3), tip[1] + 7, middle + 3), 4.2 * size)
            drop = 30 * float(edge(number, 2, 6) * (1 - edge(number, 9, 12)))
            if number > 17:
                continue
            for lower in (0, 7):  # two rods make a blade
                root = (0, canal_y - 9 * size, middle - 4 - lower)
                tip = (0, min(canal_y - 22 * size, 2 - surface), middle - 8 - drop - lower)
                self._rod(hu, shares, z_mm, root, tip, 3.2 * size)

    def _draw_septum(self, hu, shares, front_y: float, back_y: float, half_width: float) -> None:
        """Ligament and fat between the spinous processes: the right and left muscles never touch."""
        if front_y - back_y < 2:
            return
        box, weight = self.ellipse((0, (front_y + back_y) / 2), (half_width, (front_y - back_y) / 2))
        self._mix(hu[box], shares[(slice(None), *box)], weight, "ligament")

    def _draw_front_bones(self, hu, shares, z_mm: float, u: float) -> None:
        """Sternum, clavicles, scapular spine and humerus are rods; the sternum is a flat plate."""
        thorax = self.thorax
        person = self.person
        front = float(np.interp(0, thorax.theta, thorax.rib_cage(u)))
        plate = float(window(u, 0.36, 0.90, 0.03))
        if plate > 0.02:
            half = (15 + 11 * float(edge(u, 0.74, 0.86))) * person.half_width / 138
            self._bone_oval(hu, shares, (0, front - 4.5), (half, 6.2), 1.9, (plate, 40.0))
        for start, stop, radius in self._limbs.bones:
            self._rod(hu, shares, z_mm, start, stop, radius)

    def _infiltrate(self, hu, shares, z_mm: float) -> None:
        """Fat streaks and marbling inside the muscles; the label keeps them, they are intermuscular fat."""
        person = self.person
        fine = self.noise.at(self.x, self.y, z_mm, 1.0)
        broad = self.noise.at(self.x[::-1], self.y, z_mm + 40, 4.0)
        threshold = np.float32(1.9 - 4.2 * person.imat_share)
        fat = np.clip(fine + 0.55 * broad - threshold, 0, 1)
        weight = shares.sum(axis=0) * fat
        hu += weight * (person.fat_hu - person.muscle_hu) * 0.9
        hu += shares.sum(axis=0) * 4 * broad

    def _draw_table(self, hu) -> None:
        person = self.person
        back = -person.depth / 2 - person.fat - 60
        x, y = self.x[:, None], self.y[None, :]
        top = back + (x / 300) ** 2 * 60
        plate = (np.abs(y - top) < 1.5) | (np.abs(y - top + 38 - (x / 300) ** 2 * 30) < 1.2)
        outside = hu < -900
        hu[plate & outside & (np.abs(x) < 220)] = -120
