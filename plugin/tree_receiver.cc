#include "plugin/tree_receiver.h"

#include <sys/stat.h>

#include <cerrno>

#include "fs/acl.h"
#include "metadata/quoted.h"
#include "metadata/refused.h"

namespace rw {
namespace {

constexpr size_t kMaxXattrBytes = 8 << 20;  // of one file: far more than a volume takes
constexpr uint32_t kMissingDirectoryMode = 0755;
constexpr size_t kMaxTargetBytes = 4095;

bool IsKind(uint32_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG:
    case S_IFDIR:
    case S_IFLNK:
    case S_IFIFO:
    case S_IFCHR:
    case S_IFBLK:
    case S_IFSOCK:
      return true;
    default:
      return false;
  }
}

}  // namespace

void TreeReceiver::Take(const Frame& frame) {
  try {
    switch (frame.kind) {
      case FrameKind::kNode:
        EndNode();
        return TakeNode(frame.payload);
      case FrameKind::kLink:
        EndNode();
        return TakeLink(frame.payload);
      case FrameKind::kXattr:
        return TakeXattr(frame.payload);
      case FrameKind::kData:
        return TakeData(frame.payload);
      case FrameKind::kRanges:  // what is not written is a hole anyway
        return;
      default:
        throw Refused(EPROTO, "a frame that has no place here");
    }
  } catch (const Refused& refused) {
    throw Refused(refused.error(), Quoted(current_) + ": " + refused.what());
  }
}

void TreeReceiver::Finish() {
  EndNode();
  // Those deeper down do not touch those above any more: nothing is made.
  for (const LateAttributes& late : late_) {
    if (!volume_->FindInode(late.ino)) continue;  // something else took its place
    if (!late.default_acl.empty())
      volume_->SetXattr({}, late.ino, kDefaultAcl, late.default_acl, 0);
    AttrChange change;
    change.atime = late.atime;
    change.mtime = late.mtime;
    volume_->SetAttr({}, late.ino, change);
  }
}

void TreeReceiver::TakeNode(std::string_view payload) {
  StreamNode node = DecodeNode(payload);
  current_ = node.path;
  if (!IsKind(node.mode)) throw Refused(EINVAL, "a kind of file that volumes do not know");
  if (node.size > kMaxFileSize) throw Refused(EFBIG, "larger than a file can be");
  if (S_ISLNK(node.mode) && (node.target.empty() || node.target.size() > kMaxTargetBytes ||
                             node.target.find('\0') != std::string::npos))
    throw Refused(EINVAL, "a symlink's target has 1 to 4095 bytes other than NUL");
  const bool is_directory = S_ISDIR(node.mode);
  if (node.path.empty()) {
    if (!is_directory) throw Refused(ENOTDIR, "the root of a volume is a directory");
    ino_ = kRootIno;
  } else {
    const auto [parent, name] = Place(node.path);
    const std::optional<Ino> there = MakeWay(parent, name, is_directory);
    Caller owner;
    owner.uid = node.uid;
    owner.gid = node.gid;
    ino_ = there ? *there
                 : volume_->Create(owner, parent, name, node.mode, node.rdev, node.target).ino;
  }
  ++nodes_;
  node_ = std::move(node);
}

void TreeReceiver::TakeXattr(std::string_view payload) {
  if (!node_) throw Refused(EPROTO, "an xattr of nothing");
  const auto [name, value] = DecodeXattr(payload);
  xattr_bytes_ += name.size() + value.size();
  if (xattr_bytes_ > kMaxXattrBytes) throw Refused(E2BIG, "too many xattrs");
  xattrs_.emplace_back(name, value);
}

void TreeReceiver::TakeData(std::string_view payload) {
  if (!node_ || !S_ISREG(node_->mode)) throw Refused(EPROTO, "contents of what has none");
  const auto [offset, data] = DecodeData(payload);
  if (offset > node_->size || data.size() > node_->size - offset)
    throw Refused(EINVAL, "contents beyond the size that it says");
  if (data.empty()) return;
  need_room_(bytes_);
  volume_->Write({}, ino_, offset, data, false);
  bytes_ += data.size();
}

