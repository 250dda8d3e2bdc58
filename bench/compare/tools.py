"""Commands, time, caches and numbers."""

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.environ.get("BUILD_DIR", os.path.join(HERE, "..", "..", "build"))
MIB = 1 << 20

# Program -> Debian's package.
PACKAGES = {"fio": "fio", "bindfs": "bindfs", "fuse-overlayfs": "fuse-overlayfs", "mkfs.btrfs": "btrfs-progs",
            "git": "git", "tar": "tar", "redis-server": "redis-server", "redis-benchmark": "redis-tools",
            "ldb": "rocksdb-tools", "pgbench": "postgresql"}


def run(*command, **options):
    """What the command printed; it has to succeed."""
    result = subprocess.run(command, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            check=False, **options)
    if result.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {(result.stderr or result.stdout).strip()[-2000:]}")
    return result.stdout


def need(*programs):
    missing = sorted({PACKAGES[name] for name in programs if shutil.which(name, path=search_path()) is None})
    if missing:
        sys.exit(f"compare: install what is missing: apt-get install {' '.join(missing)}")


def search_path():
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def built(target):
    path = os.path.abspath(os.path.join(BUILD, target))
    if not os.path.exists(path):
        sys.exit(f"compare: {path} is missing: run scripts/build.sh")
    return path


def timed(action):
    """Milliseconds."""
    began = time.monotonic()
    action()
    return (time.monotonic() - began) * 1000


def drop_caches():
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as control:
        control.write("3")


def fio(directory, seconds=0, **options):
    """One fio job, or several alike as one: the half of its report that was asked for. Without `seconds` it does all of its
    bytes once."""
    settings = {"name": "job", "size": "256m", "ioengine": "psync", "randrepeat": 0, "output-format": "json",
                "directory": directory, "group_reporting": None, "fallocate": "none"}
    if options.get("numjobs", 1) == 1:
        settings["filename"] = "data"
    if seconds:
        settings.update({"runtime": seconds, "time_based": None})
    settings.update(options)
    report = run("fio", *[f"--{key}" + ("" if value is None else f"={value}") for key, value in settings.items()])
    job = json.loads(report[report.index("{"):])["jobs"][0]
    return job["write"] if "write" in options["rw"] else job["read"]


def fill(path, mib):
    """A file of random bytes, on the disk."""
    block = os.urandom(MIB)
    with open(path, "wb") as data:
        for _ in range(mib):
            data.write(block)
        os.fsync(data.fileno())


def read_all(path):
    with open(path, "rb", buffering=0) as data:
        while data.read(MIB):
            pass


def ismount(path):
    with open("/proc/self/mounts", encoding="utf-8") as mounts:
        return any(line.split()[1] == path for line in mounts)


def wait_for_mount(path, process):
    deadline = time.monotonic() + 20
    while not ismount(path):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.args[0]} does not mount {path}")
        time.sleep(0.02)


def unmount(path):
    for _ in range(50):
        if subprocess.run(["umount", path], capture_output=True, check=False).returncode == 0:
            return
        time.sleep(0.1)
    run("umount", "-l", path)


def unmount_below(directory):
    """Whatever an interrupted run has left."""
    with open("/proc/self/mounts", encoding="utf-8") as mounts:
        left = [line.split()[1] for line in mounts if line.split()[1].startswith(directory)]
    for path in reversed(left):
        subprocess.run(["umount", "-l", path], check=False)


def cpu_seconds(pid):
    """User and system time of a process so far."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1)) / 1024


def disk_of(path):
    """The name in /proc/diskstats of the disk below a directory."""
    number = os.stat(path).st_dev
    return os.path.basename(os.path.realpath(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}"))


def disk_written(disk):
    """Bytes, by all of the machine."""
    with open("/proc/diskstats", encoding="ascii") as stats:
        for line in stats:
            fields = line.split()
            if fields[2] == disk:
                return int(fields[9]) * 512
    raise RuntimeError(f"no disk {disk}")


def spread(values):
    """Median, least and greatest, for people."""
    return f"{number(statistics.median(values))} [{number(min(values))}–{number(max(values))}]"


def number(value):
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
