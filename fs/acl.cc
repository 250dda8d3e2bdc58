#include "fs/acl.h"

#include <errno.h>

#include <array>
#include <cstring>

#include "metadata/refused.h"

namespace rw {
namespace {

// The layout of Linux's xattrs: a version, then entries; all little-endian.
constexpr uint32_t kVersion = 2;
constexpr size_t kHeaderBytes = 4;
constexpr size_t kEntryBytes = 8;

enum Tag : uint16_t {
  kOwner = 0x01,
  kUser = 0x02,  // named, as is kGroup
  kOwningGroup = 0x04,
  kGroup = 0x08,
  kMask = 0x10,
  kOthers = 0x20,
};
constexpr uint32_t kNoId = UINT32_MAX;  // of entries that name nobody
constexpr uint16_t kAllPermissions = 7;

[[noreturn]] void RefuseAcl(const char* why) { throw Refused(EINVAL, why); }

template <typename T>
T GetLittleEndian(const char* at) {
  T value = 0;
  for (size_t i = sizeof(T); i-- > 0;)
    value = static_cast<T>(value << 8 | static_cast<uint8_t>(at[i]));
  return value;
}

template <typename T>
void PutLittleEndian(std::string* out, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) out->push_back(static_cast<char>(value >> (8 * i)));
}

bool NamesSomebody(uint16_t tag) { return tag == kUser || tag == kGroup; }

}  // namespace

Acl Acl::Parse(std::string_view xattr) {
  if (xattr.size() < kHeaderBytes || (xattr.size() - kHeaderBytes) % kEntryBytes != 0)
    RefuseAcl("not the size of an access control list");
  if (GetLittleEndian<uint32_t>(xattr.data()) != kVersion)
    throw Refused(EOPNOTSUPP, "an access control list in another layout");
  Acl acl;
  for (size_t at = kHeaderBytes; at < xattr.size(); at += kEntryBytes) {
    Entry entry;
    entry.tag = GetLittleEndian<uint16_t>(xattr.data() + at);
    entry.permissions = GetLittleEndian<uint16_t>(xattr.data() + at + 2);
    // What is not an id may hold anything.
    if (NamesSomebody(entry.tag)) entry.id = GetLittleEndian<uint32_t>(xattr.data() + at + 4);
    acl.entries_.push_back(entry);
  }
  acl.Check();
  return acl;
}

void Acl::Check() const {
  std::array<size_t, kOthers + 1> count{};
  const Entry* before = nullptr;
  for (const Entry& entry : entries_) {
    if (entry.tag == 0 || entry.tag > kOthers || (entry.tag & (entry.tag - 1)) != 0)
      RefuseAcl("an entry of an unknown kind");
    if (entry.permissions > kAllPermissions) RefuseAcl("an entry with unknown permissions");
    if (NamesSomebody(entry.tag) && entry.id == kNoId) RefuseAcl("an entry that names nobody");
    const bool ordered =
        before == nullptr || before->tag < entry.tag ||
        (before->tag == entry.tag && NamesSomebody(entry.tag) && before->id < entry.id);
    if (!ordered) RefuseAcl("entries out of order, or twice");
    ++count[entry.tag];
    before = &entry;
  }
  if (count[kOwner] == 0 || count[kOwningGroup] == 0 || count[kOthers] == 0)
    RefuseAcl("no entry for owner, group or others");
  if (count[kUser] + count[kGroup] > 0 && count[kMask] == 0)
    RefuseAcl("named entries without a mask");
}

std::string Acl::Encode() const {
  std::string out;
  PutLittleEndian(&out, kVersion);
  for (const Entry& entry : entries_) {
    PutLittleEndian(&out, entry.tag);
    PutLittleEndian(&out, entry.permissions);
    PutLittleEndian(&out, NamesSomebody(entry.tag) ? entry.id : kNoId);
  }
  return out;
}

Acl::Entry* Acl::Find(uint16_t tag) {
  for (Entry& entry : entries_) {
    if (entry.tag == tag) return &entry;
  }
  return nullptr;
}

Acl::Entry* Acl::GroupClass() {
  Entry* mask = Find(kMask);
  return mask != nullptr ? mask : Find(kOwningGroup);
}

uint32_t Acl::ModeBits() const {
  const Entry* mask = Find(kMask);
  const Entry* group = mask != nullptr ? mask : Find(kOwningGroup);
  return static_cast<uint32_t>(Find(kOwner)->permissions) << 6 |
         static_cast<uint32_t>(group->permissions) << 3 | Find(kOthers)->permissions;
}

void Acl::SetMode(uint32_t mode) {
  Find(kOwner)->permissions = mode >> 6 & kAllPermissions;
  GroupClass()->permissions = mode >> 3 & kAllPermissions;
  Find(kOthers)->permissions = mode & kAllPermissions;
}

void Acl::Inherit(uint32_t* mode) {
  SetMode(*mode & ModeBits());
  *mode = (*mode & ~0777U) | ModeBits();
}

}  // namespace rw
