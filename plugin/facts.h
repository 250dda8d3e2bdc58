// What is told about a volume, as JSON: Docker's `Status`, `rewind inspect` and `rewind ls` say the
// same in the same words.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "fs/store.h"
#include "plugin/volumes.h"

namespace rw {

// `1.5 MiB`; three digits at most, and exact below 1024.
std::string HumanBytes(uint64_t bytes);

// `3d4h`, `5m10s`: the two largest units.
std::string HumanDuration(uint64_t ns);

// What is known without reading the volume: role, where it came from, who has it mounted.
nlohmann::json BriefFacts(const VolumeFacts& facts);

// The same and its history and sizes.
nlohmann::json AllFacts(const VolumeFacts& facts, const VolumeStatus& status);

nlohmann::json RemovedFacts(const RemovedVolume& removed);
nlohmann::json PinFacts(const Pin& pin, Instant now);
nlohmann::json ReportFacts(const CollectReport& report);

}  // namespace rw
