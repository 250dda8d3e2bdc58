// An inode as it was at some instant, and its encoding (metadata/FORMAT.md, "Inode").
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "metadata/instant.h"

namespace rw {

class Decoder;

using Ino = uint64_t;
inline constexpr Ino kRootIno = 1;

// A time that an application may set: any second from before 1970 to after 2038.
struct FileTime {
  int64_t seconds = 0;
  uint32_t nanoseconds = 0;
  friend bool operator==(const FileTime&, const FileTime&) = default;
};

inline FileTime ToFileTime(Instant t) {
  return {static_cast<int64_t>(t.ns / 1'000'000'000), static_cast<uint32_t>(t.ns % 1'000'000'000)};
}

// As a signed varint of seconds and a varint of nanoseconds. GetTime throws as Decoder does.
void PutTime(std::string* out, const FileTime& time);
FileTime GetTime(Decoder* in);

// The file was cut to `size` bytes at `at`: bytes at or beyond `size` that were written at or
// before `at` are gone.
struct Cut {
  uint64_t size = 0;
  Instant at;
  friend bool operator==(const Cut&, const Cut&) = default;
};

struct Inode {
  uint32_t mode = 0;  // type and permissions as in st_mode; 0 means "no such inode" (a tombstone)
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t nlink = 0;  // 0: unlinked, and kept until the kernel forgets it
  uint32_t rdev = 0;
  uint64_t size = 0;       // bytes; of a directory, the number of its entries
  uint64_t allocated = 0;  // content bytes that are stored (not holes)
  Ino parent = 0;          // of a directory
  FileTime atime, mtime, ctime;
  std::string target;           // of a symlink
  bool has_capability = false;  // it has a security.capability xattr, which a write must remove
  bool has_access_acl =
      false;  // it has an access control list beyond its mode, which chmod changes
  bool has_default_acl = false;  // of a directory: what is made in it inherits a list
  std::vector<Cut> cuts;         // increasing sizes and increasing instants; at most kMaxCuts

  static constexpr size_t kMaxCuts = 8;

  bool is_dir() const { return (mode & 0170000) == 0040000; }
  bool is_regular() const { return (mode & 0170000) == 0100000; }
  bool is_symlink() const { return (mode & 0170000) == 0120000; }

  // `at` is the instant of the version; times equal to it take no space.
  std::string Encode(Instant at) const;
  // Throws Refused(EIO) if `value` does not check out.
  static Inode Decode(std::string_view value, Instant at);
  friend bool operator==(const Inode&, const Inode&) = default;
};

// What people call a mode's type: "file", "directory", "symlink", "fifo", "socket" or "device".
const char* TypeName(uint32_t mode);
// Its permissions and what chmod calls special, in octal: "0644", "1777".
std::string PermissionsText(uint32_t mode);

}  // namespace rw
