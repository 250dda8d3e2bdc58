#include "plugin/consistent_mark.h"

#include <algorithm>
#include <cerrno>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "metadata/refused.h"
#include "plugin/client.h"
#include "plugin/interruption.h"
#include "plugin/quieting.h"
#include "plugin/timeout_text.h"
#include "plugin/volume_users.h"
#include "plugin/waiting.h"

namespace rw {
namespace {

using Json = nlohmann::json;
using std::chrono::seconds;

constexpr char kDefaultTimeout[] = "30s";

struct Marked {
  std::string instant;
  std::map<std::string, std::string> how;  // by volume
};

int SecondsUntil(Deadline deadline) {
  const auto left = deadline - std::chrono::steady_clock::now();
  return static_cast<int>(std::max<int64_t>(1, std::chrono::ceil<seconds>(left).count()));
}

// First an instant, while everything is still; then it is marked. However late the daemon does the
// latter, the mark is of that instant.
Marked MarkStill(const std::filesystem::path& socket, const MarkRequest& request,
                 const Quieting& quieting, Deadline deadline) {
  const Json answer = Ask(socket, "Rewind.QuietInstant",
                          {{"Holders", quieting.Mounts(request.names)}}, SecondsUntil(deadline));
  quieting.Verify();
  Interruption::Check();
  Marked marked;
  marked.instant = answer.at("Instant");
  for (const std::string& name : request.names) marked.how[name] = quieting.HowOf(name);
  try {
    Ask(socket, "Rewind.SetConsistentMark",
        {{"Consistent", marked.how},
         {"Label", request.label},
         {"Note", request.note.empty() ? Json() : Json(request.note)},
         {"At", marked.instant}},
        SecondsUntil(deadline));
  } catch (const Refused& refused) {
    if (refused.error() != EIO) throw;
    throw Refused(EIO, std::string(refused.what()) +
                           "; rewind marks says whether the mark was made all the same");
  }
  return marked;
}

void Print(const Marked& marked, const MarkRequest& request, bool json) {
  if (json) {
    std::cout << Json{{"instant", marked.instant},
                      {"volumes", request.names},
                      {"consistent", marked.how}}
                     .dump()
              << std::endl;
  } else {
    std::cout << marked.instant << std::endl;
  }
}

void MarkWithContainers(const std::filesystem::path& socket, const MarkRequest& request,
                        const EngineApi& engine, std::vector<Container> containers, seconds limit,
                        bool json) {
  for (const Container& container : containers) {
    if (!container.restarting) continue;
    throw Refused(EBUSY, "container " + container.name +
                             " is just being restarted; try again when it runs, or stop it");
  }
  const Interruption interruption;
  Guardian guardian([&](const Json& noted) {
    const std::vector<std::string> problems = Release(engine, QuietState::Decode(noted));
    std::cerr << "rewind: mark was killed; its containers were released"
              << (problems.empty() ? "" : ", but " + Joined(problems)) << std::endl;
  });
  const Deadline deadline = After(limit);
  Quieting quieting(engine, std::move(containers), deadline, limit, &guardian);
  std::optional<Marked> marked;
  std::string failure;
  try {
    const Waiting waiting("keeping containers still");
    quieting.Begin();
    marked = MarkStill(socket, request, quieting, deadline);
  } catch (const std::exception& error) {
    failure = error.what();
  }
  const std::vector<std::string> problems = Release(engine, quieting.state());
  guardian.End();
  const std::string rest = problems.empty() ? "" : "; " + Joined(problems);
  if (!marked) throw Refused(EIO, "not marked: " + failure + rest);
  Print(*marked, request, json);
  if (!problems.empty()) throw Refused(EIO, "marked, but " + Joined(problems));
}

void ConsistentMarkCommand(const std::filesystem::path& socket, MarkRequest request, bool json) {
  const seconds limit = ParseTimeout(request.timeout.empty() ? kDefaultTimeout : request.timeout);
  if (!request.at.empty()) {
    throw Refused(EINVAL,
                  "--at and --consistent refused: only now can containers be kept still, not then");
  }
  Json body = {{"Names", request.names}, {"All", request.all}, {"Label", request.label}};
  if (!request.note.empty()) body["Note"] = request.note;
  const std::vector<VolumeUse> uses = UsesOf(Ask(socket, "Rewind.PrepareMark", body));
  request.names.clear();
  for (const VolumeUse& use : uses) request.names.push_back(use.name);
  RefuseCommandLineMounts(uses, "consistently mark");
  if (AnyHeld(uses)) {
    const EngineApi engine(FindEngineSocket(request.engine_socket));
    std::vector<std::string> held;
    for (const VolumeUse& use : uses) {
      if (use.held() > 0) held.push_back(use.name);
    }
    std::vector<Container> containers = FindUsers(engine, socket, held);
    MarkWithContainers(socket, request, engine, std::move(containers), limit, json);
    return;
  }
  // Nobody has them mounted, which the daemon checks once more: no engine is needed.
  const EngineApi nobody("");
  const Deadline deadline = After(limit);
  const Quieting quieting(nobody, {}, deadline, limit, nullptr);
  Print(MarkStill(socket, request, quieting, deadline), request, json);
}

}  // namespace

void RunMarkCommand(const std::filesystem::path& socket, MarkRequest request, bool json) {
  if (!request.project.empty()) {
    const EngineApi engine(FindEngineSocket(request.engine_socket));
    request.names = VolumesOfProject(engine, socket, request.project);
  }
  if (request.consistent) {
    ConsistentMarkCommand(socket, std::move(request), json);
  } else {
    MarkCommand(socket, request, json);
  }
}

}  // namespace rw
