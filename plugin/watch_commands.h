// `rewind health`, `rewind top` and `rewind log-level`.
#pragma once

#include <filesystem>
#include <string>

namespace rw {

// Returns the exit code: kHealthy, kUnhealthy or kHealthUnknown. Refusals are printed, not thrown.
int HealthCommand(const std::filesystem::path& socket, bool json);

struct TopRequest {
  double interval_seconds = 2;
  bool once = false;
};
// Shows what volumes do, again and again until it is ended, or once. Throws Refused.
void TopCommand(const std::filesystem::path& socket, const TopRequest& request, bool json);

// `level` empty: only prints it. Throws Refused.
void LogLevelCommand(const std::filesystem::path& socket, const std::string& level, bool json);

}  // namespace rw
