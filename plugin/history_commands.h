// The commands about history: how long it is kept, what keeps it, what was removed. Each prints
// what the daemon answers and throws Refused.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace rw {

// `changes` are `key=value`; `key=` means the default again.
void SetCommand(const std::filesystem::path& socket, const std::string& name,
                const std::vector<std::string>& changes);
// The policy in force and what it keeps.
void RetentionCommand(const std::filesystem::path& socket, const std::string& name, bool json);
// What would go if the policy were changed so.
void DryRunCommand(const std::filesystem::path& socket, const std::string& name,
                   const std::vector<std::string>& changes, bool json);
void PinsCommand(const std::filesystem::path& socket, const std::string& name, bool json);
void CollectCommand(const std::filesystem::path& socket, bool json);

void RemoveCommand(const std::filesystem::path& socket, const std::string& name);
void ListRemovedCommand(const std::filesystem::path& socket, bool json);
void PurgeCommand(const std::filesystem::path& socket, const std::string& name);

// Marks the volumes, or all of them, and prints the instant that they got.
struct MarkRequest {
  std::vector<std::string> names;
  bool all = false;
  std::string label;
  std::string note;
  std::string at;           // empty: now
  bool consistent = false;  // the rest is of such marks
  std::string project, timeout, engine_socket;
};
void MarkCommand(const std::filesystem::path& socket, const MarkRequest& request, bool json);
void MarksCommand(const std::filesystem::path& socket, const std::string& name, bool json);
void UnmarkCommand(const std::filesystem::path& socket, const std::string& name,
                   const std::string& label);

}  // namespace rw
