// The FUSE operations: each turns a request into one call of a Volume, and its result or errno into
// one reply.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>

#include "fs/figures.h"
#include "fs/session_nodes.h"
#include "fs/writers.h"

struct fuse_lowlevel_ops;

namespace rw {

// The user data of a FUSE session.
struct SessionState {
  SessionState(std::shared_ptr<Volume> volume, SessionNodes::OpenAt open_at,
               SessionNodes::OnView on_view, std::string name)
      : nodes(std::move(volume), std::move(open_at), std::move(on_view)), source(std::move(name)) {}

  // That a volume is full is logged once a minute, not for each write that is refused.
  bool MayLogFull();

  SessionNodes nodes;
  std::function<bool()> make_room;  // on a full disk; may be empty
  // Before an operation that met the volume's size is tried once more: waits for files to end of
  // which the kernel has yet to say that it has forgotten them.
  std::function<void()> await_forgotten;
  std::function<void(uint64_t node)> drop_pages;  // has the kernel forget a node's contents, soon
  // Has the kernel ask for a node's attributes again, and take no answer that it has not seen yet.
  std::function<void(uint64_t node)> drop_attributes;
  std::string source;  // for log lines
  Writers writers;
  std::shared_ptr<VolumeFigures> figures;  // may be null
  std::atomic<uint32_t> agreed_flags{0};   // of FUSE's INIT
  // What an earlier daemon may have done without answering. Requests that are sent again are
  // answered from it; for the one thread that works while there are such.
  JournalledOperations journalled;
  std::atomic<int64_t> full_logged_at{INT64_MIN};  // seconds of the steady clock
};

const fuse_lowlevel_ops& SessionOperations();

// The kernel splits larger writes.
inline constexpr unsigned kMaxWriteBytes = 1 << 20;

}  // namespace rw
