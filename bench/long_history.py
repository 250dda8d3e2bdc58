#!/usr/bin/env python3
"""What many marks cost, and getting rid of a long history. (What it costs the present, compare.sh --long tells.)

    sudo bench/long_history.py [--binary build/rewind] [--dir DIR] [--marks 10000] [--snapshots 1000] [--history-gib 10]
                               [--only marks removal]

  marks     so many marks on a volume: listing them, and what they do to writes; and the same with snapshots of btrfs on a loop
            device (needs btrfs-progs)
  removal   a volume with so much history is removed while another is written: when the space is back, and what the other's
            writes notice

Needs fio. Everything is made under DIR (default: a new directory under /tmp) and removed at the end. Medians of interleaved
rounds, with the least and the greatest in brackets.
"""
import argparse
import os
import random
import shutil
import statistics
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "compare"))
from daemon import daemon_of_its_own  # noqa: E402
from tools import fill, fio, run, spread, timed  # noqa: E402


def disk_bytes(path):
    return int(run("du", "-s", "--block-size=1", path).split()[0])


class Volume:
    """A volume of the daemon, mounted."""

    def __init__(self, daemon, name, *options):
        self.daemon, self.name, self.path = daemon, name, os.path.join(daemon.work, name)
        os.mkdir(self.path)
        daemon("create", name, *[word for option in options for word in ("-o", option)])
        daemon("mount", name, self.path)

    def umount(self):
        self.daemon("umount", self.path)


def marks(daemon, options):
    few, many = Volume(daemon, "few"), Volume(daemon, "many")
    for volume in (few, many):
        fill(os.path.join(volume.path, "data"), 64)
    spent = timed(lambda: [daemon.ask("Rewind.Mark", Names=["many"], All=False, Label=f"label-{i}")
                           for i in range(options.marks)])
    print(f"{options.marks:,} marks on a volume, {spent / options.marks:.2f} ms each")
    print(f"  list them (rewind marks), ms: {spread([timed(lambda: daemon('marks', 'many')) for _ in range(5)])}; "
          f"a mark more: {timed(lambda: daemon('mark', 'many', 'one-more')):.0f} ms, "
          f"and one less: {timed(lambda: daemon('unmark', 'many', 'one-more')):.0f} ms (start of the command included)")
    print_writes("marks", many, few, options)
    few.umount()
    many.umount()
    btrfs(daemon.work, options)


def print_writes(what, many, few, options):
    figures = {"many": [], "few": []}
    for _ in range(options.rounds):
        for name, path in (("many", many.path), ("few", few.path)):
            result = fio(path, options.seconds, rw="randwrite", bs="4k", size="64m", fsync=32)
            figures[name].append(result["iops"])
    ratio = statistics.median(figures["many"]) / statistics.median(figures["few"])
    print(f"  4 KiB random writes, fsync every 32, /s: with {what} {spread(figures['many'])}, without "
          f"{spread(figures['few'])}, ratio {ratio:.2f}")


class Directory:
    def __init__(self, path):
        self.path = path


def btrfs(work, options):
    image, mounted = os.path.join(work, "btrfs.image"), os.path.join(work, "btrfs")
    os.mkdir(mounted)
    with open(image, "wb") as file:
        file.truncate(8 << 30)
    run("mkfs.btrfs", "-q", image)
    run("mount", "-o", "loop", image, mounted)
    try:
        many, few = (Directory(os.path.join(mounted, name)) for name in ("many", "few"))
        for side in (many, few):
            run("btrfs", "subvolume", "create", side.path)
            fill(os.path.join(side.path, "data"), 64)

        def snapshots(count):
            for i in range(count):
                with open(os.path.join(many.path, "data"), "r+b") as data:  # or there is nothing to keep
                    data.seek(random.randrange(64 * 256) * 4096)
                    data.write(b"x" * 4096)
                run("btrfs", "subvolume", "snapshot", "-r", many.path, os.path.join(mounted, f"snapshot{i}"))

        spent = timed(lambda: snapshots(options.snapshots))
        print(f"btrfs on a loop device: {options.snapshots:,} snapshots, {spent / options.snapshots:.1f} ms each")
        print(f"  list them (btrfs subvolume list), ms: "
              f"{spread([timed(lambda: run('btrfs', 'subvolume', 'list', mounted)) for _ in range(5)])}")
        print_writes("snapshots", many, few, options)
        first = [os.path.join(mounted, f"snapshot{i}") for i in range(min(20, options.snapshots))]
        spent = timed(lambda: [run("btrfs", "subvolume", "delete", "--commit-each", path) for path in first])
        print(f"  delete one, ms: {spent / len(first):.1f}")
    finally:
        run("umount", mounted)
        os.unlink(image)


def removal(daemon, options):
    size = 512
    big, other = Volume(daemon, "big", "retention=24h", "trash=0"), Volume(daemon, "other")
    fill(os.path.join(big.path, "data"), size)
    fill(os.path.join(other.path, "data"), 64)
    written = 0
    while written < options.history_gib << 30:
        fio(big.path, rw="randwrite", bs="64k", size=f"{size}m", io_size=2 << 30)
        written += 2 << 30
    big.umount()
    before = disk_bytes(daemon.root)
    stop, latencies, phase = threading.Event(), {"before": [], "during": []}, ["before"]

    def write_other():
        descriptor = os.open(os.path.join(other.path, "data"), os.O_WRONLY)
        while not stop.is_set():
            began = time.monotonic()
            os.pwrite(descriptor, b"y" * 4096, random.randrange(64 * 256) * 4096)
            latencies[phase[0]].append((time.monotonic() - began) * 1000)
            time.sleep(0.001)
        os.close(descriptor)

    writer = threading.Thread(target=write_other)
    writer.start()
    time.sleep(10)
    phase[0] = "during"
    began = time.monotonic()
    daemon("rm", "big")
    answered = time.monotonic() - began
    while disk_bytes(daemon.root) > before - (options.history_gib << 30) * 0.98:
        time.sleep(0.05)
        if time.monotonic() - began > 300:
            sys.exit("the space did not come back within five minutes")
    took = time.monotonic() - began
    stop.set()
    writer.join()
    print(f"removal of a volume with {before / (1 << 30):.1f} GiB: answered after {answered:.2f} s, space back after "
          f"{took:.2f} s")
    for name, values in latencies.items():
        values.sort()
        print(f"  another volume's 4 KiB writes {name} it, ms: median {statistics.median(values):.2f}, 99 % "
              f"{values[int(len(values) * 0.99)]:.2f}, worst {values[-1]:.1f} of {len(values)}")
    other.umount()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = os.path.dirname(os.path.abspath(__file__))
    parser.add_argument("--binary", default=os.path.join(here, "..", "build", "rewind"))
    parser.add_argument("--dir")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--marks", type=int, default=10_000)
    parser.add_argument("--snapshots", type=int, default=1_000)
    parser.add_argument("--history-gib", type=int, default=10)
    parts = {"marks": marks, "removal": removal}
    parser.add_argument("--only", nargs="*", choices=parts, default=list(parts))
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("long_history: run as root: it mounts volumes")
    with daemon_of_its_own(options.binary, options.dir) as daemon:
        for part in options.only:
            daemon.start()
            parts[part](daemon, options)
            daemon.stop()
            shutil.rmtree(daemon.root)


if __name__ == "__main__":
    main()
