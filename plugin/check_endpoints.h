// What the command line can ask about damage.
#pragma once

#include <map>
#include <string>

#include "plugin/history_endpoints.h"

namespace rw {

const std::map<std::string, Handler>& CheckHandlers();

}  // namespace rw
