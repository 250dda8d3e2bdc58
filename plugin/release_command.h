// `rewind release`: ends mounts of a volume that the engine began and does not know of any more.
#pragma once

#include <filesystem>
#include <string>

namespace rw {

struct ReleaseRequest {
  std::string name;
  std::string engine_socket;  // as given; empty: found
  bool json = false;
};

// Throws Refused, with nothing released: EBUSY if a container that could hold them runs, or comes
// or goes meanwhile; as the engine or the daemon refuse.
void ReleaseCommand(const std::filesystem::path& socket, const ReleaseRequest& request);

}  // namespace rw
