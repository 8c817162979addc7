"""Levels along the spine: where each vertebral body lies in z, and which shape of the trunk belongs to each z.

The *shape coordinate* u runs from 10 (middle of T10) over 12 (T12) and 15 (L3) to 18 (S1) and 19 (S2). With five
lumbar vertebrae a vertebra's number in that row is its u; with four or six, the same trunk is shared out among fewer
or more.
"""

from __future__ import annotations

import numpy as np

from myotome.phantoms.abdomen.person import AbdomenPerson

__all__ = ["SpineLevels"]

# Height of a vertebral body and of the disc below it in a mean man, by shape coordinate (mm).
_AT = np.array([9.0, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20])
_BODY_MM = np.array([20.5, 21.5, 23, 25, 27, 28, 28, 28, 28, 28, 24, 20])
_DISC_MM = np.array([4.5, 5, 5.5, 6.5, 8, 9, 10, 11, 10, 2, 1.5, 1.5])


class SpineLevels:
    """The vertebrae of one person from T9 to S2.

    Attributes
    ----------
    names : of the vertebrae, from the head down; z_mm, u, half_mm : of each body's middle, and half its height.
    """

    def __init__(self, person: AbdomenPerson) -> None:
        rng = np.random.default_rng((person.seed, 227))
        count = person.lumbar_count
        self.names = [f"T{n}" for n in range(9, 13)] + [f"L{n + 1}" for n in range(count)] + ["S1", "S2", "S3"]
        lumbar = 12 + np.arange(1, count + 1) * 6 / (count + 1)
        self.u = np.concatenate(([9, 10, 11, 12], lumbar, [18, 19, 20]))
        size = person.size * rng.normal(1, 0.03)
        varied = rng.normal(1, 0.03, self.u.size)
        body = np.interp(self.u, _AT, _BODY_MM) * size * varied
        disc = (
            np.interp(self.u, _AT, _DISC_MM)
            * size
            * float(np.clip(rng.normal(1 - 0.2 * person.bone_loss, 0.12), 0.5, 1.3))
        )
        self.half_mm = body / 2
        drop = np.concatenate(([0.0], np.cumsum(body[:-1] / 2 + disc[:-1] + body[1:] / 2)))
        self.z_mm = drop[self.names.index("L3")] - drop + float(rng.uniform(-250, 250))

    def __getitem__(self, name: str) -> float:
        """The patient z of the middle of a vertebral body."""
        return float(self.z_mm[self.names.index(name)])

    def to_u(self, z_mm: float) -> float:
        """The shape coordinate of a height."""
        return float(np.interp(z_mm, self.z_mm[::-1], self.u[::-1]))

    def to_z(self, u: float) -> float:
        """The height of a shape coordinate."""
        return float(np.interp(u, self.u, self.z_mm))

    def nearest(self, z_mm: float) -> tuple[int, float]:
        """Index of the vertebra whose body is nearest, and the height above its middle in half body heights."""
        index = int(np.argmin(np.abs(self.z_mm - z_mm) - self.half_mm))
        return index, float((z_mm - self.z_mm[index]) / self.half_mm[index])
