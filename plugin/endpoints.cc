#include "plugin/endpoints.h"

#include <spdlog/spdlog.h>

#include <cerrno>
#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "metadata/quoted.h"
#include "metadata/refused.h"
#include "metadata/time_text.h"
#include "plugin/check_endpoints.h"
#include "plugin/facts.h"
#include "plugin/forget_endpoints.h"
#include "plugin/history_endpoints.h"
#include "plugin/log_endpoints.h"
#include "plugin/metrics.h"
#include "plugin/operate_endpoints.h"
#include "plugin/past_endpoints.h"
#include "plugin/request.h"
#include "plugin/restore_endpoints.h"
#include "plugin/upgrade_endpoints.h"
#include "plugin/volumes.h"
#include "plugin/watch_endpoints.h"

namespace rw {
namespace {

using Json = nlohmann::json;

// Any text can be part of a message, also one that is not UTF-8.
std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

VolumeFacts FindOrRefuse(Volumes& volumes, const std::string& name) {
  std::optional<VolumeFacts> facts = volumes.Find(name);
  if (!facts) throw Refused(ENOENT, "no such volume: " + Quoted(name));
  return *facts;
}

// --- Docker's endpoints ---

Json Create(Volumes& volumes, const Json& request) {
  volumes.Create(Text(request, "Name"), TextMap(request, "Opts"));
  return Json::object();
}

Json Remove(Volumes& volumes, const Json& request) {
  // The engine asks again when it has not had the answer, and must not hear that what it wanted is
  // an error.
  volumes.RemoveOrRepeat(Text(request, "Name"));
  return Json::object();
}

Json Mount(Volumes& volumes, const Json& request) {
  MountResult result = volumes.Mount(Text(request, "Name"), Text(request, "ID"));
  return {{"Mountpoint", result.mountpoint}};
}

Json Unmount(Volumes& volumes, const Json& request) {
  volumes.Unmount(Text(request, "Name"), Text(request, "ID"));
  return Json::object();
}

Json Path(Volumes& volumes, const Json& request) {
  return {{"Mountpoint", FindOrRefuse(volumes, Text(request, "Name")).mountpoint}};
}

Json Get(Volumes& volumes, const Json& request) {
  VolumeFacts facts = FindOrRefuse(volumes, Text(request, "Name"));
  Json volume = {{"Name", facts.record.name},
                 {"Mountpoint", facts.mountpoint},
                 {"CreatedAt", FormatInstant(facts.record.created)},
                 {"Status", AllFacts(facts, volumes.Status(facts.record.name))}};
  return {{"Volume", volume}};
}

Json List(Volumes& volumes, const Json&) {
  Json list = Json::array();
  for (const VolumeFacts& facts : volumes.List()) {
    list.push_back({{"Name", facts.record.name}, {"Mountpoint", facts.mountpoint}});
  }
  return {{"Volumes", list}};
}

// --- the command line's ---

Json ListWithFacts(Volumes& volumes, const Json&) {
  Json list = Json::array();
  for (const VolumeFacts& facts : volumes.List()) {
    Json item = BriefFacts(facts);
    item["name"] = facts.record.name;
    list.push_back(item);
  }
  return {{"Volumes", list}};
}

Json Inspect(Volumes& volumes, const Json& request) {
  VolumeFacts facts = FindOrRefuse(volumes, Text(request, "Name"));
  Json volume = AllFacts(facts, volumes.Status(facts.record.name));
  volume["name"] = facts.record.name;
  return {{"Volume", volume}};
}

Json Now(Volumes& volumes, const Json& request) {
  return {{"Instant", FormatInstant(volumes.Now(Text(request, "Name")))}};
}

// Unlike Docker, the command line mounts once per ID: the ID is the directory.
Json MountOnce(Volumes& volumes, const Json& request) {
  std::string id = Text(request, "ID");
  if (std::optional<std::string> name = volumes.FindHeldBy(id)) {
    throw Refused(EBUSY, *name + " is mounted there already");
  }
  MountResult result = volumes.Mount(Text(request, "Name"), id, OptionalText(request, "At"));
  return {{"Mountpoint", result.mountpoint}, {"Device", result.device}};
}

Json FindMount(Volumes& volumes, const Json& request) {
  return {{"Name", volumes.FindHeldBy(Text(request, "ID")).value_or("")}};
}

Json Release(Volumes& volumes, const Json& request) {
  std::string id = Text(request, "ID");
  std::optional<std::string> name = volumes.FindHeldBy(id);
  if (name) volumes.Unmount(*name, id);
  return {{"Name", name.value_or("")}};
}

Json Metrics(Volumes& volumes, const Json&) { return {{"Text", MetricsText(volumes)}}; }

const std::map<std::string, Handler>& Handlers() {
  static const auto* const handlers = new std::map<std::string, Handler>{
      {"VolumeDriver.Create", Create}, {"VolumeDriver.Remove", Remove},
      {"VolumeDriver.Mount", Mount},   {"VolumeDriver.Unmount", Unmount},
      {"VolumeDriver.Path", Path},     {"VolumeDriver.Get", Get},
      {"VolumeDriver.List", List},     {"Rewind.List", ListWithFacts},
      {"Rewind.Inspect", Inspect},     {"Rewind.Now", Now},
      {"Rewind.Mount", MountOnce},     {"Rewind.FindMount", FindMount},
      {"Rewind.Release", Release},     {"Rewind.Metrics", Metrics},
  };
  return *handlers;
}

const std::vector<const std::map<std::string, Handler>*>& AllHandlers() {
  static const auto* const all = new std::vector<const std::map<std::string, Handler>*>{
      &Handlers(),         //
      &HistoryHandlers(),  //
      &CheckHandlers(),    //
      &UpgradeHandlers(),  //
      &LogHandlers(),      //
      &PastHandlers(),     //
      &ForgetHandlers(),   //
      &WatchHandlers(),    //
      &OperateHandlers(),  //
      &RestoreHandlers(),  //
  };
  return *all;
}

// Null if there is none of that name.
Handler FindHandler(const std::string& endpoint) {
  for (const auto* handlers : AllHandlers()) {
    if (auto found = handlers->find(endpoint); found != handlers->end()) return found->second;
  }
  return nullptr;
}

// Asked so often, and at times when nothing else can be answered yet, that they are constants.
const std::map<std::string, std::string>& Constants() {
  static const auto* const constants = new std::map<std::string, std::string>{
      {"Plugin.Activate", R"({"Implements":["VolumeDriver"],"Err":""})"},
      {"VolumeDriver.Capabilities", R"({"Capabilities":{"Scope":"local"},"Err":""})"},
  };
  return *constants;
}

// `VolumeDriver.Get "pgdata"`, for the log.
std::string Describe(const std::string& endpoint, const Json& request) {
  if (!request.is_object()) return endpoint;
  auto name = request.find("Name");
  if (name == request.end() || !name->is_string()) return endpoint;
  return endpoint + " " + Quoted(name->get_ref<const std::string&>());
}

}  // namespace

std::optional<std::string> Answer(const std::string& endpoint, const std::string& body,
                                  const std::function<Volumes&()>& volumes) {
  if (auto found = Constants().find(endpoint); found != Constants().end()) return found->second;
  const Handler handler = FindHandler(endpoint);
  if (handler == nullptr) return std::nullopt;
  Json request;
  try {
    request = ParseBody(body);
    Json answer = handler(volumes(), request);
    answer["Err"] = "";
    spdlog::debug("{}", Describe(endpoint, request));
    return Dump(answer);
  } catch (const Refused& refused) {
    // The engine asks every driver about names that it does not know.
    bool probe = refused.error() == ENOENT && endpoint == "VolumeDriver.Get";
    spdlog::log(probe ? spdlog::level::debug : spdlog::level::warn, "{} refused: {}",
                Describe(endpoint, request), refused.what());
    return ErrorAnswer(refused.what());
  } catch (const std::exception& error) {
    spdlog::error("{} failed: {}", Describe(endpoint, request), error.what());
    return ErrorAnswer(error.what());
  }
}

std::string ErrorAnswer(std::string_view message) {
  // An empty "Err" would mean success.
  return Dump({{"Err", message.empty() ? "failed without a reason" : message}});
}

std::vector<std::string> EndpointNames() {
  std::vector<std::string> names;
  for (const auto& [name, answer] : Constants()) names.push_back(name);
  for (const auto* handlers : AllHandlers()) {
    for (const auto& [name, handler] : *handlers) names.push_back(name);
  }
  return names;
}

}  // namespace rw
