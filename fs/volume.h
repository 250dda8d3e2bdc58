// POSIX operations on a view. The head of a timeline and a fixed view are the same class; only the
// head can be written.
//
// Every operation that changes something is one record in the journal, one commit of the index and
// one instant. When it returns, it is acknowledged: it survives the daemon. Sync makes it survive
// the machine.
//
// Thread safety: all methods may be called from any thread. Permissions are the kernel's to check
// (`default_permissions`); what depends on them is passed in.
// Errors: refusals throw Refused with the errno that Linux documents; a fixed view refuses changes
// with EROFS. Damage throws Refused(EIO).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fs/journalled.h"
#include "metadata/inode.h"
#include "metadata/instant.h"
#include "metadata/mutation.h"

namespace rw {

// Who asks, as the kernel tells it. Recorded with the operation.
struct Caller {
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t pid = 0;
  uint64_t unique = 0;  // the FUSE request's number
  uint32_t umask = 0;   // taken from what it creates, unless the directory has a default ACL
  std::shared_ptr<const Writer> writer = nullptr;  // what is known of the process; null: nothing
};

struct DirEntry {
  std::string name;
  Ino ino = 0;
  uint32_t type = 0;    // S_IFMT bits
  uint64_t cookie = 0;  // position in its directory: strictly increasing, stable, > kFirstCookie
};

struct InodeAttr {
  Ino ino = 0;
  Inode inode;
};

// What setattr changes; absent stays.
struct AttrChange {
  std::optional<uint32_t> mode, uid, gid;
  std::optional<uint64_t> size;
  std::optional<FileTime> atime, mtime;
  bool atime_now = false, mtime_now = false;
  bool kill_suid_sgid =
      false;  // clear setuid, and setgid if group-executable, with a change of size
};

struct VolumeUsage {
  uint64_t live_bytes = 0, live_inodes = 0;      // contents of this volume
  uint64_t limit_bytes = UINT64_MAX;             // what live_bytes may come to
  uint64_t disk_bytes = 0, disk_free_bytes = 0;  // of the disk under the data root
};

inline constexpr std::string_view kCapabilityXattr = "security.capability";
inline constexpr uint64_t kMaxFileSize = INT64_MAX;
inline constexpr size_t kMaxNameBytes = 255;
inline constexpr uint64_t kFirstCookie = 16;  // below: reserved for "." and ".."

class Volume {
 public:
  virtual ~Volume() = default;

  virtual bool writable() const = 0;
  virtual Instant fixed_at() const = 0;      // kInstantMax for a head
  virtual Instant last_instant() const = 0;  // of the newest operation that the view shows

  // --- reading ---
  virtual std::optional<Inode> FindInode(Ino ino) = 0;
  virtual std::optional<InodeAttr> Lookup(Ino parent, std::string_view name) = 0;
  // Up to `limit` entries with a cookie greater than `after`, in cookie order. An entry that is
  // there all the time is returned exactly once by a walk, whatever else changes.
  virtual std::vector<DirEntry> ReadDir(Ino dir, uint64_t after, size_t limit) = 0;
  // Fills `out` from `offset`; returns how many bytes there were (less than asked only at the end
  // of the file).
  virtual size_t Read(Ino ino, uint64_t offset, std::span<char> out) = 0;
  // The next offset >= `offset` with data (or of a hole; the end of the file counts as one). ENXIO
  // as lseek(2).
  virtual uint64_t Seek(Ino ino, uint64_t offset, bool data) = 0;
  // Names of no namespace that is kept (SetXattr) are refused.
  virtual std::optional<std::string> GetXattr(Ino ino, std::string_view name) = 0;
  virtual std::vector<std::string> ListXattrs(Ino ino) = 0;
  virtual VolumeUsage Usage() = 0;

