// Who the processes are that ask for operations.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "metadata/mutation.h"

namespace rw {

// /proc is asked when a thread is seen for the first time, and once a second whether its number
// still means the same one, and that the same program. Thread safety: all methods may be called
// from any thread.
class Writers {
 public:
  // Null for 0, which FUSE gives for what the kernel writes back by itself and for processes that
  // the daemon's process namespace does not show, and for those that are gone already.
  std::shared_ptr<const Writer> Find(uint32_t thread);

 private:
  struct Known {
    std::shared_ptr<const Writer> writer;
    uint64_t looked_at_ns = 0;  // of a steady clock
  };
  std::mutex mutex_;  // guards known_
  std::unordered_map<uint32_t, Known> known_;
};

// The container of a process, by what /proc/PID/cgroup says: the last part of its paths that is an
// id as Docker, Podman and containerd give them. Empty if there is none.
std::string ContainerInCgroup(const std::string& text);

}  // namespace rw
