"""Compares rewind with what else could hold a volume, on one disk, in interleaved rounds.

    sudo bench/compare.sh [--quick] [--only PATTERN] [--rounds 3] [--seconds 4] [--dir DIR] [--long [WRITES]]
                          [--json FILE] [--svg FILE] [--readme]

Prints one table: medians and, of rewind, the least and the greatest. `--only` takes rows whose name or title matches.
"""

import argparse
import json
import os
import re
import shutil
import signal
import sqlite3
import sys
import tempfile
import time

import data
import history
import names
import peers
import plot
import programs
import report
import rows
from tools import HERE, need, unmount_below

WITHOUT_NULL = tuple(name for name in peers.NAMES if not name.startswith("null"))
NO_SNAPSHOTS = tuple(name for name in peers.NAMES if name != "btrfs+snap")
READERS = tuple(name for name in WITHOUT_NULL if name != "btrfs+snap")

# What is run on each peer, in turns: the rows it makes, the peers, the programs that it needs.
WORKLOADS = (
    (data.write_sequential, rows.DATA[:1], peers.NAMES, ("fio",)),
    (data.read_sequential_cold, rows.DATA[1:2], READERS, ("fio",)),
    (data.read_random_cold, rows.DATA[3:4], READERS, ("fio",)),
    (data.read_cached, (rows.DATA[2], rows.DATA[4]), READERS, ("fio",)),
    (data.write_random, (rows.DATA[5], rows.CPU), peers.NAMES, ("fio",)),
    (data.write_random_fsync, rows.DATA[6:7], peers.NAMES, ("fio",)),
    (data.write_jobs, rows.DATA[7:], peers.NAMES, ("fio",)),
    (data.scale_writers, rows.WRITERS, READERS, ("fio",)),
    (names.loops, rows.NAMES, NO_SNAPSHOTS, ()),
    (programs.tree, rows.PROGRAMS, READERS, ("git", "tar")),
    (programs.pgbench, rows.PGBENCH, WITHOUT_NULL, ("pgbench",)),
    (programs.sqlite, rows.SQLITE, WITHOUT_NULL, ()),
    (programs.redis, rows.REDIS, WITHOUT_NULL, ("redis-server", "redis-benchmark")),
)


HISTORIES = (1_000, 1_000_000)
LONG = 5_000_000
ALL_ROWS = (*rows.DATA, rows.CPU, *rows.WRITERS, *rows.NAMES, *rows.PROGRAMS, *rows.PGBENCH, *rows.SQLITE, *rows.REDIS,
            *(row for writes in HISTORIES for row in rows.past(writes)), *rows.BYTES, *rows.IDLE, *rows.long(LONG))


class Settings:
    """What workloads are told, and what is made once for all of them."""

    def __init__(self, arguments, work):
        self.work = work
        self.quick = arguments.quick
        self.rounds = arguments.rounds or (1 if self.quick else 3)
        self.seconds = arguments.seconds or (2 if self.quick else 4)
        self.files = 5_000 if self.quick else 20_000
        self.repeats = 3 if self.quick else 7
        self.made = {}

    def once(self, make, *arguments):
        if make not in self.made:
            self.made[make] = make(self.work, *arguments)
        return self.made[make]

    def tree(self):
        return self.once(programs.Tree, self.files)

    def postgres(self):
        return self.once(programs.Postgres)


