// What the commands print, given what the daemon answers. Each throws Refused.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace rw {

// `options` are `key=value`, or `key` alone.
void CreateCommand(const std::filesystem::path& socket, const std::string& name,
                   const std::vector<std::string>& options);
void ListCommand(const std::filesystem::path& socket, bool json);
void InspectCommand(const std::filesystem::path& socket, const std::string& name, bool json);
void RemoveCommand(const std::filesystem::path& socket, const std::string& name);
// Marks the volumes, or all of them, and prints the instant that they got.
struct MarkRequest {
  std::vector<std::string> names;
  bool all = false;
  std::string label;
  std::string note;
  std::string at;  // empty: now
};
void MarkCommand(const std::filesystem::path& socket, const MarkRequest& request, bool json);
void MarksCommand(const std::filesystem::path& socket, const std::string& name, bool json);
void UnmarkCommand(const std::filesystem::path& socket, const std::string& name,
                   const std::string& label);
void NowCommand(const std::filesystem::path& socket, const std::string& name, bool json);

}  // namespace rw
