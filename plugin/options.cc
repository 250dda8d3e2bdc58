#include "plugin/options.h"

#include <sys/mount.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <optional>

#include "fs/session.h"
#include "fs/volume.h"
#include "metadata/quantity.h"
#include "metadata/quoted.h"
#include "metadata/refused.h"
#include "metadata/retention.h"
#include "metadata/time_text.h"

namespace rw {
namespace {

[[noreturn]] void Refuse(const std::string& message) { throw Refused(EINVAL, message); }

std::optional<uint32_t> ToNumber(std::string_view text, int base) {
  uint32_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// The largest id is "no id" to chown(2).
uint32_t ParseId(const char* option, std::string_view value) {
  std::optional<uint32_t> id = ToNumber(value, 10);
  if (!id || *id == UINT32_MAX) {
    Refuse(std::string(option) + "=" + Quoted(value) +
           " refused: it must be a number from 0 to 4294967294");
  }
  return *id;
}

// `suid,dev` as flags of mount(2).
unsigned long ParseMountFlags(std::string_view value) {
  unsigned long flags = kDefaultMountFlags;
  for (size_t at = 0; at <= value.size();) {
    const size_t comma = std::min(value.find(',', at), value.size());
    const std::string_view word = value.substr(at, comma - at);
    if (word == "suid") {
      flags &= ~static_cast<unsigned long>(MS_NOSUID);
    } else if (word == "dev") {
      flags &= ~static_cast<unsigned long>(MS_NODEV);
    } else if (word == "noexec") {
      flags |= MS_NOEXEC;
    } else {
      Refuse("mount=" + Quoted(value) + " refused: " + Quoted(word) +
             " is none of suid, dev and noexec; several are separated by commas");
    }
    at = comma + 1;
  }
  return flags;
}

void SetSource(SourceKind kind, std::string_view source, CreateRequest& request) {
  if (request.source_kind != SourceKind::kNone) {
    Refuse("at most one of snapshot-of, clone-of and rollback can be given");
  }
  request.source_kind = kind;
  request.source = source;
}

constexpr VolumeOption kOptions[] = {
    {"snapshot-of", "VOLUME", "read-only volume that shows VOLUME as it was `at`",
     [](std::string_view value, CreateRequest& request) {
       SetSource(SourceKind::kSnapshotOf, value, request);
     }},
    {"clone-of", "VOLUME", "writable copy of VOLUME as it was `at`",
     [](std::string_view value, CreateRequest& request) {
       SetSource(SourceKind::kCloneOf, value, request);
     }},
    {"rollback", "VOLUME",
     "puts VOLUME back to `at`; the new volume shows VOLUME as it was just before",
     [](std::string_view value, CreateRequest& request) {
       SetSource(SourceKind::kRollback, value, request);
     }},
    {"at", "TIME",
     "the time for snapshot-of and clone-of (default: now) and rollback (required): RFC 3339 with "
     "a zone, @unix-seconds, a duration ago such as 10m, now, or a mark",
     [](std::string_view, CreateRequest&) {}},  // what it means depends on the others
    {"uid", "NUMBER", "owner of the root directory of a new volume or clone",
     [](std::string_view value, CreateRequest& request) { request.uid = ParseId("uid", value); }},
    {"gid", "NUMBER", "group of the root directory of a new volume or clone",
     [](std::string_view value, CreateRequest& request) { request.gid = ParseId("gid", value); }},
    {"mode", "OCTAL", "permissions of the root directory of a new volume or clone, e.g. 0750",
     [](std::string_view value, CreateRequest& request) {
       request.mode = ToNumber(value, 8);
       if (!request.mode || *request.mode > 07777) {
         Refuse("mode=" + Quoted(value) + " refused: it must be octal, from 0 to 7777");
       }
     }},
    {"size", "BYTES",
     "what the contents of a new volume or clone may come to, e.g. 20G (default: no limit); then "
     "writes fail with ENOSPC",
     [](std::string_view value, CreateRequest& request) {
       request.size_bytes = ParseByteCount("size", value);
     }},
    {"retention", "DURATION",
     "how long every write of a new volume or clone is kept, e.g. 24h; 0: not at all",
     [](std::string_view value, CreateRequest& request) {
       request.retention["retention"] = value;
     }},
    {"keep", "SCHEDULE",
     "what is kept of a new volume or clone thereafter: the last state of each hour, day, week, "
     "month for a while, e.g. hourly:7d,daily:60d,weekly:26w,monthly:100w; or none",
     [](std::string_view value, CreateRequest& request) { request.retention["keep"] = value; }},
    {"history-limit", "BYTES",
     "what the history of a new volume or clone may take on the disk beyond its contents, e.g. "
     "50G; "
     "or none",
     [](std::string_view value, CreateRequest& request) {
       request.retention["history-limit"] = value;
     }},
    {"trash", "DURATION",
     "how long a new volume or clone can still be a source after it was removed, e.g. 24h; 0: not "
     "at "
     "all",
     [](std::string_view value, CreateRequest& request) { request.retention["trash"] = value; }},
    {"mark-every", "DURATION",
     "a new volume or clone gets a mark by itself so often, e.g. 1h (on the hour, UTC); or none",
     [](std::string_view value, CreateRequest& request) { request.schedule[kMarkEvery] = value; }},
    {"mark-keep", "AMOUNT",
     "how many of these marks are kept, e.g. 48, or for how long, e.g. 7d (default: 24 of them)",
     [](std::string_view value, CreateRequest& request) { request.schedule[kMarkKeep] = value; }},
    {"mount", "FLAGS",
     "what mounts of the volume allow beyond nosuid,nodev: suid, dev, or both; noexec forbids to "
     "execute",
     [](std::string_view value, CreateRequest&) { ParseMountFlags(value); }},
    {"help", "", "prints this list instead of making a volume", nullptr},
};

const VolumeOption* FindOption(std::string_view name) {
  auto found = std::find_if(std::begin(kOptions), std::end(kOptions),
                            [&](const VolumeOption& option) { return option.name == name; });
  return found == std::end(kOptions) ? nullptr : found;
}

// `snapshot-of=VOLUME`
std::string Usage(const VolumeOption& option) {
  return std::string(option.name) + (*option.argument ? "=" : "") + option.argument;
}

void CheckCombination(const CreateRequest& request) {
  if (request.source_kind == SourceKind::kNone && request.options.contains("at")) {
    Refuse("at needs one of snapshot-of, clone-of and rollback beside it");
  }
  if (request.source_kind == SourceKind::kRollback && !request.options.contains("at")) {
    Refuse("rollback needs at=TIME beside it: " + std::string(kTimeSyntax));
  }
  bool keeps_root = request.source_kind == SourceKind::kSnapshotOf ||
                    request.source_kind == SourceKind::kRollback;
  if (keeps_root && request.size_bytes) {
    Refuse("size is for new volumes and clones: nothing is written to the others");
  }
  if (keeps_root && !request.retention.empty()) {
    Refuse(
        "retention, keep, history-limit and trash are for new volumes and clones: of the others "
        "nothing is kept but what they show");
  }
  if (keeps_root && !request.schedule.empty()) {
    Refuse("mark-every and mark-keep are for new volumes and clones: the others never change");
  }
  if (keeps_root && (request.uid || request.gid || request.mode)) {
    Refuse("uid, gid and mode are for new volumes and clones: snapshots and rollbacks keep theirs");
  }
}

}  // namespace

std::span<const VolumeOption> VolumeOptions() { return kOptions; }

std::string VolumeOptionList() {
  std::string list;
  for (const VolumeOption& option : kOptions) {
    if (!list.empty()) list += ", ";
    list += Usage(option);
  }
  return list;
}

std::string VolumeOptionHelp() {
  size_t width = 0;
  for (const VolumeOption& option : kOptions) width = std::max(width, Usage(option).size());
  std::string help = "the options of a rewind volume are:";
  for (const VolumeOption& option : kOptions) {
    std::string usage = Usage(option);
    help += "\n  " + usage + std::string(width + 2 - usage.size(), ' ') + option.meaning;
  }
  return help;
}

CreateRequest ParseVolumeOptions(const std::string& name,
                                 const std::map<std::string, std::string>& options,
                                 const TimeResolver& time_of) {
  if (options.contains("help")) Refuse(VolumeOptionHelp());
  CheckVolumeName(name);
  CreateRequest request;
  request.name = name;
  request.options = options;
  for (const auto& [key, value] : options) {
    const VolumeOption* option = FindOption(key);
    if (option == nullptr) {
      Refuse("unknown option " + Quoted(key) + "; the options are " + VolumeOptionList());
    }
    if (value.empty()) {
      Refuse("option " + key + " needs a value: " + Usage(*option));
    }
    option->apply(value, request);
  }
  CheckCombination(request);
  // Whether they contradict each other depends on the daemon's defaults, which the store knows.
  RetentionPolicy::InForce(request.retention);
  MarkSchedule::Parse(request.schedule);
  if (const auto at = options.find("at"); at != options.end())
    request.at = time_of(request.source, at->second);
  return request;
}

unsigned long MountFlagsOf(const VolumeRecord& record) {
  const auto found = record.options.find("mount");
  return found == record.options.end() ? kDefaultMountFlags : ParseMountFlags(found->second);
}

void CheckVolumeName(std::string_view name) {
  auto refuse = [&](const char* why) {
    Refuse("volume name " + Quoted(name) + " refused: " + why +
           "; accepted are 1 to 255 bytes of UTF-8 without / and control characters");
  };
  if (const char* flaw = FlawOfName(name)) refuse(flaw);
  if (name.size() > kMaxNameBytes) refuse("it is longer than 255 bytes");
  if (name == "." || name == "..") refuse("it means a directory");
}

}  // namespace rw
