"""The images of the bench: a phantom at clinical size, longer and shorter ones made of it, and a real series."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.machine import CHECKOUT

__all__ = ["REAL_SERIES", "Inputs"]

REAL_SERIES = CHECKOUT.parent / "shared" / "data" / "chest_ct_dicom"

_SEED = 11
_SLICES, _SPACING_MM, _MATRIX = 330, (0.75, 1.0), 512
_SMALL_SLICES, _SMALL_SPACING_MM, _SMALL_MATRIX = 60, (2.0, 3.0), 120
_DRAWN_EVERY = 3
_NOISE_HU = 10.0


@dataclass(frozen=True)
class Inputs:
    """The input files in one folder, each made when it is first asked for.

    Parameters
    ----------
    folder : where they are kept
    quick : 120 x 120 x 60 voxels of 2 x 2 x 3 mm in place of the clinical 512 x 512 x 330 of 0.75 x 0.75 x 1 mm
    """

    folder: Path
    quick: bool = False

    @property
    def name(self) -> str:
        """Of the phantom that stands for a clinical scan."""
        return "small" if self.quick else f"phantom_{_SLICES}"

    @property
    def slices(self) -> int:
        """Of that phantom."""
        return _SMALL_SLICES if self.quick else _SLICES

    def phantom(self) -> Path:
        """NIfTI file of the phantom."""
        path = self.folder / f"{self.name}.nii.gz"
        if not path.is_file():
            from myotome.io import write_volume

            self.folder.mkdir(parents=True, exist_ok=True)
            write_volume(path, _draw_small() if self.quick else _draw_clinical())
        return path

    def phantom_dicom(self) -> Path:
        """The same as a DICOM folder."""
        folder = self.folder / f"{self.name}_dicom"
        if not folder.is_dir():
            from myotome.io import read_volume
            from myotome.io.dicom_writing import write_dicom_series

            write_dicom_series(folder, read_volume(self.phantom()))
        return folder

    def stretched(self, slices: int) -> Path:
        """NIfTI file of the phantom cut, or continued by its own mirror image, to a number of slices."""
        if slices == self.slices:
            return self.phantom()
        path = self.folder / f"{self.name}_as_{slices}.nii.gz"
        if not path.is_file():
            from myotome.geometry import Grid
            from myotome.io import read_volume, write_volume

            volume = read_volume(self.phantom())
            depth = volume.array.shape[2]
            there_and_back = np.arange(slices) % (2 * depth)
            index = np.minimum(there_and_back, 2 * depth - 1 - there_and_back)
            array = np.ascontiguousarray(volume.array[:, :, index])
            write_volume(path, replace(volume, array=array, grid=Grid(array.shape, volume.grid.affine)))
        return path

    def shoulder_dicom(self) -> Path:
        """DICOM folder of one T2-weighted slice of a shoulder phantom."""
        folder = self.folder / "shoulder_dicom"
        if not folder.is_dir():
            from myotome.io.dicom_writing import write_dicom_series
            from myotome.phantoms.shoulder import ShoulderScan, make_shoulder

            write_dicom_series(folder, make_shoulder(_SEED, ShoulderScan(slices=1)).volume)
        return folder

    def real(self) -> Path | None:
        """NIfTI file of the real series; ``None`` where that is not on this machine."""
        if not REAL_SERIES.is_dir():
            return None
        path = self.folder / "chest_ct.nii.gz"
        if not path.is_file():
            from myotome.io import read_volume, write_volume

            self.folder.mkdir(parents=True, exist_ok=True)
            write_volume(path, read_volume(REAL_SERIES))
        return path


def _draw_small():
    from myotome.phantoms.thorax import Scan, make_thorax

    in_plane, thickness = _SMALL_SPACING_MM
    bottom, top = _extent(0.2, _SMALL_SLICES, thickness)
    scan = Scan(thickness, in_plane, _SMALL_MATRIX, bottom=bottom, top=top, sub_slice_mm=thickness)
    return make_thorax(_SEED, scan).volume


def _draw_clinical():
    """Every third slice drawn without noise, those between by linear interpolation, then each with noise of its own.

    Drawing takes a second or more per slice, and anatomy hardly changes within 3 mm.
    """
    from myotome.geometry import Grid
    from myotome.phantoms.ct_scan import add_noise
    from myotome.phantoms.thorax import Scan, make_thorax

    in_plane, thickness = _SPACING_MM
    step, count = _DRAWN_EVERY * thickness, -(-_SLICES // _DRAWN_EVERY) + 1
    bottom, top = _extent(-0.10, count, step)
    coarse = Scan(step, in_plane, _MATRIX, noise_hu=0.0, bottom=bottom, top=top, sub_slice_mm=step)
    drawn = make_thorax(_SEED, coarse).volume
    scan = replace(coarse, slice_thickness_mm=thickness, noise_hu=_NOISE_HU)
    rng = np.random.default_rng(_SEED)
    array = np.empty((_MATRIX, _MATRIX, _SLICES), np.int16)
    for index in range(_SLICES):
        below, share = divmod(index, _DRAWN_EVERY)
        share /= _DRAWN_EVERY
        plane = (1 - share) * drawn.array[:, :, below] + share * drawn.array[:, :, below + 1]
        array[:, :, index] = np.clip(np.rint(add_noise(plane, scan, 0.0, rng)), -1024, 3071)
    affine = np.array(drawn.grid.affine)
    affine[2, 2] = thickness
    acquisition = replace(drawn.acquisition, slice_thickness_mm=thickness)
    return replace(drawn, array=array, grid=Grid(array.shape, affine), acquisition=acquisition)


def _extent(bottom: float, slices: int, thickness_mm: float) -> tuple[float, float]:
    """Bottom and top, as shares of the thorax's height, between which there are so many slices."""
    from myotome.phantoms.thorax.person import make_person

    return bottom, bottom + (slices - 0.5) * thickness_mm / make_person(_SEED, 1.0).thorax_height
