#include "metadata/inode.h"

#include <sys/stat.h>

#include <cstdio>

#include "metadata/coding.h"

namespace rw {
namespace {

// Stored on disk: never renumber. Which optional parts of an inode's value follow.
enum Flags : uint32_t {
  kAtimeStored = 1 << 0,  // otherwise equal to the version's instant
  kMtimeStored = 1 << 1,
  kCtimeStored = 1 << 2,
  kHasRdev = 1 << 3,
  kHasTarget = 1 << 4,
  kHasCuts = 1 << 5,
  kHasParent = 1 << 6,
  kSparse = 1 << 7,  // `allocated` differs from `size`
  kHasCapability = 1 << 8,
  kHasAccessAcl = 1 << 9,
  kHasDefaultAcl = 1 << 10,
  kAllFlags = (1 << 11) - 1,
};

}  // namespace

void PutTime(std::string* out, const FileTime& time) {
  PutSigned(out, time.seconds);
  PutVarint(out, time.nanoseconds);
}

FileTime GetTime(Decoder* in) {
  FileTime time;
  time.seconds = in->Signed();
  time.nanoseconds = in->Number<uint32_t>();
  if (time.nanoseconds >= 1'000'000'000) Decoder::Fail();
  return time;
}

std::string Inode::Encode(Instant at) const {
  const FileTime now = ToFileTime(at);
  uint32_t flags = 0;
  if (atime != now) flags |= kAtimeStored;
  if (mtime != now) flags |= kMtimeStored;
  if (ctime != now) flags |= kCtimeStored;
  if (rdev != 0) flags |= kHasRdev;
  if (!target.empty()) flags |= kHasTarget;
  if (!cuts.empty()) flags |= kHasCuts;
  if (parent != 0) flags |= kHasParent;
  if (allocated != size) flags |= kSparse;
  if (has_capability) flags |= kHasCapability;
  if (has_access_acl) flags |= kHasAccessAcl;
  if (has_default_acl) flags |= kHasDefaultAcl;

  std::string out;
  PutVarint(&out, flags);
  PutVarint(&out, mode);
  PutVarint(&out, uid);
  PutVarint(&out, gid);
  PutVarint(&out, nlink);
  PutVarint(&out, size);
  if (flags & kSparse) PutVarint(&out, allocated);
  if (flags & kAtimeStored) PutTime(&out, atime);
  if (flags & kMtimeStored) PutTime(&out, mtime);
  if (flags & kCtimeStored) PutTime(&out, ctime);
  if (flags & kHasRdev) PutVarint(&out, rdev);
  if (flags & kHasParent) PutVarint(&out, parent);
  if (flags & kHasTarget) PutBytes(&out, target);
  if (flags & kHasCuts) {
    PutVarint(&out, cuts.size());
    for (const Cut& cut : cuts) {
      PutVarint(&out, cut.size);
      PutVarint(&out, at.ns - cut.at.ns);  // never after the version itself
    }
  }
  return out;
}

Inode Inode::Decode(std::string_view value, Instant at) {
  Decoder in(value);
  const uint32_t flags = in.Number<uint32_t>();
  if ((flags & ~kAllFlags) != 0) Decoder::Fail();
  const FileTime now = ToFileTime(at);
  Inode inode;
  inode.mode = in.Number<uint32_t>();
  inode.uid = in.Number<uint32_t>();
  inode.gid = in.Number<uint32_t>();
  inode.nlink = in.Number<uint32_t>();
  inode.has_capability = (flags & kHasCapability) != 0;
  inode.has_access_acl = (flags & kHasAccessAcl) != 0;
  inode.has_default_acl = (flags & kHasDefaultAcl) != 0;
  inode.size = in.Varint();
  inode.allocated = (flags & kSparse) ? in.Varint() : inode.size;
  inode.atime = (flags & kAtimeStored) ? GetTime(&in) : now;
  inode.mtime = (flags & kMtimeStored) ? GetTime(&in) : now;
  inode.ctime = (flags & kCtimeStored) ? GetTime(&in) : now;
  if (flags & kHasRdev) inode.rdev = in.Number<uint32_t>();
  if (flags & kHasParent) inode.parent = in.Varint();
  if (flags & kHasTarget) inode.target = in.Bytes();
  if (flags & kHasCuts) {
    const uint64_t count = in.Varint();
    if (count > kMaxCuts) Decoder::Fail();
    for (uint64_t i = 0; i < count; ++i) {
      Cut cut;
      cut.size = in.Varint();
      const uint64_t ago = in.Varint();
      if (ago > at.ns) Decoder::Fail();
      cut.at.ns = at.ns - ago;
      inode.cuts.push_back(cut);
    }
  }
  in.ExpectEnd();
  if (inode.mode == 0) Decoder::Fail();
  return inode;
}

const char* TypeName(uint32_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return "file";
    case S_IFDIR:
      return "directory";
    case S_IFLNK:
      return "symlink";
    case S_IFIFO:
      return "fifo";
    case S_IFSOCK:
      return "socket";
    case S_IFCHR:
    case S_IFBLK:
      return "device";
    default:
      return "other";
  }
}

std::string PermissionsText(uint32_t mode) {
  char text[8];
  std::snprintf(text, sizeof text, "%04o", mode & 07777);
  return text;
}

}  // namespace rw