void TreeReceiver::TakeLink(std::string_view payload) {
  const StreamLink link = DecodeLink(payload);
  current_ = link.path;
  const auto [target_parent, target_name] = Place(link.target);
  const auto target = volume_->Lookup(target_parent, target_name);
  if (!target)
    throw Refused(ENOENT,
                  "a hard link to " + Quoted(link.target) + ", which is not there before it");
  if (target->inode.is_dir()) throw Refused(EPERM, "a hard link to a directory");
  const auto [parent, name] = Place(link.path);
  if (const auto there = volume_->Lookup(parent, name); there && there->ino == target->ino) return;
  MakeWay(parent, name, false);
  volume_->Link({}, target->ino, parent, name);
}

void TreeReceiver::EndNode() {
  if (!node_) return;
  const StreamNode node = *std::move(node_);
  node_.reset();
  const Inode now = volume_->FindInode(ino_).value_or(Inode{});
  // Those who own it are changed first: that takes setuid and setgid away.
  AttrChange owner;
  if (now.uid != node.uid) owner.uid = node.uid;
  if (now.gid != node.gid) owner.gid = node.gid;
  if (owner.uid || owner.gid) volume_->SetAttr({}, ino_, owner);
  AttrChange change;
  if (!S_ISLNK(node.mode)) change.mode = node.mode & 07777;
  if (S_ISREG(node.mode)) change.size = node.size;
  change.atime = node.atime;
  change.mtime = node.mtime;
  volume_->SetAttr({}, ino_, change);
  if (S_ISDIR(node.mode)) late_.push_back({ino_, node.atime, node.mtime, ""});
  for (const auto& [name, value] : xattrs_) SetXattr(name, value);
  xattrs_.clear();
  xattr_bytes_ = 0;
}

void TreeReceiver::SetXattr(const std::string& name, const std::string& value) {
  if (name == kDefaultAcl && !late_.empty() && late_.back().ino == ino_) {
    Acl::Parse(value);  // refused here, where the path is known
    late_.back().default_acl = value;
    return;
  }
  try {
    volume_->SetXattr({}, ino_, name, value, 0);
  } catch (const Refused& refused) {
    if (refused.error() != EOPNOTSUPP) throw;
    ++foreign_xattrs_;  // of another system's
  }
}

std::pair<Ino, std::string> TreeReceiver::Place(const std::string& path) {
  const auto refuse = [](const char* why) { throw Refused(EINVAL, why); };
  if (path.empty()) refuse("the root of the volume cannot be that");
  if (path.front() == '/') refuse("an absolute path; accepted are paths from the volume's root");
  if (path.find('\0') != std::string::npos) refuse("a name with a NUL");
  const size_t slash = path.rfind('/');
  std::string name = path.substr(slash == std::string::npos ? 0 : slash + 1);
  const std::string directory = slash == std::string::npos ? "" : path.substr(0, slash);
  if (name.empty() || name == "." || name == "..") refuse("not a path within the volume");
  if (directory != last_directory_.first || last_directory_.second == 0) {
    Ino ino = kRootIno;
    for (size_t from = 0; from < directory.size();) {
      const size_t end = std::min(directory.find('/', from), directory.size());
      const std::string part = directory.substr(from, end - from);
      if (part.empty() || part == "." || part == "..") refuse("not a path within the volume");
      ino = NeedDirectory(ino, part);
      from = end + 1;
    }
    last_directory_ = {directory, ino};
  }
  return {last_directory_.second, std::move(name)};
}

Ino TreeReceiver::NeedDirectory(Ino parent, const std::string& name) {
  const auto found = volume_->Lookup(parent, name);
  if (!found) return volume_->Create({}, parent, name, S_IFDIR | kMissingDirectoryMode).ino;
  if (found->inode.is_symlink()) {
    throw Refused(ELOOP,
                  "a path through the symlink " + Quoted(name) + ", which is never followed");
  }
  if (!found->inode.is_dir()) throw Refused(ENOTDIR, Quoted(name) + " is not a directory");
  return found->ino;
}

std::optional<Ino> TreeReceiver::MakeWay(Ino parent, const std::string& name, bool for_directory) {
  const auto there = volume_->Lookup(parent, name);
  if (!there) return std::nullopt;
  if (there->inode.is_dir()) {
    if (for_directory) return there->ino;
    volume_->Rmdir({}, parent, name);
    last_directory_ = {};
  } else {
    volume_->Unlink({}, parent, name);
  }
  volume_->Forget(there->ino);
  return std::nullopt;
}

}  // namespace rw
