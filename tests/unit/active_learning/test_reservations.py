"""Reservations: one reader per image, until it is saved or the time is up."""

from __future__ import annotations

import threading

from myotome.active_learning.reservations import Reservation, Reservations

POOL = ["a", "b", "c"]


def first_free(reader: str):
    def choose(held):
        free = [image for image in POOL if image not in held]
        return Reservation(free[0], reader, 0.0) if free else None

    return choose


def test_readers_get_different_images(tmp_path):
    reservations = Reservations(tmp_path / "r.json")
    assert [reservations.take(first_free(name)).image_id for name in ("Ada", "Bo", "Cy")] == POOL
    assert reservations.take(first_free("Di")) is None


def test_many_readers_at_once_get_different_images(tmp_path):
    reservations = Reservations(tmp_path / "r.json")
    taken = []
    threads = [
        threading.Thread(target=lambda n=n: taken.append(reservations.take(first_free(f"reader {n}"))))
        for n in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(row.image_id for row in taken if row) == POOL


def test_asking_again_gives_another_image_and_lets_go_of_the_first(tmp_path):
    reservations = Reservations(tmp_path / "r.json")
    assert reservations.take(first_free("Ada")).image_id == "a"
    assert reservations.take(first_free("Ada")).image_id == "b"
    assert set(reservations.held()) == {"b"}


def test_a_reservation_ends_by_time_and_by_release_of_its_own_reader_only(tmp_path):
    now = 1000.0
    reservations = Reservations(tmp_path / "r.json", hours=1, clock=lambda: now)
    reservations.take(first_free("Ada"))
    assert reservations.release("a", "Bo") is None
    assert reservations.release("a", "Ada").reader == "Ada"
    reservations.take(first_free("Ada"))
    now += 3601
    assert reservations.held() == {}
    assert reservations.take(first_free("Bo")).image_id == "a"


def test_they_outlive_the_server_and_a_file_cut_short(tmp_path):
    path = tmp_path / "r.json"
    Reservations(path).take(first_free("Ada"))
    assert Reservations(path).held()["a"].reader == "Ada"
    path.write_text(path.read_text()[:20])
    assert Reservations(path).held() == {}
