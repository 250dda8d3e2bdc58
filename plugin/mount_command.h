// `rewind mount` and `rewind umount`: the daemon mounts a volume below its own directory, and these
// bind it to the directory that the user names.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace rw {

// Shows the volume, or what it was at a time in text, on `directory`. Throws Refused, with nothing
// mounted.
void MountOn(const std::filesystem::path& socket, const std::string& volume,
             const std::string& directory, const std::optional<std::string>& at);

// Undoes MountOn. Throws Refused: EINVAL for a directory that MountOn did not mount on, EBUSY while
// it is in use.
void UmountFrom(const std::filesystem::path& socket, const std::string& directory);

}  // namespace rw
