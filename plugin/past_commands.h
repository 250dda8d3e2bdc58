// The commands that find something in the past of a volume. Each prints what the daemon answers and
// throws Refused.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace rw {

struct PastRequest {
  std::string name;
  std::string path;
  std::string at, since, until;  // times in text; empty: now, or no bound
  std::string output;            // a file; empty: standard output
  std::string text;
  std::vector<std::string> times;  // of diff: one or two, and then perhaps a path
  bool deleted = false;
  bool patch = false;
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
// Paths that are no more, the last removed first.
void FindCommand(const std::filesystem::path& socket, const PastRequest& request);
// What became of a volume between two times.
void DiffCommand(const std::filesystem::path& socket, const PastRequest& request);

}  // namespace rw
