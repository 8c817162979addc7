"""The label app serves a grading bundle of MR as it serves one of CT: draft, measurements and scores."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from myotome.errors import InputError
from myotome.inference import BundleSegmenter
from myotome.inference.uncertainty import CaseScores
from myotome.io import read_label_map, read_volume, write_volume
from myotome.io.dicom_series import write_dicom_series
from myotome.io.tables import make_rows
from myotome.networks import SupraspinatusGrader, write_weights
from myotome.pipeline import measure_label_map
from myotome.structures import read_label_schema
from tests.integration.bundles import copy_bundle
from tests.unit.phantoms.shoulders import SCHEMA, make_shoulder_case

sys.path.insert(0, str(Path(__file__).parents[2] / "monailabel_app"))
from lib.standins import install_standins

install_standins()

from lib.datastores import FolderDatastore
from lib.models import Model
from lib.state import State
from lib.worker import Draft, make_draft, make_scores

MODEL = "supraspinatus_mri_classification"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """The bundle with weights that know nothing, but label muscle and bone somewhere."""
    root = copy_bundle(MODEL, tmp_path_factory.mktemp("shipped"))
    config = root / "configs" / "inference.yaml"
    config.write_text(config.read_text().replace("least_score: 0.3", "least_score: 0"))
    volume, _ = make_shoulder_case()
    for seed in range(40):
        torch.manual_seed(seed)
        write_weights(SupraspinatusGrader().state_dict(), root / "models" / "model.pt")
        if BundleSegmenter(root).segment(volume).array.any():
            return root
    raise AssertionError("no seed's network labels anything")


@pytest.fixture
def studies(tmp_path):
    volume, _ = make_shoulder_case()
    write_volume(tmp_path / "studies" / "nifti.nii.gz", volume)
    write_dicom_series(tmp_path / "studies" / "dicom", volume)
    return tmp_path / "studies"


@pytest.mark.parametrize("name", ["nifti.nii.gz", "dicom"])
def test_a_draft_is_what_analyze_makes(bundle, studies, tmp_path, name):
    output = tmp_path / "draft.nii.gz"
    reply = make_draft(Draft(studies / name, bundle, "weights", output))
    volume = read_volume(studies / name, modality="MR", across="LR")
    segmenter = BundleSegmenter(bundle)
    expected = segmenter.segment(volume)
    np.testing.assert_array_equal(read_label_map(output, SCHEMA).array, expected.array)
    result = measure_label_map(volume, expected, segmenter=segmenter, source=studies / name)
    assert result.grading is not None
    assert reply["measurements"] == make_rows(result, volume)
    assert any(row["measure"] == "goutallier_grade" for row in reply["measurements"])
    assert set(reply["label_names"]) >= {"supraspinatus"}


def test_a_ct_has_no_draft_by_a_shoulder_bundle(bundle, ct_series, tmp_path):
    with pytest.raises(InputError, match="holds no MR images"):
        make_draft(Draft(ct_series, bundle, "weights", tmp_path / "draft.nii.gz"))


def test_an_image_is_scored_from_its_probabilities(bundle, studies, tmp_path):
    make_scores(Draft(studies / "dicom", bundle, "weights", tmp_path / "scores.json"))
    scores = CaseScores.from_json((tmp_path / "scores.json").read_text())
    assert scores.entropy > 0 and set(scores.class_share) == {structure.name for structure in SCHEMA.structures}


def test_the_datastore_reads_each_modality_that_is_served(bundle, studies, ct_series, tmp_path, small_ct):
    shutil.copytree(ct_series, studies / "chest")
    schemas = {MODEL: SCHEMA, "respiratory_muscle_ct_segmentation": read_label_schema("respiratory_muscle_ct")}
    both = FolderDatastore(studies, State(tmp_path / "state"), schemas)
    assert both.list_images() == ["chest", "dicom", "nifti"]
    assert [both.volume(image).modality for image in both.list_images()] == ["CT", "MR", "MR"]
    assert both.volume("chest").array.min() == small_ct.array.min()
    alone = FolderDatastore(studies, State(tmp_path / "state"), {MODEL: SCHEMA})
    assert alone.volume("dicom").modality == "MR"
    with pytest.raises(InputError, match="holds no MR images"):
        alone.volume("chest")
    assert Model(bundle, State(tmp_path / "state")).modality == "MR"
