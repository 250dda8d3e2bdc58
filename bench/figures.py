#!/usr/bin/env python3
"""Prints rewind's figures next to those of a plain directory on the same disk.

    sudo bench/figures.py [--binary build/rewind] [--dir DIR] [--rounds 3] [--seconds 5] [--json FILE]

Rounds of the two sides are interleaved; what is printed is the median and, in brackets, the least and the greatest. Page
cache: reads marked "cold" follow drop_caches. Needs fio. Everything is made under DIR (default: a new directory under
/tmp) and removed at the end.
"""
import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time


def run(*command, **options):
    return subprocess.run(command, check=True, text=True, capture_output=True, **options).stdout


class Daemon:
    """An unmanaged daemon of its own, and its command line."""

    def __init__(self, binary, work):
        self.binary, self.work = binary, work
        self.socket = os.path.join(work, "socket")
        self.root = os.path.join(work, "root")
        self.log = open(os.path.join(work, "log"), "w", encoding="utf-8")
        self.environment = {**os.environ, "REWIND_SOCKET": self.socket}
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            [self.binary, "serve", "--root", self.root, "--socket", self.socket, "--mounts",
             os.path.join(self.work, "mounts")], stdout=self.log, stderr=self.log)
        for _ in range(300):
            if subprocess.run([self.binary, "ls"], env=self.environment, capture_output=True).returncode == 0:
                return
            time.sleep(0.05)
        sys.exit("figures: the daemon did not start; see " + self.log.name)

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(60)
            self.process = None

    def __call__(self, *arguments):
        return run(self.binary, *arguments, env=self.environment).strip()

    def memory_mib(self):
        supervisor = self.process.pid
        with open(f"/proc/{supervisor}/task/{supervisor}/children", encoding="ascii") as children:
            daemon = children.read().split()[0]
        with open(f"/proc/{daemon}/status", encoding="ascii") as status:
            for line in status:
                if line.startswith("VmRSS"):
                    return int(line.split()[1]) / 1024
        return 0


@contextlib.contextmanager
def daemon_of_its_own(binary, directory):
    """A daemon, not yet started, in a new directory under `directory`; in the end nothing is left of either."""
    work = tempfile.mkdtemp(prefix="rewind-bench-", dir=directory)
    daemon = Daemon(os.path.abspath(binary), work)
    try:
        yield daemon
    finally:
        daemon.stop()
        with open("/proc/self/mounts", encoding="utf-8") as mounts:
            left = [line.split()[1] for line in mounts if line.split()[1].startswith(work)]
        for path in reversed(left):
            subprocess.run(["umount", "-l", path], check=False)
        shutil.rmtree(work, ignore_errors=True)


def drop_caches():
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as control:
        control.write("3")


def fio(directory, seconds, **options):
    settings = {"name": "job", "filename": os.path.join(directory, "data"), "size": "256m", "ioengine": "psync",
                "randrepeat": 0, "output-format": "json"}
    if seconds:
        settings.update({"runtime": seconds, "time_based": None})
    settings.update(options)
    names = {key: key if key in ("end_fsync", "time_based", "io_size") else key.replace("_", "-") for key in settings}
    job = json.loads(run("fio", *[f"--{names[key]}" + ("" if value is None else f"={value}")
                                  for key, value in settings.items()]))["jobs"][0]
    return job["write"] if "write" in options["rw"] else job["read"]


def small_files(directory, count):
    base = os.path.join(directory, "small")
    os.mkdir(base)
    block = b"x" * 4096
    rates = {}
    for name, action in (("create", lambda path: write_file(path, block)), ("stat", os.stat), ("unlink", os.unlink)):
        began = time.monotonic()
        for i in range(count):
            action(os.path.join(base, f"{i % 100:02}-{i}"))
        rates[name] = count / (time.monotonic() - began)
    os.rmdir(base)
    return rates


def write_file(path, block):
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    os.write(descriptor, block)
    os.close(descriptor)


def one_side(directory, seconds):
    """All workloads once, in `directory`."""
    out = {}
    out["sequential write 1 MiB, final fsync, MB/s"] = fio(directory, 0, rw="write", bs="1m", end_fsync=1)["bw_bytes"] / 1e6
    drop_caches()
    out["sequential read 1 MiB, cold, MB/s"] = fio(directory, 0, rw="read", bs="1m")["bw_bytes"] / 1e6
    drop_caches()
    out["random read 4 KiB, cold, /s"] = fio(directory, seconds, rw="randread", bs="4k")["iops"]
    out["random write 4 KiB, /s"] = fio(directory, seconds, rw="randwrite", bs="4k")["iops"]
    out["random write 4 KiB, fsync each, /s"] = fio(directory, seconds, rw="randwrite", bs="4k", fsync=1)["iops"]
    for name, rate in small_files(directory, 5000).items():
        out[f"{name} 4 KiB files, /s"] = rate
    os.unlink(os.path.join(directory, "data"))
    return out


