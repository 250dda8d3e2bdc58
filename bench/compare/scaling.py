"""What grows with history and with writers: costs after 10^3 to 10^7 writes, rates of 1 to 8 writers.

    sudo bench/compare.sh --scaling [--writes 10000000] [--seconds 3] [--rounds 2] [--dir DIR] [--json FILE] [--svg FILE] [--readme]

Everything is in memory that would be: it is the daemon's work that is to be seen, not the disk's.
"""

import argparse
import json
import os
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time

import data
import peers
import plot
import report
from daemon import daemon_of_its_own
from tools import HERE, MIB, built, fill, fio, need, number, timed, unmount_below

BEGIN, END = "<!-- compare.sh --scaling writes from here -->", "<!-- scaling to here -->"
KEEP_ALL = {"retention": "24h", "keep": "none"}
BLOCK, SIZE_MIB = 1024, 32  # so that 10^7 writes fit onto a disk and into minutes
BLOCKS = SIZE_MIB * MIB // BLOCK
AT_ONCE = 20_000  # operations of one measurement, at most
VIEWS = 25
COUNTS = (1, 2, 4, 8)
SYNCED = "8 KiB random write, fdatasync each"
UNSYNCED = "4 KiB random write, no fsync"


def write(path, writes, **options):
    return cost(fio(path, rw="randwrite", bs=str(BLOCK), size=f"{SIZE_MIB}m", io_size=writes * BLOCK, **options))


def read(path, reads):
    return cost(fio(path, rw="randread", bs=str(BLOCK), size=f"{SIZE_MIB}m", io_size=reads * BLOCK, direct=1, norandommap=None))


def cost(job):
    """Of one operation, µs: median and mean."""
    return job["clat_ns"]["percentile"]["50.000000"] / 1000, job["lat_ns"]["mean"] / 1000


def read_block(path):
    with open(path, "rb", buffering=0) as file:
        file.seek(random.randrange(BLOCKS) * BLOCK)
        file.read(BLOCK)


