// What tests of the command line share: the real binary, once as the daemon and once as the
// command.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "plugin/command_line.h"
#include "tests/support/daemon_process.h"

namespace rw::testing {

class CommandLineTest : public ::testing::Test {
 protected:
  RunResult Rewind(std::vector<std::string> arguments) const { return daemon_.Command(arguments); }
  // Runs a command that must succeed; returns what it printed.
  std::string Done(std::vector<std::string> arguments) const {
    RunResult result = Rewind(arguments);
    EXPECT_EQ(result.exit_code, kExitDone) << result.err;
    EXPECT_THAT(result.err, ::testing::IsEmpty());
    return result.out;
  }
  // The same for one that prints JSON.
  nlohmann::json DoneJson(std::vector<std::string> arguments) const {
    arguments.push_back("--json");
    return nlohmann::json::parse(Done(arguments));
  }
  // An instant of the volume, as `rewind now` prints it.
  std::string Now(const std::string& volume = "v") const {
    std::string now = Done({"now", volume});
    now.pop_back();
    return now;
  }
  // Runs a command that must be refused; returns the line that says why.
  std::string RefusedLine(std::vector<std::string> arguments, int exit_code = kExitRefused) const {
    RunResult result = Rewind(arguments);
    ExpectRefusal(result, exit_code);
    return result.err;
  }
  static void ExpectRefusal(const RunResult& result, int exit_code = kExitRefused) {
    EXPECT_EQ(result.exit_code, exit_code) << result.err;
    EXPECT_THAT(result.err, ::testing::StartsWith("rewind: "));
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
    EXPECT_THAT(result.out, ::testing::IsEmpty());
  }
  std::filesystem::path MakeDirectory(const std::string& name) const {
    std::filesystem::path path = daemon_.directory() / name;
    std::filesystem::create_directories(path);
    return path;
  }
  static std::string Read(const std::filesystem::path& path) {
    std::ifstream file(path);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }

  DaemonProcess daemon_;
};

}  // namespace rw::testing
