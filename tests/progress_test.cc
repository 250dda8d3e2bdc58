// Goal: who waits at a terminal for more than a second sees how far it is, in one line that goes
// when there is something to read; whoever is no terminal sees nothing of it.
// Method: the real command on a pseudo-terminal, with work that a limit makes last; and the line by
// itself.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "plugin/progress_bar.h"
#include "tests/support/command_line_test.h"
#include "tests/support/process.h"
#include "tests/support/random.h"

namespace rw::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr uint64_t kMiB = 1 << 20;
const char kErase[] = "\r\033[K";

class ProgressTest : public CommandLineTest {};

TEST_F(ProgressTest, ATerminalSeesHowFarItIs) {
  if (geteuid() != 0) GTEST_SKIP() << "mounts, needs root";
  Done({"create", "v"});
  const auto top = MakeDirectory("volume");
  Done({"mount", "v", top});
  Random random(1);
  std::ofstream(top / "file") << random.Bytes(3 * kMiB);
  const std::vector<std::string> check = {"check", "v", "--rate", "1M"};
  const std::string quiet = Done(check);

  std::vector<std::string> command = check;
  command.insert(command.begin(), REWIND_BINARY);
  command.insert(command.end(), {"--socket", daemon_.socket()});
  const RunResult seen = RunOnTerminal(command, 100);
  EXPECT_EQ(seen.exit_code, kExitDone);
  const size_t first = seen.out.find(kErase);
  const size_t last = seen.out.rfind(kErase);
  ASSERT_NE(first, std::string::npos) << seen.out;
  ASSERT_LT(first, last);
  const std::string line = seen.out.substr(first + sizeof kErase - 1, last - first);
  EXPECT_THAT(line, StartsWith("checking"));
  EXPECT_THAT(line, HasSubstr("/s"));
  EXPECT_THAT(seen.out.substr(0, last), Not(HasSubstr("\n")));
  // Then what it has to say, as without a terminal.
  std::string said;
  for (const char c : seen.out.substr(last + sizeof kErase - 1)) {
    if (c != '\r') said += c;
  }
  EXPECT_EQ(said.substr(0, said.find(' ')), quiet.substr(0, quiet.find(' ')));
  EXPECT_EQ(std::count(said.begin(), said.end(), '\n'),
            std::count(quiet.begin(), quiet.end(), '\n'));
}

std::string LineOf(uint64_t done, uint64_t total, int seconds, size_t columns) {
  return ProgressBar::Line("exporting v", ProgressBar::Unit::kBytes, done, total,
                           std::chrono::seconds(seconds), columns);
}

TEST(ProgressLineTest, HasAmountRateAndRemainingTime) {
  const std::string line = LineOf(50 * kMiB, 200 * kMiB, 10, 100);
  EXPECT_THAT(line, StartsWith("exporting v [##########....."));
  EXPECT_THAT(line, HasSubstr("50 MiB of 200 MiB, 5.0 MiB/s, 30s left"));
  EXPECT_THAT(LineOf(50 * kMiB, 0, 10, 100), HasSubstr("50 MiB, 5.0 MiB/s"));
  EXPECT_THAT(LineOf(200 * kMiB, 200 * kMiB, 10, 100), Not(HasSubstr("left")));
  EXPECT_THAT(LineOf(0, 0, 10, 100), HasSubstr("10s"));
}

TEST(ProgressLineTest, StaysOnOneLineOfAnyTerminal) {
  constexpr uint64_t kMost = uint64_t{1} << 60;
  Random random(2);
  for (int i = 0; i < 10'000; ++i) {
    const size_t columns = random.Below(120);
    const uint64_t total = random.OneIn(3) ? 0 : random.Below(kMost);
    const std::string line =
        LineOf(random.Below(kMost), total, 1 + static_cast<int>(random.Below(1 << 20)), columns);
    ASSERT_LE(line.size(), columns > 0 ? columns - 1 : 0) << line;
    ASSERT_EQ(line.find('\n'), std::string::npos);
  }
}

}  // namespace
}  // namespace rw::testing
