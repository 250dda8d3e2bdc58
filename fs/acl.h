// POSIX access control lists (POSIX.1e draft 17; acl(5)): who may do what with a file beyond its
// owner, group and others. Stored and passed on as the xattrs that Linux makes of them:
// `system.posix_acl_access`, and `system.posix_acl_default` of a directory, which is what is made
// in it starts with.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace rw {

inline constexpr std::string_view kAccessAcl = "system.posix_acl_access";
inline constexpr std::string_view kDefaultAcl = "system.posix_acl_default";

// A value. It always has entries for owner, group and others, and a mask if it names anybody.
class Acl {
 public:
  // Throws Refused(EINVAL) unless `xattr` is a valid list; EOPNOTSUPP if it is in another layout.
  static Acl Parse(std::string_view xattr);
  std::string Encode() const;

  // True if it says no more than permission bits can: such a list is not kept.
  bool minimal() const { return entries_.size() == 3; }
  // Permission bits that stand for it in a file's mode: owner, mask (or group), others.
  uint32_t ModeBits() const;

  // What chmod to `mode` makes of it.
  void SetMode(uint32_t mode);
  // Makes a directory's default list the access list of what is created in it with `mode`: neither
  // grants what the other withholds. `mode`'s permission bits become those of the list.
  void Inherit(uint32_t* mode);

 private:
  struct Entry {
    uint16_t tag = 0;
    uint16_t permissions = 0;
    uint32_t id = 0;
  };

  void Check() const;
  Entry* Find(uint16_t tag);
  const Entry* Find(uint16_t tag) const { return const_cast<Acl*>(this)->Find(tag); }
  // The entry that the mode's group bits stand for.
  Entry* GroupClass();

  std::vector<Entry> entries_;  // sorted by tag, then id, as Linux wants them
};

}  // namespace rw
