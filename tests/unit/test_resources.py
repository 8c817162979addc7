"""Configs and bundles are found in a checkout and by path; what is not there is named."""

import pytest

from myotome.errors import BundleError
from myotome.resources import bundle_root, config_path


def test_the_structures_travel_with_the_package():
    assert config_path("structures.yaml").is_file()


def test_a_folder_with_metadata_is_a_bundle(tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "metadata.json").write_text("{}")
    assert bundle_root(tmp_path) == tmp_path.resolve()


def test_what_is_not_a_bundle_is_refused(tmp_path):
    with pytest.raises(BundleError, match="no bundle 'knee_mri'"):
        bundle_root("knee_mri")
    with pytest.raises(BundleError, match=r"configs/metadata\.json"):
        bundle_root(tmp_path)
