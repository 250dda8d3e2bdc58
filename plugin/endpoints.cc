#include "plugin/endpoints.h"

#include <spdlog/spdlog.h>

#include <cerrno>
#include <map>
#include <nlohmann/json.hpp>

#include "metadata/quoted.h"
#include "metadata/refused.h"
#include "metadata/time_text.h"
#include "plugin/facts.h"
#include "plugin/volumes.h"

namespace rw {
namespace {

using Json = nlohmann::json;

// Any text can be part of a message, also one that is not UTF-8.
std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// --- reading requests ---

Json ParseBody(const std::string& body) {
  // The engine may repeat a request without its body (moby/moby#39331).
  if (body.empty()) throw Refused(EINVAL, "the request has an empty body; a JSON object is needed");
  Json json = Json::parse(body, nullptr, false);
  if (json.is_discarded()) throw Refused(EINVAL, "the request's body is not well-formed JSON");
  if (!json.is_object()) throw Refused(EINVAL, "the request's body is not a JSON object");
  return json;
}

std::string Text(const Json& request, const char* key) {
  auto found = request.find(key);
  if (found == request.end() || !found->is_string()) {
    throw Refused(EINVAL, std::string("the request needs a string \"") + key + "\"");
  }
  return found->get<std::string>();
}

std::optional<std::string> OptionalText(const Json& request, const char* key) {
  auto found = request.find(key);
  if (found == request.end() || found->is_null()) return std::nullopt;
  return Text(request, key);
}

// `null` is how the engine says that there are none.
std::map<std::string, std::string> Options(const Json& request) {
  std::map<std::string, std::string> options;
  auto found = request.find("Opts");
  if (found == request.end() || found->is_null()) return options;
  if (!found->is_object()) throw Refused(EINVAL, "the request's \"Opts\" is not a JSON object");
  for (const auto& [key, value] : found->items()) {
    if (!value.is_string()) {
      throw Refused(EINVAL, "the value of option " + Quoted(key) + " is not a string");
    }
    options[key] = value.get<std::string>();
  }
  return options;
}

VolumeFacts FindOrRefuse(Volumes& volumes, const std::string& name) {
  std::optional<VolumeFacts> facts = volumes.Find(name);
  if (!facts) throw Refused(ENOENT, "no such volume: " + Quoted(name));
  return *facts;
}

// --- Docker's endpoints ---

Json Create(Volumes& volumes, const Json& request) {
  volumes.Create(Text(request, "Name"), Options(request));
  return Json::object();
}

Json Remove(Volumes& volumes, const Json& request) {
  volumes.Remove(Text(request, "Name"));
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

std::vector<std::string> Names(const Json& request) {
  std::vector<std::string> names;
  const auto found = request.find("Names");
  if (found == request.end() || !found->is_array())
    throw Refused(EINVAL, "the request needs an array \"Names\"");
  for (const Json& name : *found) {
    if (!name.is_string()) throw Refused(EINVAL, "one of \"Names\" is not a string");
    names.push_back(name.get<std::string>());
  }
  return names;
}

Json SetMark(Volumes& volumes, const Json& request) {
  std::vector<std::string> names = Names(request);
  if (request.value("All", false)) names = volumes.WritableNames();
  const Instant at =
      volumes.SetMark(names, Text(request, "Label"), OptionalText(request, "Note").value_or(""),
                      OptionalText(request, "At"));
  return {{"Instant", FormatInstant(at)}, {"Names", names}};
}

Json ListMarks(Volumes& volumes, const Json& request) {
  Json list = Json::array();
  for (const Mark& mark : volumes.Marks(Text(request, "Name"))) {
    list.push_back({{"label", mark.label},
                    {"at", FormatInstant(mark.at)},
                    {"made", FormatInstant(mark.made)},
                    {"note", mark.note}});
  }
  return {{"Marks", list}};
}

Json RemoveMark(Volumes& volumes, const Json& request) {
  volumes.RemoveMark(Text(request, "Name"), Text(request, "Label"));
  return Json::object();
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

using Handler = Json (*)(Volumes&, const Json&);

const std::map<std::string, Handler>& Handlers() {
  static const auto* const handlers = new std::map<std::string, Handler>{
      {"VolumeDriver.Create", Create}, {"VolumeDriver.Remove", Remove},
      {"VolumeDriver.Mount", Mount},   {"VolumeDriver.Unmount", Unmount},
      {"VolumeDriver.Path", Path},     {"VolumeDriver.Get", Get},
      {"VolumeDriver.List", List},     {"Rewind.List", ListWithFacts},
      {"Rewind.Inspect", Inspect},     {"Rewind.Now", Now},
      {"Rewind.Mount", MountOnce},     {"Rewind.FindMount", FindMount},
      {"Rewind.Release", Release},     {"Rewind.Mark", SetMark},
      {"Rewind.Marks", ListMarks},     {"Rewind.Unmark", RemoveMark},
  };
  return *handlers;
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
  auto found = Handlers().find(endpoint);
  if (found == Handlers().end()) return std::nullopt;
  Json request;
  try {
    request = ParseBody(body);
    Json answer = found->second(volumes(), request);
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
  for (const auto& [name, handler] : Handlers()) names.push_back(name);
  return names;
}

}  // namespace rw
