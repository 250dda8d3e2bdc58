#include "plugin/engine_api.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <future>
#include <nlohmann/json.hpp>
#include <thread>

#include "metadata/quoted.h"
#include "metadata/refused.h"
#include "metadata/time_text.h"
#include "plugin/interruption.h"
#include "plugin/unix_client.h"

namespace rw {
namespace {

using Json = nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr seconds kBrief{30};           // for what the engine does by itself
constexpr seconds kBeyondStopping{30};  // for it to kill what does not stop, and to unmount
constexpr int kConnectSeconds = 10;
constexpr milliseconds kLook{20};  // for an interruption, or for the end of a command
constexpr size_t kMaxOutputBytes = 64 << 10;
constexpr size_t kMaxAnswerBytes = 64 << 20;

std::string Escaped(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    if (std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' || c == '.') {
      escaped += c;
    } else {
      char hex[4];
      std::snprintf(hex, sizeof hex, "%%%02X", static_cast<unsigned char>(c));
      escaped += hex;
    }
  }
  return escaped;
}

std::string Filters(const Json& filters) { return "filters=" + Escaped(filters.dump()); }

// What an engine's error answer says, fit for one line; nothing if it is no engine's.
std::optional<std::string> MessageOf(const std::string& body) {
  const Json answer = Json::parse(body, nullptr, false);
  if (!answer.is_object() || !answer.contains("message") || !answer["message"].is_string())
    return std::nullopt;
  const std::string text = answer["message"].get<std::string>();
  std::string plain;
  for (size_t i = 0; i < text.size() && plain.size() < 1000;) {
    const size_t length = Utf8Length(std::string_view(text).substr(i));
    const bool control = static_cast<unsigned char>(text[i]) < 0x20 || text[i] == 0x7f;
    if (length == 0 || control) {
      plain += control ? ' ' : '?';
      ++i;
    } else {
      plain.append(text, i, length);
      i += length;
    }
  }
  while (plain.ends_with(' ')) plain.pop_back();
  return plain.empty() ? "it gave no reason" : plain;
}

// Takes the engine's frames of a command's two streams apart: a byte that says which, three of
// nothing, a big-endian length.
class OutputFrames {
 public:
  void Take(std::string_view bytes) {
    raw_.append(bytes);
    for (;;) {
      if (raw_.size() < kHead) return;
      size_t length = 0;
      for (size_t i = 4; i < kHead; ++i) length = length << 8 | static_cast<uint8_t>(raw_[i]);
      const size_t have = std::min(length - taken_, raw_.size() - kHead);
      output_.append(raw_, kHead, have);
      if (output_.size() > 2 * kMaxOutputBytes) output_.erase(0, output_.size() - kMaxOutputBytes);
      raw_.erase(kHead, have);
      taken_ += have;
      if (taken_ < length) return;
      raw_.erase(0, kHead);
      taken_ = 0;
    }
  }
  std::string output() const {
    return output_.size() <= kMaxOutputBytes ? output_
                                             : output_.substr(output_.size() - kMaxOutputBytes);
  }

