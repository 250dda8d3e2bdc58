// The steps of a rollback under containers, and the way back from the middle of them.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "plugin/engine_api.h"
#include "plugin/guardian.h"
#include "plugin/waiting.h"

namespace rw {

// Says what is being done, a line for each step.
class StepLog {
 public:
  enum class Form { kText, kJson, kSilent };
  explicit StepLog(Form form) : form_(form) {}
  void Say(const std::string& step, const std::string& what) const;
  // Shows people, while it lives, that the step is not over.
  std::unique_ptr<Waiting> Wait(const std::string& what) const;

 private:
  const Form form_;
};

// What is to be done to what.
struct RollbackPlan {
  std::vector<std::string> volumes;
  std::string at;                     // the instant, in full
  std::string label;                  // the mark that keeps what the volumes were before
  std::vector<Container> containers;  // that use them, in the order to stop them
  std::optional<int> stop_seconds;    // that each gets to end; absent: its own time
  std::chrono::seconds patience{60};  // for the volumes to be unmounted, for health
};

// What has been begun and may have to be put back, as the guardian knows it.
struct RollbackState {
  std::vector<std::string> volumes;
  std::string label;
  bool rolling = false;            // back, perhaps done
  std::vector<Container> stopped;  // or being stopped, in this order; id, name and stop_seconds
  std::chrono::seconds patience{60};

  nlohmann::json Encode() const;
  static RollbackState Decode(const nlohmann::json& json);
};

class RollbackSteps {
 public:
  RollbackSteps(const EngineApi& engine, std::filesystem::path socket, StepLog log)
      : engine_(engine), socket_(std::move(socket)), log_(log) {}

  // Stops, rolls back and starts again; notes in `state`, and with the guardian, what may have to
  // be put back, before it is begun. Throws Refused in the middle; Interrupted if it was asked to
  // end. Returns the instant just before the rollback.
  std::string Run(const RollbackPlan& plan, RollbackState* state, Guardian* guardian) const;

  // Puts everything back, as far as it can, and says in a line what is so now. May be repeated.
  std::string PutBack(const RollbackState& state) const;

 private:
  void StopAll(const std::vector<Container>& containers, RollbackState* state,
               Guardian* guardian) const;
  void WaitUntilUnmounted(const std::vector<std::string>& volumes, std::chrono::seconds patience,
                          bool interruptible) const;
  void StartAll(const RollbackPlan& plan) const;
  void WaitUntilHealthy(const Container& container, std::chrono::seconds patience) const;
  void CheckRunning(const std::vector<Container>& containers) const;
  // If it was not, it will not be any more.
  bool WasRolledBack(const RollbackState& state) const;
  // Of the mark that a rollback makes; nothing if there is none.
  std::optional<std::string> NoteOfLabel(const RollbackState& state) const;
  void RemoveLabel(const RollbackState& state) const;
  void Reverse(const RollbackState& state) const;

  const EngineApi& engine_;
  const std::filesystem::path socket_;
  const StepLog log_;
};

}  // namespace rw
