// Goal: a command that is interrupted (Ctrl-C), whenever that comes, leaves nothing half done, says
// so if it was its business to, and is in nobody's way afterwards.
// Method: the real binary, once as the daemon and once as the command, which gets SIGINT after more
// and more time. What is expected depends on what its exit status says, not on the time.
// Rollbacks and marks that hold containers still: tests/docker/operate_test.py. Imports:
// archive_command_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "tests/support/command_line_test.h"
#include "tests/support/process.h"
#include "tests/support/tree.h"

namespace rw::testing {
namespace {

using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;
namespace stdfs = std::filesystem;

constexpr int kBySignal = 128 + SIGINT;
constexpr int kMoments[] = {0, 3, 6, 12, 25, 50, 100};  // in ms
constexpr double kPatienceSeconds = 100;

class InterruptTest : public CommandLineTest {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "mounts, needs root";
    signal(SIGINT, SIG_DFL);  // a shell ignores it for what it starts in the background
    Done({"create", "v"});
    top_ = MakeDirectory("volume");
    Done({"mount", "v", top_});
  }
  void Put(const std::string& path, const std::string& text) const {
    stdfs::create_directories((top_ / path).parent_path());
    std::ofstream(top_ / path) << text;
  }
  void PutMany(const std::string& text) const {
    for (int i = 0; i < 800; ++i)
      Put("d/" + std::to_string(i % 7) + "/f" + std::to_string(i), text + std::to_string(i));
  }
  Tree TreeOf(const std::string& path) const {
    CollectedTree collected = CollectTree((top_ / path).string());
    EXPECT_EQ(collected.ProblemText(), "");
    for (auto& [name, node] : collected.tree) {
      node.ctime = {};
      if (S_ISREG(node.mode)) node.atime = {};
    }
    return collected.tree;
  }
  // Its exit status, and what it said on both streams.
  RunResult Interrupted(std::vector<std::string> arguments, int milliseconds) const {
    const std::string output = daemon_.directory() / "output";
    stdfs::remove(output);  // of the last one
    arguments.insert(arguments.begin(), REWIND_BINARY);
    arguments.insert(arguments.end(), {"--socket", daemon_.socket()});
    const pid_t process = Start(arguments, output);
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
    kill(process, SIGINT);
    RunResult result;
    result.exit_code = WaitForExit(process, kPatienceSeconds);
    result.out = Read(output);
    return result;
  }

