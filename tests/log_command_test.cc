// Goal: what programs did to a volume is what rewind log and rewind timeline say: each operation,
// once, in order, with its path and who did it; and they say what they refuse.
// Method: the real binary, once as the daemon and once as the command; system calls of this process
// on a mount.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <sstream>
#include <thread>

#include "metadata/time_text.h"
#include "tests/support/command_line_test.h"
#include "tests/support/process.h"

namespace rw {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using Json = nlohmann::json;
namespace stdfs = std::filesystem;

std::vector<Json> LinesOf(const std::string& text) {
  std::vector<Json> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(Json::parse(line));
  return lines;
}

std::string Brief(const Json& line) {
  std::string text = line.at("event");
  for (const char* key : {"path", "to"}) {
    if (line.contains(key)) text += " " + line.at(key).get<std::string>();
  }
  if (line.at("count") != 1) text += " x" + line.at("count").dump();
  if (line.contains("bytes")) text += " " + line.at("bytes").dump() + "B";
  return text;
}

class LogCommandTest : public testing::CommandLineTest {
 protected:
  void SetUp() override {
    Done({"create", "v"});
    mount_ = MakeDirectory("mount");
    Done({"mount", "v", mount_});
  }
  // Other daemons are not concerned by what is still mounted, this one unmounts it.
  void WriteFile(const std::string& name, const std::string& text, int flags = O_CREAT) const {
    const int fd = open((mount_ / name).c_str(), O_WRONLY | O_CLOEXEC | flags, 0644);
    ASSERT_GE(fd, 0) << name;
    EXPECT_EQ(write(fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
    close(fd);
  }
  std::vector<Json> Log(std::vector<std::string> arguments = {}) const {
    std::vector<std::string> command = {"log", "v", "--json"};
    command.insert(command.end(), arguments.begin(), arguments.end());
    return LinesOf(Done(command));
  }
  // Without syncs: the index may make its own at any time.
  std::vector<std::string> BriefLog(const std::vector<std::string>& arguments = {}) const {
    std::vector<std::string> brief;
    for (const Json& line : Log(arguments)) {
      if (line.at("event") != "sync") brief.push_back(Brief(line));
    }
    return brief;
  }

  stdfs::path mount_;
};

TEST_F(LogCommandTest, SaysEachOperationOnce) {
  const std::string begin = Now();
  ASSERT_EQ(mkdir((mount_ / "dir").c_str(), 0755), 0);
  WriteFile("dir/file", "hello");
  ASSERT_EQ(rename((mount_ / "dir/file").c_str(), (mount_ / "dir/renamed").c_str()), 0);
  ASSERT_EQ(link((mount_ / "dir/renamed").c_str(), (mount_ / "linked").c_str()), 0);
  ASSERT_EQ(symlink("target", (mount_ / "symlink").c_str()), 0);
  ASSERT_EQ(truncate((mount_ / "linked").c_str(), 2), 0);
  ASSERT_EQ(chmod((mount_ / "linked").c_str(), 0600), 0);
  ASSERT_EQ(unlink((mount_ / "linked").c_str()), 0);
  ASSERT_EQ(unlink((mount_ / "dir/renamed").c_str()), 0);
  ASSERT_EQ(rmdir((mount_ / "dir").c_str()), 0);
  Done({"mark", "v", "label", "--note", "a note"});
  const std::vector<std::string> expected = {
      "create /dir",
      "create /dir/file",
      "write /dir/file 5B",
      "rename /dir/file /dir/renamed",
      "link /dir/renamed /linked",
      "create /symlink",
      "truncate /linked",
      "attributes /linked",
      "remove /linked",
      "remove /dir/renamed",
      "rmdir /dir",
      "mark",
  };
  EXPECT_EQ(BriefLog({"--since", begin}), expected);
  // All of the history begins with the making of the volume and the mount.
  std::vector<std::string> all = BriefLog();
  ASSERT_GE(all.size(), 2u);
  EXPECT_EQ(all[0], "made /");
  EXPECT_EQ(all[1], "mount");
  all.erase(all.begin(), all.begin() + 2);
  EXPECT_EQ(all, expected);
  // The parts make the whole.
  const std::vector<Json> lines = Log({"--since", begin});
  for (size_t i = 1; i < lines.size(); ++i) {
    const std::string from = lines[i].at("at");
    const auto before =
        BriefLog({"--since", begin, "--until", FormatInstant(Before(ParseTime(from, Instant{})))});
    const auto after = BriefLog({"--since", from});
    std::vector<std::string> joined = before;
    joined.insert(joined.end(), after.begin(), after.end());
    EXPECT_EQ(joined, expected) << "cut at " << from;
  }
  // It goes on when the volume is mounted no more.
  Done({"umount", mount_});
  EXPECT_EQ(BriefLog({"--since", begin}).back(), "unmount");
}

TEST_F(LogCommandTest, SaysWhoDidIt) {
  WriteFile("file", "x");
  std::ifstream comm("/proc/self/comm");
  std::string command;
  std::getline(comm, command);
  bool found = false;
  for (const Json& line : Log({"--path", "/file"})) {
    found = true;
    EXPECT_EQ(line.at("process"), getpid());
    EXPECT_EQ(line.at("command"), command);
    EXPECT_EQ(line.at("uid"), getuid());
  }
  EXPECT_TRUE(found);
  const std::string text = Done({"log", "v", "--path", "/file"});
  EXPECT_THAT(text, HasSubstr("(" + command + "[" + std::to_string(getpid()) + "], uid 0"));
  // Another process, of which the first operation is in the same segment.
  const auto shell = testing::Run({"/bin/sh", "-c", "echo y > " + (mount_ / "other").string()});
  ASSERT_EQ(shell.exit_code, 0) << shell.err;
  for (const Json& line : Log({"--path", "/other"})) EXPECT_EQ(line.at("command"), "sh");
  // Known also to who looks at a part of the segment only, and after the daemon was killed.
  const std::string since = Now();
  WriteFile("file", "z");
  for (const bool killed : {false, true}) {
    if (killed) daemon_.EndDaemon(SIGKILL);
    const std::vector<Json> lines = Log({"--since", since, "--path", "/file"});
    ASSERT_FALSE(lines.empty());
    EXPECT_EQ(lines[0].at("command"), command) << killed;
  }
}

TEST_F(LogCommandTest, GroupsAndPagesLoseNothing) {
  const std::string begin = Now();
  constexpr int kFiles = 1200;
  for (int i = 0; i < kFiles; ++i) WriteFile("file-" + std::to_string(i), "12345");
  uint64_t creates = 0, writes = 0, bytes = 0;
  std::string last;
  for (const Json& line : Log({"--since", begin})) {
    EXPECT_LE(last, line.at("at").get<std::string>());
    last = line.at("at");
    if (line.at("event") == "create") {
      EXPECT_EQ(line.at("path"), "/file-" + std::to_string(creates));
      ++creates;
    }
    if (line.at("event") == "write") {
      writes += line.at("count").get<uint64_t>();
      bytes += line.at("bytes").get<uint64_t>();
    }
  }
  EXPECT_EQ(creates, kFiles);
  EXPECT_EQ(writes, kFiles);
  EXPECT_EQ(bytes, 5 * kFiles);
  // Successive writes of one file are few lines, however many there are.
  const std::string middle = Now();
  const int fd = open((mount_ / "file-0").c_str(), O_WRONLY | O_CLOEXEC);
  for (int i = 0; i < 500; ++i) {
    ASSERT_EQ(pwrite(fd, "x", 1, (i % 2) * 100 + i / 2), 1);
  }
  close(fd);
  uint64_t grouped = 0, count = 0;
  for (const Json& line : Log({"--since", middle, "--path", "file-0"})) {
    ADD_FAILURE() << "a glob is for the whole path: " << line.dump();
  }
  for (const Json& line : Log({"--since", middle, "--path", "*-0"})) {
    ++grouped;
    count += line.at("count").get<uint64_t>();
    EXPECT_FALSE(line.at("ranges").empty());
    EXPECT_LE(line.at("ranges").size(), 8u);
  }
  EXPECT_EQ(count, 500u);
  EXPECT_LT(grouped, 250u);
}

TEST_F(LogCommandTest, FollowShowsWhatComesOnce) {
  const std::string output = daemon_.directory() / "followed";
  const pid_t follower = testing::Start(
      {REWIND_BINARY, "log", "v", "--follow", "--json", "--socket", daemon_.socket()}, output);
  const auto wait_for = [&](const std::string& text) {
    // As long as it takes on a busy machine.
    for (int i = 0; i < 600; ++i) {
      if (Read(output).find(text) != std::string::npos) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    return false;
  };
  EXPECT_TRUE(wait_for("\"mount\""));
  for (const char* name : {"first", "second", "third"}) {
    WriteFile(name, "x");
    EXPECT_TRUE(wait_for(std::string("\"/") + name)) << Read(output);
  }
  Done({"mark", "v", "last"});
  EXPECT_TRUE(wait_for("\"last\""));
  kill(follower, SIGKILL);
  testing::WaitForExit(follower, 60);
  std::vector<std::string> brief;
  for (const Json& line : LinesOf(Read(output))) {
    if (line.at("event") == "create" || line.at("event") == "mark") brief.push_back(Brief(line));
  }
  EXPECT_THAT(brief, ElementsAre("create /first", "create /second", "create /third", "mark"));
}

TEST_F(LogCommandTest, ShowsOnlyWhatATerminalCanShow) {
  WriteFile("with\nnewline\x1b[31m", "x");
  const std::string text = Done({"log", "v", "--path", "*newline*"});
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
  EXPECT_THAT(text, HasSubstr("\\x0a"));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2);
}

TEST_F(LogCommandTest, SaysWhatItRefuses) {
  EXPECT_THAT(RefusedLine({"log", "absent"}), HasSubstr("no volume is named absent"));
  EXPECT_THAT(RefusedLine({"log", "v", "--since", "yesterday"}), HasSubstr("yesterday"));
  EXPECT_THAT(RefusedLine({"log", "v", "--since", "1s", "--until", "10m"}), HasSubstr("before"));
  EXPECT_THAT(RefusedLine({"log", "v", "--follow", "--until", "now"}), HasSubstr("--follow"));
  EXPECT_THAT(RefusedLine({"timeline", "v", "--buckets", "0"}), HasSubstr("1 to 1000"));
  EXPECT_THAT(RefusedLine({"timeline", "v", "--buckets", "1001"}), HasSubstr("1 to 1000"));
  Done({"create", "snap", "-o", "snapshot-of=v"});
  EXPECT_THAT(RefusedLine({"log", "snap"}), HasSubstr("snapshot volume"));
  EXPECT_THAT(RefusedLine({"timeline", "snap"}), HasSubstr("snapshot volume"));
}

TEST_F(LogCommandTest, TimelineCountsWhatHappenedAndNamesInstants) {
  const std::string begin = Now();
  for (int i = 0; i < 20; ++i) WriteFile("file-" + std::to_string(i), "12345");
  const int fd = open((mount_ / "file-0").c_str(), O_WRONLY | O_CLOEXEC);
  ASSERT_EQ(fsync(fd), 0);
  close(fd);
  const std::string synced = Now();
  for (int i = 0; i < 20; ++i)
    ASSERT_EQ(unlink((mount_ / ("file-" + std::to_string(i))).c_str()), 0);
  Done({"mark", "v", "label"});
  Done({"umount", mount_});
  const Json timeline = DoneJson({"timeline", "v", "--since", begin, "--buckets", "7"});
  uint64_t operations = 0, bytes = 0, removals = 0, syncs = 0;
  std::vector<std::string> notes;
  for (const Json& bucket : timeline.at("buckets")) {
    operations += bucket.at("operations").get<uint64_t>();
    bytes += bucket.at("bytes").get<uint64_t>();
    removals += bucket.at("removals").get<uint64_t>();
    syncs += bucket.at("syncs").get<uint64_t>();
    for (const Json& note : bucket.at("notes")) notes.push_back(note);
  }
  EXPECT_EQ(timeline.at("buckets").size(), 7u);
  EXPECT_EQ(operations, 60u);
  EXPECT_EQ(bytes, 100u);
  EXPECT_EQ(removals, 20u);
  EXPECT_GE(syncs, 1u);
  EXPECT_THAT(notes, ElementsAre("mark label", "unmount cli:" + mount_.string()));
  // Whatever it names can be gone back to; the sync before the removals has all files.
  std::string before_removals;
  for (const Json& point : timeline.at("restore_points")) {
    const std::string at = point.at("at");
    Done({"create", "at-" + at.substr(17, 12), "-o", "clone-of=v", "-o", "at=" + at});
    if (point.at("why").get<std::string>().find("removals") != std::string::npos)
      before_removals = at;
  }
  ASSERT_FALSE(before_removals.empty()) << timeline.dump(2);
  EXPECT_LE(before_removals, synced);
  const stdfs::path directory = MakeDirectory("restored");
  Done({"mount", "v", directory, "--at", before_removals});
  EXPECT_EQ(Read(directory / "file-19"), "12345");
  Done({"umount", directory});
  // And people see the same.
  const std::string text = Done({"timeline", "v", "--since", begin});
  EXPECT_THAT(text, StartsWith("FROM"));
  EXPECT_THAT(text, HasSubstr("mark label"));
  EXPECT_THAT(text, HasSubstr("RESTORE TO"));
}

}  // namespace
}  // namespace rw
