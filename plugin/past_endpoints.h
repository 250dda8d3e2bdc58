// What the command line can ask of the daemon about what volumes were. What could be long comes in
// pages: an answer says where the next one begins.
#pragma once

#include "plugin/history_endpoints.h"

namespace rw {

const std::map<std::string, Handler>& PastHandlers();

}  // namespace rw
