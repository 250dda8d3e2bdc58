#include "plugin/container_names.h"

#include "metadata/refused.h"
#include "plugin/engine_api.h"

namespace rw {
namespace {

using std::chrono::milliseconds;

// An engine answers within some milliseconds. One that hangs must not be what a log waits for.
constexpr milliseconds kPatience{300};
constexpr milliseconds kPatienceIfNamed{20'000};
constexpr milliseconds kBetween{1000};
constexpr milliseconds kAfterFailure{30'000};

}  // namespace

std::optional<std::string> ContainerNames::Find(const std::string& id) {
  auto found = names_.find(id);
  if (found == names_.end() && Clock::now() >= next_) {
    Ask();
    found = names_.find(id);
  }
  if (found == names_.end()) return std::nullopt;
  return found->second;
}

void ContainerNames::Ask() {
  try {
    const EngineApi engine(FindEngineSocket(engine_socket_));
    const Deadline deadline = After(engine_socket_.empty() ? kPatience : kPatienceIfNamed);
    for (auto& [id, name] : engine.NamesOfContainers(deadline)) names_[id] = std::move(name);
    next_ = Clock::now() + kBetween;
  } catch (const Refused&) {
    next_ = Clock::now() + kAfterFailure;
  }
}

}  // namespace rw
