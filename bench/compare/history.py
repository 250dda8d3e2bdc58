"""What the past costs: rows of rewind alone, each with a daemon of its own."""

import os
import random
import statistics
import time

import rows
from daemon import daemon_of_its_own
from tools import MIB, built, disk_of, disk_written, drop_caches, fill, fio, need, run, timed

SIZE_MIB = 1024
KEEP_ALL = {"retention": "24h", "keep": "none"}
MOUNTS, VOLUMES = 100, 1000
REST_SECONDS = 20  # until mounts of which nothing is asked have come to rest, and some more


class Past:
    """Snapshots, clones and rollbacks of a volume with so many writes of 4 KiB."""

    def __init__(self, writes):
        self.writes = writes
        self.rows = rows.past(writes)
        self.figures = {row.name.removesuffix(f"-{writes}"): [] for row in self.rows}

    def run(self, settings):
        with daemon_of_its_own(built("rewind"), settings.work) as daemon:
            daemon.start()
            daemon.create("volume", **KEEP_ALL)
            live = daemon.mount("volume")
            fill(os.path.join(live, "data"), SIZE_MIB)
            before = self.writes // 2
            write_history(live, before)
            middle = daemon("now", "volume")
            write_history(live, self.writes - before)
            for number in range(settings.repeats):
                self.snapshot(daemon, f"snapshot{number}", middle)
                self.figures["clone"].append(
                    timed(lambda number=number: daemon.create(f"clone{number}", clone_of="volume", at=middle)))
            self.read_both(daemon, live, settings)
            daemon.unmount("volume")
            for number in range(settings.repeats):
                self.figures["rollback"].append(
                    timed(lambda number=number: daemon.create(f"before{number}", rollback="volume", at=middle)))
        return {f"{name}-{self.writes}": values for name, values in self.figures.items()}

    def snapshot(self, daemon, name, at):
        def use():
            daemon.create(name, snapshot_of="volume", at=at)
            read_block(os.path.join(daemon.mount(name), "data"))

        self.figures["snapshot"].append(timed(use))
        daemon.unmount(name)

    def read_both(self, daemon, live, settings):
        """In turns, cold. Where a snapshot's data lies differs from where the live volume's does: both are scattered."""
        snapshot = daemon.mount("snapshot0")
        for _ in range(settings.repeats):
            for name, options in (("snapshot-read-seq", {"rw": "read", "bs": "1m", "io_size": "256m"}),
                                  ("snapshot-read-4k", {"rw": "randread", "bs": "4k", "io_size": "32m"})):
                rates = []
                for path in (snapshot, live):
                    drop_caches()
                    rates.append(fio(path, size=f"{SIZE_MIB}m", readonly=None, **options)["bw_bytes"])
                self.figures[name].append(rates[0] / rates[1])
        daemon.unmount("snapshot0")


def write_history(path, writes):
    fio(path, rw="randwrite", bs="4k", size=f"{SIZE_MIB}m", io_size=writes * 4096, norandommap=None)


def read_block(path):
    with open(path, "rb", buffering=0) as data:
        data.seek(random.randrange(SIZE_MIB * 256) * 4096)
        data.read(4096)


def amplification(settings):
    """All that the disk wrote, by whomever, from an empty volume until its daemon has ended. The least of the rounds is the
    best guess: what others write only adds."""
    figures = {}
    for name, mib, options in (("bytes-1m", 2048, {"rw": "write", "bs": "1m"}),
                               ("bytes-4k", 1024, {"rw": "randwrite", "bs": "4k"})):
        if settings.quick:
            mib //= 4
        for _ in range(settings.rounds):
            with daemon_of_its_own(built("rewind"), settings.work) as daemon:
                daemon.start()
                daemon.create("volume", **KEEP_ALL)
                path = daemon.mount("volume")
                os.sync()
                disk = disk_of(settings.work)
                before = disk_written(disk)
                fio(path, size=f"{mib}m", end_fsync=1, **options)
                daemon.unmount("volume")
                daemon.stop()
                os.sync()
                figures.setdefault(name, []).append((disk_written(disk) - before) / (mib * MIB))
    return {name: [min(values)] for name, values in figures.items()}


def idle(settings):
    with daemon_of_its_own(built("rewind"), settings.work) as daemon:
        daemon.start()
        time.sleep(1)
        figures = {"memory-idle": [daemon.memory_mib()], "mount": []}
        for number in range(VOLUMES):
            daemon.create(f"volume{number}")
        paths = []
        for number in range(MOUNTS):
            name = f"volume{number * (VOLUMES // MOUNTS)}"
            figures["mount"].append(timed(lambda name=name: paths.append(daemon.mount(name))))
        for path in paths:
            fill(os.path.join(path, "data"), 1)
        figures["memory-mounts-used"] = [daemon.memory_mib()]
        time.sleep(REST_SECONDS)
        figures["memory-mounts"] = [daemon.memory_mib()]
    return figures


class Long:
    """A volume with millions of writes, all kept, against one with the same contents and none; with stops on the way, for the
    curves."""

    def __init__(self, writes):
        self.writes = writes
        self.rows = rows.long(writes)
        self.curves = []

    def run(self, settings):
        need("ldb")
        with daemon_of_its_own(built("rewind"), settings.work) as daemon:
            daemon.start()
            old = self.mount(daemon, "old")
            began, written, others = time.time_ns(), 0, 0
            for stop in [10**power for power in range(3, 8) if 10**power < self.writes] + [self.writes]:
                write_history(old, stop - written)
                fresh = f"fresh{stop}"
                point = self.measure(old, self.mount(daemon, fresh), began, stop, settings)
                point["memory"] = daemon.memory_mib()
                daemon.unmount(fresh)
                written, others = stop + point["written"], others + point["written"]
                self.curves.append(point)
            daemon.unmount("old")
            daemon.stop()
            run("ldb", f"--db={os.path.join(daemon.root, 'index')}", "compact", "--compression_type=lz4")
            return {"long-read": point["reads"], "long-write": point["writes"], "long-view": point["views"],
                    "long-memory": [point["memory"]], "long-index": [daemon.index_bytes() / (written + others)]}

    @staticmethod
    def mount(daemon, name):
        daemon.create(name, **KEEP_ALL)
        path = daemon.mount(name)
        fill(os.path.join(path, "data"), SIZE_MIB)
        return path

    @staticmethod
    def measure(old, fresh, began, writes, settings):
        ended = time.time_ns()
        point = {"history": writes, "reads": [], "writes": [], "views": [], "read_rates": [], "write_rates": []}
        count = max(1000, min(writes // 10, 50_000))  # a small history stays one
        for _ in range(settings.rounds):
            for share, rate, options in (("reads", "read_rates", {"rw": "randread", "direct": 1, "io_size": "200m"}),
                                         ("writes", "write_rates", {"rw": "randwrite", "io_size": count * 4096})):
                rates = []
                for path in (old, fresh):
                    os.sync()
                    rates.append(fio(path, bs="4k", size=f"{SIZE_MIB}m", norandommap=None, **options)["iops"])
                point[share].append(rates[0] / rates[1])
                point[rate].append(rates[0])
        point["written"] = count * settings.rounds
        for _ in range(25):
            at = random.randrange(began, ended)
            path = os.path.join(old, ".rewind", f"@{at // 10**9}.{at % 10**9:09}", "data")
            point["views"].append(timed(lambda path=path: read_block(path)))
        print(f"  after {writes:,} writes: read × {statistics.median(point['reads']):.2f}, write × "
              f"{statistics.median(point['writes']):.2f}, view {statistics.median(point['views']):.1f} ms", flush=True)
        return point
