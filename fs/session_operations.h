// The FUSE operations: each turns a request into one call of a Volume, and its result or errno into
// one reply.
#pragma once

#include <string>

#include "fs/session_nodes.h"

struct fuse_lowlevel_ops;

namespace rw {

// The user data of a FUSE session.
struct SessionState {
  SessionNodes nodes;
  std::string source;  // for log lines
};

const fuse_lowlevel_ops& SessionOperations();

// The kernel splits larger writes.
inline constexpr unsigned kMaxWriteBytes = 1 << 20;

}  // namespace rw
