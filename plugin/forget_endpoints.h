// How the command line asks for something to be forgotten.
#pragma once

#include <map>
#include <string>

#include "plugin/history_endpoints.h"

namespace rw {

const std::map<std::string, Handler>& ForgetHandlers();

}  // namespace rw
