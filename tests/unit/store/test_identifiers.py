import hashlib
import hmac
import stat

import pytest

from myotome.errors import InputError
from myotome.store.identifiers import Pseudonyms, read_key, scrub, write_key

KEY = bytes(range(32))


def test_a_subject_is_an_hmac_of_its_identifier():
    expected = hmac.new(KEY, b"subject\0PAT-1", hashlib.sha256).hexdigest()[:12]
    assert Pseudonyms(KEY).subject(" PAT-1 ") == f"S{expected}"


def test_another_key_gives_another_pseudonym():
    assert Pseudonyms(KEY).subject("PAT-1") != Pseudonyms(KEY[::-1]).subject("PAT-1")


def test_kinds_do_not_collide():
    pseudonyms = Pseudonyms(KEY)
    assert pseudonyms.case("a", "bc") != pseudonyms.case("ab", "c")
    assert pseudonyms.case("1.2.3")[:12] != pseudonyms.subject("1.2.3")[1:]


def test_a_uid_is_a_dicom_uid():
    uid = Pseudonyms(KEY).uid("1.2.840.113619.2.55.3")
    root, number = uid.rsplit(".", 1)
    assert root == "2.25"
    assert 0 <= int(number) < 2**128
    assert len(uid) <= 64


def test_a_key_is_made_once_and_read_by_its_owner_alone(tmp_path):
    path = tmp_path / "private" / "key"
    assert write_key(path) == write_key(path) == read_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_two_keys_differ(tmp_path):
    assert write_key(tmp_path / "a") != write_key(tmp_path / "b")


def test_a_copy_without_its_key_is_refused(tmp_path):
    with pytest.raises(InputError, match="not a copy that was made to be shared"):
        read_key(tmp_path / "key")


@pytest.mark.parametrize("text", ["", "zz", "abcd", "0" * 63])
def test_a_damaged_key_is_refused(tmp_path, text):
    (tmp_path / "key").write_text(text)
    with pytest.raises(InputError, match="damaged"):
        read_key(tmp_path / "key")


@pytest.mark.parametrize(
    ("sentence", "secrets", "expected"),
    [
        ("'DOE_JOHN.nii' is damaged", (), "'…' is damaged"),
        ("series 3 'O'Brien, Pat' has gaps", ("O'Brien, Pat",), "series 3 '…' has gaps"),
        ("series 3 'O'Brien Patricia chest' has gaps", (), "series 3 '…' has gaps"),
        ("two series: 1.2.840.99.7 and 1.2.840.99.8", ("1.2.840.99.7",), "two series: … and …"),
        ("the series 4711.SMITHJANE.2.1 is there", (), "the series … is there"),
        ("Doe came", ("DOE JOHN", "Doe"), "… came"),
        ("holds 1.2.840.113619.2.55.3 and 2 others", (), "holds … and 2 others"),
        ("cannot write /data/smith/ct.nii", ("/", "data", "smith", "ct.nii"), "cannot write /…/…/…"),
        ("it has 12 slices, 0.7 mm apart", (), "it has 12 slices, 0.7 mm apart"),
    ],
)
def test_a_sentence_is_scrubbed(sentence, secrets, expected):
    assert scrub(sentence, secrets) == expected


def test_words_inside_other_words_stay():
    assert scrub("the heart is cut off", ("art",)) == "the heart is cut off"
