#include "tests/support/killed_process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <optional>

namespace rw::testing {
namespace {

using Clock = std::chrono::steady_clock;

// Reads acknowledgements until `deadline`, if there is one, else until the other side is gone.
// `deadline` is set at the first one if it is absent and `delay` is not.
void ReadUntil(int fd, std::optional<Clock::time_point> deadline,
               std::optional<std::chrono::microseconds> delay, std::vector<Acknowledgement>& out) {
  for (;;) {
    int wait_ms = 20'000;
    if (deadline) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(*deadline - Clock::now());
      if (left.count() <= 0) return;
      wait_ms = static_cast<int>(left.count());
    }
    pollfd ready{fd, POLLIN, 0};
    const int count = poll(&ready, 1, wait_ms);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return;
    Acknowledgement one;
    const ssize_t got = read(fd, &one, sizeof(one));  // written in one piece, so read in one
    if (got != static_cast<ssize_t>(sizeof(one))) return;
    out.push_back(one);
    if (!deadline && delay) deadline = Clock::now() + *delay;
  }
}

}  // namespace

void WriteLog(const std::filesystem::path& path, const std::vector<Acknowledgement>& log) {
  const int fd = open(path.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
  const size_t bytes = log.size() * sizeof(Acknowledgement);
  const bool written = write(fd, log.data(), bytes) == static_cast<ssize_t>(bytes);
  close(fd);
  if (!written) throw std::runtime_error("cannot write " + path.string());
}

std::vector<Acknowledgement> RunAndKill(const KilledRun& run, const std::string& child_test,
                                        std::chrono::microseconds delay, bool from_start,
                                        std::string* problem) {
  int pipe_fds[2];
  if (pipe2(pipe_fds, O_CLOEXEC) != 0) throw std::runtime_error("pipe2 failed");
  fcntl(pipe_fds[1], F_SETFD, 0);  // the child's
  setenv("REWIND_KILL_ROOT", run.root.c_str(), 1);
  setenv("REWIND_KILL_LOG", run.log.c_str(), 1);
  setenv("REWIND_KILL_SEED", std::to_string(run.seed).c_str(), 1);
  setenv("REWIND_KILL_RUN", std::to_string(run.run).c_str(), 1);
  setenv("REWIND_KILL_COLLECT", run.collect ? "1" : "0", 1);
  setenv("REWIND_KILL_FD", std::to_string(pipe_fds[1]).c_str(), 1);
  std::string program = "/proc/self/exe";
  std::string filter = "--gtest_filter=" + child_test;
  std::string disabled = "--gtest_also_run_disabled_tests";
  std::string brief = "--gtest_brief=1";
  char* arguments[] = {program.data(), filter.data(), disabled.data(), brief.data(), nullptr};
  pid_t pid = 0;
  const int error = posix_spawn(&pid, program.c_str(), nullptr, nullptr, arguments, environ);
  unsetenv("REWIND_KILL_ROOT");
  close(pipe_fds[1]);
  if (error != 0) throw std::runtime_error("posix_spawn failed");

  std::vector<Acknowledgement> out;
  std::optional<Clock::time_point> deadline;
  if (from_start) deadline = Clock::now() + delay;
  ReadUntil(pipe_fds[0], deadline, delay, out);
  if (pid > 0) kill(pid, SIGKILL);
  ReadUntil(pipe_fds[0], std::nullopt, std::nullopt, out);
  close(pipe_fds[0]);
  int status = 0;
  waitpid(pid, &status, 0);
  if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
    *problem = "the child ended by itself, with status " + std::to_string(status);
  }
  return out;
}

bool KilledRunFromEnvironment(KilledRun* run, int* fd) {
  const char* root = getenv("REWIND_KILL_ROOT");
  if (root == nullptr) return false;
  run->root = root;
  run->log = getenv("REWIND_KILL_LOG");
  run->seed = NumberFromEnvironment("REWIND_KILL_SEED", 0);
  run->run = static_cast<uint32_t>(NumberFromEnvironment("REWIND_KILL_RUN", 0));
  run->collect = NumberFromEnvironment("REWIND_KILL_COLLECT", 0) != 0;
  *fd = static_cast<int>(NumberFromEnvironment("REWIND_KILL_FD", 0));
  return true;
}

}  // namespace rw::testing
