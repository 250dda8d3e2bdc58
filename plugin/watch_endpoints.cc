#include "plugin/watch_endpoints.h"

#include <spdlog/spdlog.h>

#include <chrono>
#include <nlohmann/json.hpp>

#include "fs/figures.h"
#include "metadata/refused.h"
#include "metadata/time_text.h"
#include "plugin/facts.h"
#include "plugin/health.h"
#include "plugin/log.h"
#include "plugin/request.h"
#include "plugin/volumes.h"

namespace rw {
namespace {

using Json = nlohmann::json;

Json Health(Volumes& volumes, const Json&) { return {{"Health", HealthOf(volumes)}}; }

Json SumOf(const TimeSum& sum) { return {{"count", sum.count}, {"nanoseconds", sum.nanoseconds}}; }

// Sums since the daemon began: whoever asks twice gets rates.
Json Counts(Volumes& volumes, const Json&) {
  Json list = Json::array();
  for (const VolumeFacts& facts : volumes.List()) {
    const std::string& name = facts.record.name;
    VolumeStatus status;
    try {
      status = volumes.Status(name);
    } catch (const Refused&) {
      continue;  // it has gone meanwhile
    }
    const VolumeCounts counts = FiguresOf(name)->counts();
    list.push_back({{"name", name},
                    {"reads", SumOf(counts.reads)},
                    {"writes", SumOf(counts.writes)},
                    {"fsyncs", SumOf(counts.syncs)},
                    {"others", SumOf(counts.others)},
                    {"read_bytes", counts.read_bytes},
                    {"written_bytes", counts.written_bytes},
                    {"history_bytes", status.history_bytes},
                    {"history_from", FormatInstant(status.history_first)},
                    {"pressure", status.pressure}});
  }
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return {{"Volumes", list},
          {"Nanoseconds", std::chrono::duration_cast<std::chrono::nanoseconds>(now).count()}};
}

Json ChangeLogLevel(Volumes&, const Json& request) {
  if (const auto level = OptionalText(request, "Level")) {
    SetLogLevel(*level);
    spdlog::info("the log's level is {} from now on", *level);
  }
  return {{"Level", LogLevel()}};
}

}  // namespace

const std::map<std::string, Handler>& WatchHandlers() {
  static const auto* const handlers = new std::map<std::string, Handler>{
      {"Rewind.Health", Health},
      {"Rewind.Counts", Counts},
      {"Rewind.LogLevel", ChangeLogLevel},
  };
  return *handlers;
}

}  // namespace rw
