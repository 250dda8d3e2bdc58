#include "fs/session_operations.h"

#define FUSE_USE_VERSION 35
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <vector>

#include "fs/figures.h"
#include "fs/session_request.h"
#include "metadata/refused.h"

namespace rw {
namespace {

// The daemon is the only writer, so the kernel may keep what it knows.
constexpr double kForever = 1e9;
constexpr double kRelativeTimeSeconds = 1;  // `.rewind/10m` means another instant soon
constexpr uint64_t kDotCookie = 1, kDotDotCookie = 2;
constexpr uint32_t kBlockBytes = 4096;

SessionState& StateOf(fuse_req_t req) {
  return *static_cast<SessionState*>(fuse_req_userdata(req));
}
SessionNodes& NodesOf(fuse_req_t req) { return StateOf(req).nodes; }

Caller CallerOf(fuse_req_t req) {
  const fuse_ctx* context = fuse_req_ctx(req);
  const auto pid = static_cast<uint32_t>(context->pid);
  return {context->uid,
          context->gid,
          pid,
          CurrentRequest().unique,
          context->umask,
          StateOf(req).writers.Find(pid)};
}

bool AnswerAgain(fuse_req_t req, fuse_ino_t node);

// The one place where errors become errnos. Ordinary refusals are the application's affair; damage
// and failures are logged.
template <typename Fn>
void Guard(fuse_req_t req, const char* operation, fuse_ino_t node, Fn fn) {
  int error = EIO;
  try {
    if (CurrentRequest().resent && AnswerAgain(req, node)) return;
    try {
      fn();
    } catch (const SizeUsedUp&) {
      StateOf(req).await_forgotten();
      fn();
    } catch (const RefusedForGood&) {
      throw;
    } catch (const Refused& refused) {
      // Nothing was done and nothing answered. History goes before the application is refused.
      const auto& make_room = StateOf(req).make_room;
      if (refused.error() != ENOSPC || !make_room || !make_room()) throw;
      fn();
    }
    return;
  } catch (const Refused& refused) {
    error = refused.error();
    if (error == EIO || (error == ENOSPC && StateOf(req).MayLogFull()))
      spdlog::error("{}: {} of node {}: {}", StateOf(req).source, operation, node, refused.what());
  } catch (const std::bad_alloc&) {
    error = ENOMEM;
  } catch (const std::exception& failure) {
    spdlog::error("{}: {} of node {}: {}", StateOf(req).source, operation, node, failure.what());
  }
  CountError(error);
  fuse_reply_err(req, error);
}

void CountBytes(fuse_req_t req, RequestKind kind, uint64_t bytes) {
  if (VolumeFigures* figures = StateOf(req).figures.get()) figures->CountBytes(kind, bytes);
}

// A node that is to be changed: what lies under `.rewind` never is.
Node FindForChange(fuse_req_t req, fuse_ino_t id) {
  Node node = NodesOf(req).Find(id);
  if (node.hidden() || node.slot != 0) throw Refused(EROFS, "the past is read-only");
  return node;
}

timespec ToTimespec(FileTime time) {
  return {static_cast<time_t>(time.seconds), static_cast<long>(time.nanoseconds)};
}
FileTime FromTimespec(const timespec& time) {
  return {time.tv_sec, static_cast<uint32_t>(time.tv_nsec)};
}

struct stat StatOf(uint64_t id, const Inode& inode) {
  struct stat st {};
  st.st_ino = id;
  st.st_mode = inode.mode;
  st.st_nlink = inode.nlink;
  st.st_uid = inode.uid;
  st.st_gid = inode.gid;
  st.st_rdev = inode.rdev;
  st.st_size = static_cast<off_t>(inode.size);
  st.st_blksize = kBlockBytes;
  if (inode.is_regular())
    st.st_blocks = static_cast<blkcnt_t>((inode.allocated + kBlockBytes - 1) / kBlockBytes *
                                         (kBlockBytes / 512));
  st.st_atim = ToTimespec(inode.atime);
  st.st_mtim = ToTimespec(inode.mtime);
  st.st_ctim = ToTimespec(inode.ctime);
  return st;
}

// `.rewind`: belongs to root, can be entered by all, holds what is asked of it and lists nothing.
struct stat HiddenStat() {
  struct stat st {};
  st.st_ino = kHiddenNode;
  st.st_mode = S_IFDIR | 0555;
  st.st_nlink = 2;
  st.st_blksize = kBlockBytes;
  return st;
}

struct stat NeedStat(const Node& node) {
  if (node.hidden()) return HiddenStat();
  const auto inode = node.volume->FindInode(node.ino);
  if (!inode) throw Refused(ESTALE, "no such inode");
  return StatOf(node.IdOf(node.ino), *inode);
}

fuse_entry_param EntryOf(const struct stat& st, double seconds = kForever) {
  fuse_entry_param entry{};
  entry.ino = st.st_ino;
  entry.attr = st;
  entry.attr_timeout = seconds;
  entry.entry_timeout = seconds;
  return entry;
}

// Replies with what makes the kernel know a node.
template <typename Reply>
void ReplyNode(fuse_req_t req, fuse_ino_t node, Reply reply) {
  SessionNodes& nodes = NodesOf(req);
  nodes.Remember(node);                     // before the reply: the kernel may forget at once
  if (reply() != 0) nodes.Forget(node, 1);  // the request is gone, whatever happened
}

void ReplyEntry(fuse_req_t req, const fuse_entry_param& entry) {
  ReplyNode(req, entry.ino, [&] { return fuse_reply_entry(req, &entry); });
}

fuse_entry_param LookUp(fuse_req_t req, fuse_ino_t parent, std::string_view name) {
  const Node dir = NodesOf(req).Find(parent);
  if (dir.hidden()) {
    const Node view = NodesOf(req).FindView(name);
    return EntryOf(NeedStat(view),
                   SessionNodes::IsAbsolute(name) ? kForever : kRelativeTimeSeconds);
  }
  if (dir.slot == 0 && dir.ino == kRootIno && name == kHiddenDirectory)
    return EntryOf(HiddenStat());
  const auto found = dir.volume->Lookup(dir.ino, name);
  if (found) return EntryOf(StatOf(dir.IdOf(found->ino), found->inode));
  fuse_entry_param absent{};
  absent.entry_timeout = kForever;
  return absent;
}

void Lookup(fuse_req_t req, fuse_ino_t parent, const char* name) {
  Guard(req, "lookup", parent, [&] {
    fuse_entry_param entry;
    try {
      entry = LookUp(req, parent, name);
    } catch (const Refused& refused) {
      // A time that is refused is a name that is not there.
      if (parent != kHiddenNode || refused.error() == EIO) throw;
      fuse_reply_err(req, ENOENT);
      return;
    }
    if (entry.ino == 0) {
      fuse_reply_entry(req, &entry);
    } else {
      ReplyEntry(req, entry);
    }
  });
}

void Forget(fuse_req_t req, fuse_ino_t node, uint64_t count) {
  NodesOf(req).Forget(node, count);
  fuse_reply_none(req);
}

void ForgetMulti(fuse_req_t req, size_t count, fuse_forget_data* forgets) {
  for (size_t i = 0; i < count; ++i) NodesOf(req).Forget(forgets[i].ino, forgets[i].nlookup);
  fuse_reply_none(req);
}

void GetAttr(fuse_req_t req, fuse_ino_t id, fuse_file_info*) {
  Guard(req, "getattr", id, [&] {
    const struct stat st = NeedStat(NodesOf(req).Find(id));
    fuse_reply_attr(req, &st, kForever);
  });
}

void SetAttr(fuse_req_t req, fuse_ino_t id, struct stat* wanted, int which, fuse_file_info*) {
  Guard(req, "setattr", id, [&] {
    const Node node = FindForChange(req, id);
    AttrChange change;
    if (which & FUSE_SET_ATTR_MODE) change.mode = wanted->st_mode;
    if (which & FUSE_SET_ATTR_UID) change.uid = wanted->st_uid;
    if (which & FUSE_SET_ATTR_GID) change.gid = wanted->st_gid;
    if (which & FUSE_SET_ATTR_SIZE) change.size = static_cast<uint64_t>(wanted->st_size);
    change.atime_now = (which & FUSE_SET_ATTR_ATIME_NOW) != 0;
    change.mtime_now = (which & FUSE_SET_ATTR_MTIME_NOW) != 0;
    if ((which & FUSE_SET_ATTR_ATIME) && !change.atime_now)
      change.atime = FromTimespec(wanted->st_atim);
    if ((which & FUSE_SET_ATTR_MTIME) && !change.mtime_now)
      change.mtime = FromTimespec(wanted->st_mtim);
    change.kill_suid_sgid = CurrentRequest().kill_suid_sgid;
    const struct stat st = StatOf(id, node.volume->SetAttr(CallerOf(req), node.ino, change));
    fuse_reply_attr(req, &st, kForever);
  });
}

void ReadLink(fuse_req_t req, fuse_ino_t id) {
  Guard(req, "readlink", id, [&] {
    const Node node = NodesOf(req).Find(id);
    const auto inode = node.hidden() ? std::nullopt : node.volume->FindInode(node.ino);
    if (!inode || !inode->is_symlink()) throw Refused(EINVAL, "not a symlink");
    fuse_reply_readlink(req, inode->target.c_str());
  });
}

void Make(fuse_req_t req, fuse_ino_t parent, const char* name, uint32_t mode, uint32_t rdev,
          const char* target) {
  Guard(req, "create", parent, [&] {
    const Node dir = FindForChange(req, parent);
    const InodeAttr made = dir.volume->Create(CallerOf(req), dir.ino, name, mode, rdev, target);
    ReplyEntry(req, EntryOf(StatOf(dir.IdOf(made.ino), made.inode)));
  });
}

void MkNod(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode, dev_t rdev) {
  Make(req, parent, name, (mode & S_IFMT) == 0 ? mode | S_IFREG : mode, static_cast<uint32_t>(rdev),
       "");
}

void MkDir(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode) {
  Make(req, parent, name, S_IFDIR | (mode & 07777), 0, "");
}

void SymLink(fuse_req_t req, const char* target, fuse_ino_t parent, const char* name) {
  Make(req, parent, name, S_IFLNK | 0777, 0, target);
}

void Unlink(fuse_req_t req, fuse_ino_t parent, const char* name) {
  Guard(req, "unlink", parent, [&] {
    const Node dir = FindForChange(req, parent);
    dir.volume->Unlink(CallerOf(req), dir.ino, name);
    fuse_reply_err(req, 0);
  });
}

void RmDir(fuse_req_t req, fuse_ino_t parent, const char* name) {
  Guard(req, "rmdir", parent, [&] {
    const Node dir = FindForChange(req, parent);
    if (dir.ino == kRootIno && name == kHiddenDirectory)
      throw Refused(EPERM, ".rewind is always there");
    dir.volume->Rmdir(CallerOf(req), dir.ino, name);
    fuse_reply_err(req, 0);
  });
}

// Of what a rename has moved. The kernel knows that they have changed, but an answer on its way to
// somebody else may have been given before, and would be taken for newer.
void DropAttributesOf(fuse_req_t req, const Node& dir, const char* name) {
  if (const auto moved = dir.volume->Lookup(dir.ino, name))
    StateOf(req).drop_attributes(dir.IdOf(moved->ino));
}

void Rename(fuse_req_t req, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
            const char* new_name, unsigned flags) {
  Guard(req, "rename", parent, [&] {
    const Node dir = FindForChange(req, parent);
    const Node new_dir = FindForChange(req, new_parent);
    if (dir.ino == kRootIno && name == kHiddenDirectory)
      throw Refused(EPERM, ".rewind stays where it is");
    dir.volume->Rename(CallerOf(req), dir.ino, name, new_dir.ino, new_name, flags);
    DropAttributesOf(req, new_dir, new_name);
    if ((flags & RENAME_EXCHANGE) != 0) DropAttributesOf(req, dir, name);
    fuse_reply_err(req, 0);
  });
}

void Link(fuse_req_t req, fuse_ino_t id, fuse_ino_t new_parent, const char* new_name) {
  Guard(req, "link", id, [&] {
    const Node node = NodesOf(req).Find(id);
    const Node dir = FindForChange(req, new_parent);
    if (node.hidden() || node.slot != 0)
      throw Refused(EXDEV, "a file of the past cannot be linked into the present");
    const InodeAttr linked = dir.volume->Link(CallerOf(req), node.ino, dir.ino, new_name);
    ReplyEntry(req, EntryOf(StatOf(dir.IdOf(linked.ino), linked.inode)));
  });
}

void Read(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset, fuse_file_info*) {
  Guard(req, "read", id, [&] {
    const Node node = NodesOf(req).Find(id);
    if (node.hidden()) throw Refused(EISDIR, "is a directory");
    static thread_local std::vector<char> buffer;
    if (buffer.size() < size) buffer.resize(size);
    const size_t count =
        node.volume->Read(node.ino, static_cast<uint64_t>(offset), {buffer.data(), size});
    CountBytes(req, RequestKind::kRead, count);
    fuse_reply_buf(req, buffer.data(), count);
  });
}

void Write(fuse_req_t req, fuse_ino_t id, const char* data, size_t size, off_t offset,
           fuse_file_info* file) {
  const SessionState& state = StateOf(req);
  Guard(req, "write", id, [&] {
    const Node node = FindForChange(req, id);
    node.volume->Write(CallerOf(req), node.ino, static_cast<uint64_t>(offset), {data, size},
                       CurrentRequest().kill_suid_sgid);
    // Newer kernels ask for this themselves afterwards, which then costs nothing more.
    if ((file->flags & O_DSYNC) != 0) node.volume->Sync();
    CountBytes(req, RequestKind::kWrite, size);
    fuse_reply_write(req, size);
  });
  // A store into a mapping of the past was refused only now: readers must not go on seeing it.
  if (CurrentRequest().from_cache && id >> kInoBits != 0) state.drop_pages(id);
}

void FSync(fuse_req_t req, fuse_ino_t id, int, fuse_file_info*) {
  Guard(req, "fsync", id, [&] {
    const Node node = NodesOf(req).Find(id);
    if (!node.hidden()) node.volume->Sync();
    fuse_reply_err(req, 0);
  });
}

// Fills replies of readdir and readdirplus alike.
class DirBuffer {
 public:
  DirBuffer(fuse_req_t req, size_t size, bool plus) : req_(req), buffer_(size), plus_(plus) {}

