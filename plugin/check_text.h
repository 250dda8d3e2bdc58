// What a check has found, as JSON.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "fs/check.h"

namespace rw {

nlohmann::json CheckReportToJson(const CheckReport& report);

}  // namespace rw
