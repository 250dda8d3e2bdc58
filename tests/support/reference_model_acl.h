// Access control lists of the reference model: the xattrs' bytes, edited in place.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace rw::testing {

inline constexpr char kModelAccessAcl[] = "system.posix_acl_access";
inline constexpr char kModelDefaultAcl[] = "system.posix_acl_default";

struct ModelAclEntry {
  uint16_t tag = 0, permissions = 0;
  uint32_t id = UINT32_MAX;
};

std::string EncodeModelAcl(const std::vector<ModelAclEntry>& entries);

// 0, or the errno that Linux refuses the value with.
int CheckModelAcl(const std::string& value);

// Of valid lists:
uint32_t ModelAclMode(const std::string& value);  // the nine permission bits
bool IsMinimalModelAcl(const std::string& value);
std::string ChmodModelAcl(std::string value, uint32_t mode);

}  // namespace rw::testing
