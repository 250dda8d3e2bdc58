// Programs run by tests.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace rw::testing {

struct RunResult {
  int exit_code = -1;  // 128 + the signal's number if a signal ended it
  std::string out;
  std::string err;
};

// Runs a program to its end. `environment` is added to this process's own.
RunResult Run(const std::vector<std::string>& command,
              const std::map<std::string, std::string>& environment = {});

// The same on a terminal so many columns wide: `out` is what it shows there.
RunResult RunOnTerminal(const std::vector<std::string>& command, uint16_t columns);

// Starts a program with its output at the end of a file (standard error too) and returns its
// process id. It is ended by the kernel if the test ends first.
pid_t Start(const std::vector<std::string>& command, const std::string& output_file,
            const std::map<std::string, std::string>& environment = {});

// Waits for a program that Start started; result as RunResult::exit_code. Ends it with SIGKILL if
// it takes longer, and returns -1.
int WaitForExit(pid_t process, double limit_seconds);

}  // namespace rw::testing