class History:
    """One volume that gets older. Beside it, at each stop, one whose contents lie in as many pieces and that has nothing else
    behind it: what differs is due to history."""

    def __init__(self, daemon, arguments):
        self.daemon, self.rounds = daemon, arguments.rounds
        self.stops = [round(10 ** (half / 2)) for half in range(6, 15) if 10 ** (half / 2) <= arguments.writes]
        self.points = []

    def volume(self, name):
        self.daemon.create(name, **KEEP_ALL)
        path = self.daemon.mount(name)
        fill(os.path.join(path, "data"), SIZE_MIB)
        return path

    def run(self):
        self.daemon.start()
        old, written, began = self.volume("old"), 0, time.time_ns()
        for stop in self.stops:
            write(old, stop - written, norandommap=None)
            name = f"young{stop}"
            young = self.volume(name)
            write(young, min(stop, BLOCKS))
            point = self.measure(old, young, stop, began)
            written = stop + point.pop("written")
            self.daemon.unmount(name)
            self.points.append(point)
        return self.points

    def measure(self, old, young, stop, began):
        ended = time.time_ns()
        count = max(500, min(stop // 10, AT_ONCE))  # a short history stays one
        point = {"history": stop, "view_ms": []}
        for turn in range(self.rounds):
            for name, one in (("read", lambda path: read(path, AT_ONCE)),
                              ("write", lambda path: write(path, count, norandommap=None))):
                costs = {path: one(path) for path in ((old, young) if turn % 2 else (young, old))}
                point.setdefault(f"{name}_us", []).append(costs[old][0])
                point.setdefault(f"{name}_mean_us", []).append(costs[old][1])
                point.setdefault(f"{name}_ratio", []).append(costs[old][0] / costs[young][0])
        point["written"] = count * self.rounds
        for _ in range(VIEWS):
            at = random.randrange(began, ended)
            path = os.path.join(old, ".rewind", f"@{at // 10**9}.{at % 10**9:09}", "data")
            point["view_ms"].append(timed(lambda path=path: read_block(path)))
        point["memory_mib"] = self.daemon.memory_mib()
        print(f"  after {stop:>10,} writes: write {statistics.median(point['write_us']):.1f} µs, read "
              f"{statistics.median(point['read_us']):.1f} µs, view {statistics.median(point['view_ms']):.2f} ms, memory "
              f"{point['memory_mib']:.0f} MiB", flush=True)
        return point


class Quick:
    """What data.writers is told."""

    def __init__(self, seconds):
        self.seconds = seconds


def unsynced(peer, seconds, count):
    options = {"name": "jobs", "numjobs": count, "size": f"{data.DATA_MIB // 8}m", "bs": "4k"}
    fio(peer.path, rw="write", **options)
    peer.settle()
    return fio(peer.path, seconds, rw="randwrite", **options)["iops"]


def writers(work, arguments):
    """Title -> peer -> number of writers -> rates."""
    rates = {}
    kinds = ((SYNCED, lambda peer, count: data.writers(peer, Quick(arguments.seconds), count), (peers.Rewind, peers.Local)),
             (UNSYNCED, lambda peer, count: unsynced(peer, arguments.seconds, count), (peers.Rewind, peers.Null)))
    for title, measure, kinds_of_peer in kinds:
        for turn in range(arguments.rounds):
            up = [kind(work) for kind in kinds_of_peer]
            try:
                for peer in up:
                    peer.start()
                for count in COUNTS:
                    for peer in up if turn % 2 else reversed(up):
                        rate = measure(peer, count)
                        rates.setdefault(title, {}).setdefault(peer.name, {}).setdefault(count, []).append(rate)
                        print(f"  {peer.name:<8}{title}, {count} writers: {rate:,.0f}/s", flush=True)
            finally:
                for peer in up:
                    peer.stop()
                    peers.remove(peer)
    return rates


def table(facts, arguments, points, rates):
    lines = [f"{facts['processor']}, {facts['cores']} cores, kernel {facts['kernel']}; {facts['rewind']}; load average before it "
             f"{facts['load_before']:.1f}.", "",
             f"| writes of {BLOCK} B so far | a write, µs: median (mean) | × without them | a read, µs: median (mean) | × "
             "without them | a view and its first read, ms: median [range] | memory of the daemon, MiB |", "|---|---|---|---|---|---|---|"]
    for point in points:
        middle = {name: statistics.median(values) for name, values in point.items() if isinstance(values, list)}
        lines.append(f"| {point['history']:,} | {middle['write_us']:.1f} ({middle['write_mean_us']:.1f}) | "
                     f"{middle['write_ratio']:.2f} | {middle['read_us']:.1f} ({middle['read_mean_us']:.1f}) | {middle['read_ratio']:.2f} | {number(middle['view_ms'])} [{number(min(point['view_ms']))}–"
                     f"{number(max(point['view_ms']))}] | {point['memory_mib']:.0f} |")
    lines += ["", "| writes a second, by writers | " + " | ".join(map(str, COUNTS)) + " |", "|---|" + "---|" * len(COUNTS)]
    for title, of_peers in rates.items():
        for peer, of_counts in of_peers.items():
            lines.append(f"| {title}: {peer} | " +
                         " | ".join(number(statistics.median(of_counts[count])) for count in COUNTS) + " |")
    return "\n".join(lines)


def draw(path, points, rates):
    drawing = plot.Drawing()
    labels = [f"{point['history']:,}" for point in points]

    def medians(key):
        return [statistics.median(point[key]) for point in points]

    plot.curve(drawing, f"a write and a live read of {BLOCK} bytes, µs, by writes of history", labels,
               [("write, median", medians("write_us")), ("write, mean", medians("write_mean_us")),
                ("read (O_DIRECT), median", medians("read_us")), ("read, mean", medians("read_mean_us"))])
    plot.curve(drawing, "the same as a multiple of what it is without the history", labels,
               [("write", medians("write_ratio")), ("read", medians("read_ratio"))])
    plot.curve(drawing, "a view at a random instant with its first read, ms, by writes of history", labels,
               [("view", medians("view_ms"))])
    for title, of_peers in rates.items():
        plot.curve(drawing, f"{title}, per second, by number of writers", list(map(str, COUNTS)),
                   [(peer, [statistics.median(of_counts[count]) for count in COUNTS]) for peer, of_counts in of_peers.items()])
    with open(path, "w", encoding="utf-8") as out:
        out.write(str(drawing))


def arguments_of_command():
    parser = argparse.ArgumentParser(prog="compare.sh --scaling", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--writes", type=int, default=10**7)
    parser.add_argument("--seconds", type=int, default=3, help="of a measurement of writers")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--dir", help="a directory on the disk to measure (default: a new one below /var/tmp)")
    parser.add_argument("--json", metavar="FILE", default="scaling.json")
    parser.add_argument("--svg", metavar="FILE", default="scaling.svg")
    parser.add_argument("--readme", action="store_true", help="put table and plot into bench/")
    return parser.parse_args()


def main():
    arguments = arguments_of_command()
    if os.geteuid() != 0:
        sys.exit("compare: run as root: it mounts volumes and drops caches")
    need("fio")
    work = tempfile.mkdtemp(prefix="rewind-scaling-", dir=arguments.dir or "/var/tmp")
    os.chmod(work, 0o711)
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, lambda signal_number, frame: sys.exit(128 + signal_number))
    facts = report.machine(work)
    try:
        rates = writers(work, arguments)
        with daemon_of_its_own(built("rewind"), work) as daemon:
            points = History(daemon, arguments).run()
    finally:
        unmount_below(work)
        shutil.rmtree(work, ignore_errors=True)
    with open(arguments.json, "w", encoding="utf-8") as out:
        json.dump({"machine": facts, "history": points, "writers": rates}, out, indent=1)
    draw(arguments.svg, points, rates)
    text = table(facts, arguments, points, rates)
    print("\n" + text)
    if arguments.readme:
        bench = os.path.dirname(HERE)
        report.write_readme(os.path.join(bench, "README.md"), text, BEGIN, END)
        draw(os.path.join(bench, "scaling.svg"), points, rates)


if __name__ == "__main__":
    main()
