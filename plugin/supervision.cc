#include "plugin/supervision.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>

#include "metadata/refused.h"

namespace rw {
namespace {

using nlohmann::json;

constexpr char kSupervisionVariable[] = "REWIND_SUPERVISION";
constexpr char kCheckVariable[] = "REWIND_SUPERVISION_CHECK";
constexpr int kCannotExecute = 127;

std::string Encode(const Supervision& supervision) {
  return json{{"state", EncodeInheritance(supervision.state)},
              {"daemon", supervision.daemon},
              {"program", supervision.program}}
      .dump();
}

[[noreturn]] void RefuseToStart(int error) {
  throw Refused(error, std::string("cannot start another process: ") + std::strerror(error));
}

}  // namespace

int MakeMemory(const std::string& text) {
  const int fd = memfd_create("rewind-inheritance", 0);
  if (fd < 0) RefuseToStart(errno);
  if (write(fd, text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    const int error = errno;
    close(fd);
    RefuseToStart(error);
  }
  return fd;
}

void Execute(const char* program, std::vector<std::string> arguments, const char* variable,
             int memory) {
  std::vector<char*> argv;
  argv.reserve(arguments.size() + 1);
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  setenv(variable, std::to_string(memory).c_str(), 1);
  execv(program, argv.data());
  const int error = errno;
  unsetenv(variable);
  errno = error;
}

std::optional<Supervision> TakeSupervision() {
  const std::optional<std::string> text = TakeMemory(kSupervisionVariable);
  if (!text) return std::nullopt;
  const json value = json::parse(*text);
  Supervision supervision;
  supervision.state = DecodeInheritance(value.at("state").get<std::string>());
  supervision.daemon = value.at("daemon").get<pid_t>();
  supervision.program = value.at("program").get<std::string>();
  return supervision;
}

bool IsCheckOfSupervision() { return std::getenv(kCheckVariable) != nullptr; }

pid_t StartCheck(const Supervision& supervision, const std::vector<std::string>& arguments) {
  const int memory = MakeMemory(Encode(supervision));
  const pid_t process = fork();
  if (process == 0) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    setenv(kCheckVariable, "1", 1);
    Execute(arguments.front().c_str(), arguments, kSupervisionVariable, memory);
    _exit(kCannotExecute);
  }
  const int error = errno;
  close(memory);
  if (process < 0) RefuseToStart(error);
  return process;
}

int HandOver(const Supervision& supervision, const std::vector<std::string>& arguments) {
  const int memory = MakeMemory(Encode(supervision));
  LetPass(supervision.state);
  Execute(arguments.front().c_str(), arguments, kSupervisionVariable, memory);
  const int error = errno;
  KeepFromPassing(supervision.state);
  close(memory);
  return error;
}

}  // namespace rw
