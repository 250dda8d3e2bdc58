// The Docker engine's API, as far as commands on the host need it to keep containers still while
// their volumes are marked or rolled back, and to say what they are called. The daemon never asks
// the engine.
#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "metadata/instant.h"

namespace rw {

using Deadline = std::chrono::steady_clock::time_point;
inline Deadline After(std::chrono::milliseconds time) {
  return std::chrono::steady_clock::now() + time;
}

// Where the engine listens: `given` if it is not empty, else DOCKER_HOST, else
// /var/run/docker.sock. Throws Refused(EINVAL) for what is not a Unix socket of this machine.
std::filesystem::path FindEngineSocket(const std::string& given);

struct Container {
  std::string id;
  std::string name;
  std::string started;  // the engine's text; another one after each start
  Instant started_at;   // the same; zero if it cannot be read
  bool running = false, paused = false, restarting = false;  // a paused one is also running
  int exit_code = 0;                                         // of one that does not run
  bool removed_at_end = false;                               // --rm
  std::string health;  // "starting", "healthy", "unhealthy"; empty without a health check
  std::map<std::string, std::string> labels;
  std::vector<std::string> volumes;  // by name, once for each place that it is mounted at
  std::set<std::string> joined;      // ids of containers whose namespaces it shares
  int stop_seconds = 10;             // that it gets to end by itself

  std::string Label(const std::string& key) const;  // empty if there is none
};

struct EngineVolume {
  std::string name;
  std::string driver;
  std::string created;  // by rewind, as it tells the engine in `Status`; empty of other drivers
};

struct ExecResult {
  int exit_code = 0;
  std::string output;  // both streams; the last 64 KiB
};

// All methods throw Refused: as connect(2) if there is no engine or it is forbidden to ask it,
// EREMOTEIO with the engine's words if it refuses, ETIMEDOUT, EIO, EPROTO.
class EngineApi {
 public:
  explicit EngineApi(std::filesystem::path socket) : socket_(std::move(socket)) {}

  // Ids of those that run, are paused or are being restarted, and use one of the volumes.
  std::vector<std::string> UsersOf(const std::vector<std::string>& volumes) const;
  // Ids of all of a Compose project, also of those that do not run.
  std::vector<std::string> ContainersOfProject(const std::string& project) const;
  // Of all containers, by id, also of those that do not run.
  std::map<std::string, std::string> NamesOfContainers(Deadline deadline) const;
  // Nothing if there is none.
  std::optional<Container> Inspect(const std::string& id) const;
  std::vector<std::string> VolumesOfProject(const std::string& project) const;
  std::optional<EngineVolume> FindVolume(const std::string& name) const;

  // Returns when it has stopped; after so many seconds the engine kills it. Nothing to do if it
  // does not run; the same goes for the next three.
  void Stop(const Container& container, int seconds) const;
  void Start(const Container& container) const;
  void Pause(const Container& container) const;
  void Unpause(const Container& container) const;

  // Runs `sh -c command` in the container and waits for its end. Throws ETIMEDOUT after the
  // deadline, and, if it may be, Interrupted; the command may then still be running.
  ExecResult Exec(const Container& container, const std::string& command, Deadline deadline,
                  bool interruptible) const;

 private:
  struct Call;
  struct Answer {
    int status = 0;
    std::string body;
  };
  Answer Send(const Call& call) const;
  void NeedSuccess(const Answer& answer, const std::string& doing) const;
  [[noreturn]] void RefuseStranger() const;
  // What is said in a successful answer; null if there is nothing of that id or name.
  nlohmann::json Get(const std::string& target, const std::string& doing) const;
  nlohmann::json Get(const std::string& target, const std::string& doing, Deadline deadline) const;
  nlohmann::json Post(const std::string& target, const nlohmann::json& body,
                      const std::string& doing, Deadline deadline) const;
  void Change(const Container& container, const std::string& what, const std::string& verb,
              std::chrono::seconds limit) const;

  const std::filesystem::path socket_;
};

}  // namespace rw
