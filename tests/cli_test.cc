// Goal: the command line does what it says, with its exit codes and one line for each refusal.
// Method: the real binary, once as the daemon and once as the command.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <chrono>

#include "metadata/time_text.h"
#include "plugin/mount_info.h"
#include "tests/support/command_line_test.h"

namespace rw {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::IsMounted;
using testing::RunResult;
using ::testing::StartsWith;
using Json = nlohmann::json;
namespace stdfs = std::filesystem;

class CliTest : public testing::CommandLineTest {};

TEST_F(CliTest, CreateListInspectRemove) {
  EXPECT_EQ(Done({"ls", "--json"}), "[]\n");
  EXPECT_EQ(Done({"create", "v"}), "v\n");
  EXPECT_EQ(Done({"create", "-o", "snapshot-of=v", "s", "-o", "at=now"}), "s\n");
  Json list = Json::parse(Done({"ls", "--json"}));
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list[0]["name"], "s");
  EXPECT_EQ(list[0]["role"], "snapshot");
  EXPECT_EQ(list[0]["source"], "v");
  EXPECT_EQ(list[1]["name"], "v");
  EXPECT_THAT(Done({"ls"}), StartsWith("NAME"));
  Json inspected = Json::parse(Done({"inspect", "v", "--json"}));
  EXPECT_EQ(inspected["name"], "v");
  EXPECT_TRUE(inspected.contains("history_from"));
  EXPECT_THAT(Done({"inspect", "v"}), HasSubstr("history from"));
  EXPECT_THAT(Done({"rm", "s"}), StartsWith("s\n"));
  EXPECT_THAT(Done({"rm", "v"}), StartsWith("v\n"));
  EXPECT_EQ(Done({"ls", "--json"}), "[]\n");
}

TEST_F(CliTest, NowPrintsOneInstantThatIsAcceptedBack) {
  Done({"create", "v"});
  std::string first = Done({"now", "v"});
  EXPECT_THAT(first, EndsWith("Z\n"));
  first.pop_back();
  EXPECT_EQ(FormatInstant(ParseTime(first, Instant{0})), first);
  EXPECT_LT(first, Done({"now", "v"}));
  EXPECT_EQ(Done({"create", "s", "-o", "snapshot-of=v", "-o", "at=" + first}), "s\n");
  EXPECT_EQ(Json::parse(Done({"inspect", "s", "--json"}))["shows"], first);
  EXPECT_THAT(RefusedLine({"now", "nobody"}), HasSubstr("no such volume"));
}

TEST_F(CliTest, RefusalsAreOneLineAndUsageIsTwo) {
  Done({"create", "v"});
  EXPECT_THAT(RefusedLine({"create", "x", "-o", "colour=red"}),
              HasSubstr("unknown option \"colour\""));
  EXPECT_THAT(RefusedLine({"create", "x", "-o", "at"}), HasSubstr("needs a value"));
  EXPECT_THAT(RefusedLine({"create", "x", "-o", "uid=1", "-o", "uid=2"}), HasSubstr("twice"));
  EXPECT_THAT(RefusedLine({"create", "a/b"}), HasSubstr("contains a /"));
  EXPECT_THAT(RefusedLine({"create", "bad\xff"}), HasSubstr("UTF-8"));
  EXPECT_THAT(RefusedLine({"inspect", "nobody"}), HasSubstr("no such volume"));
  EXPECT_THAT(RefusedLine({"rm", "nobody"}), HasSubstr("nobody"));
  RefusedLine({"create"}, kExitUsage);
  RefusedLine({}, kExitUsage);
  EXPECT_THAT(RefusedLine({"nonsense"}, kExitUsage), HasSubstr("\"nonsense\""));
  RefusedLine({"ls", "--nonsense"}, kExitUsage);
  RefusedLine({"ls", "extra"}, kExitUsage);
  RefusedLine({"mount", "v"}, kExitUsage);
  EXPECT_THAT(Done({"--help"}), HasSubstr("Exit status: 0 done"));
  EXPECT_THAT(Done({"create", "--help"}), HasSubstr("snapshot-of"));
  EXPECT_THAT(Done({"create", "x", "-o", "help"}), HasSubstr("clone-of=VOLUME"));
  EXPECT_EQ(Done({"version"}), "rewind " REWIND_VERSION "\n");
}

TEST_F(CliTest, WithoutADaemonSaysWhereItLooked) {
  daemon_.Stop();
  std::string line = RefusedLine({"ls"});
  EXPECT_THAT(line, HasSubstr(daemon_.socket().string()));
  EXPECT_THAT(line, HasSubstr("--socket"));
}

