// Goal: `rewind restore`, `undo` and `schedule` as people meet them: on a mounted volume, whose
// kernel has cached what was there; with a daemon that is killed at any moment; refused in one
// line. Method: the real daemon and command line, and the mountpoint.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/support/command_line_test.h"
#include "tests/support/tree.h"

namespace rw::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
namespace stdfs = std::filesystem;

class RestoreCommandTest : public CommandLineTest {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "mounts, needs root";
    Done({"create", "v"});
    Mount();
  }
  void Mount() {
    const auto answer = daemon_.Post("VolumeDriver.Mount", {{"Name", "v"}, {"ID", "id"}});
    top_ = answer["Mountpoint"].get<std::string>();
  }
  void Unmount() { daemon_.Post("VolumeDriver.Unmount", {{"Name", "v"}, {"ID", "id"}}); }
  void Put(const std::string& path, const std::string& text) {
    stdfs::create_directories((top_ / path).parent_path());
    std::ofstream(top_ / path) << text;
  }
  std::string Get(const std::string& path) const {
    return stdfs::exists(top_ / path) ? Read(top_ / path) : "(absent)";
  }
  // With all of its attributes but ctimes and what counts names.
  Tree TreeOf(const std::string& path) const {
    CollectedTree collected = CollectTree((top_ / path).string());
    EXPECT_EQ(collected.ProblemText(), "");
    for (auto& [name, node] : collected.tree) {
      node.ctime = {};
      if (S_ISREG(node.mode)) node.atime = {};
    }
    return collected.tree;
  }

  stdfs::path top_;
};

