"""A store on a network file system is warned of."""

import pytest
from recorded import OR, score

from scrubbing import ScrubbingWarning, Store
from scrubbing.store import mounts


@pytest.fixture
def mounted(tmp_path, monkeypatch):
    """What the system says of its file systems."""

    def say(kind):
        table = tmp_path / "mounts"
        place = str(tmp_path.resolve() / "shared folder").replace(" ", "\\040")
        table.write_text(f"/dev/vda / ext4 rw 0 0\nserver:/home {place} {kind} rw 0 0\nodd line\n")
        monkeypatch.setattr(mounts, "MOUNTS", table)

    (tmp_path / "shared folder" / "deep").mkdir(parents=True)
    return say


@pytest.mark.parametrize(("kind", "found"), [("nfs4", "nfs4"), ("fuse.sshfs", "fuse.sshfs"), ("xfs", None)])
def test_network_file_systems_are_known(tmp_path, mounted, kind, found):
    mounted(kind)
    assert mounts.network_file_system(tmp_path / "shared folder" / "deep" / "store.db") == found
    assert mounts.network_file_system(tmp_path / "store.db") is None


def test_a_store_on_one_is_warned_of_and_used(tmp_path, mounted):
    mounted("nfs")
    store = Store(tmp_path / "shared folder" / "store.db")
    with pytest.warns(ScrubbingWarning, match=r"lies on a network file system \(nfs\)"):
        found = score(OR, store=store)
    assert store.score(1) == found


def test_where_nobody_says_nothing_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(mounts, "MOUNTS", tmp_path / "none")
    assert mounts.network_file_system(tmp_path / "store.db") is None
