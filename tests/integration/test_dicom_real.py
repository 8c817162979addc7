"""Real series are read with the geometry their headers state."""

import numpy as np
import pydicom
import pytest

from myotome.io import read_volume


@pytest.mark.parametrize(
    ("name", "shape", "spacing_mm", "flags"),
    [
        ("chest_ct_dicom", (512, 512, 30), (0.646484375, 0.646484375, 8.0), ()),
        ("abdomen_ct_dicom", (512, 512, 41), (0.796875, 0.796875, 5.0), ()),
    ],
)
def test_a_real_series(shared_data, name, shape, spacing_mm, flags):
    volume = read_volume(shared_data / name)
    assert volume.array.shape == shape
    assert volume.grid.spacing_mm == pytest.approx(spacing_mm, abs=1e-6)
    assert volume.grid.axis_codes == ("L", "P", "S")
    assert volume.acquisition.flags == flags
    assert volume.acquisition.tube_voltage_kv == 120
    for k in (0, 13, shape[2] - 1):
        header = volume.acquisition.headers[k]
        corner = volume.grid.affine @ (0, 0, k, 1)
        assert np.allclose(corner[:3] * (-1, -1, 1), [float(x) for x in header.ImagePositionPatient], atol=1e-3)


def test_voxels_are_the_stored_values_rescaled(shared_data):
    volume = read_volume(shared_data / "chest_ct_dicom")
    by_uid = {header.SOPInstanceUID: k for k, header in enumerate(volume.acquisition.headers)}
    for path in sorted((shared_data / "chest_ct_dicom").rglob("*.dcm"))[::10]:
        dataset = pydicom.dcmread(path)
        expected = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
        assert np.array_equal(volume.array[:, :, by_uid[dataset.SOPInstanceUID]].T, expected)


def test_the_hand_drawn_masks_lie_on_the_series(shared_data):
    """The masks were drawn on this series: their voxels are muscle on it, so the grids agree."""
    from myotome.io.nifti import read_nifti

    volume = read_volume(shared_data / "chest_ct_dicom")
    mask = read_nifti(shared_data / "chest_ct_reference" / "labels.nii.gz")
    from myotome.geometry import reorient

    array, affine = reorient(volume.array, np.array(volume.grid.affine), "".join(mask.grid.axis_codes))
    assert array.shape == mask.array.shape
    assert np.allclose(affine, mask.grid.affine, atol=0.01)
    assert 30 < np.median(array[mask.array == 2]) < 80
