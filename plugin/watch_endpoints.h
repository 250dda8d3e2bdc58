// What the command line can ask about how the daemon does: health, counts, its log's level.
#pragma once

#include <map>
#include <string>

#include "plugin/history_endpoints.h"

namespace rw {

const std::map<std::string, Handler>& WatchHandlers();

}  // namespace rw
