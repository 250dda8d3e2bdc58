// What the command line can ask about what happened to a volume, and when.
#pragma once

#include <map>
#include <string>

#include "plugin/history_endpoints.h"

namespace rw {

const std::map<std::string, Handler>& LogHandlers();

}  // namespace rw
