// `rewind check`.
#pragma once

#include <filesystem>
#include <string>

namespace rw {

struct CheckRequest {
  std::string name;  // empty: all volumes
  std::string at;    // a time in text; empty: now and all that is kept
  std::string rate;  // bytes per second; "0": no limit
  std::string root;  // a data root that no daemon has open; empty: the daemon is asked
  bool repair = false;
};

inline constexpr int kCheckSound = 0, kCheckHurt = 1, kCheckFailed = 2;

// Returns the exit code. Refusals are printed, not thrown.
int CheckCommand(const std::filesystem::path& socket, const CheckRequest& request, bool json);

}  // namespace rw
