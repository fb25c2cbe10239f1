"""A small share of the campaign (`make powercut` is the rest), and tests of the disk that it is made on."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.powercut import campaign, recovery, scenes
from tests.powercut.disk import Disk


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> scenes.Scene:
    return scenes.play(tmp_path_factory.mktemp("scene"), 7, seconds=0.1)


def test_the_store_recovers_from_every_state(scene: scenes.Scene) -> None:
    wrong = [(str(root), *map(str, found)) for root, found in campaign.run(scene, 7, 10, recover=recovery.by_store)]

    assert wrong == []


@pytest.mark.faults
@pytest.mark.demand(6)
@pytest.mark.demand(11)
def test_a_daemon_recovers_all_that_was_acknowledged(scene: scenes.Scene) -> None:
    wrong = [(str(root), *map(str, found)) for root, found in campaign.run(scene, 8, 1, recover=recovery.by_daemon)]

    assert wrong == []


def test_what_was_not_fsynced_may_be_lost_and_what_was_is_kept(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    disk = Disk(tmp_path / "base")
    put = {"op": "write", "path": "a", "at": 0, "data": "b25l"}
    disk.play([{"op": "create", "path": "a"}, put, {"op": "fsync", "path": "a"}, {"op": "syncdir", "path": "."}])
    disk.play([{**put, "at": 3, "data": "dHdv"}, {"op": "rename", "path": "b", "old": "a"}])
    left = set()
    for seed in range(60):
        root = tmp_path / str(seed)
        disk.cut(root, random.Random(seed), names="ordered")
        left |= {(path.name, path.read_bytes()) for path in root.iterdir()}

    assert left == {(name, b"onetwo"[:size]) for name in "ab" for size in (3, 4, 5, 6)}


def test_a_file_in_a_folder_that_is_not_durable_may_go_with_it(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    disk = Disk(tmp_path / "base")
    disk.play([{"op": "mkdir", "path": "d"}, {"op": "create", "path": "d/a"}, {"op": "syncdir", "path": "d"}])
    for names, ways in (("loose", {False, True}), ("ordered", {True})):
        seen = set()
        for seed in range(20):
            disk.cut(tmp_path / f"{names}{seed}", random.Random(seed), names=names)
            seen.add((tmp_path / f"{names}{seed}" / "d" / "a").exists())
        assert seen == ways
