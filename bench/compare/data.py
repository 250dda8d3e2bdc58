"""fio's rows, and what they cost the serving process."""

import os

from peers import DATA_MIB
from tools import drop_caches, fio, read_all

COLD_READS_MIB = 64  # of random reads: no block twice


def write_sequential(peer, settings):
    """A new file, as restores and copies make."""
    path = os.path.join(peer.path, "data")
    if os.path.exists(path):
        os.unlink(path)
    peer.settle()
    return {"write-seq": fio(peer.path, rw="write", bs="1m", size=f"{2 * DATA_MIB}m", end_fsync=1)["bw_bytes"] / 1e6}


def read_sequential_cold(peer, settings):
    peer.data()
    peer.cold()
    return {"read-seq-cold": fio(peer.path, rw="read", bs="1m")["bw_bytes"] / 1e6}


def read_random_cold(peer, settings):
    peer.data()
    peer.cold()
    return {"read-4k-cold": fio(peer.path, rw="randread", bs="4k", io_size=f"{COLD_READS_MIB}m")["iops"]}


def read_cached(peer, settings):
    path = peer.data()
    peer.settle()
    read_all(path)
    read_all(path)
    return {"read-seq-cached": fio(peer.path, settings.seconds, rw="read", bs="1m", invalidate=0)["bw_bytes"] / 1e6,
            "read-4k-cached": fio(peer.path, settings.seconds, rw="randread", bs="4k", invalidate=0,
                                  norandommap=None)["iops"]}


def write_random(peer, settings):
    peer.data()
    peer.settle()
    before = peer.cpu_seconds()
    job = fio(peer.path, settings.seconds, rw="randwrite", bs="4k")
    figures = {"write-4k": job["iops"]}
    if before is not None:
        figures["cpu-4k"] = (peer.cpu_seconds() - before) / job["total_ios"] * 1e6
    return figures


def write_random_fsync(peer, settings):
    peer.data()
    peer.settle()
    return {"write-4k-fsync": fio(peer.path, settings.seconds, rw="randwrite", bs="4k", fsync=1)["iops"]}


def write_jobs(peer, settings):
    return {"write-8k-jobs": writers(peer, settings, 4)}


def scale_writers(peer, settings):
    return {f"writers-{count}": writers(peer, settings, count) for count in (1, 2, 8)}


def writers(peer, settings, count):
    # The files are laid out first: fio's own laying out is not measured.
    options = {"name": "jobs", "numjobs": count, "size": f"{DATA_MIB // 8}m", "bs": "8k"}
    fio(peer.path, rw="write", end_fsync=1, **options)
    peer.settle()
    drop_caches()
    return fio(peer.path, settings.seconds, rw="randwrite", fdatasync=1, **options)["iops"]
