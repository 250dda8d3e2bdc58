// A mount as it is kept beyond the end of the daemon that made it: in the supervisor's memory,
// because it has to last exactly as long as the kernel's mount does.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "fs/session.h"
#include "metadata/instant.h"

namespace rw {

struct KeptMount {
  uint64_t volume = 0;        // its id, which is never used again
  std::string name;           // of the volume
  std::optional<Instant> at;  // the instant shown, if not what the name is bound to
  std::string mountpoint;     // what the mount is known by
  std::string source;
  std::string device;                 // as MountEntry::device
  std::map<std::string, int> counts;  // who holds it
  // IDs that have just been counted (1, or more if several have asked at once) or discounted (-1)
  // without its being known whether the one who asked has had the answer. If not, the same request
  // comes again.
  std::map<std::string, int> unanswered;
  SessionRemains remains;
};

class MountKeeper {
 public:
  virtual ~MountKeeper() = default;

  // What is put is safe from this process's end when the call returns. The descriptors are put once
  // for a mount and stay the caller's.
  virtual void Put(const KeptMount& mount, bool with_descriptors) = 0;
  // As SessionOptions::on_view, of the mount at `mountpoint`.
  virtual void PutView(const std::string& mountpoint, uint64_t slot, std::optional<Instant> at) = 0;
  virtual void Drop(const std::string& mountpoint) = 0;
  // A volume that is about to be removed, for as long as the request may come again.
  virtual void PutRemoval(const std::string& name) = 0;
  virtual void DropRemoval(const std::string& name) = 0;
  // Asks for this process to be replaced by the program that is at its path now, which ends it.
  // Returns only by throwing Refused: why not.
  virtual void Upgrade() = 0;
};

// What the supervisor keeps without knowing what it is.
struct KeptEntry {
  std::string key;
  std::string value;
  std::vector<int> descriptors;
};

// A mount's key is its mountpoint; those of its views begin with that, and go with it.
inline constexpr char kKeyOfView = '#';

// A removal's key begins with this, which no mountpoint does.
inline constexpr char kKeyOfRemoval[] = "removed:";
std::vector<std::string> DecodeRemovals(const std::vector<KeptEntry>& entries);

// The value says why the program of the last upgrade was not kept. No mountpoint begins so, either.
inline constexpr char kKeyOfFailedUpgrade[] = "upgrade:";
std::string DecodeFailedUpgrade(const std::vector<KeptEntry>& entries);

KeptEntry EncodeMount(const KeptMount& mount, bool with_descriptors);
KeptEntry EncodeView(const std::string& mountpoint, uint64_t slot, Instant at);
std::string KeyOfView(const std::string& mountpoint, uint64_t slot);

// Takes the descriptors. Entries that are not understood are left out, which ends their mounts.
std::vector<KeptMount> DecodeMounts(const std::vector<KeptEntry>& entries);

}  // namespace rw
