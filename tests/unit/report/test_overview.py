"""The overview shows the label colours where the labels are, in the same bytes each time."""

import numpy as np
import pytest
from matplotlib.image import imread

from myotome.errors import OutputError
from myotome.measurement import CaseResult
from myotome.report.overview import write_overview
from myotome.structures import LabelMap
from tests.unit.report.cases import make_case


def hue_share(picture, colour):
    """Pixels whose hue is that of a structure's colour blended over grey."""
    rgb = picture[..., :3] * 255
    chroma = rgb - rgb.mean(axis=-1, keepdims=True)
    wanted = np.array(colour) - np.mean(colour)
    strength = np.linalg.norm(chroma, axis=-1)
    cosine = chroma @ wanted / np.maximum(strength * np.linalg.norm(wanted), 1e-6)
    return (cosine > 0.97) & (strength > 20)


def test_the_muscles_are_drawn_in_their_colours_on_their_side(tmp_path):
    volume, result = make_case()
    write_overview(tmp_path / "overview.png", volume, result)
    picture = imread(tmp_path / "overview.png")
    assert picture.shape[1] == 1650
    pectoralis, spinae = (
        hue_share(picture, result.label_map.schema[name].colour) for name in ("pectoralis", "erector_spinae")
    )
    panels = slice(0, 300)
    lower = slice(picture.shape[0] // 2, None)
    assert pectoralis[lower, panels].sum() > 200 and spinae[lower, panels].sum() > 200
    assert np.nonzero(pectoralis[lower, panels])[1].mean() < np.nonzero(spinae[lower, panels])[1].mean()
    assert np.nonzero(pectoralis[lower, panels])[0].mean() < np.nonzero(spinae[lower, panels])[0].mean()
    upper = slice(70, picture.shape[0] // 2 - 10)
    assert pectoralis[upper, panels].sum() == 0


def test_the_same_case_gives_the_same_bytes(tmp_path):
    volume, result = make_case()
    for name in ("a.png", "b.png"):
        write_overview(tmp_path / name, volume, result)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert b"Software" not in (tmp_path / "a.png").read_bytes()


def test_a_case_without_muscle_has_a_picture(tmp_path):
    volume, result = make_case()
    nothing = LabelMap(np.zeros_like(result.label_map.array), volume.grid, result.label_map.schema)
    write_overview(tmp_path / "overview.png", volume, CaseResult(nothing, (), result.provenance, ("no_muscle_found",)))
    picture = imread(tmp_path / "overview.png")
    assert not hue_share(picture, nothing.schema["pectoralis"].colour)[:, :1200].any()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    volume, result = make_case()
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        write_overview(tmp_path / "file" / "overview.png", volume, result)
