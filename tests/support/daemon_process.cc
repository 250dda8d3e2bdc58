#include "tests/support/daemon_process.h"

#include <signal.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "plugin/mount_info.h"
#include "plugin/unix_socket.h"

namespace rw::testing {
namespace {

constexpr double kStartSeconds = 30;
constexpr double kStopSeconds = 10;
constexpr time_t kAnswerSeconds = 60;  // a request may have to wait for the next daemon

// Leaves its exit code for WaitForExit.
bool HasEnded(pid_t process) {
  siginfo_t info = {};
  waitid(P_PID, static_cast<id_t>(process), &info, WEXITED | WNOHANG | WNOWAIT);
  return info.si_pid == process;
}

// 0 if it has none.
pid_t FirstChild(pid_t process) {
  const std::string number = std::to_string(process);
  std::ifstream children("/proc/" + number + "/task/" + number + "/children");
  pid_t child = 0;
  children >> child;
  return child;
}

// Ended with all of its threads, though somebody may still have to wait for it: before the last one
// has, locks and descriptors are held.
bool IsZombie(pid_t process) {
  std::ifstream file("/proc/" + std::to_string(process) + "/stat");
  std::string text((std::istreambuf_iterator<char>(file)), {});
  const size_t name_end = text.rfind(')');
  if (name_end == text.npos || name_end + 2 >= text.size() || text[name_end + 2] != 'Z')
    return false;
  std::error_code gone;
  const std::filesystem::directory_iterator threads("/proc/" + std::to_string(process) + "/task",
                                                    gone);
  return gone || std::distance(begin(threads), end(threads)) <= 1;
}

// Ended, and waited for by its parent.
void WaitUntilGone(pid_t process) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(kStopSeconds);
  while (kill(process, 0) == 0) {
    if (std::chrono::steady_clock::now() > end) throw std::runtime_error("a process does not end");
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

}  // namespace

std::string HttpPost(const std::string& endpoint, const std::string& body) {
  return "POST /" + endpoint +
         " HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
         body;
}

DaemonProcess::DaemonProcess(std::map<std::string, std::string> environment,
                             std::filesystem::path program)
    : environment_(std::move(environment)), program_(std::move(program)) {
  Restart();
}

DaemonProcess::~DaemonProcess() {
  if (process_ > 0) Stop();
  // Also what the test mounted: no mount of a dead daemon may keep the directory from going.
  std::vector<MountEntry> mounts = ReadMounts();
  for (auto entry = mounts.rbegin(); entry != mounts.rend(); ++entry) {
    if (entry->mountpoint.starts_with(directory().string() + "/")) {
      umount2(entry->mountpoint.c_str(), MNT_DETACH);
    }
  }
}

void DaemonProcess::Restart(const std::map<std::string, std::string>& environment) {
  std::map<std::string, std::string> all = environment;
  all.insert(environment_.begin(), environment_.end());
  process_ = Start({program_, "serve", "--root", root(), "--socket", socket(), "--mounts", mounts(),
                    "--log-level", "debug"},
                   directory() / "log", all);
  auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(kStartSeconds);
  // A killed daemon leaves its socket; only an answer says that the new one is there.
  while (Exchange(HttpPost("VolumeDriver.List", "{}")).empty()) {
    if (HasEnded(process_) || std::chrono::steady_clock::now() > end) {
      WaitForExit(process_, 0);
      process_ = -1;
      throw std::runtime_error("the daemon did not start: " + log());
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

int DaemonProcess::Stop() {
  NeedProcess();
  kill(process_, SIGTERM);
  int exit_code = WaitForExit(process_, kStopSeconds);
  process_ = -1;
  return exit_code;
}

void DaemonProcess::Kill() {
  NeedProcess();
  const pid_t child = FirstChild(process_);
  kill(process_, SIGKILL);
  WaitForExit(process_, kStopSeconds);
  process_ = -1;
  // Whoever inherits it may never wait for it.
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(kStopSeconds);
  while (child > 0 && kill(child, 0) == 0 && !IsZombie(child)) {
    if (std::chrono::steady_clock::now() > end) throw std::runtime_error("the daemon does not end");
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

void DaemonProcess::EndDaemon(int signal) {
  const pid_t child = daemon();
  kill(child, signal);
  WaitUntilGone(child);
}

// A process id that is not one would mean every process there is.
void DaemonProcess::NeedProcess() const {
  if (process_ <= 0) throw std::runtime_error("there is no daemon to be ended");
}

pid_t DaemonProcess::daemon() const {
  NeedProcess();
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(kStartSeconds);
  while (std::chrono::steady_clock::now() < end) {
    if (const pid_t child = FirstChild(process_); child > 0) return child;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  throw std::runtime_error("there is no daemon: " + log());
}

nlohmann::json DaemonProcess::Post(const std::string& endpoint,
                                   const nlohmann::json& request) const {
  std::string answer = Exchange(HttpPost(endpoint, request.dump()));
  size_t head_end = answer.find("\r\n\r\n");
  if (head_end == std::string::npos) throw std::runtime_error("no answer to " + endpoint);
  return nlohmann::json::parse(answer.substr(head_end + 4));
}

std::string DaemonProcess::Exchange(const std::string& bytes, bool and_end) const {
  int fd = ConnectTo(socket());
  if (fd < 0) return "";
  timeval limit{kAnswerSeconds, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  for (size_t sent = 0; sent < bytes.size();) {
    ssize_t count = send(fd, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (count <= 0) break;
    sent += static_cast<size_t>(count);
  }
  if (and_end) shutdown(fd, SHUT_WR);
  std::string answer;
  char buffer[65536];
  for (ssize_t count; (count = recv(fd, buffer, sizeof buffer, 0)) > 0;) {
    answer.append(buffer, static_cast<size_t>(count));
  }
  close(fd);
  return answer;
}

RunResult DaemonProcess::Command(std::vector<std::string> arguments) const {
  arguments.insert(arguments.begin(), REWIND_BINARY);
  return Run(arguments, {{"REWIND_SOCKET", socket()}});
}

std::string DaemonProcess::log() const {
  std::ifstream file(directory() / "log");
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

bool IsMounted(const std::filesystem::path& path) { return FindMountAt(path).has_value(); }

}  // namespace rw::testing
