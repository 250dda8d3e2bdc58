// What the Docker engine of this machine calls containers now, for those who list what containers
// did. A name is an addition: without an engine, or with one that does not answer soon, there is
// none, and no error.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>

namespace rw {

class ContainerNames {
 public:
  // `engine_socket`: as for FindEngineSocket. An engine that was named is waited for longer.
  explicit ContainerNames(std::string engine_socket) : engine_socket_(std::move(engine_socket)) {}

  // Nothing if it is not known, or no more. Asks the engine for all of them when the first one is
  // wanted, and now and then when one is wanted that it did not know then.
  std::optional<std::string> Find(const std::string& id);

 private:
  using Clock = std::chrono::steady_clock;

  void Ask();

  const std::string engine_socket_;
  std::map<std::string, std::string> names_;
  Clock::time_point next_;  // that it may be asked
};

}  // namespace rw
