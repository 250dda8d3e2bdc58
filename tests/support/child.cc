#include "tests/support/child.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <stdexcept>
#include <utility>

#include "tests/support/random.h"

namespace rw::testing {
namespace {

constexpr size_t kMaxMessage = 1 << 16;
const char kFdVariable[] = "REWIND_CHILD_FD";

}  // namespace

Messages::~Messages() {
  if (fd_ >= 0) close(fd_);
}

Messages::Messages(Messages&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

void Messages::Send(const std::string& message) {
  send(fd_, message.data(), message.size(), MSG_NOSIGNAL);
}

std::optional<std::string> Messages::Receive() {
  std::string message(kMaxMessage, '\0');
  const ssize_t size = recv(fd_, message.data(), message.size(), 0);
  if (size <= 0) return std::nullopt;
  message.resize(static_cast<size_t>(size));
  return message;
}

Child Child::Start(const std::string& test) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    throw std::runtime_error("socketpair failed");
  fcntl(ends[1], F_SETFD, 0);  // the child's
  setenv(kFdVariable, std::to_string(ends[1]).c_str(), 1);
  std::string program = "/proc/self/exe";
  std::string filter = "--gtest_filter=" + test;
  std::string disabled = "--gtest_also_run_disabled_tests";
  std::string brief = "--gtest_brief=1";
  char* arguments[] = {program.data(), filter.data(), disabled.data(), brief.data(), nullptr};
  // What gtest prints of the child would read like results of this run.
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t pid = 0;
  const int error = posix_spawn(&pid, program.c_str(), &actions, nullptr, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  unsetenv(kFdVariable);
  close(ends[1]);
  Messages messages(ends[0]);
  if (error != 0) throw std::runtime_error("posix_spawn failed");
  return {pid, std::move(messages)};
}

Child::Child(const std::string& test) : Child(Start(test)) {}

Child::Child(Child&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), messages_(std::move(other.messages_)) {}

Child::~Child() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

std::string Child::Receive() {
  if (auto message = messages_.Receive()) return *std::move(message);
  if (pid_ < 0) return "problem: the child has ended";
  int status = 0;
  waitpid(std::exchange(pid_, -1), &status, 0);
  return "problem: the child ended by itself, with status " + std::to_string(status);
}

std::optional<Messages> LineToParent() {
  const uint64_t fd = NumberFromEnvironment(kFdVariable, 0);
  if (fd == 0) return std::nullopt;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  unsetenv(kFdVariable);
  fcntl(static_cast<int>(fd), F_SETFD, FD_CLOEXEC);
  return Messages(static_cast<int>(fd));
}

}  // namespace rw::testing
