// What one volume answers Docker, and what becomes of it: the whole protocol in a page. Knows
// nothing of the product.
#pragma once

#include <compare>
#include <map>
#include <set>
#include <string>

namespace rw::testing {

struct ProtocolCall {
  enum class Kind { kCreate, kRemove, kMount, kUnmount, kGet, kPath };
  Kind kind = Kind::kGet;
  std::string id;       // of mounts
  std::string options;  // of kCreate: a JSON object
};

struct ProtocolAnswer {
  bool done = false;              // else it was refused
  bool mounted = false;           // kMount, kGet, kPath: there is a mountpoint
  std::set<std::string> holders;  // kGet
  friend bool operator==(const ProtocolAnswer&, const ProtocolAnswer&) = default;
};

// A value.
struct VolumeModel {
  bool there = false;
  bool removed = false;  // so lately that another Remove may be the same one again
  std::string options;
  std::map<std::string, int> counts;  // of mounts by who holds them
  auto operator<=>(const VolumeModel&) const = default;

  ProtocolAnswer Do(const ProtocolCall& call);
};

// The environment of a daemon that the model is true for, however long a test takes.
inline const std::map<std::string, std::string> kRemovalsAreNotForgotten = {
    {"REWIND_REPEAT_SECONDS", "86400"}};

std::string ToText(const ProtocolCall& call);
std::string ToText(const ProtocolAnswer& answer);

}  // namespace rw::testing
