#!/usr/bin/env python3
"""How soon an operator has an answer: rewind log, history and diff of a long history and of a large tree.

    sudo bench/operator.py [--binary build/rewind] [--dir DIR] [--writes 5000000] [--tree 1000000] [--changes 1000]
                           [--only long tree]

  long      so many writes of 128 bytes through a mount, a fifth of them to one file and the others to a thousand: the time from
            the start of the command to the first line that it prints
  tree      so many files, and so many changes among them (contents, modes, names, new and removed files): the time from the
            start of rewind diff to its end

Each command runs several times: "cold" is the first one after the daemon was started anew and all page caches were dropped.
"processor" is what the command and the daemon used together, which is what can be compared if the machine has other work.
Everything is made under DIR (default: a new directory under /tmp) and removed at the end.
"""
import argparse
import contextlib
import os
import random
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "compare"))
from daemon import daemon_of_its_own  # noqa: E402
from tools import drop_caches, spread  # noqa: E402

BYTES = 128
FILES = 1000
FILE_BYTES = 64 << 10
PER_DIRECTORY = 1000
FIRST_LINE_MS, DIFF_MS = 200, 1000


def processor_ms(daemon):
    """That the daemon's threads have used so far."""
    used = 0
    for thread in os.listdir(f"/proc/{daemon.pid}/task"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
            with open(f"/proc/{daemon.pid}/task/{thread}/schedstat", encoding="ascii") as stat:
                used += int(stat.read().split()[0])
    return used / 1e6


class Command:
    """One run of the command line, and when its first line came and its end."""

    def __init__(self, daemon, *arguments, to_end=False):
        used = processor_ms(daemon) + 1000 * sum(os.times()[2:4])
        began = time.monotonic()
        with subprocess.Popen([daemon.binary, *arguments], env=daemon.environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            self.out = b""
            while b"\n" not in self.out:
                piece = os.read(process.stdout.fileno(), 65536)
                if not piece:
                    sys.exit(f"{' '.join(arguments)}: printed nothing; {process.stderr.read().decode()}")
                self.out += piece
            self.first_ms = (time.monotonic() - began) * 1000
            if to_end:
                self.out += process.stdout.read()
            else:
                process.kill()
        self.all_ms = (time.monotonic() - began) * 1000
        self.processor_ms = processor_ms(daemon) + 1000 * sum(os.times()[2:4]) - used


def measure(daemon, options, what, wanted_ms, *arguments, to_end=False, lines=None):
    daemon.stop()
    drop_caches()
    daemon.start()
    times, processor = [], []
    for _ in range(options.rounds + 1):
        run = Command(daemon, *arguments, to_end=to_end)
        printed = run.out.count(b"\n")
        if lines is not None and printed != lines:
            sys.exit(f"{' '.join(arguments)}: {printed} lines instead of {lines}")
        times.append(run.all_ms if to_end else run.first_ms)
        processor.append(run.processor_ms)
    wanted = f"   wanted < {wanted_ms}" if wanted_ms else ""
    print(f"  {what:<58} {spread(times[1:])}, cold {times[0]:.0f}; processor {spread(processor[1:])}{wanted}", flush=True)


def write_at_random(path, writes):
    """A fifth into one file, the rest into many; each write changes something."""
    hot = os.open(os.path.join(path, "hot"), os.O_RDWR | os.O_CREAT)
    files = []
    for number in range(FILES):
        directory = os.path.join(path, f"d{number % 10}")
        os.makedirs(directory, exist_ok=True)
        files.append(os.open(os.path.join(directory, f"f{number}"), os.O_RDWR | os.O_CREAT))
    for number in range(writes):
        descriptor = hot if number % 5 == 0 else files[random.randrange(FILES)]
        os.pwrite(descriptor, number.to_bytes(8, "big") * (BYTES // 8), random.randrange(FILE_BYTES // BYTES) * BYTES)
    for descriptor in (hot, *files):
        os.close(descriptor)


def long(daemon, options):
    daemon.create("long", retention="24h", keep="none")
    path = daemon.mount("long")
    began = time.monotonic()
    before = daemon("now", "long")
    write_at_random(path, options.writes // 2)
    middle = daemon("now", "long")
    write_at_random(path, options.writes - options.writes // 2)
    end = daemon("now", "long")
    print(f"{options.writes:,} writes of {BYTES} bytes in {time.monotonic() - began:.0f} s; time to the first line, ms")
    daemon.unmount("long")
    measure(daemon, options, "rewind version (the start of a command)", None, "version")
    for what, arguments in (
            ("rewind log", ("log", "long")),
            ("rewind log --since THE MIDDLE", ("log", "long", "--since", middle)),
            ("rewind log --since THE MIDDLE --path FILE", ("log", "long", "--since", middle, "--path", "/d7/f77")),
            ("rewind history of a file of many", ("history", "long", "/d7/f77")),
            ("rewind history of the file with a fifth of the writes", ("history", "long", "/hot")),
            ("rewind history --until THE MIDDLE of that", ("history", "long", "/hot", "--until", middle)),
            ("rewind diff from before the first write to now", ("diff", "long", before)),
            ("rewind diff from before the first to the last write", ("diff", "long", before, end)),
            ("rewind diff from the middle to now", ("diff", "long", middle))):
        measure(daemon, options, what, FIRST_LINE_MS, *arguments)
    measure(daemon, options, "rewind timeline, to its end", None, "timeline", "long", to_end=True)


def make_tree(path, files):
    made = []
    for number in range(files):
        directory = os.path.join(path, f"d{number // PER_DIRECTORY}")
        if number % PER_DIRECTORY == 0:
            os.mkdir(directory)
        made.append(os.path.join(directory, f"file-{number}"))
        os.mknod(made[-1], 0o100644)
    return made


def change(made, changes):
    """Of so many files, scattered, one change each."""
    for number, path in enumerate(random.sample(made, changes)):
        kind = number % 10
        if kind < 6:
            with open(path, "wb") as file:
                file.write(b"x" * 1000)
        elif kind == 6:
            os.chmod(path, 0o600)
        elif kind == 7:
            os.rename(path, path + "-renamed")
        elif kind == 8:
            os.unlink(path)
        else:
            os.mknod(path + "-new", 0o100644)


def tree(daemon, options):
    daemon.create("tree", retention="24h", keep="none")
    path = daemon.mount("tree")
    began = time.monotonic()
    made = make_tree(path, options.tree)
    took = time.monotonic() - began
    before = daemon("now", "tree")
    change(made, options.changes)
    after = daemon("now", "tree")
    daemon.unmount("tree")
    print(f"{options.tree:,} files, made in {took:.0f} s, and {options.changes:,} changes; time to the end, ms")
    measure(daemon, options, "rewind diff of the two instants", DIFF_MS, "diff", "tree", before, after, to_end=True,
            lines=options.changes)
    measure(daemon, options, "rewind diff of the first of them and now", DIFF_MS, "diff", "tree", before, to_end=True,
            lines=options.changes)
    measure(daemon, options, "rewind log --since the first of them, first line", FIRST_LINE_MS, "log", "tree", "--since", before)
    measure(daemon, options, "rewind find --deleted --since the first of them", None, "find", "tree", "--deleted", "--since",
            before, to_end=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = os.path.dirname(os.path.abspath(__file__))
    parser.add_argument("--binary", default=os.path.join(here, "..", "build", "rewind"))
    parser.add_argument("--dir")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--writes", type=int, default=5_000_000)
    parser.add_argument("--tree", type=int, default=1_000_000)
    parser.add_argument("--changes", type=int, default=1_000)
    parts = {"long": long, "tree": tree}
    parser.add_argument("--only", nargs="*", choices=parts, default=list(parts))
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("operator: run as root: it mounts volumes")
    for part in options.only:
        with daemon_of_its_own(options.binary, options.dir) as daemon:
            daemon.start()
            parts[part](daemon, options)
            daemon.stop()


if __name__ == "__main__":
    main()
