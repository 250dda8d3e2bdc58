// Access control lists: Linux's layout of them, which volumes keep, and libarchive's.
#pragma once

#include <optional>
#include <string>
#include <string_view>

struct archive_entry;

namespace rw {

// Adds a list to an entry. Throws Refused(EPROTO) for bytes that are none.
void AddAcl(archive_entry* entry, std::string_view xattr, bool is_default);

// The list of an entry, as fs/acl.h keeps it; nothing if it has none. Throws Refused(EINVAL) for
// one that cannot be kept: of another system, or of somebody whose number nobody here knows.
std::optional<std::string> FindAcl(archive_entry* entry, bool is_default);

}  // namespace rw