TEST_F(CliTest, MountAndUmount) {
  Done({"create", "v"});
  stdfs::path directory = MakeDirectory("mount here");
  Done({"mount", "v", directory});
  EXPECT_TRUE(IsMounted(directory));
  std::ofstream(directory / "file") << "text";
  EXPECT_THAT(Done({"inspect", "v"}), HasSubstr(directory.string()));
  EXPECT_THAT(RefusedLine({"rm", "v"}), HasSubstr(directory.string()));
  EXPECT_THAT(RefusedLine({"mount", "v", directory}), HasSubstr("mounted there already"));
  // A second directory sees the same volume.
  stdfs::path second = MakeDirectory("second");
  Done({"mount", "v", second});
  EXPECT_EQ(Read(second / "file"), "text");
  Done({"umount", second.string() + "/"});
  EXPECT_FALSE(IsMounted(second));
  Done({"umount", directory});
  EXPECT_FALSE(IsMounted(directory));
  EXPECT_TRUE(stdfs::is_empty(directory));
  EXPECT_THAT(RefusedLine({"umount", directory}), HasSubstr("not mounted by rewind mount"));
  Done({"rm", "v"});
}

TEST_F(CliTest, MountAtATimeIsReadOnly) {
  Done({"create", "v"});
  stdfs::path head = MakeDirectory("head");
  stdfs::path past = MakeDirectory("past");
  Done({"mount", "v", head});
  std::ofstream(head / "file") << "old";
  std::string then = Done({"now", "v"});
  then.pop_back();
  std::ofstream(head / "file") << "new";
  Done({"mount", "v", past, "--at", then});
  EXPECT_EQ(Read(past / "file"), "old");
  EXPECT_EQ(Read(head / "file"), "new");
  EXPECT_EQ(mkdir((past / "x").c_str(), 0700), -1);
  EXPECT_EQ(errno, EROFS);
  Done({"umount", past});
  EXPECT_TRUE(IsMounted(head));
  for (const char* time : {"soon", "1000d", "2200-01-01T00:00:00Z", "2026-11-22T00:00:00"}) {
    RefusedLine({"mount", "v", past, "--at", time});
    EXPECT_FALSE(IsMounted(past)) << time;
  }
  Done({"umount", head});
}

TEST_F(CliTest, MountRefusesWhatIsNotADirectory) {
  Done({"create", "v"});
  stdfs::path file = daemon_.directory() / "file";
  std::ofstream(file) << "x";
  EXPECT_THAT(RefusedLine({"mount", "v", file}), HasSubstr("not a directory"));
  EXPECT_THAT(RefusedLine({"mount", "v", daemon_.directory() / "absent"}), HasSubstr("existing"));
  EXPECT_THAT(RefusedLine({"mount", "nobody", MakeDirectory("d")}), HasSubstr("no such volume"));
  EXPECT_THAT(RefusedLine({"umount", "/proc"}), HasSubstr("not mounted by rewind mount"));
  EXPECT_TRUE(IsMounted("/proc"));
}

TEST_F(CliTest, TheDaemonsOwnMountsAreNotForUmount) {
  Done({"create", "v"});
  std::string mountpoint =
      daemon_.Post("VolumeDriver.Mount", {{"Name", "v"}, {"ID", "container"}})["Mountpoint"];
  EXPECT_THAT(RefusedLine({"umount", mountpoint}), HasSubstr("not mounted by rewind mount"));
  EXPECT_TRUE(IsMounted(mountpoint));
}

TEST_F(CliTest, UmountOfABusyDirectoryChangesNothing) {
  Done({"create", "v"});
  stdfs::path directory = MakeDirectory("d");
  Done({"mount", "v", directory});
  {
    std::ofstream open_file(directory / "file");
    EXPECT_THAT(RefusedLine({"umount", directory}), HasSubstr("in use"));
    EXPECT_TRUE(IsMounted(directory));
    EXPECT_THAT(RefusedLine({"rm", "v"}), HasSubstr("mounted by"));
  }
  Done({"umount", directory});
}

TEST_F(CliTest, APlainUmountDoesNotConfuseTheDaemonForLong) {
  Done({"create", "v"});
  stdfs::path directory = MakeDirectory("d");
  Done({"mount", "v", directory});
  ASSERT_EQ(umount2(directory.c_str(), 0), 0);
  Done({"umount", directory});
  Done({"mount", "v", directory});
  ASSERT_EQ(umount2(directory.c_str(), 0), 0);
  Done({"mount", "v", directory});
  Done({"umount", directory});
  Done({"rm", "v"});
}

