"""Files that a sandbox named, on the host."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.errors import FileRefused
from sandbox.host_files import write_beside


def test_a_file_that_is_there_stays_and_the_new_one_gets_a_number(tmp_path: Path) -> None:
    names = [write_beside(tmp_path / "made", name, name.encode()).name for name in ("a.png", "a.png", "a.png", "b")]

    assert names == ["a.png", "a-2.png", "a-3.png", "b"]


@pytest.mark.parametrize("there", ["link", "dangling", "folder"])
def test_what_has_the_name_is_neither_followed_nor_filled(tmp_path: Path, there: str) -> None:
    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    (tmp_path / "mine").write_text("mine")
    (root / "link").symlink_to(tmp_path / "mine")
    (root / "dangling").symlink_to(tmp_path / "none")

    made = write_beside(root, there, b"x")

    assert made == root / f"{there}-2"
    assert (tmp_path / "mine").read_text() == "mine"
    assert not (tmp_path / "none").exists()
    assert list((root / "folder").iterdir()) == []


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "linked/x", "", "a\0b"])
def test_no_name_leaves_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "linked").symlink_to(tmp_path / "out")

    with pytest.raises(FileRefused):
        write_beside(tmp_path / "root", name, b"x")

    assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(FileRefused):
        write_beside(tmp_path / "file", "a.png", b"x")