  // --- names ---
  // `mode` carries the type (S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO, …); `target` is a symlink's.
  virtual InodeAttr Create(const Caller& caller, Ino parent, std::string_view name, uint32_t mode,
                           uint32_t rdev = 0, std::string_view target = {}) = 0;
  // A regular file that has no name yet and ends when it is forgotten, unless Link gives it one
  // (O_TMPFILE). `parent` lends it group and ACLs.
  virtual InodeAttr CreateUnnamed(const Caller& caller, Ino parent, uint32_t mode) = 0;
  virtual void Unlink(const Caller& caller, Ino parent, std::string_view name) = 0;
  virtual void Rmdir(const Caller& caller, Ino parent, std::string_view name) = 0;
  // `flags`: RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT (a device 0:0 is left at the old
  // name); EXCHANGE with another is EINVAL, as are others.
  virtual void Rename(const Caller& caller, Ino parent, std::string_view name, Ino new_parent,
                      std::string_view new_name, unsigned flags) = 0;
  // Also gives a name to an inode that has none: the kernel sees to it that this happens to
  // O_TMPFILE files only.
  virtual InodeAttr Link(const Caller& caller, Ino ino, Ino new_parent,
                         std::string_view new_name) = 0;

  // --- contents and attributes ---
  virtual Inode SetAttr(const Caller& caller, Ino ino, const AttrChange& change) = 0;
  // Writes all of `data` or throws. `kill_suid_sgid` as in AttrChange.
  virtual void Write(const Caller& caller, Ino ino, uint64_t offset, std::span<const char> data,
                     bool kill_suid_sgid) = 0;
  // `mode` as fallocate(2): 0, KEEP_SIZE, PUNCH_HOLE|KEEP_SIZE, ZERO_RANGE[|KEEP_SIZE]; else
  // EOPNOTSUPP.
  virtual void Fallocate(const Caller& caller, Ino ino, int mode, uint64_t offset,
                         uint64_t length) = 0;
  // Shares extents, copies nothing. Returns the bytes covered (less than `length` at the end of the
  // source).
  virtual uint64_t CopyRange(const Caller& caller, Ino from, uint64_t from_offset, Ino to,
                             uint64_t to_offset, uint64_t length) = 0;
  // `flags`: 0, XATTR_CREATE (EEXIST) or XATTR_REPLACE (ENODATA). Names begin with "user.",
  // "trusted." or "security."; of "system." names, ACLs are kept (fs/acl.h; EINVAL for an invalid
  // one) and change the mode; others are EOPNOTSUPP. `kill_sgid`: the caller is not of the
  // file's group, so a new access ACL takes setgid away.
  virtual void SetXattr(const Caller& caller, Ino ino, std::string_view name,
                        std::string_view value, int flags, bool kill_sgid = false) = 0;
  // ENODATA if there is none; an ACL that is not there needs no removing.
  virtual void RemoveXattr(const Caller& caller, Ino ino, std::string_view name) = 0;

  // --- life ---
  // The kernel no longer knows the inode: if it is unlinked, it ends here.
  virtual void Forget(Ino ino) = 0;
  // No kernel knows any inode of this volume: unlinked inodes end.
  virtual void ForgetAll() = 0;
  // The inodes that are unlinked and have not been forgotten.
  virtual std::vector<Ino> Unlinked() = 0;
  // Removes what is in directories that were unlinked with it, some names at a time. `ask` gets
  // inodes that have no name any more and that the kernel may know: if it does not, they are to be
  // forgotten. Without it they are. False if so many operations were not enough.
  using AskKernel = std::function<void(const std::vector<Ino>&)>;
  virtual bool EmptyUnlinked(const AskKernel& ask, uint64_t max_operations) = 0;
  // The names that the last restore has made to lead to something else.
  virtual std::vector<RestoreNote::Place> LastRestored() = 0;
  // Everything acknowledged before the call survives the machine when this returns.
  virtual void Sync() = 0;
  // Writes down that `holder` has mounted the head, or has ended that. Changes nothing that the
  // volume shows; nothing to do for a fixed view.
  virtual void NoteHolder(std::string_view holder, bool mounted) = 0;

  // --- after a sudden end of the daemon ---
  // Where the journal ends; waits for nobody. Operations that begin later are recorded after it.
  virtual JournalPosition JournalEnd() const = 0;
  // The operations recorded from there on that a request asked for.
  virtual JournalledOperations JournalledSince(JournalPosition from) = 0;
};

}  // namespace rw
