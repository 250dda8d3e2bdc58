// How the command line asks for something of the past to be put back, and for schedules.
#pragma once

#include <map>
#include <string>

#include "plugin/history_endpoints.h"

namespace rw {

const std::map<std::string, Handler>& RestoreHandlers();

}  // namespace rw
