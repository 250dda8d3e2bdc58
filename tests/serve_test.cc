// Goal: what `rewind serve` is told as flags holds in the daemon, which the supervisor starts.
//
// Method: the real binary with flags that no default has; a volume that says nothing of its own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace rw {
namespace {

using ::testing::HasSubstr;

TEST(ServeTest, SettingsGivenAsFlagsHoldInTheDaemon) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  const testing::TempDir dir;
  const std::string base = dir.path();
  const std::map<std::string, std::string> environment = {{"REWIND_SOCKET", base + "/socket"}};
  const pid_t process = testing::Start(
      {REWIND_BINARY, "serve", "--root", base + "/root", "--socket", base + "/socket", "--mounts",
       base + "/mounts", "--retention", "3d", "--keep", "daily:90d", "--trash", "2h"},
      base + "/log");
  ASSERT_GT(process, 0);
  testing::RunResult made;
  for (int tries = 0; tries < 300 && made.exit_code != 0; ++tries) {
    made = testing::Run({REWIND_BINARY, "create", "v"}, environment);
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  EXPECT_EQ(made.exit_code, 0) << made.err;
  const testing::RunResult shown =
      testing::Run({REWIND_BINARY, "inspect", "v", "--json"}, environment);
  EXPECT_THAT(shown.out, HasSubstr("\"3d\""));
  EXPECT_THAT(shown.out, HasSubstr("\"daily:90d\""));
  EXPECT_THAT(shown.out, HasSubstr("\"2h\""));
  kill(process, SIGTERM);
  EXPECT_EQ(testing::WaitForExit(process, 15), 0);
}

}  // namespace
}  // namespace rw
