// What /proc/self/mountinfo says about mounts, and which of them are this program's.
#pragma once

#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace rw {

struct MountEntry {
  std::string
      device;        // "major:minor": one number per file system, the same in every mount namespace
  std::string root;  // what of the file system is mounted; "/" for all of it
  std::string mountpoint;
  std::string type;
  std::string source;

  // Whether it is a FUSE mount that a rewind daemon made.
  bool is_rewind() const;
};

// What every source of a mount by this program begins with.
inline constexpr char kSourcePrefix[] = "rewind:";

// All mounts of this process's mount namespace, in the order in which they were made.
std::vector<MountEntry> ReadMounts();

// For tests: the same from the text of a mountinfo file.
std::vector<MountEntry> ParseMounts(const std::string& text);

// The topmost mount at exactly this path.
std::optional<MountEntry> FindMountAt(const std::filesystem::path& mountpoint);

// Detaches every mount of rewind's below `directory` but those at the mountpoints to keep, the
// youngest first, and returns how many there were.
int DetachBelow(const std::filesystem::path& directory, const std::set<std::string>& keep);

}  // namespace rw
