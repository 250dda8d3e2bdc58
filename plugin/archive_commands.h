// `rewind export` and `rewind import`.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace rw {

struct ExportRequest {
  std::string name;
  std::string at;    // a time in text; empty: now
  std::string file;  // empty or "-": standard output
};
// Writes a tar archive of what the volume showed. A file is there only once it is whole; what was
// broken off on standard output has no end that a reader would take for one. Throws Refused.
void ExportCommand(const std::filesystem::path& socket, const ExportRequest& request, bool json);

struct ImportRequest {
  std::string name;
  std::vector<std::string> options;  // `key=value`
  std::string file;                  // empty or "-": standard input
};
// Makes a volume of a tar archive, or none. Throws Refused.
void ImportCommand(const std::filesystem::path& socket, const ImportRequest& request, bool json);

}  // namespace rw