 private:
  static constexpr size_t kHead = 8;
  std::string raw_;   // from the head of a frame on
  size_t taken_ = 0;  // of that frame
  std::string output_;
};

std::string TextOf(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

bool FlagOf(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_boolean() && found->get<bool>();
}

// An object that is a member; empty if there is none.
const Json& PartOf(const Json& object, const char* key) {
  static const auto* const none = new Json(Json::object());
  const auto found = object.find(key);
  return found != object.end() && found->is_object() ? *found : *none;
}

std::vector<std::string> IdsOf(const Json& list) {
  std::vector<std::string> ids;
  if (!list.is_array()) return ids;
  for (const Json& item : list) ids.push_back(TextOf(item, "Id"));
  return ids;
}

Container ContainerOf(const Json& facts) {
  Container container;
  container.id = TextOf(facts, "Id");
  container.name = TextOf(facts, "Name");
  if (container.name.starts_with('/')) container.name.erase(0, 1);
  const Json& state = PartOf(facts, "State");
  container.running = FlagOf(state, "Running");
  container.paused = FlagOf(state, "Paused");
  container.restarting = FlagOf(state, "Restarting");
  container.started = TextOf(state, "StartedAt");
  if (const auto code = state.find("ExitCode"); code != state.end() && code->is_number_integer())
    container.exit_code = code->get<int>();
  try {
    container.started_at = ParseTime(container.started, Instant{});
  } catch (const Refused&) {
    // The engine's own zero time, for instance.
  }
  container.health = TextOf(PartOf(state, "Health"), "Status");
  if (container.health == "none") container.health.clear();
  const Json& config = PartOf(facts, "Config");
  for (const auto& [key, value] : PartOf(config, "Labels").items()) {
    if (value.is_string()) container.labels[key] = value.get<std::string>();
  }
  if (const auto found = config.find("StopTimeout");
      found != config.end() && found->is_number_integer())
    container.stop_seconds = found->get<int>();
  const Json& host = PartOf(facts, "HostConfig");
  container.removed_at_end = FlagOf(host, "AutoRemove");
  for (const char* key : {"NetworkMode", "PidMode", "IpcMode"}) {
    const std::string mode = TextOf(host, key);
    const std::string prefix = "container:";
    if (mode.starts_with(prefix)) container.joined.insert(mode.substr(prefix.size()));
  }
  if (const auto mounts = facts.find("Mounts"); mounts != facts.end() && mounts->is_array()) {
    for (const Json& mount : *mounts) {
      if (TextOf(mount, "Type") == "volume") container.volumes.push_back(TextOf(mount, "Name"));
    }
  }
  return container;
}

}  // namespace

std::filesystem::path FindEngineSocket(const std::string& given) {
  constexpr char kUnix[] = "unix://";
  const char* const host = std::getenv("DOCKER_HOST");
  std::string text = given.empty() && host != nullptr ? host : given;
  const std::string from = given.empty() ? "DOCKER_HOST=" : "--docker-socket ";
  if (text.empty()) return "/var/run/docker.sock";
  const std::string original = text;
  if (text.starts_with(kUnix)) text.erase(0, std::strlen(kUnix));
  if (text.find("://") != std::string::npos || !text.starts_with('/')) {
    throw Refused(EINVAL, from + Quoted(original) +
                              " refused: the engine must be this machine's; give its socket as "
                              "--docker-socket PATH or DOCKER_HOST=unix://PATH");
  }
  return text;
}

std::string Container::Label(const std::string& key) const {
  const auto found = labels.find(key);
  return found == labels.end() ? "" : found->second;
}

struct EngineApi::Call {
  std::string method, target, body;
  std::string doing;  // for messages: "stop db"
  Deadline deadline;
  bool interruptible = false;
  OutputFrames* frames = nullptr;  // gets a successful answer's body
};

EngineApi::Answer EngineApi::Send(const Call& call) const {
  UnixClient client(socket_, kConnectSeconds);
  // The deadline is kept below, and is for the whole.
  client.set_read_timeout(7 * 86400);
  client.set_url_encode(false);
  Answer answer;
  httplib::Request request;
  request.method = call.method;
  request.path = call.target;
  request.body = call.body;
  if (!call.body.empty()) request.headers.emplace("Content-Type", "application/json");
  request.response_handler = [&](const httplib::Response& response) {
    answer.status = response.status;
    return true;
  };
  request.content_receiver = [&](const char* data, size_t size, uint64_t, uint64_t) {
    if (call.frames != nullptr && answer.status == 200) {
      call.frames->Take({data, size});
      return true;
    }
    answer.body.append(data, size);
    return answer.body.size() <= kMaxAnswerBytes;
  };
  std::future<httplib::Error> sent = std::async(std::launch::async, [&] {
    const httplib::Result result = client.send(request);
    if (result) answer.status = result->status;  // also of one without a body
    return result.error();
  });
  bool late = false, interrupted = false;
  while (sent.wait_for(kLook) != std::future_status::ready) {
    late = late || std::chrono::steady_clock::now() >= call.deadline;
    interrupted = interrupted || (call.interruptible && Interruption::Happened());
    if (late || interrupted) client.stop();
  }
  const httplib::Error error = sent.get();
  if (error == httplib::Error::Success) return answer;
  if (interrupted) throw Interrupted();
  const std::string where = " on " + socket_.string();
  if (client.connect_error() != 0) {
    throw Refused(client.connect_error(),
                  "no Docker engine answers" + where + ": " +
                      std::strerror(client.connect_error()) +
                      "; start it, or name its socket with --docker-socket PATH or "
                      "DOCKER_HOST=unix://PATH");
  }
  if (late)
    throw Refused(ETIMEDOUT, "the Docker engine" + where + " took too long to " + call.doing);
  throw Refused(EIO, "the Docker engine" + where + " broke off when asked to " + call.doing);
}

void EngineApi::RefuseStranger() const {
  throw Refused(EPROTO, "what answers on " + socket_.string() + " is no Docker engine");
}

void EngineApi::NeedSuccess(const Answer& answer, const std::string& doing) const {
  if (answer.status < 400) return;
  const std::optional<std::string> message = MessageOf(answer.body);
  if (!message) RefuseStranger();
  throw Refused(EREMOTEIO, "the Docker engine refuses to " + doing + ": " + *message);
}

Json EngineApi::Get(const std::string& target, const std::string& doing) const {
  return Get(target, doing, After(kBrief));
}

Json EngineApi::Get(const std::string& target, const std::string& doing, Deadline deadline) const {
  const Answer answer = Send({"GET", target, "", doing, deadline});
  if (answer.status == 404 && MessageOf(answer.body)) return nullptr;
  NeedSuccess(answer, doing);
  Json json = Json::parse(answer.body, nullptr, false);
  if (json.is_discarded() || answer.status != 200) RefuseStranger();
  return json;
}

Json EngineApi::Post(const std::string& target, const Json& body, const std::string& doing,
                     Deadline deadline) const {
  const Answer answer = Send({"POST", target, body.is_null() ? "" : body.dump(), doing, deadline});
  NeedSuccess(answer, doing);
  return Json::parse(answer.body, nullptr, false);
}

std::vector<std::string> EngineApi::UsersOf(const std::vector<std::string>& volumes) const {
  if (volumes.empty()) return {};
  const Json filters = {{"volume", volumes}, {"status", {"running", "paused", "restarting"}}};
  return IdsOf(Get("/containers/json?" + Filters(filters), "list containers"));
}

std::vector<std::string> EngineApi::ContainersOfProject(const std::string& project) const {
  const Json filters = {{"label", {"com.docker.compose.project=" + project}}};
  return IdsOf(Get("/containers/json?all=1&" + Filters(filters), "list containers"));
}

std::map<std::string, std::string> EngineApi::NamesOfContainers(Deadline deadline) const {
  std::map<std::string, std::string> names;
  const Json list = Get("/containers/json?all=1", "list containers", deadline);
  if (!list.is_array()) return names;
  for (const Json& item : list) {
    const auto found = item.find("Names");
    if (found == item.end() || !found->is_array()) continue;
    for (const Json& name : *found) {
      // Others are what links of other containers call it: /web/db.
      const std::string text = name.is_string() ? name.get<std::string>() : "";
      if (text.rfind('/') == 0 && text.size() > 1) names[TextOf(item, "Id")] = text.substr(1);
    }
  }
  return names;
}

std::optional<Container> EngineApi::Inspect(const std::string& id) const {
  const Json facts = Get("/containers/" + Escaped(id) + "/json", "inspect a container");
  if (!facts.is_object()) return std::nullopt;
  return ContainerOf(facts);
}

std::vector<std::string> EngineApi::VolumesOfProject(const std::string& project) const {
  const Json filters = {{"label", {"com.docker.compose.project=" + project}}};
  const Json answer = Get("/volumes?" + Filters(filters), "list volumes");
  std::vector<std::string> names;
  if (!answer.is_object() || !answer.contains("Volumes") || !answer["Volumes"].is_array())
    return names;
  for (const Json& volume : answer["Volumes"]) names.push_back(TextOf(volume, "Name"));
  return names;
}

std::optional<EngineVolume> EngineApi::FindVolume(const std::string& name) const {
  const Json facts = Get("/volumes/" + Escaped(name), "inspect volume " + name);
  if (!facts.is_object()) return std::nullopt;
  return EngineVolume{TextOf(facts, "Name"), TextOf(facts, "Driver"),
                      TextOf(PartOf(facts, "Status"), "created_at")};
}

void EngineApi::Change(const Container& container, const std::string& what, const std::string& verb,
                       std::chrono::seconds limit) const {
  Post("/containers/" + Escaped(container.id) + "/" + what, nullptr, verb + " " + container.name,
       After(limit));
}

void EngineApi::Stop(const Container& container, int limit_seconds) const {
  // A negative limit means for ever to the engine.
  const int limit = std::max(limit_seconds, 0);
  Change(container, "stop?t=" + std::to_string(limit), "stop", seconds(limit) + kBeyondStopping);
}

void EngineApi::Start(const Container& container) const {
  Change(container, "start", "start", kBrief * 4);
}

void EngineApi::Pause(const Container& container) const {
  Change(container, "pause", "pause", kBrief);
}

void EngineApi::Unpause(const Container& container) const {
  try {
    Change(container, "unpause", "unpause", kBrief);
  } catch (const Refused& refused) {
    const std::optional<Container> now = Inspect(container.id);
    if (now && now->paused) throw;
  }
}

ExecResult EngineApi::Exec(const Container& container, const std::string& command,
                           Deadline deadline, bool interruptible) const {
  const std::string doing = "run a command in " + container.name;
  const Json made =
      Post("/containers/" + Escaped(container.id) + "/exec",
           {{"AttachStdout", true}, {"AttachStderr", true}, {"Cmd", {"sh", "-c", command}}}, doing,
           deadline);
  const std::string id = made.is_object() ? TextOf(made, "Id") : "";
  if (id.empty()) RefuseStranger();
  OutputFrames frames;
  const Answer started =
      Send({"POST", "/exec/" + Escaped(id) + "/start", R"({"Detach":false,"Tty":false})", doing,
            deadline, interruptible, &frames});
  NeedSuccess(started, doing);
  // It may have closed its output and go on.
  for (;;) {
    const Json facts = Get("/exec/" + Escaped(id) + "/json", doing);
    if (!facts.is_object()) throw Refused(EIO, container.name + " ended while a command ran in it");
    if (!FlagOf(facts, "Running")) {
      const auto code = facts.find("ExitCode");
      const bool known = code != facts.end() && code->is_number_integer();
      return {known ? code->get<int>() : -1, frames.output()};
    }
    if (interruptible) Interruption::Check();
    if (std::chrono::steady_clock::now() >= deadline) throw Refused(ETIMEDOUT, doing);
    std::this_thread::sleep_for(kLook);
  }
}

}  // namespace rw
