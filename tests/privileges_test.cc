// Goal: supervisor and daemon hold the one capability that they need, can get no other by executing
// anything, and leave no file that others may read; volumes work all the same. Method: the real
// binary, before and after its daemon was replaced; what the kernel says in /proc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <string>

#include "tests/support/daemon_process.h"

namespace rw {
namespace {

namespace stdfs = std::filesystem;

constexpr char kOnlySysAdmin[] = "0000000000200000";
constexpr char kNothing[] = "0000000000000000";

std::map<std::string, std::string> StatusOf(pid_t process, pid_t thread) {
  std::ifstream file("/proc/" + std::to_string(process) + "/task/" + std::to_string(thread) +
                     "/status");
  std::map<std::string, std::string> status;
  for (std::string key, value; std::getline(file, key, ':') && std::getline(file, value);)
    status[key] = value.substr(std::min(value.find_first_not_of(" \t"), value.size()));
  return status;
}

void ExpectFew(pid_t process) {
  for (const auto& entry :
       stdfs::directory_iterator("/proc/" + std::to_string(process) + "/task")) {
    const pid_t thread = std::stoi(entry.path().filename());
    const auto status = StatusOf(process, thread);
    if (status.empty()) continue;  // it ended
    SCOPED_TRACE(status.at("Name"));
    EXPECT_EQ(status.at("CapEff"), kOnlySysAdmin);
    EXPECT_EQ(status.at("CapPrm"), kOnlySysAdmin);
    EXPECT_EQ(status.at("CapBnd"), kOnlySysAdmin);
    EXPECT_EQ(status.at("CapInh"), kNothing);
    EXPECT_EQ(status.at("CapAmb"), kNothing);
    EXPECT_EQ(status.at("NoNewPrivs"), "1");
  }
}

TEST(PrivilegesTest, TheDaemonHoldsWhatMountingTakesAndNothingElse) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  testing::DaemonProcess daemon;
  EXPECT_EQ(daemon.Post("VolumeDriver.Create", {{"Name", "v"}, {"Opts", nullptr}})["Err"], "");
  const nlohmann::json mounted = daemon.Post("VolumeDriver.Mount", {{"Name", "v"}, {"ID", "c"}});
  EXPECT_EQ(mounted["Err"], "");
  const stdfs::path file = stdfs::path(mounted["Mountpoint"].get<std::string>()) / "file";
  std::ofstream(file) << "x";
  // What a volume shows is whatever its files are made to be: nothing of that is the daemon's.
  EXPECT_EQ(chown(file.c_str(), 1000, 1000), 0);
  EXPECT_EQ(chmod(file.c_str(), 04000), 0);
  EXPECT_EQ(mknod((file.string() + "-device").c_str(), S_IFCHR | 0600, makedev(1, 3)), 0);
  ExpectFew(daemon.pid());
  ExpectFew(daemon.daemon());
  daemon.EndDaemon(SIGKILL);
  EXPECT_EQ(stdfs::file_size(file), 1u);
  ExpectFew(daemon.daemon());
  EXPECT_EQ(daemon.Post("VolumeDriver.Unmount", {{"Name", "v"}, {"ID", "c"}})["Err"], "");
  EXPECT_FALSE(testing::IsMounted(mounted["Mountpoint"].get<std::string>()));
}

TEST(PrivilegesTest, NobodyElseMayReadTheDataRoot) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  testing::DaemonProcess daemon;
  daemon.Post("VolumeDriver.Create", {{"Name", "v"}, {"Opts", nullptr}});
  daemon.Stop();
  int files = 0;
  for (const auto& entry : stdfs::recursive_directory_iterator(daemon.root())) {
    struct stat status;
    ASSERT_EQ(lstat(entry.path().c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 077, 0u) << entry.path();
    ++files;
  }
  EXPECT_GT(files, 5);
}

// What stands in the way is said, and nothing is touched.
TEST(PrivilegesTest, ADataRootOfSomebodyElseIsRefused) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  const testing::TempDir dir;
  const std::string base = dir.path();
  stdfs::create_directory(base + "/root");
  ASSERT_EQ(chown((base + "/root").c_str(), 1000, 1000), 0);
  const testing::RunResult result =
      testing::Run({REWIND_BINARY, "serve", "--root", base + "/root", "--socket", base + "/socket",
                    "--mounts", base + "/mounts"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, ::testing::HasSubstr("belongs to user 1000; chown it to root"));
  EXPECT_TRUE(stdfs::is_empty(base + "/root"));
  EXPECT_FALSE(stdfs::exists(base + "/socket"));
}

}  // namespace
}  // namespace rw
