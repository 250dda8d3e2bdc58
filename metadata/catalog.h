// What the store knows about its volumes and timelines: plain records, kept in the index and logged
// by the control journal. Each is stored as JSON (metadata/FORMAT.md, "Catalog").
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "metadata/instant.h"
#include "metadata/mark_schedule.h"
#include "metadata/retention.h"

namespace rw {

using TimelineId = uint32_t;
using VolumeId = uint32_t;

// Stored on disk as text: never rename.
enum class Role {
  kVolume,    // "volume": made empty
  kClone,     // "clone": a writable copy of an instant of `source`
  kSnapshot,  // "snapshot": shows `source` at an instant, read-only
};
const char* RoleName(Role role);

// From `since` on, the volume was bound to `timeline` (until the next binding's `since`). Timeline
// 0: what it was bound to then is gone.
struct Binding {
  Instant since;
  TimelineId timeline = 0;
  std::optional<Instant> undoes{};  // it takes back what was done at that instant
  friend bool operator==(const Binding&, const Binding&) = default;
};

struct VolumeRecord {
  std::string name;
  VolumeId id = 0;  // never reused, also not when a volume of the same name is made again
  Role role = Role::kVolume;
  Instant created;
  std::map<std::string, std::string> options;  // as the user gave them
  std::vector<Binding> bindings;    // oldest first; a rollback adds one. Of a snapshot: exactly one
  std::optional<Instant> fixed_at;  // of a snapshot volume: the instant that it shows
  std::string source;  // of a clone or snapshot: the name of the volume it was made from
  std::optional<Instant> source_at;       // of a clone: the instant that it was made from
  std::optional<uint64_t> size_bytes;     // what its contents may come to; absent: no limit
  std::optional<Instant> rolled_back_to;  // of a volume: the target of its last rollback
  RetentionSettings retention;            // what it says itself; see metadata/retention.h
  ScheduleSettings schedule;              // see metadata/mark_schedule.h
  Instant scheduled;                      // the last time of the schedule that was seen to
  // Of a volume that can be written: every instant from here on is kept, and these before it.
  Instant horizon;
  std::vector<Instant> points;  // of its schedule; oldest first
  std::string pressure;         // why history was given up before its time, last
  // Of a removed volume: when it was, and until when its history is kept.
  std::optional<Instant> removed, expires;

  bool writable() const { return !fixed_at.has_value(); }
  TimelineId timeline() const { return bindings.back().timeline; }
  std::string Encode() const;
  static VolumeRecord Decode(std::string_view json);  // throws Refused(EIO) if it does not parse
};

// An instant of a volume that has a name.
struct Mark {
  VolumeId volume = 0;
  std::string label;  // unique in its volume
  Instant at;
  Instant made;  // when it was given the name
  std::string note;
  // What kept the programs that use the volume still then, such as "paused: web"; empty: nothing.
  std::string consistent;
  bool by_schedule = false;  // goes when the schedule says so

  std::string Encode() const;
  static Mark Decode(std::string_view json);
};

struct TimelineRecord {
  TimelineId id = 0;
  std::optional<TimelineId> parent;
  Instant fork;  // reads that find nothing here go on in the parent at or before this instant
  Instant created;
  uint64_t first_ino = 1;   // inodes below this come from the parent
  uint64_t base_bytes = 0;  // content bytes and inodes at the fork instant
  uint64_t base_inodes = 0;
  bool dropped = false;  // nobody needs it any more; its data are being deleted
  // What others need of its index is this timeline's now; its segments stay as long as they are
  // referred to.
  std::optional<TimelineId> absorbed_by;
  bool took_in = false;  // it absorbed another: its index holds what its journal never said

  std::string Encode() const;
  static TimelineRecord Decode(std::string_view json);
};

}  // namespace rw
