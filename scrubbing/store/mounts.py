"""Whether a file lies on another machine's disk, where SQLite's locks and its log cannot be relied on."""

from pathlib import Path

MOUNTS = Path("/proc/self/mounts")
NETWORK = ("nfs", "cifs", "smb", "afs", "ceph", "lustre", "gpfs", "beegfs", "glusterfs", "fuse.sshfs")


def network_file_system(path: Path) -> str | None:
    """The kind of network file system that a path is on; None for a disk of this machine, or where nobody says."""
    try:
        mounts = [line.split(" ") for line in MOUNTS.read_text(errors="replace").splitlines()]
        folder = path.absolute().parent.resolve()
    except OSError:
        return None
    places = [(Path(m[1].replace("\\040", " ")), m[2]) for m in mounts if len(m) > 2]
    over = [(place, kind) for place, kind in places if folder.is_relative_to(place)]
    kind = max(over, key=lambda found: len(found[0].parts), default=(path, ""))[1]  # the last of those mounted there
    return kind if kind.startswith(NETWORK) else None
