// Whether all is well, in one answer: for load balancers, cron jobs and people.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace rw {

class Volumes;

// "status": "ok", "degraded" (all volumes can be used, but somebody should look) or "failing" (some
// cannot); "problems": what, each with its "kind" and, if it is one of a volume, the "volume".
nlohmann::json HealthOf(Volumes& volumes);
// The same while the data root is being opened.
nlohmann::json HealthWhileOpening();

// As HTTP has it: 200, or 503 if it is failing.
int HttpStatusOf(const nlohmann::json& health);

inline constexpr int kHealthy = 0, kUnhealthy = 1, kHealthUnknown = 2;

}  // namespace rw
