"""Files are written whole or not at all, whatever stands under their name, and nothing else is touched."""

import errno
import os
import stat
import threading
from pathlib import Path

import numpy as np
import pytest

from scrubbing.errors import DataError
from scrubbing.store import files
from scrubbing.store.files import check_writable, write_whole, writing


def test_a_file_is_made_and_replaced_with_its_permissions(tmp_path):
    path = tmp_path / "out.json"
    check_writable(path)
    assert not path.exists()
    write_whole("one", path)
    assert path.read_bytes() == b"one\n"
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    assert path.stat().st_mode == ordinary.stat().st_mode
    path.chmod(0o640)
    write_whole(b"two", path)
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert sorted(tmp_path.iterdir()) == [ordinary, path]


def test_no_other_file_is_touched(tmp_path):
    mine = {tmp_path / name: name for name in ("out.unfinished", "out.json.unfinished", "out.json~", ".out.json.tmp")}
    for path, text in mine.items():
        path.write_text(text)
    (tmp_path / "victim").write_text("victim")
    write_whole("new", tmp_path / "out.json")
    assert {path: path.read_text() for path in mine} == mine
    assert (tmp_path / "victim").read_text() == "victim"


@pytest.mark.parametrize("there", [True, False])
def test_links_stay_and_their_target_is_written(tmp_path, there):
    (tmp_path / "folder").mkdir()
    target, link, second = tmp_path / "folder" / "target", tmp_path / "link", tmp_path / "second"
    if there:
        target.write_text("old")
    link.symlink_to(Path("folder") / "target")
    second.symlink_to(link)
    check_writable(second)
    write_whole("new", second)
    assert link.is_symlink()
    assert second.is_symlink()
    assert target.read_text() == "new\n"
    assert not target.is_symlink()


def test_a_file_of_two_names_keeps_both(tmp_path):
    (tmp_path / "one").write_text("something longer")
    os.link(tmp_path / "one", tmp_path / "two")
    write_whole("new", tmp_path / "two")
    assert (tmp_path / "one").read_text() == "new\n"


def test_a_pipe_gets_what_is_written(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_bytes()))
    check_writable(tmp_path / "pipe")
    reader.start()
    write_whole("through", tmp_path / "pipe")
    reader.join()
    assert read == [b"through\n"]
    assert (tmp_path / "pipe").is_fifo()


def test_a_pipe_that_nobody_reads_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "PATIENCE", 0.1)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match=r"pipe cannot be written: nobody reads from it$"):
        write_whole("lost", tmp_path / "pipe")


def test_devices_are_written_straight(capfd):
    write_whole("nowhere", Path("/dev/null"))
    write_whole("said", Path("/dev/stdout"))
    write_whole("said too", Path("/dev/fd/2"))
    assert Path("/dev/null").is_char_device()
    assert capfd.readouterr() == ("said\n", "said too\n")
    with pytest.raises(DataError, match=r"/dev/full cannot be written: No space left on device$"):
        write_whole("too much", Path("/dev/full"))


def test_a_stream_that_goes_to_a_file_is_not_replaced(tmp_path):
    with (tmp_path / "log").open("wb") as log:
        log.write(b"before ")
        log.flush()
        write_whole("result", Path(f"/dev/fd/{log.fileno()}"))
        log.write(b"after")
    assert (tmp_path / "log").read_text() == "before result\nafter"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, MemoryError])
def test_work_that_fails_changes_nothing(tmp_path, error):
    path = tmp_path / "out"
    path.write_text("old")

    def fail():
        with writing(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def folder_of(path: Path) -> Path:
    path.mkdir()
    return path


def text_in(path: Path) -> Path:
    path.write_text("a file")
    return path


def circle(path: Path) -> Path:
    path.symlink_to(path)
    return path


UNWRITABLE = {
    "a long name": (lambda folder: folder / ("n" * 300), "File name too long"),
    "a long name in bytes": (lambda folder: folder / ("ü" * 130), "File name too long"),
    "a long path": (lambda folder: folder.joinpath(*["deep" * 40] * 40), "File name too long|there is no folder"),
    "no folder": (lambda folder: folder / "none" / "out", "there is no folder .*none"),
    "a folder": (lambda folder: folder_of(folder / "out"), "it is a folder"),
    "a link to a folder": (lambda folder: link_to(folder / "out", folder), "it is a folder"),
    "a file for a folder": (lambda folder: text_in(folder / "file") / "out", "there is no folder .*file"),
    "a link that leads nowhere": (lambda folder: link_to(folder / "out", folder / "none" / "x"), "there is no folder"),
    "a circle of links": (lambda folder: circle(folder / "out"), "Too many levels of symbolic links"),
    "a circle of folders": (lambda folder: circle(folder / "loop") / "out", "there is no folder|Too many levels"),
    "a null character": (lambda folder: folder / "a\0b", "no file's name holds a null character"),
    "half a character": (lambda folder: folder / "\ud800", "no file's name holds such characters"),
    "no device": (lambda folder: Path("/dev/fd/999999"), "Bad file descriptor"),
    "nothing": (lambda folder: Path(), "it is a folder"),
}


def link_to(path: Path, target: Path) -> Path:
    path.symlink_to(target)
    return path


@pytest.mark.parametrize("name", UNWRITABLE)
def test_what_cannot_be_written_is_said_in_one_line(name, tmp_path):
    make, message = UNWRITABLE[name]
    path = make(tmp_path)
    before = sorted(tmp_path.rglob("*")) if name != "a circle of folders" else None
    with pytest.raises(DataError, match=f"cannot be written: ({message})") as error:
        write_whole("lost", path)
    assert "\n" not in str(error.value)
    if name != "no device":
        with pytest.raises(DataError, match=f"cannot be written: ({message})"):
            check_writable(path)
    assert before is None or sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
def test_a_folder_that_takes_no_file_is_said_before_the_work(number, tmp_path, monkeypatch):
    def refuse(self, *_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"cannot be written: ") as error:
        check_writable(tmp_path / "out")
    assert (os.strerror(number).lower() in str(error.value).lower()) or number == errno.EACCES


def test_a_file_that_may_not_be_written_is_left_alone(tmp_path, monkeypatch):
    path = tmp_path / "out"
    path.write_text("old")
    monkeypatch.setattr(os, "access", lambda *_: False)  # for the superuser, nothing is read-only
    for write in (check_writable, lambda path: write_whole("new", path)):
        with pytest.raises(DataError, match="permission denied"):
            write(path)
    assert path.read_text() == "old"


def test_other_writers_can_use_it(tmp_path):
    with writing(tmp_path / "data.npz") as file:
        np.savez(file, x=np.arange(3))
    with np.load(tmp_path / "data.npz") as read:
        assert read["x"].tolist() == [0, 1, 2]
