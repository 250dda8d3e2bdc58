// Which inodes and names may differ between two views: those that were touched on the way from one
// to the other.
#pragma once

#include <set>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "fs/past.h"
#include "fs/store.h"

namespace rw {

struct Touched {
  // Operations of a timeline that one of the views shows and the other does not.
  struct Range {
    TimelineId timeline = 0;
    Instant after, until;  // exclusive, inclusive
  };
  std::vector<Range> ranges;
  std::unordered_set<Ino> inodes;
  std::set<std::pair<Ino, std::string>> names;  // directory, name
  bool by_events = true;                        // the journals told all of it
};

// From the journals' events where they are kept and not too many, else from the index's keys.
// Throws Refused(EIO, E2BIG).
Touched FindTouched(Store& store, const Past& past, const View& a, const View& b,
                    bool use_events = true);

// Calls back with each versioned key (without its instant) below the prefix that has a version in
// the range, and that version's value, until it says no.
void ForEachTouched(
    Index* index, const std::string& prefix, Instant after, Instant until,
    const std::function<bool(std::string_view key, std::string_view value)>& callback);

}  // namespace rw
