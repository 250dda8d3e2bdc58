"""Why a target is missed, by row, as found on the machine whose figures bench/README.md shows: profiles, counts of requests, and
what `null` does, which stores nothing. To be changed with the figures."""

REQUESTS = "requests, not work: see “Names”"
KERNEL = "no request reaches the daemon: the kernel's page cache for FUSE, alike for all FUSE peers"
SYNCS = "each transaction is some writes and a sync, through FUSE: bindfs and fuse-overlayfs, which keep nothing, are as slow or slower"

REASONS = {
    "write-seq": "each byte is copied once more than locally and checksummed, and all of that comes one after the other: a program has one "
                 "write under way",
    "read-seq-cold": "the daemon's copy and checksums come after the disk's work, of 512 KiB at a time",
    "read-seq-cached": KERNEL,
    "read-4k-cold": "by a hair: an index and a checksum for each 4 KiB, which bindfs does not have",
    "read-4k-cached": KERNEL,
    "write-4k": "CPU of the daemon a write: see “A write”",
    "write-4k-fsync": "two requests and the index on top of one fdatasync: see “A sync”",
    "write-8k-jobs": "two requests for each, and two processors for all of it: see “A sync”",
    "create": REQUESTS,
    "unlink": REQUESTS,
    "untar": REQUESTS,
    "rm": REQUESTS,
    "git-checkout": REQUESTS,
    "git-status": "git's own work: bindfs, whose attributes are cached too, is as near to local",
    "stat": "no request reaches the daemon: what the kernel does for FUSE itself (`null` is alike)",
    "list": "as stat",
    "snapshot-read-4k-1000000": "the live volume has the places of its data in memory, the snapshot looks them up in the index",
    "pgbench": SYNCS,
    "sqlite-wal": SYNCS,
    "sqlite-rollback": SYNCS,
    "redis-everysec": "3 × btrfs cannot be had: Redis itself is the limit, and local is no faster than btrfs",
    "redis-always": SYNCS + "; many sets share a sync, on btrfs too",
}