  // False if the entry no longer fits.
  bool Add(const char* name, const fuse_entry_param& entry, uint64_t cookie) {
    char* at = buffer_.data() + used_;
    const size_t room = buffer_.size() - used_;
    const auto offset = static_cast<off_t>(cookie);
    const size_t needed = plus_ ? fuse_add_direntry_plus(req_, at, room, name, &entry, offset)
                                : fuse_add_direntry(req_, at, room, name, &entry.attr, offset);
    if (needed > room) return false;
    used_ += needed;
    return true;
  }

  bool plus() const { return plus_; }
  size_t size() const { return buffer_.size(); }
  void Reply() { fuse_reply_buf(req_, buffer_.data(), used_); }

 private:
  fuse_req_t req_;
  std::vector<char> buffer_;
  size_t used_ = 0;
  bool plus_;
};

// "." and "..": the kernel does not remember their nodes.
bool AddDots(DirBuffer* buffer, const Node& node, uint64_t after) {
  fuse_entry_param entry{};
  entry.attr.st_mode = S_IFDIR;
  if (after < kDotCookie) {
    entry.attr.st_ino = node.hidden() ? kHiddenNode : node.IdOf(node.ino);
    if (!buffer->Add(".", entry, kDotCookie)) return false;
  }
  if (after < kDotDotCookie) {
    if (node.hidden()) {
      entry.attr.st_ino = kRootIno;
    } else if (node.ino == kRootIno) {
      entry.attr.st_ino = node.slot == 0 ? kRootIno : kHiddenNode;
    } else {
      const auto inode = node.volume->FindInode(node.ino);
      entry.attr.st_ino = node.IdOf(inode ? inode->parent : kRootIno);
    }
    if (!buffer->Add("..", entry, kDotDotCookie)) return false;
  }
  return true;
}

void AddNames(fuse_req_t req, DirBuffer* buffer, const Node& node, uint64_t after) {
  const size_t smallest_entry = buffer->plus() ? 160 : 32;
  for (const DirEntry& name :
       node.volume->ReadDir(node.ino, after, buffer->size() / smallest_entry + 1)) {
    fuse_entry_param entry{};
    if (buffer->plus()) {
      const auto inode = node.volume->FindInode(name.ino);
      if (!inode) continue;  // removed meanwhile
      entry = EntryOf(StatOf(node.IdOf(name.ino), *inode));
      NodesOf(req).Remember(entry.ino);
    } else {
      entry.attr.st_ino = node.IdOf(name.ino);
      entry.attr.st_mode = name.type;
    }
    if (buffer->Add(name.name.c_str(), entry, name.cookie)) continue;
    if (buffer->plus()) NodesOf(req).Forget(entry.ino, 1);
    return;
  }
}

void ReadDirectory(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset, bool plus) {
  Guard(req, "readdir", id, [&] {
    const Node node = NodesOf(req).Find(id);
    const auto after = static_cast<uint64_t>(offset);
    DirBuffer buffer(req, size, plus);
    if (AddDots(&buffer, node, after) && !node.hidden()) AddNames(req, &buffer, node, after);
    buffer.Reply();
  });
}

void ReadDir(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset, fuse_file_info*) {
  ReadDirectory(req, id, size, offset, false);
}

void ReadDirPlus(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset, fuse_file_info*) {
  ReadDirectory(req, id, size, offset, true);
}

void StatFs(fuse_req_t req, fuse_ino_t id) {
  Guard(req, "statfs", id, [&] {
    constexpr uint64_t kPlentyInodes = 1'000'000'000;  // inodes are limited by space alone
    const VolumeUsage usage = NodesOf(req).volume().Usage();
    struct statvfs st {};
    st.f_bsize = st.f_frsize = kBlockBytes;
    const uint64_t room = usage.limit_bytes - std::min(usage.limit_bytes, usage.live_bytes);
    st.f_blocks = std::min(usage.disk_bytes, usage.limit_bytes) / kBlockBytes;
    st.f_bfree = st.f_bavail = std::min(usage.disk_free_bytes, room) / kBlockBytes;
    st.f_files = usage.live_inodes + kPlentyInodes;
    st.f_ffree = st.f_favail = kPlentyInodes;
    st.f_namemax = kMaxNameBytes;
    fuse_reply_statfs(req, &st);
  });
}

void ReplyXattr(fuse_req_t req, std::string_view value, size_t size) {
  if (size == 0) {
    fuse_reply_xattr(req, value.size());
  } else if (size < value.size()) {
    fuse_reply_err(req, ERANGE);
  } else {
    fuse_reply_buf(req, value.data(), value.size());
  }
}

void GetXattr(fuse_req_t req, fuse_ino_t id, const char* name, size_t size) {
  Guard(req, "getxattr", id, [&] {
    const Node node = NodesOf(req).Find(id);
    const auto value = node.hidden() ? std::nullopt : node.volume->GetXattr(node.ino, name);
    if (value) {
      ReplyXattr(req, *value, size);
    } else {
      fuse_reply_err(req, ENODATA);
    }
  });
}

void ListXattr(fuse_req_t req, fuse_ino_t id, size_t size) {
  Guard(req, "listxattr", id, [&] {
    const Node node = NodesOf(req).Find(id);
    std::string list;
    if (!node.hidden()) {
      // The kernel refuses "trusted." to others than root, but leaves it to us not to list it.
      const bool lists_trusted = fuse_req_ctx(req)->uid == 0;
      for (const std::string& name : node.volume->ListXattrs(node.ino)) {
        if (lists_trusted || !name.starts_with("trusted.")) list.append(name).push_back('\0');
      }
    }
    ReplyXattr(req, list, size);
  });
}

void SetXattr(fuse_req_t req, fuse_ino_t id, const char* name, const char* value, size_t size,
              int flags) {
  Guard(req, "setxattr", id, [&] {
    const Node node = FindForChange(req, id);
    node.volume->SetXattr(CallerOf(req), node.ino, name, {value, size}, flags,
                          CurrentRequest().kill_sgid);
    StateOf(req).drop_attributes(id);
    fuse_reply_err(req, 0);
  });
}

void RemoveXattr(fuse_req_t req, fuse_ino_t id, const char* name) {
  Guard(req, "removexattr", id, [&] {
    const Node node = FindForChange(req, id);
    node.volume->RemoveXattr(CallerOf(req), node.ino, name);
    StateOf(req).drop_attributes(id);
    fuse_reply_err(req, 0);
  });
}

void FAllocate(fuse_req_t req, fuse_ino_t id, int mode, off_t offset, off_t length,
               fuse_file_info*) {
  Guard(req, "fallocate", id, [&] {
    const Node node = FindForChange(req, id);
    node.volume->Fallocate(CallerOf(req), node.ino, mode, static_cast<uint64_t>(offset),
                           static_cast<uint64_t>(length));
    fuse_reply_err(req, 0);
  });
}

void LSeek(fuse_req_t req, fuse_ino_t id, off_t offset, int whence, fuse_file_info*) {
  Guard(req, "lseek", id, [&] {
    const Node node = NodesOf(req).Find(id);
    if (node.hidden() || (whence != SEEK_DATA && whence != SEEK_HOLE))
      throw Refused(EINVAL, "data or hole of a file");
    fuse_reply_lseek(req, static_cast<off_t>(node.volume->Seek(
                              node.ino, static_cast<uint64_t>(offset), whence == SEEK_DATA)));
  });
}

void CopyFileRange(fuse_req_t req, fuse_ino_t from, off_t from_offset, fuse_file_info*,
                   fuse_ino_t to, off_t to_offset, fuse_file_info*, size_t length, int) {
  Guard(req, "copy_file_range", to, [&] {
    const Node source = NodesOf(req).Find(from);
    const Node target = FindForChange(req, to);
    if (source.slot != 0) throw Refused(EXDEV, "the source is a file of the past");
    fuse_reply_write(
        req, target.volume->CopyRange(CallerOf(req), source.ino, static_cast<uint64_t>(from_offset),
                                      target.ino, static_cast<uint64_t>(to_offset), length));
  });
}

// Open files have no state here; told so once, the kernel no longer asks. Creating is then lookup
// and mknod.
void OpenIsNotNeeded(fuse_req_t req, fuse_ino_t, fuse_file_info*) { fuse_reply_err(req, ENOSYS); }

// All creates are of O_TMPFILE's unnamed files, but for the first, which is told that it is not
// needed.
void Create(fuse_req_t req, fuse_ino_t parent, const char*, mode_t mode, fuse_file_info* file) {
  if (!CurrentRequest().unnamed) {
    fuse_reply_err(req, ENOSYS);
    return;
  }
  Guard(req, "tmpfile", parent, [&] {
    const Node dir = FindForChange(req, parent);
    const InodeAttr made = dir.volume->CreateUnnamed(CallerOf(req), dir.ino, mode);
    const fuse_entry_param entry = EntryOf(StatOf(dir.IdOf(made.ino), made.inode));
    file->keep_cache = 1;  // as the kernel does for files that it does not ask to open
    ReplyNode(req, entry.ino, [&] { return fuse_reply_create(req, &entry, file); });
  });
}

// Answers a request that is in the journal already; false if it is not. The answer's attributes are
// what they are by now, as those of any answer that was long under way.
bool AnswerAgain(fuse_req_t req, fuse_ino_t id) {
  const JournalledOperations& journalled = StateOf(req).journalled;
  const auto found = journalled.find(CurrentRequest().unique);
  if (found == journalled.end()) return false;
  const JournalledOperation& done = found->second;
  Volume& volume = NodesOf(req).volume();
  const auto entry = [&] {
    const auto inode = volume.FindInode(done.ino);
    return EntryOf(StatOf(done.ino, inode ? *inode : done.inode.value()));
  };
  switch (done.type) {
    case RecordType::kCreate:
    case RecordType::kLink:
      ReplyEntry(req, entry());
      return true;
    case RecordType::kCreateUnnamed: {
      fuse_file_info file{};
      file.keep_cache = 1;
      const fuse_entry_param made = entry();
      ReplyNode(req, made.ino, [&] { return fuse_reply_create(req, &made, &file); });
      return true;
    }
    case RecordType::kSetAttr: {
      const struct stat st = NeedStat(NodesOf(req).Find(id));
      fuse_reply_attr(req, &st, kForever);
      return true;
    }
    case RecordType::kWrite:
    case RecordType::kCopyRange:
      volume.Sync();  // it may have been asked for
      fuse_reply_write(req, done.length);
      return true;
    default:
      fuse_reply_err(req, 0);
      return true;
  }
}

void Init(void*, fuse_conn_info* connection) {
  constexpr unsigned kWanted = FUSE_CAP_ASYNC_READ | FUSE_CAP_ASYNC_DIO | FUSE_CAP_PARALLEL_DIROPS |
                               FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO |
                               FUSE_CAP_NO_OPEN_SUPPORT | FUSE_CAP_NO_OPENDIR_SUPPORT |
                               FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_EXPLICIT_INVAL_DATA |
                               FUSE_CAP_POSIX_ACL | FUSE_CAP_DONT_MASK;
  connection->want =
      connection->capable & kWanted;  // and nothing of what libfuse would ask for by itself
  connection->max_write = kMaxWriteBytes;
  connection->max_background = 64;
  connection->congestion_threshold = 48;
  connection->time_gran = 1;
}

fuse_lowlevel_ops MakeOperations() {
  fuse_lowlevel_ops ops{};
  ops.init = Init;
  ops.lookup = Lookup;
  ops.forget = Forget;
  ops.forget_multi = ForgetMulti;
  ops.getattr = GetAttr;
  ops.setattr = SetAttr;
  ops.readlink = ReadLink;
  ops.mknod = MkNod;
  ops.mkdir = MkDir;
  ops.symlink = SymLink;
  ops.unlink = Unlink;
  ops.rmdir = RmDir;
  ops.rename = Rename;
  ops.link = Link;
  ops.open = OpenIsNotNeeded;
  ops.create = Create;
  ops.opendir = OpenIsNotNeeded;
  ops.read = Read;
  ops.write = Write;
  ops.fsync = FSync;
  ops.fsyncdir = FSync;
  ops.readdir = ReadDir;
  ops.readdirplus = ReadDirPlus;
  ops.statfs = StatFs;
  ops.getxattr = GetXattr;
  ops.listxattr = ListXattr;
  ops.setxattr = SetXattr;
  ops.removexattr = RemoveXattr;
  ops.fallocate = FAllocate;
  ops.lseek = LSeek;
  ops.copy_file_range = CopyFileRange;
  return ops;
}

}  // namespace

bool SessionState::MayLogFull() {
  constexpr int64_t kSecondsBetween = 60;
  using std::chrono::steady_clock;
  const int64_t now =
      std::chrono::duration_cast<std::chrono::seconds>(steady_clock::now().time_since_epoch())
          .count();
  int64_t last = full_logged_at;
  return (last == INT64_MIN || now - last >= kSecondsBetween) &&
         full_logged_at.compare_exchange_strong(last, now);
}

const fuse_lowlevel_ops& SessionOperations() {
  static const fuse_lowlevel_ops operations = MakeOperations();
  return operations;
}

}  // namespace rw