def compare(daemon, work, rounds, seconds):
    results = {"rewind": [], "local": []}
    for number in range(rounds):
        local = os.path.join(work, f"local{number}")
        mounted = os.path.join(work, f"mounted{number}")
        os.mkdir(local)
        os.mkdir(mounted)
        daemon("create", f"bench{number}")
        daemon("mount", f"bench{number}", mounted)
        results["local"].append(one_side(local, seconds))
        results["rewind"].append(one_side(mounted, seconds))
        daemon("umount", mounted)
        daemon("rm", f"bench{number}")
        shutil.rmtree(local)
    return results


def print_comparison(results):
    print(f"{'':<44}{'rewind':>26}{'local':>26}{'ratio':>8}")
    for name in results["local"][0]:
        cells, medians = [], []
        for side in ("rewind", "local"):
            values = [r[name] for r in results[side]]
            medians.append(statistics.median(values))
            cells.append(f"{medians[-1]:,.0f} [{min(values):,.0f}–{max(values):,.0f}]")
        print(f"{name:<44}{cells[0]:>26}{cells[1]:>26}{medians[0] / medians[1]:>8.2f}")


def timed(action):
    began = time.monotonic()
    action()
    return (time.monotonic() - began) * 1000


def index_bytes(daemon):
    path = os.path.join(daemon.root, "index")
    return sum(os.path.getsize(os.path.join(path, name)) for name in os.listdir(path) if name.endswith(".sst"))


def history(daemon, work, writes):
    """A volume with so many 4 KiB writes of history: what snapshots, clones and rollbacks of it cost."""
    name, mounted = f"history{writes}", os.path.join(work, f"history{writes}")
    os.mkdir(mounted)
    view = mounted + "-view"
    os.mkdir(view)
    daemon("create", name)
    daemon("mount", name, mounted)
    path = os.path.join(mounted, "data")
    with open(path, "wb") as data:
        for _ in range(256):
            data.write(b"\0" * (1 << 20))
    middle_of = max(1, writes // 2)
    fio(mounted, 0, rw="randwrite", bs="4k", io_size=middle_of * 4096)
    middle = daemon("now", name)
    fio(mounted, 0, rw="randwrite", bs="4k", io_size=(writes - middle_of) * 4096)
    out = {"memory of the daemon, MiB": daemon.memory_mib()}
    rounds = {}
    for number in range(5):
        snap = f"{name}-snap{number}"
        spent = timed(lambda: daemon("create", snap, "-o", f"snapshot-of={name}", "-o", f"at={middle}"))
        spent += timed(lambda: daemon("mount", snap, view))
        spent += timed(lambda: read_some(os.path.join(view, "data")))
        rounds.setdefault("snapshot volume: create, mount, first read, ms", []).append(spent)
        daemon("umount", view)
        clone = f"{name}-clone{number}"
        rounds.setdefault("clone: create, ms", []).append(
            timed(lambda: daemon("create", clone, "-o", f"clone-of={name}", "-o", f"at={middle}")))
    daemon("umount", mounted)
    for number in range(5):
        rounds.setdefault("rollback, ms", []).append(
            timed(lambda: daemon("create", f"{name}-before{number}", "-o", f"rollback={name}", "-o", f"at={middle}")))
    rounds["(the command alone: rewind ls), ms"] = [timed(lambda: daemon("ls")) for _ in range(5)]
    out.update({key: statistics.median(values) for key, values in rounds.items()})
    return out


def read_some(path):
    with open(path, "rb") as data:
        data.seek(128 << 20)
        data.read(4096)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = os.path.dirname(os.path.abspath(__file__))
    parser.add_argument("--binary", default=os.path.join(here, "..", "build", "rewind"))
    parser.add_argument("--dir")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--writes", type=int, nargs="*", default=[1000, 1000000])
    parser.add_argument("--json")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("figures: run as root: it mounts volumes and drops caches")
    with daemon_of_its_own(arguments.binary, arguments.dir) as daemon:
        daemon.start()
        everything = {"comparison": compare(daemon, daemon.work, arguments.rounds, arguments.seconds), "history": {}}
        print_comparison(everything["comparison"])
        for writes in arguments.writes:
            daemon.stop()
            before = index_bytes(daemon)
            daemon.start()
            figures = history(daemon, daemon.work, writes)
            daemon.stop()
            figures["index, bytes per write"] = (index_bytes(daemon) - before) / writes
            daemon.start()
            everything["history"][writes] = figures
            print(f"\nafter {writes:,} writes of 4 KiB over 256 MiB:")
            for name, value in figures.items():
                print(f"  {name:<52}{value:>12,.1f}")
        if arguments.json:
            with open(arguments.json, "w", encoding="utf-8") as out:
                json.dump(everything, out, indent=1)


if __name__ == "__main__":
    main()
