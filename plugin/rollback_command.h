// `rewind rollback`: puts volumes back to one instant, and deals with the containers that use them.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace rw {

struct RollbackRequest {
  std::vector<std::string> names;
  std::string project;  // of Compose; its volumes, too
  std::string at;
  bool restart = false;
  std::string timeout;        // empty: the containers' own; see README.md
  std::string engine_socket;  // as given; empty: found
  bool dry_run = false;
  bool json = false;
};

// Throws Refused; then volumes and containers are as they were before, unless it says otherwise.
void RollbackCommand(const std::filesystem::path& socket, const RollbackRequest& request);

}  // namespace rw
