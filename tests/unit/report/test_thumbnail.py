"""The thumbnail shows both planes with the labels in their colours, on the right side, in few bytes and no words."""

import io

import numpy as np
import pytest
from PIL import Image

from myotome.errors import OutputError
from myotome.geometry import Grid, Volume
from myotome.measurement import CaseResult
from myotome.report.thumbnail import THUMBNAIL_SIZE, write_thumbnail
from myotome.structures import LabelMap
from tests.unit.report.cases import make_case


def paint(path, volume, result):
    write_thumbnail(path, volume, result)
    return np.asarray(Image.open(path).convert("RGB"), dtype=float)


def tinted(picture, colour):
    """Where the hue is that of a structure's colour."""
    chroma = picture - picture.mean(axis=-1, keepdims=True)
    wanted = np.array(colour) - np.mean(colour)
    strength = np.linalg.norm(chroma, axis=-1)
    return (chroma @ wanted / np.maximum(strength * np.linalg.norm(wanted), 1e-6) > 0.95) & (strength > 25)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SAL"])
def test_muscles_are_where_they_are_whatever_the_axes(tmp_path, codes):
    volume, result = make_case(codes)
    picture = paint(tmp_path / "a.webp", volume, result)
    assert picture.shape[:2] == THUMBNAIL_SIZE[::-1]
    schema = result.label_map.schema
    pectoralis, spinae = (tinted(picture, schema[name].colour) for name in ("pectoralis", "erector_spinae"))
    axial, coronal = slice(0, 176), slice(176, None)
    assert pectoralis[:, axial].sum() > 50 and spinae[:, axial].sum() > 50
    rows, columns = (np.nonzero(pectoralis[:, axial])[axis].mean() for axis in (0, 1))
    # The pectoralis is on the patient's right, the viewer's left, and in front of the erector spinae.
    assert columns < 88 - 10
    assert rows < np.nonzero(spinae[:, axial])[0].mean() - 20
    assert spinae[:, coronal].sum() > 20


def test_proportions_are_those_of_the_body(tmp_path):
    volume, result = make_case()
    picture = paint(tmp_path / "a.webp", volume, result)[:, :176].mean(axis=-1) > 8
    rows, columns = np.flatnonzero(picture.any(axis=1)), np.flatnonzero(picture.any(axis=0))
    # The body is 240 mm wide and 160 mm deep.
    assert np.ptp(columns) / np.ptp(rows) == pytest.approx(240 / 160, rel=0.06)


def test_a_noisy_scan_stays_small(tmp_path):
    volume, result = make_case()
    noise = np.random.default_rng(1).normal(0, 120, volume.array.shape)
    paint(tmp_path / "a.webp", Volume((volume.array + noise).astype(np.int16), volume.grid), result)
    assert 500 < (tmp_path / "a.webp").stat().st_size <= 6000


def test_the_same_case_gives_the_same_bytes_without_metadata(tmp_path):
    volume, result = make_case()
    for name in ("a.webp", "b.webp"):
        write_thumbnail(tmp_path / name, volume, result)
    data = (tmp_path / "a.webp").read_bytes()
    assert data == (tmp_path / "b.webp").read_bytes()
    assert not {"exif", "xmp", "icc_profile"} & set(Image.open(io.BytesIO(data)).info)


def test_a_case_without_muscle_has_a_grey_picture(tmp_path):
    volume, result = make_case()
    nothing = LabelMap(np.zeros_like(result.label_map.array), volume.grid, result.label_map.schema)
    picture = paint(tmp_path / "a.webp", volume, CaseResult(nothing, (), result.provenance))
    assert picture.max() > 100
    assert np.ptp(picture, axis=-1).max() < 12


def test_one_slice_is_enough(tmp_path):
    volume, result = make_case()
    grid = Grid((*volume.grid.shape[:2], 1), volume.grid.affine)
    labels = LabelMap(np.ascontiguousarray(result.label_map.array[:, :, 10:11]), grid, result.label_map.schema)
    picture = paint(
        tmp_path / "a.webp", Volume(volume.array[:, :, 10:11], grid), CaseResult(labels, (), result.provenance)
    )
    assert tinted(picture[:, :176], labels.schema["pectoralis"].colour).sum() > 50


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    volume, result = make_case()
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write 'a.webp'"):
        write_thumbnail(tmp_path / "file" / "a.webp", volume, result)
