// Keeping containers still for a moment: by their own hooks, or by pausing them.
#pragma once

#include <chrono>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "plugin/engine_api.h"
#include "plugin/guardian.h"

namespace rw {

// Labels of containers: commands that make what is in the volumes consistent, and end that.
inline constexpr char kPreMarkLabel[] = "rewind.pre-mark";
inline constexpr char kPostMarkLabel[] = "rewind.post-mark";

// What has to be released, as the guardian knows it.
struct QuietState {
  std::vector<Container> paused;  // id and name
  std::vector<Container> hooked;  // those whose hook was begun and that have one to end it
  std::chrono::seconds limit{30};

  nlohmann::json Encode() const;
  static QuietState Decode(const nlohmann::json& json);
};

// Ends everything that the state says, whatever fails in between, and returns what failed. May be
// repeated. Takes as long as the limit for each hook.
std::vector<std::string> Release(const EngineApi& engine, const QuietState& state);

class Quieting {
 public:
  // The containers are in the order in which they are made still.
  Quieting(const EngineApi& engine, std::vector<Container> containers, Deadline deadline,
           std::chrono::seconds limit, Guardian* guardian);

  // Runs the hooks, then pauses those that have none. Throws Refused in the middle, and
  // Interrupted.
  void Begin();
  // Throws Refused if somebody has started or released one of them since.
  void Verify() const;
  const QuietState& state() const { return state_; }
  // How often those that are still have the volumes mounted.
  std::map<std::string, int> Mounts(const std::vector<std::string>& volumes) const;
  // What keeps a volume still: "hooks: db; paused: web".
  std::string HowOf(const std::string& volume) const;

 private:
  void RunHook(const Container& container);
  void Pause(const Container& container);

  const EngineApi& engine_;
  const std::vector<Container> containers_;
  const Deadline deadline_;
  Guardian* const guardian_;
  QuietState state_;
  // Which of the containers are still by a hook, paused by anybody, or ended before they could be.
  std::vector<Container> hooks_, paused_, ended_;
};

}  // namespace rw
