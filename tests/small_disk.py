"""A disk of a few hundred kilobytes: a tmpfs, where this machine lets us mount one."""

import os
import subprocess
import tempfile
from functools import cache
from pathlib import Path


@cache
def missing():
    """Why none can be had here; None where one can."""
    if os.name != "posix" or os.geteuid() != 0:
        return "mounting a small disk needs root"
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True, check=False
        )
        if done.returncode:
            return "a small disk cannot be mounted here"
        subprocess.run(["umount", folder], check=True)
    return None


class SmallDisk:
    """Mounted on a folder; a context manager."""

    def __init__(self, folder, kilobytes):
        self.folder, self._kilobytes = Path(folder), kilobytes

    def __enter__(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        self._run("mount", "-t", "tmpfs", "-o", f"size={self._kilobytes}k", "tmpfs", self.folder)
        return self

    def __exit__(self, *_):
        self._run("umount", self.folder)

    def resize(self, kilobytes):
        """More room, or less, but never less than what is there."""
        self._run("mount", "-o", f"remount,size={kilobytes}k", self.folder)

    def make_read_only(self):
        """As an archive."""
        self._run("mount", "-o", "remount,ro", self.folder)

    @property
    def used_kilobytes(self):
        status = os.statvfs(self.folder)
        return (status.f_blocks - status.f_bfree) * status.f_frsize // 1024

    def _run(self, *command):
        subprocess.run([str(part) for part in command], check=True)
