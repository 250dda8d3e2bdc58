#include "plugin/archive_acl.h"

#include <archive_entry.h>
#include <grp.h>
#include <pwd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <tuple>
#include <vector>

#include "metadata/coding.h"
#include "metadata/quoted.h"
#include "metadata/refused.h"

namespace rw {
namespace {

// Linux's numbers (acl(5), <linux/posix_acl.h>).
constexpr uint32_t kVersion = 2;
constexpr uint32_t kNobody = UINT32_MAX;
struct Tag {
  uint16_t linux_tag;
  int archive_tag;
};
constexpr Tag kTags[] = {{0x01, ARCHIVE_ENTRY_ACL_USER_OBJ},  {0x02, ARCHIVE_ENTRY_ACL_USER},
                         {0x04, ARCHIVE_ENTRY_ACL_GROUP_OBJ}, {0x08, ARCHIVE_ENTRY_ACL_GROUP},
                         {0x10, ARCHIVE_ENTRY_ACL_MASK},      {0x20, ARCHIVE_ENTRY_ACL_OTHER}};

bool NamesSomebody(int tag) {
  return tag == ARCHIVE_ENTRY_ACL_USER || tag == ARCHIVE_ENTRY_ACL_GROUP;
}

// Archives of other programs may have names only.
uint32_t NumberOf(int tag, int id, const char* name) {
  if (id >= 0) return static_cast<uint32_t>(id);
  if (name == nullptr) return kNobody - 1;
  if (tag == ARCHIVE_ENTRY_ACL_USER) {
    if (const passwd* user = getpwnam(name)) return user->pw_uid;
  } else if (const group* found = getgrnam(name)) {
    return found->gr_gid;
  }
  throw Refused(EINVAL, "an ACL for " + Quoted(name) +
                            ", whom this machine does not know; make the archive with numeric "
                            "owners");
}

}  // namespace

void AddAcl(archive_entry* entry, std::string_view xattr, bool is_default) {
  const int type = is_default ? ARCHIVE_ENTRY_ACL_TYPE_DEFAULT : ARCHIVE_ENTRY_ACL_TYPE_ACCESS;
  Decoder decoder(xattr);
  if (decoder.Fixed<uint32_t>() != kVersion) throw Refused(EPROTO, "an ACL of another layout");
  while (!decoder.empty()) {
    const auto linux_tag = decoder.Fixed<uint16_t>();
    const auto permissions = decoder.Fixed<uint16_t>();
    const auto id = decoder.Fixed<uint32_t>();
    const auto* const tag = std::find_if(std::begin(kTags), std::end(kTags), [&](const Tag& each) {
      return each.linux_tag == linux_tag;
    });
    if (tag == std::end(kTags)) throw Refused(EPROTO, "an ACL of another layout");
    archive_entry_acl_add_entry(entry, type, permissions, tag->archive_tag,
                                NamesSomebody(tag->archive_tag) ? static_cast<int>(id) : -1,
                                nullptr);
  }
}

std::optional<std::string> FindAcl(archive_entry* entry, bool is_default) {
  const int wanted = is_default ? ARCHIVE_ENTRY_ACL_TYPE_DEFAULT : ARCHIVE_ENTRY_ACL_TYPE_ACCESS;
  if ((archive_entry_acl_types(entry) & ARCHIVE_ENTRY_ACL_TYPE_NFS4) != 0)
    throw Refused(EINVAL, "an NFSv4 ACL, which volumes do not keep");
  if (archive_entry_acl_reset(entry, wanted) == 0) return std::nullopt;
  std::vector<std::tuple<uint16_t, uint32_t, uint16_t>> entries;
  int type = 0, permissions = 0, tag = 0, id = 0;
  const char* name = nullptr;
  while (archive_entry_acl_next(entry, wanted, &type, &permissions, &tag, &id, &name) == 0) {
    const auto* const known =
        std::find_if(std::begin(kTags), std::end(kTags),
                     [&](const Tag& each) { return each.archive_tag == tag; });
    if (known == std::end(kTags)) throw Refused(EINVAL, "an ACL that volumes do not keep");
    entries.emplace_back(known->linux_tag, NamesSomebody(tag) ? NumberOf(tag, id, name) : kNobody,
                         static_cast<uint16_t>(permissions & 7));
  }
  std::sort(entries.begin(), entries.end());
  std::string xattr;
  PutFixed(&xattr, kVersion);
  for (const auto& [linux_tag, number, bits] : entries) {
    PutFixed(&xattr, linux_tag);
    PutFixed(&xattr, bits);
    PutFixed(&xattr, number);
  }
  return xattr;
}

}  // namespace rw