TEST_F(RestoreCommandTest, TheKernelSeesItAtOnce) {
  Put("d/file", "old text");
  Put("d/sub/other", "old other");
  symlink("file", (top_ / "d/link").c_str());
  const Tree was = TreeOf("d");
  const std::string then = Now();
  Put("d/file", "new text");
  stdfs::remove_all(top_ / "d/sub");
  Put("d/sub", "a file now");
  Put("d/new/one", "new");
  // Cached: names, absent names, attributes, contents, the directory.
  EXPECT_EQ(Get("d/file"), "new text");
  EXPECT_EQ(Get("d/new/one"), "new");
  EXPECT_FALSE(stdfs::exists(top_ / "d/sub/other"));
  const int open_file = open((top_ / "d/file").c_str(), O_RDWR | O_CLOEXEC);
  const int open_directory = open((top_ / "d").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const auto report = DoneJson({"restore", "v", "/d", "--at", then});
  EXPECT_EQ(report["paths"][0]["action"], "replace");
  EXPECT_EQ(report["as_of"], then);
  EXPECT_EQ(Difference(was, TreeOf("d")), "");
  EXPECT_EQ(Get("d/file"), "old text");
  EXPECT_EQ(Get("d/link"), "old text");
  EXPECT_EQ(Get("d/sub/other"), "old other");
  EXPECT_EQ(Get("d/new/one"), "(absent)");
  // Who has it open goes on with it.
  char text[8];
  EXPECT_EQ(pread(open_file, text, 8, 0), 8);
  EXPECT_EQ(std::string(text, 8), "new text");
  EXPECT_EQ(pwrite(open_file, "and goes on", 11, 0), 11);
  struct stat st {};
  EXPECT_EQ(fstat(open_file, &st), 0);
  EXPECT_EQ(st.st_nlink, 0u);
  EXPECT_EQ(openat(open_directory, "x", O_CREAT | O_RDWR | O_CLOEXEC, 0644), -1);
  close(open_file);
  close(open_directory);
  EXPECT_EQ(Get("d/file"), "old text");
  Put("d/file", "written again");
  EXPECT_EQ(Get("d/file"), "written again");
  EXPECT_THAT(Done({"log", "v"}), HasSubstr("restore     /d  as of " + then));
  Done({"check", "v"});
  Unmount();
  Mount();
  EXPECT_EQ(Get("d/file"), "written again");
  EXPECT_EQ(Get("d/sub/other"), "old other");
}

TEST_F(RestoreCommandTest, OneFileAndUndoAndRedo) {
  Put("orders.csv", "1\n2\n3\n");
  Put("log", "a\n");
  const std::string then = Now();
  Put("orders.csv", "lost\n");
  Put("log", "a\nb\n");
  EXPECT_THAT(Done({"restore", "v", "orders.csv", "--at", then, "--dry-run"}),
              HasSubstr("would create 0, replace 1 and remove 0"));
  EXPECT_EQ(Get("orders.csv"), "lost\n");
  EXPECT_THAT(Done({"restore", "v", "orders.csv", "--at", then}),
              HasSubstr("restored /orders.csv"));
  EXPECT_EQ(Get("orders.csv"), "1\n2\n3\n");
  EXPECT_EQ(Get("log"), "a\nb\n");
  EXPECT_THAT(Done({"undo", "v", "--dry-run"}), HasSubstr("would take back the restore of "));
  EXPECT_EQ(Get("orders.csv"), "1\n2\n3\n");
  EXPECT_THAT(Done({"undo", "v"}), HasSubstr("took back the restore of "));
  EXPECT_EQ(Get("orders.csv"), "lost\n");
  EXPECT_THAT(RefusedLine({"undo", "v"}), HasSubstr("nothing to undo"));
  Done({"undo", "v", "--redo"});
  EXPECT_EQ(Get("orders.csv"), "1\n2\n3\n");
  Done({"restore", "v", "orders.csv", "--at", then, "--to", "/back/here"});
  EXPECT_EQ(Get("back/here/orders.csv"), "1\n2\n3\n");
  Done({"undo", "v"});
  EXPECT_EQ(Get("back"), "(absent)");
}

TEST_F(RestoreCommandTest, ARollbackIsUndone) {
  Put("f", "one");
  const std::string then = Now();
  Put("f", "two");
  Unmount();
  Done({"create", "before", "-o", "rollback=v", "-o", "at=" + then});
  Mount();
  EXPECT_EQ(Get("f"), "one");
  EXPECT_THAT(RefusedLine({"undo", "v"}), HasSubstr("cannot undo the rollback of v: mounted by"));
  Unmount();
  EXPECT_EQ(DoneJson({"undo", "v", "--dry-run"})["undone"], "rollback");
  const auto report = DoneJson({"undo", "v"});
  EXPECT_EQ(report["undone"], "rollback");
  EXPECT_EQ(report["undone_as_of"], then);
  Mount();
  EXPECT_EQ(Get("f"), "two");
  Unmount();
  Done({"undo", "v", "--redo"});
  Mount();
  EXPECT_EQ(Get("f"), "one");
}

TEST_F(RestoreCommandTest, RefusesInOneLine) {
  Put("file", "text");
  const std::string then = Now();
  EXPECT_THAT(RefusedLine({"restore", "v", "/flie", "--at", then}),
              HasSubstr("similar ones that were: \"/file\""));
  EXPECT_THAT(RefusedLine({"restore", "v", "/file", "--at", "99d"}),
              HasSubstr("before the first instant"));
  EXPECT_THAT(RefusedLine({"restore", "v", "/file", "--at", "befor"}), HasSubstr("befor"));
  EXPECT_THAT(RefusedLine({"restore", "w", "/file", "--at", then}), HasSubstr("no such volume"));
  EXPECT_THAT(RefusedLine({"restore", "v", "/.rewind/1m/file", "--at", then}),
              HasSubstr(".rewind is the way"));
  EXPECT_THAT(RefusedLine({"undo", "v"}), HasSubstr("nothing to undo"));
  EXPECT_THAT(RefusedLine({"undo", "w"}), HasSubstr("no such volume"));
  EXPECT_THAT(RefusedLine({"schedule", "w"}), HasSubstr("no volume"));
  RefusedLine({"restore", "v", "/file"}, kExitUsage);
  Done({"create", "s", "-o", "snapshot-of=v"});
  EXPECT_THAT(RefusedLine({"restore", "s", "/file", "--at", "now"}), HasSubstr("snapshot volume"));
  EXPECT_THAT(RefusedLine({"undo", "s"}), HasSubstr("snapshot volume"));
}

TEST_F(RestoreCommandTest, ThatDoesNotFitIsRefusedAndChangesNothing) {
  Put("d/large", std::string(600'000, 'x'));
  Put("d/small", "was");
  const std::string then = Now();
  stdfs::remove(top_ / "d/large");
  Put("d/small", "is");
  Put("other", std::string(600'000, 'y'));
  Done({"set", "v", "size=1M"});
  const Tree before = TreeOf("");
  EXPECT_THAT(RefusedLine({"restore", "v", "/d", "--at", then}),
              AllOf(HasSubstr("does not fit"), HasSubstr("nothing was changed")));
  EXPECT_EQ(Difference(before, TreeOf("")), "");
  EXPECT_THAT(RefusedLine({"undo", "v"}), HasSubstr("nothing to undo"));
  stdfs::remove(top_ / "other");
  Done({"restore", "v", "/d", "--at", then});
  EXPECT_EQ(Get("d/small"), "was");
}

// Whenever the daemon is killed, the tree is the old one or the new one, and the kernel knows
// which.
TEST_F(RestoreCommandTest, KilledAtAnyMoment) {
  for (int i = 0; i < 600; ++i)
    Put("d/" + std::to_string(i % 7) + "/f" + std::to_string(i), "was " + std::to_string(i));
  const Tree was = TreeOf("d");
  const std::string then = Now();
  for (int i = 0; i < 600; i += 3)
    Put("d/" + std::to_string(i % 7) + "/f" + std::to_string(i), "changed");
  Put("d/more", "new");
  const Tree changed = TreeOf("d");
  for (const int ms : {0, 8, 16, 30, 60}) {
    std::thread command([&] { daemon_.Command({"restore", "v", "/d", "--at", then}); });
    std::this_thread::sleep_for(std::chrono::milliseconds(ms));
    daemon_.EndDaemon(SIGKILL);
    command.join();
    // Until the next daemon is there, the kernel answers some of this from what it knew before.
    Done({"ls"});
    const Tree now = TreeOf("d");
    const bool is_new = Difference(was, now).empty();
    if (!is_new) {
      EXPECT_EQ(Difference(changed, now), "")
          << ms << " ms; to the other: " << Difference(was, now);
    }
    Done({"check", "v"});
    if (is_new) {
      Done({"undo", "v"});
      EXPECT_EQ(Difference(changed, TreeOf("d")), "");
    }
  }
  Done({"restore", "v", "/d", "--at", then});
  EXPECT_EQ(Difference(was, TreeOf("d")), "");
  Unmount();
  Mount();
  EXPECT_EQ(Difference(was, TreeOf("d")), "");
  // What was not finished is gone: files and directories are those of the tree, and the root.
  EXPECT_EQ(DoneJson({"inspect", "v"})["live_inodes"].get<size_t>(), was.size() + 1);
  Done({"check", "v"});
}

TEST_F(RestoreCommandTest, SchedulesAreShownAndChanged) {
  Done({"create", "hourly", "-o", "mark-every=1h", "-o", "mark-keep=48"});
  const auto all = DoneJson({"schedule"});
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0]["volume"], "hourly");
  EXPECT_EQ(all[0]["mark_every"], "1h");
  EXPECT_EQ(all[0]["mark_keep"], "48");
  EXPECT_THAT(all[0]["next"].get<std::string>(), HasSubstr(":00:00.000000000Z"));
  EXPECT_THAT(Done({"schedule", "hourly"}), HasSubstr("hourly  1h"));
  Done({"set", "hourly", "mark-every=1d", "mark-keep=60d"});
  EXPECT_EQ(DoneJson({"inspect", "hourly"})["mark_every"], "1d");
  EXPECT_EQ(DoneJson({"inspect", "hourly"})["mark_keep"], "60d");
  EXPECT_THAT(RefusedLine({"set", "hourly", "mark-every=5s"}), HasSubstr("from 1m to 366d"));
  EXPECT_THAT(RefusedLine({"set", "hourly", "mark-keep=1h"}), HasSubstr("shorter than mark-every"));
  EXPECT_THAT(RefusedLine({"set", "v", "mark-keep=5"}), HasSubstr("give that, too"));
  EXPECT_THAT(RefusedLine({"create", "x", "-o", "mark-every=often"}), HasSubstr("such as 1h"));
  Done({"set", "hourly", "mark-every=", "mark-keep="});
  EXPECT_TRUE(DoneJson({"schedule"}).empty());
}

}  // namespace
}  // namespace rw::testing