TEST_F(CliTest, SigtermEndsTheDaemonCleanly) {
  Done({"create", "v"});
  stdfs::path directory = MakeDirectory("d");
  Done({"mount", "v", directory});
  std::ofstream(directory / "file") << "text";
  auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(daemon_.Stop(), 0) << daemon_.log();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
  EXPECT_FALSE(stdfs::exists(daemon_.socket()));
  EXPECT_TRUE(stdfs::is_empty(daemon_.mounts()));
  umount2(directory.c_str(), MNT_DETACH);
  daemon_.Restart();
  Done({"mount", "v", directory});
  EXPECT_EQ(Read(directory / "file"), "text");
  Done({"umount", directory});
}

TEST_F(CliTest, MountsOfAKilledDaemonAreDetachedByTheNext) {
  Done({"create", "v"});
  stdfs::path directory = MakeDirectory("d");
  Done({"mount", "v", directory});
  std::ofstream(directory / "file") << "text";
  daemon_.Kill();
  EXPECT_TRUE(IsMounted(directory));
  daemon_.Restart();
  for (const MountEntry& entry : ReadMounts()) {
    EXPECT_FALSE(entry.mountpoint.starts_with(daemon_.mounts().string())) << entry.mountpoint;
  }
  // What was bound elsewhere is dead, and only to be taken away.
  Done({"umount", directory});
  EXPECT_FALSE(IsMounted(directory));
  Done({"mount", "v", directory});
  EXPECT_EQ(Read(directory / "file"), "text");
  Done({"umount", directory});
}

// Starting a daemon that cannot serve.
class ServeRefusalTest : public CliTest {
 protected:
  RunResult Serve(const std::string& root, const std::string& socket, const std::string& mounts,
                  const std::string& level = "error") const {
    return Rewind(
        {"serve", "--root", root, "--socket", socket, "--mounts", mounts, "--log-level", level});
  }
  std::string Fresh(const char* name) const { return daemon_.directory() / "other" / name; }
};

TEST_F(ServeRefusalTest, ASocketInUse) {
  RunResult result = Serve(Fresh("root"), daemon_.socket(), Fresh("mounts"));
  ExpectRefusal(result);
  EXPECT_THAT(result.err, HasSubstr("another daemon answers"));
  EXPECT_FALSE(stdfs::exists(Fresh("root")));
  EXPECT_EQ(Done({"ls", "--json"}), "[]\n");
}

TEST_F(ServeRefusalTest, ARootInUse) {
  RunResult result = Serve(daemon_.root(), Fresh("socket"), Fresh("mounts"));
  ExpectRefusal(result);
  EXPECT_THAT(result.err, HasSubstr(daemon_.root().string()));
  EXPECT_FALSE(stdfs::exists(Fresh("socket")));
}

TEST_F(ServeRefusalTest, AMountsDirectoryInUse) {
  RunResult result = Serve(Fresh("root"), Fresh("socket"), daemon_.mounts());
  ExpectRefusal(result);
  EXPECT_THAT(result.err, HasSubstr("another rewind daemon"));
}

TEST_F(ServeRefusalTest, ARootThatIsNotRewinds) {
  stdfs::create_directories(Fresh("root"));
  std::ofstream(stdfs::path(Fresh("root")) / "letter.txt") << "precious";
  RunResult result = Serve(Fresh("root"), Fresh("socket"), Fresh("mounts"));
  ExpectRefusal(result);
  EXPECT_THAT(result.err, HasSubstr(Fresh("root")));
  EXPECT_EQ(Read(stdfs::path(Fresh("root")) / "letter.txt"), "precious");
  size_t files = 0;
  for ([[maybe_unused]] const auto& entry : stdfs::directory_iterator(Fresh("root"))) ++files;
  EXPECT_EQ(files, 1u);
}

TEST_F(ServeRefusalTest, ALogLevelThatIsNone) {
  RunResult result = Serve(Fresh("root"), Fresh("socket"), Fresh("mounts"), "loud");
  ExpectRefusal(result);
  EXPECT_THAT(result.err, HasSubstr("debug, info, warning or error"));
}

TEST_F(ServeRefusalTest, NoFuseDevice) {
  // In a mount namespace of its own, with something else in the device's place.
  RunResult result = testing::Run(
      {"unshare", "--mount", "--propagation", "private", "sh", "-c",
       "mount -t tmpfs none /dev && exec \"$0\" serve --root \"$1/root\" --socket \"$1/socket\" "
       "--mounts \"$1/mounts\" --log-level error",
       REWIND_BINARY, daemon_.directory() / "other"});
  ExpectRefusal(result);
  EXPECT_THAT(result.err, HasSubstr("/dev/fuse"));
  EXPECT_FALSE(stdfs::exists(Fresh("root")));
}

}  // namespace
}  // namespace rw
