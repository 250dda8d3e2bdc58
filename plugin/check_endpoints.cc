#include "plugin/check_endpoints.h"

#include <signal.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "metadata/quantity.h"
#include "plugin/check_text.h"
#include "plugin/request.h"
#include "plugin/volumes.h"

namespace rw {
namespace {

using Json = nlohmann::json;

Json Check(Volumes& volumes, const Json& request) {
  CheckOptions options;
  options.volume = OptionalText(request, "Name").value_or("");
  options.repair = Flag(request, "Repair");
  const std::string rate = OptionalText(request, "Rate").value_or("0");
  if (rate != "0") options.bytes_per_second = ParseByteCount("rate", rate);
  return {{"Report",
           CheckReportToJson(volumes.Check(std::move(options), OptionalText(request, "At")))}};
}

Json Progress(Volumes& volumes, const Json&) {
  const CheckProgress progress = volumes.Progress();
  return {{"Step", progress.step}, {"Done", progress.done}, {"Total", progress.total}};
}

// An index is made again by a daemon that starts. This one ends as by a crash, which programs do
// not notice, and its supervisor starts the next.
Json MakeIndexAgain(Volumes& volumes, const Json&) {
  volumes.NeedRoomForIndex();
  spdlog::warn("the daemon ends, so that the next one makes the damaged index again");
  spdlog::default_logger()->flush();
  kill(getpid(), SIGKILL);
  pause();
  return Json::object();
}

}  // namespace

const std::map<std::string, Handler>& CheckHandlers() {
  static const auto* const handlers = new std::map<std::string, Handler>{
      {"Rewind.Check", Check},
      {"Rewind.CheckProgress", Progress},
      {"Rewind.MakeIndexAgain", MakeIndexAgain},
  };
  return *handlers;
}

}  // namespace rw
