// What the command line can ask about the program that runs.
#pragma once

#include <map>
#include <string>

#include "plugin/history_endpoints.h"

namespace rw {

const std::map<std::string, Handler>& UpgradeHandlers();

}  // namespace rw
