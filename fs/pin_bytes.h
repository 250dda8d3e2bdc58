// What single instants hold that nothing else does.
#pragma once

#include <cstdint>
#include <map>
#include <set>

#include "metadata/index.h"
#include "metadata/kept.h"

namespace rw {

// Adds to `bytes`, for each of the `pinned` instants of the timeline, the bytes of contents and of
// the index that would be given back if it were not kept: of versions that it alone sees, what is
// stored nowhere among what the kept instants next to it see. Throws Refused(EIO).
void AddBytesHeldAlone(Index* index, TimelineId timeline, const KeptInstants& kept,
                       const std::set<Instant>& pinned, std::map<Instant, uint64_t>* bytes);

}  // namespace rw