  stdfs::path top_;
};

TEST_F(InterruptTest, ARestoreIsDoneOrChangesNothing) {
  PutMany("was ");
  const Tree was = TreeOf("d");
  const std::string then = Now();
  PutMany("changed ");
  const Tree changed = TreeOf("d");
  for (const int ms : kMoments) {
    SCOPED_TRACE(ms);
    const RunResult result = Interrupted({"restore", "v", "/d", "--at", then}, ms);
    const Tree now = TreeOf("d");
    const bool is_new = Difference(was, now).empty();
    if (!is_new) {
      EXPECT_EQ(Difference(changed, now), "");
    }
    EXPECT_THAT(result.exit_code, AnyOf(kExitDone, kExitRefused, kBySignal)) << result.out;
    if (result.exit_code == kExitDone) {
      EXPECT_TRUE(is_new);
    }
    if (result.exit_code == kExitRefused) {
      EXPECT_FALSE(is_new);
      EXPECT_THAT(result.out, StartsWith("rewind: interrupted while "));
      EXPECT_THAT(result.out, HasSubstr("nothing was changed"));
    }
    if (is_new) Done({"undo", "v"});  // which is nobody's turn but ours
  }
  Done({"restore", "v", "/d", "--at", then});
  EXPECT_EQ(Difference(was, TreeOf("d")), "");
  Done({"umount", top_});
  // And nothing is left of what was not finished.
  EXPECT_EQ(DoneJson({"inspect", "v"})["live_inodes"].get<size_t>(), was.size() + 1);
  Done({"check", "v"});
}

TEST_F(InterruptTest, ACheckEndsAndTheNextOneBegins) {
  PutMany("text ");
  for (const int ms : kMoments) {
    SCOPED_TRACE(ms);
    const RunResult result = Interrupted({"check", "v", "--rate", "1M"}, ms);
    EXPECT_THAT(result.exit_code, AnyOf(0, 2, kBySignal)) << result.out;
    if (result.exit_code == 2) {
      EXPECT_THAT(result.out, HasSubstr("ended early"));
    }
  }
  Done({"check", "v"});
}

TEST_F(InterruptTest, AForgetCanBeRepeated) {
  Put("secret", std::string(3 << 20, 's'));
  PutMany("text ");
  const std::string then = Now();
  stdfs::remove(top_ / "secret");
  for (const int ms : kMoments) {
    SCOPED_TRACE(ms);
    const RunResult result = Interrupted({"forget", "v", "/secret"}, ms);
    EXPECT_THAT(result.exit_code, AnyOf(kExitDone, kExitRefused, kBySignal)) << result.out;
  }
  Done({"forget", "v", "/secret"});
  EXPECT_THAT(RefusedLine({"cat", "v", "/secret", "--at", then}), HasSubstr("forgotten"));
  EXPECT_EQ(Done({"cat", "v", "/d/0/f0"}), "text 0");
}

TEST_F(InterruptTest, AFileIsWrittenWholeOrNotAtAll) {
  for (int i = 0; i < 8; ++i) Put("large" + std::to_string(i), std::string(8 << 20, 'a'));
  const stdfs::path out = MakeDirectory("out");
  const std::string whole = Done({"cat", "v", "large0"});
  for (const int ms : kMoments) {
    for (const bool exports : {true, false}) {
      SCOPED_TRACE(std::to_string(ms) + (exports ? " export" : " cat"));
      std::vector<std::string> command = {"cat", "v", "large0"};
      if (exports) command = {"export", "v"};
      command.insert(command.end(), {"-o", out / "file"});
      const RunResult result = Interrupted(command, ms);
      EXPECT_THAT(result.exit_code, AnyOf(kExitDone, kBySignal)) << result.out;
      std::vector<std::string> names;
      for (const auto& entry : stdfs::directory_iterator(out))
        names.push_back(entry.path().filename());
      if (result.exit_code == kExitDone || !names.empty()) {
        ASSERT_THAT(names, ElementsAre("file"));
        if (exports) {
          EXPECT_EQ(testing::Run({"tar", "-tf", out / "file"}).exit_code, 0);
        } else {
          EXPECT_EQ(Read(out / "file"), whole);
        }
        stdfs::remove(out / "file");
      }
    }
  }
}

TEST_F(InterruptTest, AFullDiskUnderTheFileLeavesWhatWasThere) {
  Put("large", std::string(1 << 20, 'x'));
  const stdfs::path small = MakeDirectory("small");
  ASSERT_EQ(mount("tmpfs", small.c_str(), "tmpfs", 0, "size=256k"), 0);
  std::ofstream(small / "file") << "what was there";
  for (const auto& command :
       {std::vector<std::string>{"export", "v"}, std::vector<std::string>{"cat", "v", "large"}}) {
    std::vector<std::string> arguments = command;
    arguments.insert(arguments.end(), {"-o", small / "file"});
    EXPECT_THAT(RefusedLine(arguments), HasSubstr("No space left on device"));
    EXPECT_EQ(Read(small / "file"), "what was there");
    EXPECT_EQ(std::distance(stdfs::directory_iterator(small), stdfs::directory_iterator()), 1);
  }
  EXPECT_EQ(umount2(small.c_str(), MNT_DETACH), 0);
}

TEST_F(InterruptTest, FollowingEnds) {
  EXPECT_EQ(Interrupted({"log", "v", "--follow"}, 100).exit_code, kBySignal);
  EXPECT_EQ(Interrupted({"top", "--interval", "1000"}, 100).exit_code, kBySignal);
}

}  // namespace
}  // namespace rw::testing
