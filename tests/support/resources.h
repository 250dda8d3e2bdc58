// What a process holds, as the kernel counts it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <ostream>
#include <string>

namespace rw::testing {

struct Resources {
  size_t descriptors = 0;
  size_t threads = 0;
  size_t mounts = 0;  // of rewind's, in the process's mount namespace, below a directory
  uint64_t resident_kib = 0;
};

std::ostream& operator<<(std::ostream& out, const Resources& resources);

// `below`: where mounts are counted.
Resources ResourcesOf(pid_t process, const std::string& below);

// Whether the process holds no more descriptors, threads and mounts than before. The index may have
// a few more files of its own open by then.
bool HoldsNoMore(const Resources& now, const Resources& before);

// Waits until it does: what a request held goes after its answer. Returns what it holds then, or in
// the end.
Resources WaitForNoMoreThan(const Resources& before, pid_t process, const std::string& below);

}  // namespace rw::testing
