"""What could hold a volume, each on the same disk. A peer lives for one round."""

import os
import shutil
import subprocess
import threading

from daemon import Daemon
from tools import built, cpu_seconds, drop_caches, fill, run, unmount, wait_for_mount

IMAGE_BYTES = 6 << 30
DATA_MIB = 256


class Peer:
    """`path` is a directory that workloads write below. Peers with something to mount say how in `mount` and `unmount`."""
    name = ""
    programs = ()
    keeps = True  # what is written

    def __init__(self, work):
        self.work = os.path.join(work, self.name)
        self.path = os.path.join(self.work, "volume")
        os.makedirs(self.path)
        os.chmod(self.work, 0o711)

    def start(self):
        self.mount()

    def stop(self):
        self.unmount()

    def mount(self):
        pass

    def unmount(self):
        pass

    def cold(self):
        """Nothing of the peer is in memory: it is mounted anew, its process too is a new one."""
        os.sync()
        self.unmount()
        drop_caches()
        self.mount()
        drop_caches()

    def settle(self):
        """Nothing waits to be written, nothing is cached, but the peer goes on as it is."""
        drop_caches()

    def pid(self):
        """Of the process that serves it, if there is one."""
        return None

    def cpu_seconds(self):
        return cpu_seconds(self.pid()) if self.pid() else None

    def data(self):
        """Makes sure of a file of DATA_MIB."""
        path = os.path.join(self.path, "data")
        if os.path.exists(path) and os.path.getsize(path) == DATA_MIB << 20:
            return path
        if os.path.exists(path):
            os.unlink(path)  # another size's
        if self.keeps:
            fill(path, DATA_MIB)
        else:
            with open(path, "wb") as file:
                file.truncate(DATA_MIB << 20)
        return path

    def fresh(self, name):
        """A new directory for a workload."""
        path = os.path.join(self.path, name)
        os.mkdir(path)
        return path


class Local(Peer):
    name = "local"

    def cold(self):
        drop_caches()


class Rewind(Peer):
    name = "rewind"

    def __init__(self, work):
        super().__init__(work)
        self.daemon = Daemon(built("rewind"), self.work)

    def start(self):
        self.daemon.start()
        self.daemon.create("bench")
        self.daemon("mount", "bench", self.path)

    def mount(self):
        self.daemon.start()
        self.daemon("mount", "bench", self.path)

    def unmount(self):
        self.daemon("umount", self.path)
        self.daemon.stop()

    def pid(self):
        return self.daemon.pid


class Btrfs(Peer):
    """A subvolume on a loop device."""
    name = "btrfs"
    programs = ("mkfs.btrfs",)

    def __init__(self, work):
        super().__init__(work)
        self.image, self.mounted = os.path.join(self.work, "image"), self.path
        self.path = os.path.join(self.mounted, "volume")

    def start(self):
        with open(self.image, "wb") as image:
            os.posix_fallocate(image.fileno(), 0, IMAGE_BYTES)
        run("mkfs.btrfs", "-q", self.image)
        self.mount()
        run("btrfs", "subvolume", "create", self.path)

    def mount(self):
        run("mount", "-o", "loop", self.image, self.mounted)

    def unmount(self):
        unmount(self.mounted)

    def stop(self):
        self.unmount()
        os.unlink(self.image)


class BtrfsSnapshots(Btrfs):
    """The same with a snapshot every minute, and one before each measurement."""
    name = "btrfs+snap"

    def __init__(self, work):
        super().__init__(work)
        self.taken = 0
        self.ended = threading.Event()
        self.lock = threading.Lock()

    def start(self):
        super().start()
        self.thread = threading.Thread(target=self.each_minute)
        self.thread.start()

    def each_minute(self):
        while not self.ended.wait(60):
            self.snapshot()

    def snapshot(self):
        with self.lock:
            if os.path.exists(self.path):
                run("btrfs", "subvolume", "snapshot", "-r", self.path, os.path.join(self.mounted, f"s{self.taken}"))
            self.taken += 1

    def settle(self):
        self.snapshot()
        super().settle()

    def cold(self):
        with self.lock:
            super().cold()

    def stop(self):
        self.ended.set()
        self.thread.join()
        super().stop()


class FusePeer(Peer):
    """A process in the foreground that serves a mount."""

    def __init__(self, work):
        super().__init__(work)
        self.process = None

    def command(self):
        raise NotImplementedError

    def mount(self):
        with open(os.path.join(self.work, "log"), "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for_mount(self.path, self.process)

    def unmount(self):
        unmount(self.path)
        self.process.wait(30)

    def pid(self):
        return self.process.pid

    def below(self, name):
        path = os.path.join(self.work, name)
        os.makedirs(path, exist_ok=True)
        return path


class Bindfs(FusePeer):
    name = "bindfs"
    programs = ("bindfs",)

    def command(self):
        return ["bindfs", "-f", self.below("source"), self.path]


class FuseOverlayfs(FusePeer):
    name = "fuse-overlayfs"
    programs = ("fuse-overlayfs",)

    def command(self):
        layers = f"lowerdir={self.below('lower')},upperdir={self.below('upper')},workdir={self.below('work')}"
        return ["fuse-overlayfs", "-f", "-o", layers, self.path]


class Null(FusePeer):
    """Forgets what is written: what FUSE alone costs, with threads that sleep in read, as rewind's do."""
    name = "null"
    keeps = False

    def command(self):
        return [built("null_fs"), self.path]


class NullSpinning(Null):
    """The same with one thread that looks for the next request for 50 µs before it sleeps."""
    name = "null+spin"

    def command(self):
        return [built("null_fs"), "--spin", "50", self.path]


ALL = (Rewind, Local, Btrfs, BtrfsSnapshots, Bindfs, FuseOverlayfs, Null, NullSpinning)
NAMES = tuple(peer.name for peer in ALL)


def remove(peer):
    shutil.rmtree(peer.work, ignore_errors=True)
