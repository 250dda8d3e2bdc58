"""Loops over names, in C++ so that the loop itself costs little."""

import statistics

from tools import built, run

PASSES = 5  # of what takes some milliseconds


def loops(peer, settings):
    peer.settle()
    directory = peer.fresh("names")

    def loop(what):
        return float(run(built("name_loops"), what, directory, str(settings.files)))

    figures = {"create": loop("create")}
    for what in ("stat", "list", "open"):
        loop(what)  # what it asks for is cached from here on
        figures[what] = statistics.median(loop(what) for _ in range(PASSES))
    figures["unlink"] = loop("unlink")
    return figures
