// What the command line can ask of the daemon about history: how long it is kept, what keeps it,
// what was removed.
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace rw {

class Volumes;

using Handler = nlohmann::json (*)(Volumes&, const nlohmann::json& request);

const std::map<std::string, Handler>& HistoryHandlers();

}  // namespace rw
