"""The table, for a terminal and for bench/README.md; what is known of the machine."""

import os
import platform
import re
import statistics
import subprocess

import peers
import tools
from reasons import REASONS
from tools import number, spread

PACKAGES = ("fio", "bindfs", "fuse-overlayfs", "btrfs-progs", "libfuse3-3", "librocksdb7.8", "git", "tar", "postgresql-15",
            "redis-server", "libsqlite3-0")
BEGIN, END = "<!-- compare.sh writes from here -->", "<!-- to here -->"


def machine(work):
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        model = re.search(r"model name\s*:\s*(.*)", info.read())
    with open("/proc/meminfo", encoding="ascii") as info:
        memory = int(info.read().split()[1]) >> 20
    packages = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${Version}\n", *PACKAGES], text=True,
                              capture_output=True, check=False).stdout.split("\n")
    disk = subprocess.run(["findmnt", "-n", "-o", "FSTYPE,OPTIONS", "-T", work], text=True, capture_output=True,
                          check=False).stdout.split()
    return {"processor": model.group(1) if model else platform.machine(), "cores": os.cpu_count(), "memory_gib": memory,
            "kernel": platform.release(), "system": system(), "disk": tools.disk_of(work), "filesystem": " ".join(disk),
            "load_before": os.getloadavg()[0], "packages": [package for package in packages if package],
            "rewind": tools.run(tools.built("rewind"), "--version").strip()}


def system():
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return platform.system()


def describe(facts, settings):
    return (f"{facts['processor']}, {facts['cores']} cores, {facts['memory_gib']} GiB; {facts['system']}, kernel "
            f"{facts['kernel']}; {facts['filesystem'].split()[0]} on {facts['disk']}; {', '.join(facts['packages'])}; "
            f"{facts['rewind']}; {settings.rounds} rounds, {settings.seconds} s a measurement; load average before it "
            f"{facts['load_before']:.1f}.")


class Verdict:
    """What became of a row's targets."""

    def __init__(self, row, figures):
        own = statistics.median(figures["rewind"])
        self.parts, self.met = [], True
        for peer, wanted, at_least in row.targets():
            if peer is None:
                value, text = own, f"{'≥' if at_least else '≤'} {wanted:g}"
            elif figures.get(peer):
                value = own / statistics.median(figures[peer])
                text = f"{value:.2f} × {peer} (≥ {wanted:g})"
            else:
                continue
            met = value >= wanted if at_least else value <= wanted
            self.met = self.met and met
            self.parts.append(text if met else f"{text} ✗")

    @property
    def word(self):
        return "" if not self.parts else "met" if self.met else "missed"

    def __str__(self):
        return ", ".join(self.parts)


def terminal(rows, results):
    shown = [name for name in peers.NAMES if any(name in results.get(row.name, {}) for row in rows)]
    lines = [f"{'':<74}{'rewind [least–greatest]':>26}" + "".join(f"{name:>15}" for name in shown[1:]) + "  targets"]
    for row in rows:
        figures = results.get(row.name)
        if not figures or not figures.get("rewind"):
            continue
        cells = "".join(f"{number(statistics.median(figures[name])) if figures.get(name) else '':>15}" for name in shown[1:])
        verdict = Verdict(row, figures)
        lines.append(f"{row.title + ', ' + row.unit:<74}{spread(figures['rewind']):>26}{cells}  {verdict.word:<7}"
                     f"{verdict}")
    return "\n".join(lines)


def markdown(rows, results, text):
    """`text` says where and when."""
    shown = [name for name in peers.NAMES if name != "rewind" and any(name in results.get(row.name, {}) for row in rows)]
    lines = [text, "", "| | rewind | " + " | ".join(shown) + " | against the targets | met / missed because |",
             "|---|" + "---|" * (len(shown) + 3)]
    for row in rows:
        figures = results.get(row.name)
        if not figures or not figures.get("rewind"):
            continue
        cells = [number(statistics.median(figures[name])) if figures.get(name) else "" for name in shown]
        verdict = Verdict(row, figures)
        word = verdict.word
        if word == "missed":
            reason = REASONS.get(row.name)
            word = f"**missed**: {reason}" if reason else "**missed**"
        lines.append(f"| {row.title}, {row.unit} | {spread(figures['rewind'])} | " + " | ".join(cells) +
                     f" | {verdict} | {word} |")
    return "\n".join(lines)


def write_readme(path, table, begin=BEGIN, end=END):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    before, after = text.index(begin) + len(begin), text.index(end)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text[:before] + "\n\n" + table + "\n\n" + text[after:])
