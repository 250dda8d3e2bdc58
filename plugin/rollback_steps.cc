#include "plugin/rollback_steps.h"

#include <algorithm>
#include <cerrno>
#include <iostream>
#include <thread>

#include "metadata/refused.h"
#include "plugin/client.h"
#include "plugin/container_order.h"
#include "plugin/interruption.h"
#include "plugin/volume_users.h"

namespace rw {
namespace {

using Json = nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr milliseconds kLook{50};
// Long enough for what cannot start at all to have ended again.
constexpr milliseconds kSettling{1000};
constexpr char kClaim[] = "a rollback is being put back";
// For the daemon, if it is just being started again by its supervisor.
constexpr seconds kDaemonPatience{30};

void Sleep(milliseconds time) { std::this_thread::sleep_for(time); }

bool IsOver(Deadline deadline) { return std::chrono::steady_clock::now() >= deadline; }

}  // namespace

void StepLog::Say(const std::string& step, const std::string& what) const {
  if (form_ == Form::kJson) std::cout << Json{{"step", step}, {"what", what}}.dump() << std::endl;
  if (form_ == Form::kText) std::cout << step << " " << what << std::endl;
}

std::unique_ptr<Waiting> StepLog::Wait(const std::string& what) const {
  return form_ == Form::kText ? std::make_unique<Waiting>(what) : nullptr;
}

Json RollbackState::Encode() const {
  Json containers = Json::array();
  for (const Container& container : stopped) {
    containers.push_back(
        {{"id", container.id}, {"name", container.name}, {"stop_seconds", container.stop_seconds}});
  }
  return {{"volumes", volumes},
          {"label", label},
          {"rolling", rolling},
          {"stopped", containers},
          {"patience", patience.count()}};
}

RollbackState RollbackState::Decode(const Json& json) {
  RollbackState state;
  state.volumes = json.at("volumes").get<std::vector<std::string>>();
  state.label = json.at("label");
  state.rolling = json.at("rolling");
  state.patience = seconds(json.at("patience").get<int64_t>());
  for (const Json& item : json.at("stopped")) {
    Container container;
    container.id = item.at("id");
    container.name = item.at("name");
    container.stop_seconds = item.at("stop_seconds");
    state.stopped.push_back(std::move(container));
  }
  return state;
}

std::string RollbackSteps::Run(const RollbackPlan& plan, RollbackState* state,
                               Guardian* guardian) const {
  StopAll(plan.containers, state, guardian);
  WaitUntilUnmounted(plan.volumes, plan.patience, true);
  Interruption::Check();
  log_.Say("rolling back", Joined(plan.volumes) + " to " + plan.at);
  state->rolling = true;
  guardian->Note(state->Encode());
  const auto roll_back = [&] {
    const auto waiting = log_.Wait("rolling back");
    return Ask(socket_, "Rewind.RollBack",
               {{"Names", plan.volumes},
                {"At", plan.at},
                {"Label", plan.label},
                {"Note", "before the rollback to " + plan.at}});
  };
  const Json answer = roll_back();
  StartAll(plan);
  CheckRunning(plan.containers);
  return answer.at("Before");
}

void RollbackSteps::StopAll(const std::vector<Container>& containers, RollbackState* state,
                            Guardian* guardian) const {
  for (const Container& container : containers) {
    Interruption::Check();
    log_.Say("stopping", container.name);
    state->stopped.push_back(container);
    guardian->Note(state->Encode());
    const auto waiting = log_.Wait("stopping " + container.name);
    engine_.Stop(container, container.stop_seconds);
  }
}

void RollbackSteps::WaitUntilUnmounted(const std::vector<std::string>& volumes, seconds patience,
                                       bool interruptible) const {
  const Deadline deadline = After(patience);
  const auto waiting = log_.Wait("waiting for what is still mounted");
  for (;;) {
    const std::vector<VolumeUse> uses = UsesOf(Ask(socket_, "Rewind.Uses", {{"Names", volumes}}));
    if (!AnyHeld(uses)) return;
    if (interruptible) Interruption::Check();
    if (IsOver(deadline)) {
      const auto held = std::find_if(uses.begin(), uses.end(),
                                     [](const VolumeUse& use) { return use.held() > 0; });
      throw Refused(EBUSY,
                    held->name + " is still mounted " + std::to_string(patience.count()) +
                        " s after the containers that used it were stopped; rewind inspect " +
                        held->name + " lists by whom");
    }
    Sleep(kLook);
  }
}

void RollbackSteps::StartAll(const RollbackPlan& plan) const {
  const auto& stopped = plan.containers;
  for (auto container = stopped.rbegin(); container != stopped.rend(); ++container) {
    Interruption::Check();
    log_.Say("starting", container->name);
    {
      const auto waiting = log_.Wait("starting " + container->name);
      engine_.Start(*container);
    }
    // Compose's `condition: service_healthy` of those that are still to be started.
    const bool awaited = std::any_of(stopped.begin(), container.base() - 1, [&](const auto& other) {
      return NeedsHealthy(other, *container);
    });
    if (awaited && !container->health.empty()) WaitUntilHealthy(*container, plan.patience);
  }
}

void RollbackSteps::WaitUntilHealthy(const Container& container, seconds patience) const {
  log_.Say("waiting for", container.name + " to be healthy");
  const auto waiting = log_.Wait("waiting for " + container.name);
  const Deadline deadline = After(patience);
  for (;;) {
    const std::optional<Container> now = engine_.Inspect(container.id);
    if (now && now->running && now->health == "healthy") return;
    if (!now || !now->running) throw Refused(EIO, container.name + " ended after it was started");
    if (now->health == "unhealthy") throw Refused(EIO, container.name + " is unhealthy");
    if (IsOver(deadline)) {
      throw Refused(ETIMEDOUT, container.name + " was not healthy within " +
                                   std::to_string(patience.count()) +
                                   " s; --timeout allows it more");
    }
    Interruption::Check();
    Sleep(kLook);
  }
}

void RollbackSteps::CheckRunning(const std::vector<Container>& containers) const {
  const Deadline deadline = After(kSettling);
  const auto waiting = log_.Wait("looking whether they go on");
  do {
    Interruption::Check();
    Sleep(kLook);
  } while (!IsOver(deadline));
  for (const Container& container : containers) {
    const std::optional<Container> now = engine_.Inspect(container.id);
    if (now && now->running && !now->restarting) continue;
    // Whose command was done, or who did not come up before either, has not failed now.
    if (now && ((!now->running && now->exit_code == 0) || container.restarting)) continue;
    throw Refused(EIO, container.name + " ended again after it was started" +
                           (now ? ", with exit status " + std::to_string(now->exit_code) : ""));
  }
}

bool RollbackSteps::WasRolledBack(const RollbackState& state) const {
  if (!state.rolling) return false;
  const Deadline deadline = After(kDaemonPatience);
  for (;;) {
    try {
      const std::optional<std::string> note = NoteOfLabel(state);
      if (note) return *note != kClaim;
      // The rollback may have been asked for by a command that was killed, and not have come to its
      // turn yet. With its mark taken, it will be refused.
      Ask(socket_, "Rewind.Mark",
          {{"Names", state.volumes}, {"Label", state.label}, {"Note", kClaim}});
      return false;
    } catch (const Refused&) {
      if (IsOver(deadline)) throw;
    }
    Sleep(kLook);
  }
}

std::optional<std::string> RollbackSteps::NoteOfLabel(const RollbackState& state) const {
  const Json marks = Ask(socket_, "Rewind.Marks", {{"Name", state.volumes.front()}}).at("Marks");
  for (const Json& mark : marks) {
    if (mark.at("label") == state.label) return mark.at("note").get<std::string>();
  }
  return std::nullopt;
}

void RollbackSteps::RemoveLabel(const RollbackState& state) const {
  for (const std::string& name : state.volumes)
    Ask(socket_, "Rewind.Unmark", {{"Name", name}, {"Label", state.label}});
}

void RollbackSteps::Reverse(const RollbackState& state) const {
  WaitUntilUnmounted(state.volumes, state.patience, false);
  log_.Say("rolling back", Joined(state.volumes) + " to " + state.label);
  Ask(socket_, "Rewind.RollBack", {{"Names", state.volumes}, {"At", state.label}});
  RemoveLabel(state);
}

std::string RollbackSteps::PutBack(const RollbackState& state) const {
  if (state.stopped.empty()) return "nothing was changed";
  log_.Say("putting back", "what was there before");
  std::vector<std::string> problems;
  const auto attempt = [&](const auto& what) {
    try {
      what();
      return true;
    } catch (const std::exception& error) {
      problems.emplace_back(error.what());
      return false;
    }
  };
  const auto advice = [&](const std::string& now) {
    return "it could not all be put back: " + Joined(problems) + "; " + now;
  };
  bool rolled_back = false;
  const std::string volumes = Joined(state.volumes), containers = NamesOf(state.stopped);
  if (!attempt([&] { rolled_back = WasRolledBack(state); })) {
    return advice("stopped are " + containers + "; if rewind marks shows " + state.label + " of " +
                  volumes + ", they were rolled back, and rolling back to it reverses that");
  }
  for (const Container& container : state.stopped) {
    // Also one that was only asked to stop: it would end after it was started again.
    attempt([&] { engine_.Stop(container, container.stop_seconds); });
  }
  if (rolled_back && !attempt([&] { Reverse(state); })) {
    return advice("stopped are " + containers + "; " + volumes +
                  " were rolled back, and rolling back to " + state.label + " reverses that");
  }
  std::vector<Container> failed;
  for (auto it = state.stopped.rbegin(); it != state.stopped.rend(); ++it) {
    log_.Say("starting", it->name);
    if (!attempt([&] { engine_.Start(*it); })) failed.push_back(*it);
  }
  // Now that they are mounted again, a rollback that comes late is refused for that.
  if (state.rolling && !rolled_back) attempt([&] { RemoveLabel(state); });
  if (!problems.empty()) {
    return advice(volumes + " hold what they held before" +
                  (failed.empty() ? "" : "; not running: " + NamesOf(failed)));
  }
  return "everything is as it was before: " + volumes + " unchanged, running again: " + containers;
}

}  // namespace rw
