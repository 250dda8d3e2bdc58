#include "tests/support/reference_model_acl.h"

#include <errno.h>
#include <string.h>

#include <map>

namespace rw::testing {
namespace {

constexpr char kVersion[] = {2, 0, 0, 0};

// Where the permissions of the entries lie that a mode's bits stand for.
struct ModePlaces {
  size_t owner = 0, group = 0, mask = 0, others = 0;
  size_t group_class() const { return mask != 0 ? mask : group; }
};

ModePlaces FindPlaces(const std::string& value) {
  ModePlaces places;
  for (size_t at = 4; at < value.size(); at += 8) {
    if (value[at] == 1) places.owner = at + 2;
    if (value[at] == 4) places.group = at + 2;
    if (value[at] == 16) places.mask = at + 2;
    if (value[at] == 32) places.others = at + 2;
  }
  return places;
}

std::vector<ModelAclEntry> Decode(const std::string& value) {
  std::vector<ModelAclEntry> entries((value.size() - 4) / 8);
  for (size_t i = 0; i < entries.size(); ++i) memcpy(&entries[i], value.data() + 4 + 8 * i, 8);
  return entries;
}

}  // namespace

std::string EncodeModelAcl(const std::vector<ModelAclEntry>& entries) {
  static_assert(sizeof(ModelAclEntry) == 8);
  std::string value(kVersion, sizeof(kVersion));
  for (const ModelAclEntry& entry : entries)
    value.append(reinterpret_cast<const char*>(&entry), sizeof(entry));
  return value;
}

int CheckModelAcl(const std::string& value) {
  if (value.size() < 4 || value.size() % 8 != 4) return EINVAL;
  if (memcmp(value.data(), kVersion, 4) != 0) return EOPNOTSUPP;
  std::map<int, int> count;
  std::pair<int, uint32_t> last{0, 0};
  for (const ModelAclEntry& entry : Decode(value)) {
    const bool named = entry.tag == 2 || entry.tag == 8;
    const std::pair<int, uint32_t> here{entry.tag, named ? entry.id : 0};
    if (here <= last || entry.permissions > 7) return EINVAL;
    if (named && entry.id == UINT32_MAX) return EINVAL;
    last = here;
    ++count[entry.tag];
  }
  for (const auto& [tag, times] : count) {
    if (std::map<int, int>{{1, 0}, {2, 0}, {4, 0}, {8, 0}, {16, 0}, {32, 0}}.count(tag) == 0)
      return EINVAL;
  }
  if (count[1] != 1 || count[4] != 1 || count[32] != 1) return EINVAL;
  return count[2] + count[8] > 0 && count[16] == 0 ? EINVAL : 0;
}

uint32_t ModelAclMode(const std::string& value) {
  const ModePlaces places = FindPlaces(value);
  return static_cast<uint32_t>(value[places.owner] << 6 | value[places.group_class()] << 3 |
                               value[places.others]);
}

bool IsMinimalModelAcl(const std::string& value) { return value.size() == 4 + 3 * 8; }

std::string ChmodModelAcl(std::string value, uint32_t mode) {
  const ModePlaces places = FindPlaces(value);
  value[places.owner] = static_cast<char>(mode >> 6 & 7);
  value[places.group_class()] = static_cast<char>(mode >> 3 & 7);
  value[places.others] = static_cast<char>(mode & 7);
  return value;
}

}  // namespace rw::testing
