// The calls that take a path, as a table.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tests/posix/check.h"

namespace rw::testing {

struct PathCall {
  const char* name;
  bool makes;    // makes what the path names
  bool follows;  // acts on what a symlink at the end of the path leads to
  bool changes;  // changes the filesystem
  // Returns -1 and sets errno, as system calls do.
  std::function<int(CheckRun& run, const std::string& path)> call;
};

// Those that need a second path use "from" (a file), "from-directory" and "to" of the run's
// directory.
const std::vector<PathCall>& PathCalls();
void MakePathCallFiles(CheckRun& run);

}  // namespace rw::testing
