// `rewind upgrade`.
#pragma once

#include <filesystem>

namespace rw {

// Returns when the new program answers, and prints what has replaced what. Throws Refused if it was
// not replaced: then the one before goes on.
void UpgradeCommand(const std::filesystem::path& socket, bool json);

}  // namespace rw
