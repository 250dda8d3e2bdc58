// Compares a view with what its model says it is, where errors are allowed and lies are not: each
// answer is right or it is EIO.
#pragma once

#include <set>
#include <string>

#include "fs/volume.h"
#include "tests/support/twin.h"

namespace rw::testing {

struct TolerantResult {
  uint64_t answers = 0;         // that were right
  uint64_t errors = 0;          // EIO
  std::set<std::string> lines;  // what the errors said
  std::string lie;              // empty, or what was answered and is not so

  void Add(const TolerantResult& other);
};

// Asks for everything: names (by listing and one by one), attributes, contents piece by piece,
// xattrs, what is counted.
TolerantResult ReadTolerantly(Volume& view, const Twin& twin, Instant at);

}  // namespace rw::testing
