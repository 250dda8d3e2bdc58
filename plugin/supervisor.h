// The process that outlives the daemon: it holds what the mounts live by, and starts the daemon
// again when it ends.
//
// It knows nothing of volumes, reads no data and asks no file system that could be a volume's, so
// that there is next to nothing in it that could fail.
#pragma once

#include "plugin/settings.h"

namespace rw {

// Runs the daemon (this program again, as a child) until SIGTERM or SIGINT; returns the exit code.
// SIGHUP replaces the daemon by the program that is at this one's path now. Throws Refused for what
// can be seen to be wrong before the daemon starts: the socket.
int Supervise(const ServeSettings& settings);

}  // namespace rw