class Run:
    def __init__(self, arguments, settings):
        self.settings = settings
        self.results = {}  # row -> peer -> values
        self.curves = []
        self.failed = False  # what rewind is to do
        pattern = re.compile(arguments.only or "", re.I)

        def chosen(some):
            return tuple(row for row in some if pattern.search(row.name) or pattern.search(row.title))

        wanted = arguments.peers.split(",") if arguments.peers else peers.NAMES
        self.workloads = [(run, chosen(some), [name for name in who if name in wanted], programs_needed)
                          for run, some, who, programs_needed in WORKLOADS if chosen(some)]
        histories = (1_000, 100_000) if settings.quick else HISTORIES
        alone = [(past.run, past.rows) for past in map(history.Past, histories)]
        alone += [(history.amplification, rows.BYTES), (history.idle, rows.IDLE)]
        if arguments.long:
            last = history.Long(arguments.long)
            self.curves = last.curves
            alone.append((last.run, last.rows))
        self.alone = [(run, chosen(some)) for run, some in alone if chosen(some)]
        measured = [row for _, some, *_ in self.workloads for row in some] + [row for _, some in self.alone for row in some]
        self.rows = [row for row in ALL_ROWS if row in measured] + [row for row in measured if row not in ALL_ROWS]

    def need(self):
        need(*{name for *_, some in self.workloads for name in some},
             *{name for peer in peers.ALL for name in peer.programs
               if any(peer.name in who for _, _, who, _ in self.workloads)}, *(["fio"] if self.alone else []))

    def add(self, some, peer, figures):
        for row in some:
            if row.name in figures:
                values = figures[row.name]
                self.results.setdefault(row.name, {}).setdefault(peer, []).extend(
                    values if isinstance(values, list) else [values])

    def round(self, number):
        """Each workload goes over all peers before the next one; who begins changes."""
        taking_part = {name for *_, who, _ in self.workloads for name in who}
        up = {}
        try:
            for peer in peers.ALL:
                if peer.name in taking_part:
                    starting = peer(self.settings.work)
                    starting.start()
                    up[peer.name] = starting
            for run, some, who, _ in self.workloads:
                for place in range(len(who)):
                    name = who[(place + number) % len(who)]
                    self.add(some, name, self.one(run, up[name]))
        finally:
            for peer in up.values():
                peer.stop()
                peers.remove(peer)

    def one(self, run, peer):
        began = time.monotonic()
        try:
            figures = run(peer, self.settings)
        except (RuntimeError, OSError, sqlite3.Error) as error:  # not all can do everything
            print(f"  {peer.name:<15}{run.__name__} failed: {error}", flush=True)
            self.failed = self.failed or peer.name == "rewind"
            return {}
        text = ", ".join(f"{name} {value:,.1f}" for name, value in figures.items())
        print(f"  {peer.name:<15}{text}  ({time.monotonic() - began:.0f} s)", flush=True)
        return figures

    def take_rest(self, path):
        with open(path, encoding="utf-8") as file:
            earlier = json.load(file)
        self.results = {**earlier["figures"], **self.results}
        self.curves = self.curves or earlier["history"]
        self.rows = [row for row in ALL_ROWS if row.name in self.results]

    def all(self):
        if self.workloads:
            for number in range(self.settings.rounds):
                print(f"round {number + 1} of {self.settings.rounds}", flush=True)
                self.round(number)
        for run, some in self.alone:
            print("history: " + ", ".join(row.name for row in some), flush=True)
            try:
                self.add(some, "rewind", run(self.settings))
            except (RuntimeError, OSError) as error:
                print(f"  failed: {error}", flush=True)
                self.failed = True


def arguments_of_command():
    parser = argparse.ArgumentParser(prog="compare.sh", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--only", metavar="PATTERN", help="a regular expression")
    parser.add_argument("--peers", help="comma-separated; of " + ", ".join(peers.NAMES))
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=int, help="of a measurement that takes as long as it is told to")
    parser.add_argument("--long", type=int, nargs="?", const=LONG, metavar="WRITES",
                        help="also what so many writes of history (default: 5 million) cost the present")
    parser.add_argument("--dir", help="a directory on the disk to measure (default: a new one below /var/tmp)")
    parser.add_argument("--json", metavar="FILE", default="compare.json")
    parser.add_argument("--svg", metavar="FILE", default="compare.svg")
    parser.add_argument("--rest", metavar="FILE", help="the JSON of an earlier run: rows that this one does not measure")
    parser.add_argument("--readme", action="store_true", help="put table and plot into bench/")
    return parser.parse_args()


def save(run, facts, arguments):
    text = report.describe(facts, run.settings)
    print("\n" + text + "\n\n" + report.terminal(run.rows, run.results))
    with open(arguments.json, "w", encoding="utf-8") as out:
        json.dump({"machine": facts, "rounds": run.settings.rounds, "seconds": run.settings.seconds, "figures": run.results,
                   "history": run.curves}, out, indent=1)
    plot.write(arguments.svg, run.rows, run.results, run.curves)
    if arguments.readme:
        bench = os.path.dirname(HERE)
        report.write_readme(os.path.join(bench, "README.md"), report.markdown(run.rows, run.results, text))
        plot.write(os.path.join(bench, "compare.svg"), run.rows, run.results, run.curves)


def main():
    arguments = arguments_of_command()
    if os.geteuid() != 0:
        sys.exit("compare: run as root: it mounts volumes and drops caches")
    work = tempfile.mkdtemp(prefix="rewind-compare-", dir=arguments.dir or "/var/tmp")
    os.chmod(work, 0o711)
    run = Run(arguments, Settings(arguments, work))
    if not run.rows:
        sys.exit(f"compare: no row matches {arguments.only}")
    run.need()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: sys.exit(128 + number))  # what was mounted is unmounted
    facts = report.machine(work)
    try:
        run.all()
        if arguments.rest:
            run.take_rest(arguments.rest)
        save(run, facts, arguments)
    finally:
        unmount_below(work)
        shutil.rmtree(work, ignore_errors=True)
    return 1 if run.failed else 0


if __name__ == "__main__":
    sys.exit(main())
