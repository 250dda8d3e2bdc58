#include "plugin/health.h"

#include <string>

#include "plugin/facts.h"
#include "plugin/volumes.h"

namespace rw {

using Json = nlohmann::json;

Json HealthOf(Volumes& volumes) {
  const StoreHealth health = volumes.Health();
  Json problems = Json::array();
  for (const auto& [name, why] : health.broken)
    problems.push_back({{"kind", "broken"}, {"volume", name}, {"what", why}});
  if (health.index_damaged) {
    problems.push_back({{"kind", "index"},
                        {"what",
                         "the index is damaged: the next start makes it again, and so does "
                         "rewind check --repair"}});
  }
  if (health.bytes_short > 0) {
    problems.push_back(
        {{"kind", "disk"},
         {"what", "the disk under the data root has " + HumanBytes(health.bytes_free) + " free, " +
                      HumanBytes(health.bytes_short) + " less than the reserve"}});
  }
  for (const auto& [name, why] : health.pressed) {
    problems.push_back(
        {{"kind", "pressure"}, {"volume", name}, {"what", "history went before its time: " + why}});
  }
  const char* status = problems.empty() ? "ok" : "degraded";
  if (!health.broken.empty()) status = "failing";
  return {{"status", status}, {"problems", problems}};
}

Json HealthWhileOpening() {
  return {{"status", "failing"},
          {"problems",
           Json::array({{{"kind", "opening"}, {"what", "the data root is being opened"}}})}};
}

int HttpStatusOf(const Json& health) { return health.at("status") == "failing" ? 503 : 200; }

}  // namespace rw
