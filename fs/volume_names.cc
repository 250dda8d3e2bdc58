// Operations on names.
#include <errno.h>
#include <linux/fs.h>
#include <sys/stat.h>

#include "fs/acl.h"
#include "fs/transaction.h"
#include "metadata/refused.h"

namespace rw {
namespace {

constexpr std::string_view kHiddenName = ".rewind";  // at a volume's root: the way into the past

void CheckNewName(Ino parent, std::string_view name) {
  if (name.empty()) throw Refused(ENOENT, "an empty name");
  if (name == "." || name == "..") throw Refused(EEXIST, "names itself or its parent");
  if (name.size() > kMaxNameBytes) throw Refused(ENAMETOOLONG, "a name has at most 255 bytes");
  if (name.find('/') != name.npos || name.find('\0') != name.npos)
    throw Refused(EINVAL, "a name holds no / and no NUL");
  if (parent == kRootIno && name == kHiddenName)
    throw Refused(EPERM, ".rewind is the way into the volume's past");
}

void CheckOldName(std::string_view name, int dot_error) {
  if (name == "." || name == "..") throw Refused(dot_error, "names itself or its parent");
}

uint32_t TypeOf(const Inode& inode) { return inode.mode & S_IFMT; }

}  // namespace

void ViewVolume::MakeRoot(uint32_t mode, uint32_t uid, uint32_t gid) {
  Transaction change(this, {}, RecordType::kMakeRoot);
  Inode root;
  root.mode = S_IFDIR | (mode & 07777);
  root.uid = uid;
  root.gid = gid;
  root.nlink = 2;
  root.parent = kRootIno;
  root.atime = root.mtime = root.ctime = change.now();
  change.StageNew(kRootIno, root);
  change.Commit();
}

InodeAttr ViewVolume::Create(const Caller& caller, Ino parent, std::string_view name, uint32_t mode,
                             uint32_t rdev, std::string_view target) {
  Transaction change(this, caller, RecordType::kCreate);
  const Inode dir = NeedDirectory(parent);
  CheckNewName(parent, name);
  if (dir.nlink == 0) throw Refused(ENOENT, "the directory was removed");
  if (LoadName(parent, name)) throw Refused(EEXIST, "the name exists");

  const Ino ino = timeline_->NextIno();
  Inode& inode = StageNewIn(&change, caller, parent, ino, mode);
  inode.nlink = inode.is_dir() ? 2 : 1;
  if (inode.is_dir()) inode.parent = parent;
  if (S_ISCHR(mode) || S_ISBLK(mode)) inode.rdev = rdev;
  if (inode.is_symlink()) {
    inode.target = target;
    inode.size = target.size();
  }
  change.PutName(parent, name, ino, TypeOf(inode));
  change.TouchDirectory(parent, 1);
  if (inode.is_dir()) ++change.Stage(parent).nlink;
  const Inode result = inode;
  change.Commit();
  return {ino, result};
}

InodeAttr ViewVolume::CreateUnnamed(const Caller& caller, Ino parent, uint32_t mode) {
  Transaction change(this, caller, RecordType::kCreateUnnamed);
  if (NeedDirectory(parent).nlink == 0) throw Refused(ENOENT, "the directory was removed");
  const Ino ino = timeline_->NextIno();
  const Inode result =
      StageNewIn(&change, caller, parent, ino, S_IFREG | (mode & ~uint32_t{S_IFMT}));
  change.Commit();
  return {ino, result};
}

Inode& ViewVolume::StageNewIn(Transaction* change, const Caller& caller, Ino parent, Ino ino,
                              uint32_t mode) {
  const Inode& dir = change->Stage(parent);
  Inode& inode = change->StageNew(ino, {});
  inode.mode = mode;
  inode.uid = caller.uid;
  inode.gid = caller.gid;
  if ((dir.mode & S_ISGID) != 0) {
    inode.gid = dir.gid;
    if (inode.is_dir()) inode.mode |= S_ISGID;
  }
  inode.atime = inode.mtime = inode.ctime = change->now();
  if (inode.is_symlink()) return inode;
  if (!dir.has_default_acl) {
    inode.mode &= ~(caller.umask & 0777);
    return inode;
  }
  Acl acl = NeedAcl(parent, kDefaultAcl);
  if (inode.is_dir()) {
    change->PutXattr(ino, kDefaultAcl, acl.Encode());
    inode.has_default_acl = true;
  }
  acl.Inherit(&inode.mode);
  if (!acl.minimal()) {
    change->PutXattr(ino, kAccessAcl, acl.Encode());
    inode.has_access_acl = true;
  }
  return inode;
}

void ViewVolume::Unlink(const Caller& caller, Ino parent, std::string_view name) {
  Transaction change(this, caller, RecordType::kUnlink);
  NeedDirectory(parent);
  CheckOldName(name, EISDIR);
  const ViewName found = NeedName(parent, name);
  if (found.type == S_IFDIR) throw Refused(EISDIR, "is a directory");
  change.EndName(parent, name);
  change.TouchDirectory(parent, -1);
  change.DropLink(found.ino);
  change.Commit();
}

void ViewVolume::Rmdir(const Caller& caller, Ino parent, std::string_view name) {
  Transaction change(this, caller, RecordType::kRmdir);
  NeedDirectory(parent);
  CheckOldName(name, name == "." ? EINVAL : ENOTEMPTY);
  const ViewName found = NeedName(parent, name);
  if (found.type != S_IFDIR) throw Refused(ENOTDIR, "not a directory");
  if (NeedInode(found.ino).size != 0) throw Refused(ENOTEMPTY, "the directory is not empty");
  change.EndName(parent, name);
  change.TouchDirectory(parent, -1);
  --change.Stage(parent).nlink;
  change.DropLink(found.ino);
  change.Commit();
}

bool ViewVolume::IsAncestor(Ino ancestor, Ino dir) {
  while (dir != ancestor) {
    if (dir == kRootIno) return false;
    dir = NeedInode(dir).parent;
  }
  return true;
}

void ViewVolume::Rename(const Caller& caller, Ino parent, std::string_view name, Ino new_parent,
                        std::string_view new_name, unsigned flags) {
  constexpr unsigned kMoving = RENAME_NOREPLACE | RENAME_WHITEOUT;
  if (flags != RENAME_EXCHANGE && (flags & ~kMoving) != 0)
    throw Refused(EINVAL, "rename flags: NOREPLACE, WHITEOUT, or EXCHANGE alone");
  const bool exchange = flags == RENAME_EXCHANGE;
  const bool whiteout = (flags & RENAME_WHITEOUT) != 0;
  Transaction change(this, caller, RecordType::kRename);
  NeedDirectory(parent);
  const Inode new_dir = NeedDirectory(new_parent);
  CheckOldName(name, EBUSY);
  CheckOldName(new_name, EBUSY);
  const ViewName moved = NeedName(parent, name);
  CheckNewName(new_parent, new_name);
  if (new_dir.nlink == 0) throw Refused(ENOENT, "the directory was removed");
  const auto replaced = LoadName(new_parent, new_name);
  if (exchange && !replaced) throw Refused(ENOENT, "nothing to exchange with");
  if ((flags & RENAME_NOREPLACE) != 0 && replaced) throw Refused(EEXIST, "the new name exists");

  const bool moves_dir = moved.type == S_IFDIR;
  const bool replaces_dir = replaced && replaced->type == S_IFDIR;
  if (moves_dir && IsAncestor(moved.ino, new_parent))
    throw Refused(EINVAL, "a directory cannot move into itself");
  if (exchange && replaces_dir && IsAncestor(replaced->ino, parent)) {
    throw Refused(EINVAL, "a directory cannot move into itself");
  }
  if (replaced && replaced->ino == moved.ino)
    return;  // two names of one inode, or one name: nothing to do
  if (replaced && !exchange) {
    if (replaces_dir && IsAncestor(replaced->ino, parent))
      throw Refused(ENOTEMPTY, "the directory is not empty");
    if (moves_dir && !replaces_dir) throw Refused(ENOTDIR, "the new name is not a directory");
    if (!moves_dir && replaces_dir) throw Refused(EISDIR, "the new name is a directory");
    if (replaces_dir && NeedInode(replaced->ino).size != 0)
      throw Refused(ENOTEMPTY, "the directory is not empty");
  }

  change.Stage(moved.ino).ctime = change.now();
  if (exchange) {
    change.Stage(replaced->ino).ctime = change.now();
    change.PutName(parent, name, replaced->ino, replaced->type);
    change.TouchDirectory(parent, 0);
    change.TouchDirectory(new_parent, 0);
    if (replaces_dir) {
      change.Stage(replaced->ino).parent = parent;
      --change.Stage(new_parent).nlink;
      ++change.Stage(parent).nlink;
    }
  } else {
    if (whiteout) {
      const Ino left = timeline_->NextIno();
      StageNewIn(&change, caller, parent, left, S_IFCHR).nlink = 1;
      change.PutName(parent, name, left, S_IFCHR);
    } else {
      change.EndName(parent, name);
    }
    change.TouchDirectory(parent, whiteout ? 0 : -1);
    change.TouchDirectory(new_parent, replaced ? 0 : 1);
    if (replaced) change.DropLink(replaced->ino);
    if (replaces_dir) --change.Stage(new_parent).nlink;
  }
  change.PutName(new_parent, new_name, moved.ino, moved.type);
  if (moves_dir) {
    change.Stage(moved.ino).parent = new_parent;
    --change.Stage(parent).nlink;
    ++change.Stage(new_parent).nlink;
  }
  change.Commit();
}

InodeAttr ViewVolume::Link(const Caller& caller, Ino ino, Ino new_parent,
                           std::string_view new_name) {
  Transaction change(this, caller, RecordType::kLink);
  Inode& inode = change.Stage(ino);
  if (inode.is_dir()) throw Refused(EPERM, "a directory has one name");
  const Inode dir = NeedDirectory(new_parent);
  CheckNewName(new_parent, new_name);
  if (dir.nlink == 0) throw Refused(ENOENT, "the directory was removed");
  if (LoadName(new_parent, new_name)) throw Refused(EEXIST, "the name exists");
  if (inode.nlink == 0) change.Adopt(ino);
  if (inode.nlink == UINT32_MAX) throw Refused(EMLINK, "too many links");
  ++inode.nlink;
  inode.ctime = change.now();
  change.PutName(new_parent, new_name, ino, TypeOf(inode));
  change.TouchDirectory(new_parent, 1);
  const Inode result = inode;
  change.Commit();
  return {ino, result};
}

}  // namespace rw
