// The commands that show what happened to a volume. Each prints what the daemon answers and throws
// Refused.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

namespace rw {

struct LogRequest {
  std::string name;
  std::string since, until;   // empty: from the beginning of what is kept, to now
  std::string path;           // a glob; empty: all
  std::string engine_socket;  // of who knows containers' names; empty: it is found
  bool follow = false;
};
// One line per event; as JSON, one object per line.
void LogCommand(const std::filesystem::path& socket, const LogRequest& request, bool json);

struct TimelineRequest {
  std::string name;
  std::string since, until;
  size_t buckets = 24;
};
void TimelineCommand(const std::filesystem::path& socket, const TimelineRequest& request,
                     bool json);

}  // namespace rw
