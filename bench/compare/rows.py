"""What the table's lines are, and what is wanted of rewind in each."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Row:
    name: str
    title: str
    unit: str
    more_is_better: bool = True
    over: tuple = ()  # (peer, factor): rewind is to do at least so many times what the peer does
    at_least: float = None
    at_most: float = None

    def targets(self):
        """Of each: the peer (None: a figure), the figure wanted, whether it is the least."""
        for peer, factor in self.over:
            yield peer, factor, True
        if self.at_least is not None:
            yield None, self.at_least, True
        if self.at_most is not None:
            yield None, self.at_most, False


def rate(name, title, *over, unit="/s"):
    return Row(name, title, unit, over=over)


def limit(name, title, unit, at_most=None):
    return Row(name, title, unit, more_is_better=False, at_most=at_most)


def share(name, title, at_least):
    return Row(name, title, "×", at_least=at_least)


LOCAL_DATABASE = (("local", 0.8), ("btrfs", 3))
TREE = (("bindfs", 2.5), ("local", 0.25))

DATA = (
    rate("write-seq", "1 MiB sequential write, final fsync", ("local", 0.9), unit="MB/s"),
    rate("read-seq-cold", "1 MiB sequential read, cold", ("local", 0.8), unit="MB/s"),
    rate("read-seq-cached", "1 MiB sequential read, cached", ("local", 0.95), unit="MB/s"),
    rate("read-4k-cold", "4 KiB random read, cold", ("bindfs", 0.8), ("local", 0.5)),
    rate("read-4k-cached", "4 KiB random read, cached", ("local", 0.95)),
    rate("write-4k", "4 KiB random write, no fsync", ("null", 0.7), ("bindfs", 1.5), ("btrfs", 1)),
    rate("write-4k-fsync", "4 KiB random write, fsync each", ("local", 0.8), ("btrfs", 5)),
    rate("write-8k-jobs", "4 jobs, 8 KiB random write, fdatasync each", ("local", 1), ("btrfs", 10)),
)
CPU = limit("cpu-4k", "CPU of the serving process per 4 KiB write", "µs")
WRITERS = tuple(rate(f"writers-{n}", f"{n} writers, 8 KiB random write, fdatasync each") for n in (1, 2, 8))
NAMES = (
    rate("create", "create 4 KiB files in 100 directories", ("local", 0.25), ("bindfs", 2.5)),
    rate("stat", "stat, cached", ("local", 0.9)),
    rate("list", "readdir and stat, cached", ("local", 0.9)),
    rate("open", "open, read, close of cached 4 KiB files", ("local", 0.5)),
    rate("unlink", "unlink them", ("local", 0.5)),
)
PROGRAMS = (
    rate("untar", "untar a source tree", *TREE, unit="files/s"),
    rate("rm", "rm -r of it", *TREE, unit="files/s"),
    rate("git-checkout", "git checkout of it", *TREE, unit="files/s"),
    rate("git-status", "git status of it", *TREE, unit="files/s"),
)
PGBENCH = (rate("pgbench", "pgbench TPC-B, scale 10, 4 clients", *LOCAL_DATABASE, unit="tps"),)
SQLITE = (rate("sqlite-wal", "SQLite, a transaction each insert, WAL", *LOCAL_DATABASE),
          rate("sqlite-rollback", "SQLite, a transaction each insert, rollback journal", *LOCAL_DATABASE))
REDIS = (rate("redis-everysec", "Redis SET, AOF every second", *LOCAL_DATABASE),
         rate("redis-always", "Redis SET, AOF always", *LOCAL_DATABASE))


def past(writes):
    """Of a volume of 1 GiB with so many writes of history."""
    of = f"after {writes:,} writes"
    return (limit(f"snapshot-{writes}", f"snapshot volume: create, mount, first read; {of}", "ms", 20),
            limit(f"clone-{writes}", f"clone; {of}", "ms", 20),
            limit(f"rollback-{writes}", f"rollback; {of}", "ms", 50),
            share(f"snapshot-read-seq-{writes}", f"snapshot volume against live: 1 MiB read, cold; {of}", 0.8),
            share(f"snapshot-read-4k-{writes}", f"snapshot volume against live: 4 KiB random read, cold; {of}", 0.8))


BYTES = (limit("bytes-1m", "bytes written to the disk per application byte: 1 MiB writes", "×", 1.05),
         limit("bytes-4k", "bytes written to the disk per application byte: 4 KiB writes", "×", 1.15))
IDLE = (limit("memory-idle", "memory of the daemon, idle", "MiB", 40),
        limit("memory-mounts-used", "memory of the daemon, 100 mounted volumes, right after each was written to", "MiB"),
        limit("memory-mounts", "memory of the daemon, 100 mounted volumes, 20 s after they were last used", "MiB", 150),
        limit("mount", "mount of a volume, 1 000 volumes existing", "ms", 20))


def long(writes):
    of = f"after {writes:,} writes"
    return (share("long-read", f"live 4 KiB random read (O_DIRECT) against a fresh volume; {of}", 0.9),
            share("long-write", f"live 4 KiB random write against a fresh volume; {of}", 0.9),
            limit("long-view", f"a view at a random instant, first read included; {of}", "ms", 50),
            limit("long-memory", f"memory of the daemon; {of}", "MiB", 300),
            limit("long-index", f"index, bytes a write, compacted; {of}", "B", 60))
