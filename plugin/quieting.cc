#include "plugin/quieting.h"

#include <algorithm>
#include <cerrno>
#include <thread>

#include "metadata/quoted.h"
#include "metadata/refused.h"
#include "plugin/interruption.h"
#include "plugin/volume_users.h"

namespace rw {
namespace {

using Json = nlohmann::json;

constexpr int kUnpauseTries = 5;
constexpr std::chrono::milliseconds kBetweenTries{500};
constexpr size_t kMaxNamesBytes = 400;  // of a mark's text

Json ListOf(const std::vector<Container>& containers) {
  Json list = Json::array();
  for (const Container& container : containers) {
    list.push_back({{"id", container.id},
                    {"name", container.name},
                    {"post", container.Label(kPostMarkLabel)}});
  }
  return list;
}

std::vector<Container> ContainersIn(const Json& list) {
  std::vector<Container> containers;
  for (const Json& item : list) {
    Container container;
    container.id = item.at("id");
    container.name = item.at("name");
    container.labels[kPostMarkLabel] = item.at("post");
    containers.push_back(std::move(container));
  }
  return containers;
}

bool HasHook(const Container& container) {
  // A command cannot be run in a paused container, and need not be.
  return !container.paused && !container.Label(kPreMarkLabel).empty();
}

// What a command said last, for a message; empty if it said nothing.
std::string LastLine(std::string text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) text.pop_back();
  if (text.empty()) return "";
  const size_t newline = text.rfind('\n');
  return ": " + Quoted(newline == std::string::npos ? text : text.substr(newline + 1));
}

void RunInTime(const EngineApi& engine, const Container& container, const std::string& hook,
               const std::string& command, Deadline deadline, std::chrono::seconds limit,
               bool interruptible) {
  const std::string what = hook + " hook of " + container.name;
  ExecResult result;
  try {
    result = engine.Exec(container, command, deadline, interruptible);
  } catch (const Refused& refused) {
    if (refused.error() != ETIMEDOUT) throw;
    throw Refused(ETIMEDOUT, what + " did not end within " + std::to_string(limit.count()) +
                                 " s and was given up; it may still run in the container");
  }
  if (result.exit_code == 0) return;
  throw Refused(EREMOTEIO, what + " failed with exit status " + std::to_string(result.exit_code) +
                               LastLine(result.output));
}

void UnpauseForSure(const EngineApi& engine, const Container& container) {
  for (int tries = 1;; ++tries) {
    try {
      engine.Unpause(container);
      return;
    } catch (const std::exception& error) {
      if (tries < kUnpauseTries) {
        std::this_thread::sleep_for(kBetweenTries);
        continue;
      }
      throw Refused(EREMOTEIO, "container " + container.name + " is still paused (docker unpause " +
                                   container.name + "): " + error.what());
    }
  }
}

}  // namespace

Json QuietState::Encode() const {
  return {{"paused", ListOf(paused)}, {"hooked", ListOf(hooked)}, {"limit", limit.count()}};
}

QuietState QuietState::Decode(const Json& json) {
  return {ContainersIn(json.at("paused")), ContainersIn(json.at("hooked")),
          std::chrono::seconds(json.at("limit").get<int64_t>())};
}

std::vector<std::string> Release(const EngineApi& engine, const QuietState& state) {
  std::vector<std::string> problems;
  const auto attempt = [&](const auto& what) {
    try {
      what();
    } catch (const std::exception& error) {
      problems.emplace_back(error.what());
    }
  };
  for (auto it = state.paused.rbegin(); it != state.paused.rend(); ++it)
    attempt([&] { UnpauseForSure(engine, *it); });
  for (auto it = state.hooked.rbegin(); it != state.hooked.rend(); ++it) {
    attempt([&] {
      const std::optional<Container> now = engine.Inspect(it->id);
      if (!now || !now->running) return;  // there is nothing left to end
      RunInTime(engine, *it, "post-mark", it->Label(kPostMarkLabel), After(state.limit),
                state.limit, false);
    });
  }
  return problems;
}

Quieting::Quieting(const EngineApi& engine, std::vector<Container> containers, Deadline deadline,
                   std::chrono::seconds limit, Guardian* guardian)
    : engine_(engine),
      containers_(std::move(containers)),
      deadline_(deadline),
      guardian_(guardian) {
  state_.limit = limit;
}

void Quieting::Begin() {
  // Pauses last as short as possible.
  for (const Container& container : containers_) {
    if (HasHook(container)) RunHook(container);
  }
  for (const Container& container : containers_) {
    if (!HasHook(container)) Pause(container);
  }
}

void Quieting::RunHook(const Container& container) {
  Interruption::Check();
  if (!container.Label(kPostMarkLabel).empty()) {
    state_.hooked.push_back(container);
    guardian_->Note(state_.Encode());
  }
  RunInTime(engine_, container, "pre-mark", container.Label(kPreMarkLabel), deadline_, state_.limit,
            true);
  hooks_.push_back(container);
}

void Quieting::Pause(const Container& container) {
  Interruption::Check();
  if (std::chrono::steady_clock::now() >= deadline_) {
    throw Refused(ETIMEDOUT, "the containers were not all still within " +
                                 std::to_string(state_.limit.count()) + " s");
  }
  if (container.paused) {  // by somebody who will release it
    paused_.push_back(container);
    return;
  }
  state_.paused.push_back(container);
  guardian_->Note(state_.Encode());
  try {
    engine_.Pause(container);
    paused_.push_back(container);
  } catch (const Refused&) {
    const std::optional<Container> now = engine_.Inspect(container.id);
    if (now && now->running) throw;
    state_.paused.pop_back();
    ended_.push_back(container);
  }
}

void Quieting::Verify() const {
  const auto refuse = [](const Container& container) {
    throw Refused(EAGAIN, "container " + container.name +
                              " was started, stopped or released by somebody else meanwhile");
  };
  for (const Container& container : ended_) {
    const std::optional<Container> now = engine_.Inspect(container.id);
    if (now && now->running) refuse(container);
  }
  for (const std::vector<Container>* still : {&hooks_, &paused_}) {
    for (const Container& container : *still) {
      const std::optional<Container> now = engine_.Inspect(container.id);
      if (!now || !now->running || now->started != container.started) refuse(container);
      if (still == &paused_ && !now->paused) refuse(container);
    }
  }
}

std::map<std::string, int> Quieting::Mounts(const std::vector<std::string>& volumes) const {
  std::vector<Container> all = hooks_;
  all.insert(all.end(), paused_.begin(), paused_.end());
  return MountsOf(all, volumes);
}

std::string Quieting::HowOf(const std::string& volume) const {
  std::string how;
  const auto add = [&](const char* what, const std::vector<Container>& containers) {
    std::vector<Container> users;
    std::copy_if(containers.begin(), containers.end(), std::back_inserter(users),
                 [&](const Container& container) {
                   return std::find(container.volumes.begin(), container.volumes.end(), volume) !=
                          container.volumes.end();
                 });
    if (users.empty()) return;
    std::string names = NamesOf(users);
    if (names.size() > kMaxNamesBytes) names = std::to_string(users.size()) + " containers";
    how += (how.empty() ? "" : "; ") + std::string(what) + ": " + names;
  };
  add("hooks", hooks_);
  add("paused", paused_);
  return how.empty() ? "not mounted" : how;
}

}  // namespace rw
