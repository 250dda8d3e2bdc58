// The real binary, serving under a directory of the test's.
#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace rw::testing {

// Stops the daemon and unmounts everything of it when it goes. It is two processes: a supervisor
// and the daemon itself.
class DaemonProcess {
 public:
  // Starts it and waits until it is ready. Throws std::runtime_error with its log if it ends first.
  // `program` is what it is started from, and must outlive it.
  explicit DaemonProcess(std::map<std::string, std::string> environment = {},
                         std::filesystem::path program = REWIND_BINARY);
  ~DaemonProcess();
  DaemonProcess(const DaemonProcess&) = delete;
  DaemonProcess& operator=(const DaemonProcess&) = delete;

  // Starts it again on the same data after Stop or Kill, with these variables in its environment.
  void Restart(const std::map<std::string, std::string>& environment = {});
  // SIGTERM; returns the exit code, or -1 if it took longer than ten seconds.
  int Stop();
  // SIGKILL to the supervisor; returns when both are gone.
  void Kill();
  // A signal that ends the daemon, but not its supervisor; returns when that daemon is gone.
  void EndDaemon(int signal);
  // Of the daemon, as soon as there is one.
  pid_t daemon() const;

  // The answer of an endpoint, such as "VolumeDriver.Get", whatever it is.
  nlohmann::json Post(const std::string& endpoint, const nlohmann::json& request) const;
  // Sends bytes as they are and returns everything that comes back until the connection closes, or
  // for at most a minute. With `and_end`, says that nothing more will be sent.
  std::string Exchange(const std::string& bytes, bool and_end = false) const;
  // Runs the binary as a command that talks to this daemon.
  RunResult Command(std::vector<std::string> arguments) const;

  std::filesystem::path directory() const { return directory_.path(); }
  std::filesystem::path root() const { return directory() / "root"; }
  std::filesystem::path socket() const { return directory() / "rewind.sock"; }
  std::filesystem::path mounts() const { return directory() / "mounts"; }
  std::string log() const;
  pid_t pid() const { return process_; }

 private:
  void NeedProcess() const;

  const std::map<std::string, std::string> environment_;
  const std::filesystem::path program_;
  TempDir directory_;
  pid_t process_ = -1;
};

std::string HttpPost(const std::string& endpoint, const std::string& body);

// Whether something is mounted at exactly this path.
bool IsMounted(const std::filesystem::path& path);

}  // namespace rw::testing
