// Operations on attributes and extended attributes, and the ends of inodes.
#include <errno.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "fs/acl.h"
#include "fs/transaction.h"
#include "metadata/coding.h"
#include "metadata/refused.h"

namespace rw {
namespace {

constexpr size_t kMaxXattrValueBytes = 65536;

}  // namespace

// The kernel hands every name to FUSE; for a local filesystem it does this itself.
void ViewVolume::CheckXattrName(std::string_view name) {
  if (name.empty() || name.size() > kMaxNameBytes)
    throw Refused(ERANGE, "an xattr's name has 1 to 255 bytes");
  if (name == kAccessAcl || name == kDefaultAcl) return;
  for (const std::string_view space : {"user.", "trusted.", "security."}) {
    if (!name.starts_with(space)) continue;
    if (name == space) throw Refused(EINVAL, "an xattr's namespace without a name");
    return;
  }
  throw Refused(EOPNOTSUPP, "xattrs are user., trusted. or security., or ACLs");
}

Inode ViewVolume::SetAttr(const Caller& caller, Ino ino, const AttrChange& wanted) {
  Transaction change(this, caller, RecordType::kSetAttr);
  Inode& inode = change.Stage(ino);
  if (wanted.size) {
    NeedRegular(ino);
    ResizeFile(&change, ino, *wanted.size);
    if (wanted.kill_suid_sgid) change.ClearSuidSgid(ino);
  }
  if (wanted.uid || wanted.gid) {
    inode.uid = wanted.uid.value_or(inode.uid);
    inode.gid = wanted.gid.value_or(inode.gid);
    change.ClearSuidSgid(ino);
    if (!inode.is_dir()) change.DropCapability(ino);
  }
  if (wanted.mode) {
    inode.mode = (inode.mode & S_IFMT) | (*wanted.mode & 07777);
    if (inode.has_access_acl) {
      Acl acl = NeedAcl(ino, kAccessAcl);
      acl.SetMode(inode.mode);
      change.PutXattr(ino, kAccessAcl, acl.Encode());
    }
  }
  if (wanted.atime_now) inode.atime = change.now();
  if (wanted.mtime_now) inode.mtime = change.now();
  if (wanted.atime) inode.atime = *wanted.atime;
  if (wanted.mtime) inode.mtime = *wanted.mtime;
  inode.ctime = change.now();
  Inode result = inode;
  change.Commit();
  return result;
}

void ViewVolume::SetXattr(const Caller& caller, Ino ino, std::string_view name,
                          std::string_view value, int flags, bool kill_sgid) {
  CheckXattrName(name);
  if (value.size() > kMaxXattrValueBytes)
    throw Refused(E2BIG, "an xattr's value has at most 64 KiB");
  const bool is_acl = name == kAccessAcl || name == kDefaultAcl;
  Transaction change(this, caller, RecordType::kSetXattr);
  Inode& inode = change.Stage(ino);
  const bool present = view_->FindXattr(ino, name).has_value();
  if (flags == XATTR_CREATE && present) throw Refused(EEXIST, "the xattr exists");
  if (flags == XATTR_REPLACE && !present) throw Refused(ENODATA, "no such xattr");
  inode.ctime = change.now();
  if (name == kCapabilityXattr) inode.has_capability = true;
  if (is_acl) {
    SetAcl(&change, ino, name, value, kill_sgid);
  } else {
    change.PutXattr(ino, name, std::string(value));
  }
  change.Commit();
}

void ViewVolume::SetAcl(Transaction* change, Ino ino, std::string_view name, std::string_view value,
                        bool kill_sgid) {
  Inode& inode = change->Stage(ino);
  if (inode.is_symlink()) throw Refused(EOPNOTSUPP, "a symlink has no ACL");
  if (name == kDefaultAcl && !inode.is_dir())
    throw Refused(EACCES, "only a directory has a default ACL");
  const Acl acl = Acl::Parse(value);
  if (name == kDefaultAcl) {
    inode.has_default_acl = true;
    change->PutXattr(ino, name, acl.Encode());
    return;
  }
  inode.mode = (inode.mode & ~uint32_t{0777}) | acl.ModeBits();
  if (kill_sgid) inode.mode &= ~uint32_t{S_ISGID};
  // What says no more than the mode lives on in the mode.
  if (!acl.minimal() || inode.has_access_acl)
    change->PutXattr(ino, name, acl.minimal() ? std::nullopt : std::optional(acl.Encode()));
  inode.has_access_acl = !acl.minimal();
}

Acl ViewVolume::NeedAcl(Ino ino, std::string_view name) {
  const auto value = view_->FindXattr(ino, name);
  try {
    if (value) return Acl::Parse(*value);
  } catch (const Refused&) {  // it was checked when it was set
  }
  throw Refused(EIO, "damaged: an inode without the ACL that it says it has");
}

void ViewVolume::RemoveXattr(const Caller& caller, Ino ino, std::string_view name) {
  CheckXattrName(name);
  const bool is_acl = name == kAccessAcl || name == kDefaultAcl;
  Transaction change(this, caller, RecordType::kRemoveXattr);
  Inode& inode = change.Stage(ino);
  if (!view_->FindXattr(ino, name)) {
    if (is_acl && inode.is_symlink()) throw Refused(EOPNOTSUPP, "a symlink has no ACL");
    if (is_acl) return;
    throw Refused(ENODATA, "no such xattr");
  }
  inode.ctime = change.now();
  if (name == kCapabilityXattr) inode.has_capability = false;
  if (name == kAccessAcl) inode.has_access_acl = false;
  if (name == kDefaultAcl) inode.has_default_acl = false;
  change.PutXattr(ino, name, std::nullopt);
  change.Commit();
}

void ViewVolume::LoadOrphans() {
  const std::string prefix = TypePrefix(KeyType::kOrphan, timeline_->record().id);
  const auto cursor = context_.index->NewCursor(prefix);
  for (cursor->Seek(prefix); cursor->Valid(); cursor->Next()) {
    const std::string_view key = cursor->key();
    if (key.size() != prefix.size() + sizeof(Ino)) Decoder::Fail();
    orphans_.insert(GetBigEndian<Ino>(key.data() + prefix.size()));
  }
}

void ViewVolume::DropCaches() {
  ++changes_;
  inodes_.Clear();
  chunks_.Clear();
  orphans_.clear();
  full_unlinked_ = true;
  LoadOrphans();
}

void ViewVolume::Forget(Ino ino) {
  if (timeline_ == nullptr) return;
  {
    const std::lock_guard lock(mutex());
    if (!orphans_.contains(ino)) return;
  }
  Transaction change(this, {}, RecordType::kForget);
  if (!orphans_.contains(ino) || staging_.contains(ino)) return;
  // What lies in it goes first: who took it away is at it, or whoever comes next will be.
  if (const Inode& inode = change.Stage(ino); inode.is_dir() && inode.size != 0) return;
  change.End(ino);
  change.Commit();
}

void ViewVolume::ForgetAll() {
  if (timeline_ == nullptr) return;
  std::vector<Ino> orphans;
  {
    const std::lock_guard lock(mutex());
    orphans.assign(orphans_.begin(), orphans_.end());
  }
  EmptyUnlinked(nullptr, UINT64_MAX);
  for (const Ino ino : orphans) Forget(ino);
}

void ViewVolume::NoteHolder(std::string_view holder, bool mounted) {
  if (timeline_ == nullptr) return;
  Transaction note(this, {}, mounted ? RecordType::kMount : RecordType::kUnmount);
  note.SetHolder(holder);
  note.Commit();
}

void ViewVolume::Sync() {
  if (timeline_ != nullptr) timeline_->Sync();
}

}  // namespace rw
