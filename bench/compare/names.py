"""Loops over names, in C++ so that the loop itself costs little."""

from tools import built, run


def loops(peer, settings):
    peer.settle()
    directory = peer.fresh("names")

    def loop(what):
        return float(run(built("name_loops"), what, directory, str(settings.files)))

    figures = {"create": loop("create")}
    for what in ("stat", "list", "open"):
        loop(what)  # what it asks for is cached from here on
        figures[what] = loop(what)
    figures["unlink"] = loop("unlink")
    return figures
