// The socket that Docker and the command line reach the daemon through.
#pragma once

#include <filesystem>

namespace rw {

// Makes a listening Unix socket at `path` that only its owner can use, and returns its descriptor.
// A socket that an earlier run left is replaced. Throws Refused: EADDRINUSE if a daemon answers
// there, EEXIST if it is something else than a socket, ENAMETOOLONG, and as CheckTrustedDirectory
// does of its directory.
int ListenOn(const std::filesystem::path& path);

// Connects to the socket at `path`; -1 with errno set if that fails. Waits at most so long for who
// listens there but takes nobody; 0: as long as it takes.
int ConnectTo(const std::filesystem::path& path, int timeout_seconds = 0);

}  // namespace rw
