"""What overlaps from slice to slice is one disc."""

import numpy as np
import pytest

from myotome.geometry import Grid
from myotome.inference import DiscTrack, SliceDisc, link_discs

# Sagittal slices of 1 mm pixels, 4 mm apart: rows run down, columns back, slices to the left.
SAGITTAL = Grid((200, 100, 12), np.array([[0, 0, -4.0, 20], [0, -1.0, 0, 50], [-1.0, 0, 0, 100], [0, 0, 0, 1]]))


def disc(index: int, row: int, column: int = 30, size: tuple[int, int] = (10, 40), share: float = 0.0) -> SliceDisc:
    mask = np.zeros((200, 100), bool)
    mask[row : row + size[0], column : column + size[1]] = True
    return SliceDisc.cut(index, 0.9, share, mask)


def test_a_disc_is_cut_out_of_its_slice_and_drawn_again():
    mask = np.zeros((20, 30), bool)
    mask[4, 5:9] = mask[4:8, 6] = True
    cut = SliceDisc.cut(3, 0.8, 0.1, mask)
    assert cut.corner == (4, 5) and cut.mask.shape == (4, 4) and cut.edges == ((4, 8), (5, 9))
    assert cut.area_px == 7 and np.array_equal(cut.draw((20, 30)), mask)


def test_overlap_is_a_share_of_the_smaller_mask():
    first, second = disc(0, 50), disc(1, 55, size=(20, 20))
    assert first.overlap(second) == second.overlap(first) == pytest.approx(5 * 20 / 400)
    assert first.overlap(disc(1, 60)) == 0 and first.overlap(first) == 1


def test_discs_go_on_from_slice_to_slice_even_where_one_was_missed():
    found = [disc(index, row + index) for index in (2, 3, 5, 6) for row in (40, 90)]
    tracks = link_discs(found, SAGITTAL)
    assert sorted([piece.slice_index for piece in track.slices] for track in tracks) == [[2, 3, 5, 6]] * 2
    assert {track.volume_px for track in tracks} == {1600}


def test_two_pieces_of_one_disc_that_are_far_apart_are_one_disc():
    found = [disc(index, 40) for index in (0, 1, 9, 10)]
    (track,) = link_discs(found, SAGITTAL)
    assert [piece.slice_index for piece in track.slices] == [0, 1, 9, 10]


def test_what_lies_beside_a_disc_in_its_own_slices_is_left_out():
    found = [disc(index, 40) for index in range(4)] + [disc(index, 40, 75, (8, 20)) for index in range(2)]
    near = [disc(index, 52, size=(6, 40)) for index in range(2)]
    tracks = link_discs(sorted(found + near, key=lambda piece: piece.slice_index), SAGITTAL)
    assert [track.volume_px for track in tracks] == [1600, 320]  # 35 mm beside it, and not what is 10 mm below


@pytest.mark.parametrize(
    ("slices", "size", "count"), [((4,), (5, 10), 3), ((2, 3), (10, 22), 3), ((2, 3), (10, 30), 4)]
)
def test_a_speck_is_no_disc(slices, size, count):
    found = [disc(index, row) for index in range(5) for row in (20, 60, 100)]
    found += [disc(index, 150, size=size) for index in slices]
    assert len(link_discs(sorted(found, key=lambda piece: piece.slice_index), SAGITTAL)) == count
    assert link_discs([], SAGITTAL) == []


def test_a_disc_lies_where_its_pixels_are_and_the_larger_slice_speaks_louder():
    track = DiscTrack((disc(2, 50, share=1.0), disc(3, 50, size=(10, 20), share=0.4)))
    assert track.lumbosacral == pytest.approx((2 * 1.0 + 0.4) / 3)
    middle = np.array([54.5, (2 * 49.5 + 39.5) / 3, 7 / 3, 1])
    assert np.allclose(track.place_mm(SAGITTAL), (SAGITTAL.affine @ middle)[:3])
