// What the command line asks of the daemon when it rolls back or marks volumes that containers use.
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace rw {

class Volumes;

using Handler = nlohmann::json (*)(Volumes&, const nlohmann::json& request);

const std::map<std::string, Handler>& OperateHandlers();

}  // namespace rw
