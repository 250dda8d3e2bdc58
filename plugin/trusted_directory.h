// Directories whose contents only root, or the user that the daemon runs as, can have put there.
#pragma once

#include <filesystem>
#include <string>

namespace rw {

// Makes the directory, for its owner alone, if it is absent. Throws Refused, in one line that says
// what to do about it, unless everything below it can be trusted:
//   - it belongs to root or this user, and nobody else may write to it;
//   - the symbolic links on the way to it belong to root or this user;
//   - no directory on the way is everybody's to write to, unless it is sticky.
// Whoever owns a directory on the way could move it away, but not make another one be taken for it.
// `use` is what it is for: "the data root".
void UseTrustedDirectory(const std::filesystem::path& directory, const std::string& use);

// The same of a directory that is there.
void CheckTrustedDirectory(const std::filesystem::path& directory, const std::string& use);

}  // namespace rw
