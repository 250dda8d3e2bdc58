#include "tests/support/process.h"

#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "tests/support/temp_dir.h"

namespace rw::testing {
namespace {

std::string ReadWhole(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

int ToExitCode(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int OpenForOutput(const std::string& path) {
  return open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

// What an exec takes; `words` must outlive it.
std::vector<char*> Pointers(const std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (const std::string& word : words) pointers.push_back(const_cast<char*>(word.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

int WaitFor(pid_t process) {
  int status = 0;
  while (waitpid(process, &status, 0) < 0 && errno == EINTR) {
  }
  return ToExitCode(status);
}

pid_t StartWith(const std::vector<std::string>& command, const std::string& out,
                const std::string& err, const std::map<std::string, std::string>& environment) {
  std::vector<std::string> variables;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    std::string name = std::string(*variable).substr(0, std::string(*variable).find('='));
    if (!environment.contains(name)) variables.emplace_back(*variable);
  }
  for (const auto& [name, value] : environment) variables.push_back(name + "=" + value);
  // Everything that allocates happens before the fork: other threads of the test may hold locks.
  const std::vector<char*> arguments = Pointers(command), settings = Pointers(variables);
  int out_fd = OpenForOutput(out);
  int err_fd = OpenForOutput(err);
  pid_t process = fork();
  if (process == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(out_fd, STDOUT_FILENO);
    dup2(err_fd, STDERR_FILENO);
    execvpe(arguments[0], arguments.data(), settings.data());
    _exit(127);
  }
  close(out_fd);
  close(err_fd);
  if (process < 0) throw std::runtime_error("fork failed");
  return process;
}

}  // namespace

RunResult Run(const std::vector<std::string>& command,
              const std::map<std::string, std::string>& environment) {
  TempDir directory;
  std::string out = directory.path() / "out";
  std::string err = directory.path() / "err";
  pid_t process = StartWith(command, out, err, environment);
  const int exit_code = WaitFor(process);
  return {exit_code, ReadWhole(out), ReadWhole(err)};
}

RunResult RunOnTerminal(const std::vector<std::string>& command, uint16_t columns) {
  const std::vector<char*> arguments = Pointers(command);
  winsize size{};
  size.ws_row = 24;
  size.ws_col = columns;
  int terminal = -1;
  const pid_t process = forkpty(&terminal, nullptr, nullptr, &size);
  if (process == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execvp(arguments[0], arguments.data());
    _exit(127);
  }
  if (process < 0) throw std::runtime_error("forkpty failed");
  RunResult result;
  char part[4096];
  // EIO once nobody has the other end any more.
  for (ssize_t got = 0; (got = read(terminal, part, sizeof part)) > 0;)
    result.out.append(part, static_cast<size_t>(got));
  close(terminal);
  result.exit_code = WaitFor(process);
  return result;
}

pid_t Start(const std::vector<std::string>& command, const std::string& output_file,
            const std::map<std::string, std::string>& environment) {
  return StartWith(command, output_file, output_file, environment);
}

int WaitForExit(pid_t process, double limit_seconds) {
  // A signal to 0 or -1 would reach the test's own group, or everybody.
  if (process <= 0) return -1;
  auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(limit_seconds);
  int status = 0;
  while (waitpid(process, &status, WNOHANG) == 0) {
    if (std::chrono::steady_clock::now() > end) {
      kill(process, SIGKILL);
      waitpid(process, &status, 0);
      return -1;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return ToExitCode(status);
}

}  // namespace rw::testing
