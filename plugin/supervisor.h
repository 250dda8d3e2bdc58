// The process that outlives the daemon: it holds what the mounts live by, and starts the daemon
// again when it ends.
//
// It knows nothing of volumes, reads no data and asks no file system that could be a volume's, so
// that there is next to nothing in it that could fail.
#pragma once

#include "plugin/settings.h"
#include "plugin/supervision.h"

namespace rw {

// Tells a daemon the how-many-eth of its supervisor's it is.
inline constexpr char kDaemonNumberVariable[] = "REWIND_DAEMON_NUMBER";

// Runs the daemon (this program again, as a child) until SIGTERM or SIGINT; returns the exit code.
// SIGHUP, or the daemon's asking for it, replaces the daemon and then this process's program by the
// one that is at its path now. Throws Refused for what can be seen to be wrong before the daemon
// starts: the socket.
int Supervise(const ServeSettings& settings);
// The same, where the supervisor that was in this process before has ended.
int Supervise(const ServeSettings& settings, Supervision before);

}  // namespace rw
