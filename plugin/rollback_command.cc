#include "plugin/rollback_command.h"

#include <algorithm>
#include <cerrno>
#include <iostream>
#include <nlohmann/json.hpp>

#include "metadata/refused.h"
#include "plugin/client.h"
#include "plugin/interruption.h"
#include "plugin/rollback_steps.h"
#include "plugin/timeout_text.h"
#include "plugin/volume_users.h"

namespace rw {
namespace {

using Json = nlohmann::json;

constexpr int kEndlessStopSeconds = 600;  // for containers that ask never to be killed

// Stopping these would not be undone by starting them, or not be what it seems.
void RefuseUnfit(const std::vector<Container>& containers) {
  for (const Container& container : containers) {
    if (container.paused) {
      throw Refused(EBUSY, "container " + container.name +
                               " is paused; unpause or stop it first (docker unpause " +
                               container.name + ")");
    }
    if (container.removed_at_end) {
      throw Refused(EBUSY, "container " + container.name +
                               " would be removed when it is stopped (docker run --rm), and could "
                               "not be started again; stop it first");
    }
    if (!container.Label("com.docker.swarm.task.id").empty()) {
      throw Refused(EBUSY, "container " + container.name +
                               " is a task of a Swarm service, which would start another; scale "
                               "the service to 0 first");
    }
  }
}

Json NamesIn(const std::vector<Container>& containers) {
  Json names = Json::array();
  for (const Container& container : containers) names.push_back(container.name);
  return names;
}

void PrintPlan(const RollbackPlan& plan, bool json) {
  std::vector<Container> starts(plan.containers.rbegin(), plan.containers.rend());
  if (json) {
    std::cout << Json{{"at", plan.at},
                      {"volumes", plan.volumes},
                      {"stop", NamesIn(plan.containers)},
                      {"start", NamesIn(starts)}}
                     .dump()
              << '\n';
    return;
  }
  for (const Container& container : plan.containers)
    std::cout << "would stop       " << container.name << '\n';
  for (const std::string& name : plan.volumes)
    std::cout << "would roll back  " << name << " to " << plan.at << '\n';
  for (const Container& container : starts)
    std::cout << "would start      " << container.name << '\n';
}

void PrintDone(const RollbackPlan& plan, const std::string& before, bool json) {
  if (json) {
    std::cout << Json{{"at", plan.at},
                      {"before", before},
                      {"label", plan.label},
                      {"volumes", plan.volumes},
                      {"restarted", NamesIn(plan.containers)}}
                     .dump()
              << '\n';
    return;
  }
  std::cout << Joined(plan.volumes) << (plan.volumes.size() == 1 ? " is" : " are") << " as at "
            << plan.at << "; " << plan.label << " marks what was there before\n";
}

// What nobody uses needs no engine.
std::string RollBackAlone(const std::filesystem::path& socket, const RollbackPlan& plan) {
  return Ask(socket, "Rewind.RollBack",
             {{"Names", plan.volumes},
              {"At", plan.at},
              {"Label", plan.label},
              {"Note", "before the rollback to " + plan.at}})
      .at("Before");
}

std::string RollBackWithContainers(const EngineApi& engine, const std::filesystem::path& socket,
                                   const RollbackPlan& plan, bool json) {
  const RollbackSteps steps(engine, socket,
                            StepLog(json ? StepLog::Form::kJson : StepLog::Form::kText));
  const Interruption interruption;
  Guardian guardian([&](const Json& noted) {
    const RollbackSteps silent(engine, socket, StepLog(StepLog::Form::kSilent));
    std::cerr << "rewind: rollback was killed; " << silent.PutBack(RollbackState::Decode(noted))
              << std::endl;
  });
  RollbackState state;
  state.volumes = plan.volumes;
  state.label = plan.label;
  state.patience = plan.patience;
  try {
    return steps.Run(plan, &state, &guardian);
  } catch (const std::exception& error) {
    throw Refused(EIO,
                  "rollback failed: " + std::string(error.what()) + "; " + steps.PutBack(state));
  }
}

RollbackPlan MakePlan(const std::filesystem::path& socket, const RollbackRequest& request,
                      const std::vector<std::string>& names, const EngineApi* engine) {
  const Json prepared =
      Ask(socket, "Rewind.PrepareRollBack", {{"Names", names}, {"At", request.at}});
  RollbackPlan plan;
  plan.volumes = names;
  plan.at = prepared.at("At");
  plan.label = prepared.at("Label");
  if (!request.timeout.empty()) {
    plan.patience = ParseTimeout(request.timeout);
    plan.stop_seconds = static_cast<int>(plan.patience.count());
  }
  const std::vector<VolumeUse> uses = UsesOf(prepared);
  if (!AnyHeld(uses) && request.project.empty() && !request.restart) return plan;
  RefuseCommandLineMounts(uses, "roll back");
  if (!request.restart) {
    for (const VolumeUse& use : uses) {
      if (use.held() == 0) continue;
      throw Refused(EBUSY,
                    "cannot roll back " + use.name +
                        ": it is mounted; stop what uses it first (docker ps --filter volume=" +
                        use.name + "), or let --restart stop the containers and start them again");
    }
    return plan;
  }
  plan.containers = FindUsers(*engine, socket, names);
  RefuseUnfit(plan.containers);
  for (Container& container : plan.containers) {
    if (container.stop_seconds < 0) container.stop_seconds = kEndlessStopSeconds;
    if (plan.stop_seconds) container.stop_seconds = *plan.stop_seconds;
  }
  return plan;
}

}  // namespace

void RollbackCommand(const std::filesystem::path& socket, const RollbackRequest& request) {
  std::optional<EngineApi> engine;
  if (request.restart || !request.project.empty())
    engine.emplace(FindEngineSocket(request.engine_socket));
  std::vector<std::string> names = request.names;
  if (!request.project.empty()) {
    for (const std::string& name : VolumesOfProject(*engine, socket, request.project))
      names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  const RollbackPlan plan = MakePlan(socket, request, names, engine ? &*engine : nullptr);
  if (request.dry_run) {
    PrintPlan(plan, request.json);
    return;
  }
  const std::string before = plan.containers.empty()
                                 ? RollBackAlone(socket, plan)
                                 : RollBackWithContainers(*engine, socket, plan, request.json);
  PrintDone(plan, before, request.json);
}

}  // namespace rw
