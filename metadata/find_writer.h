// Who a record's mutations say is their writer, found without decoding the rest of them.
#pragma once

#include <memory>
#include <string_view>

#include "metadata/mutation.h"

namespace rw {

// What Mutations::Decode would say, at a fraction of the cost for a write, which has none most of
// the time. Throws as it does, for what it has looked at.
std::shared_ptr<const Writer> FindWriter(std::string_view mutations, Instant at, TimelineId own);

}  // namespace rw
