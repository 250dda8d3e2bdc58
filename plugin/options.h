// The options of `docker volume create -o` and `rewind create -o`: one table that drives parsing,
// the help, the messages and the test of the README.
#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "fs/store.h"
#include "metadata/instant.h"

namespace rw {

struct VolumeOption {
  const char* name;
  const char* argument;  // what follows the "=", or "" if nothing does
  const char* meaning;   // one line
  // Puts a non-empty value into the request; throws Refused(EINVAL).
  void (*apply)(std::string_view value, CreateRequest& request);
};

// In the order in which people read about them.
std::span<const VolumeOption> VolumeOptions();

// `snapshot-of=VOLUME, clone-of=VOLUME, …`: one line, for messages.
std::string VolumeOptionList();

// What `-o help` answers: one line per option.
std::string VolumeOptionHelp();

// What a time in text means for a volume; see Store::InstantOf.
using TimeResolver = std::function<Instant(const std::string& volume, std::string_view time)>;

// What a volume `name` with these options asks of the store.
// Throws Refused(EINVAL) with one line for a bad name, an unknown option, a bad value or a
// combination that means nothing; and with VolumeOptionHelp() for the option `help`.
CreateRequest ParseVolumeOptions(const std::string& name,
                                 const std::map<std::string, std::string>& options,
                                 const TimeResolver& time_of);

// What mounts of the volume withhold, as SessionOptions::flags.
unsigned long MountFlagsOf(const VolumeRecord& record);

// Throws Refused(EINVAL) unless `name` is 1 to 255 bytes of UTF-8 without "/" and control
// characters, and neither "." nor "..".
void CheckVolumeName(std::string_view name);

}  // namespace rw
