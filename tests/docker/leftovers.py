"""Ends what a test started and did not end: by process id and by mountpoint, only below a directory of its own."""

import ctypes
import os
import shutil
import signal
import subprocess
import time

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(how=signal.SIGTERM):
    """For subprocess's preexec_fn: the child gets `how` when this process ends, however it ends."""
    def set_it():
        _libc.prctl(_PR_SET_PDEATHSIG, how)
    return set_it


def adopt_orphans():
    """From now on, what this process's children leave behind is its own to wait for."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)


def wait_for_orphan(pid):
    """Until it has ended and is gone."""
    while os.path.exists(f"/proc/{pid}"):
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:  # not yet ours, or not at all
            pass
        time.sleep(0.02)


def exit_on_signals():
    """SIGTERM, SIGINT and SIGHUP become an exit, so that clean-up code runs."""
    def leave(number, _frame):
        raise SystemExit(128 + number)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, leave)


def _ancestors():
    found, pid = set(), os.getpid()
    while pid > 0:
        found.add(pid)
        try:
            with open(f"/proc/{pid}/stat") as stat:
                pid = int(stat.read().rpartition(")")[2].split()[1])
        except OSError:
            break
    return found


def processes_about(directory):
    """Processes with a path below `directory` on their command line, but this one and those that started it."""
    found, mine = [], _ancestors()
    needle = os.fsencode(directory)
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) in mine:
            continue
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as cmdline:
                if needle in cmdline.read():
                    found.append(int(entry))
        except OSError:
            pass
    return found


def mounts_below(directory):
    """Mountpoints at or below `directory`, the youngest first."""
    found = []
    with open("/proc/self/mountinfo") as mountinfo:
        for line in mountinfo:
            path = line.split()[4].encode().decode("unicode_escape")
            if path == directory or path.startswith(directory + "/"):
                found.append(path)
    return found[::-1]


def stop(process, seconds=30):
    """SIGTERM, then SIGKILL."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def remove(directory):
    """Removes `directory` with the processes and mounts that still use it."""
    directory = os.path.realpath(directory)
    for how in (signal.SIGTERM, signal.SIGKILL):
        for _ in range(20):
            pids = processes_about(directory)
            if not pids:
                break
            for pid in pids:
                try:
                    os.kill(pid, how)
                except ProcessLookupError:
                    pass
            time.sleep(0.1)
    for path in mounts_below(directory):
        subprocess.run(["umount", "-l", path], stderr=subprocess.DEVNULL)
    shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    import sys
    for argument in sys.argv[1:]:
        remove(argument)
