// `rewind forget`.
#pragma once

#include <filesystem>
#include <string>

namespace rw {

struct ForgetRequest {
  std::string name;
  std::string path;
  bool copies = false;
};

// Prints how much was erased. Throws Refused; also, after it was done, if there is damage that may
// hide some of it.
void ForgetCommand(const std::filesystem::path& socket, const ForgetRequest& request, bool json);

}  // namespace rw
