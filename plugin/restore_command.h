// `rewind restore`, `rewind undo` and `rewind schedule`.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace rw {

struct RestoreCommandRequest {
  std::string name;
  std::vector<std::string> paths;
  std::string at;
  std::string to;
  bool dry_run = false;
  bool redo = false;
};

// All throw Refused.
void RestoreCommand(const std::filesystem::path& socket, const RestoreCommandRequest& request,
                    bool json);
void UndoCommand(const std::filesystem::path& socket, const RestoreCommandRequest& request,
                 bool json);
// `name`: empty for all volumes.
void ScheduleCommand(const std::filesystem::path& socket, const std::string& name, bool json);

}  // namespace rw
