// The commands that find something in the past of a volume. Each prints what the daemon answers and
// throws Refused.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace rw {

struct PastRequest {
  std::string name;
  std::string path;
  std::string at, since, until;  // times in text; empty: now, or no bound
  std::string output;            // a file; empty: standard output
  std::string text;
  uint64_t limit = 100;  // of lines; 0: none
  bool each = false;
  bool json = false;
};

// What a file held.
void CatCommand(const std::filesystem::path& socket, const PastRequest& request);
// What a path led to, the newest first.
void HistoryCommand(const std::filesystem::path& socket, const PastRequest& request);
// When a text came into a file, or left it.
void GrepTimeCommand(const std::filesystem::path& socket, const PastRequest& request);

}  // namespace rw
